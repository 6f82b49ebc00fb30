"""Named pipes: waiting for one is logged and can be interrupted."""

from __future__ import annotations

import logging
import os
import select
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_POLL_MS: Final = 250

_log = logging.getLogger(__name__)


def is_pipe(path: Path) -> bool:
    try:
        return stat.S_ISFIFO(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def say_if_pipe(path: Path) -> None:
    """Say that opening a named pipe for writing waits for a reader; nothing for other files."""
    if is_pipe(path):
        _log.info("%s: a pipe: waiting for a program that reads it", path)


@contextmanager
def waiting_for_writer(path: Path, name: str) -> Iterator[None]:
    """Run a block that opens a file; at a named pipe only once a program writes to it.

    FFmpeg would wait for that inside `open`, where neither a message nor Ctrl-C comes through.

    Raises:
        OSError: The pipe cannot be opened.
    """
    if not is_pipe(path):
        yield
        return
    held = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # keeps what is written until FFmpeg reads
    try:
        poll = select.poll()
        poll.register(held, select.POLLIN)
        if not poll.poll(0):
            _log.info("source %s: a pipe: waiting for a program that writes to it", name)
            while not poll.poll(_POLL_MS):
                pass
        yield
    finally:
        os.close(held)
