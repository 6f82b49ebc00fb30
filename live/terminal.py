"""What the program says to people: lines on stdout and stderr, without anybody's password."""

from __future__ import annotations

import sys

from engines.streams import write_line
from live.redact import hide_secrets


def say(text: str) -> bool:
    """Write lines to stdout; False where they cannot be, and nobody hung up: a full disk, say."""
    error = write_line(sys.stdout, hide_secrets(text))
    if error is None or isinstance(error, BrokenPipeError):
        return True
    complain(f"error: stdout cannot be written: {error.strerror or error}")
    return False


def complain(text: str) -> None:
    """Write lines to stderr."""
    write_line(sys.stderr, hide_secrets(text))
