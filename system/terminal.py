"""Prints lines on stdout and stderr, without passwords."""

from __future__ import annotations

import sys
from collections.abc import Callable

from samcam.system.redact import hide_secrets
from samcam.system.streams import write_line


def say(text: str, hung_up: Callable[[], None] = lambda: None) -> bool:
    """Write lines to stdout; False where that fails although the reader is there (a full disk).

    `hung_up` is called where the reader is gone, as `head` is when it has enough.
    """
    error = write_line(sys.stdout, hide_secrets(text))
    if isinstance(error, BrokenPipeError):
        hung_up()
    if error is None or isinstance(error, BrokenPipeError):
        return True
    complain(f"error: stdout cannot be written: {error.strerror or error}")
    return False


def complain(text: str) -> None:
    write_line(sys.stderr, hide_secrets(text))
