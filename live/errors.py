"""What can fail and is the user's to solve: one error per kind, one exit code for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from samcam.system.files import one_line

_MAX_PROBLEMS: Final = 200  # lines that one start prints


class ConfigError(ValueError):
    """Wrong use or configuration: one line per problem in `problems`; exit code 2."""

    def __init__(self, problems: str | Sequence[str]) -> None:
        texts = (problems,) if isinstance(problems, str) else tuple(problems)
        more = len(texts) - _MAX_PROBLEMS
        last = [f"and {more} more problems"] if more > 0 else []
        self.problems = tuple(one_line(text) for text in [*texts[:_MAX_PROBLEMS], *last])
        super().__init__("\n".join(self.problems))


class SinkError(RuntimeError):
    """An output cannot be opened or written; the message says which, why and what to do."""


class CaptureError(OSError):
    """A source cannot be opened or read; the message says which, why and what to do."""
