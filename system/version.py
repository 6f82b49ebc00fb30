"""The version of this package; pyproject.toml has it too, a test holds them equal."""

from __future__ import annotations

from typing import Final

VERSION: Final = "0.1.0"
