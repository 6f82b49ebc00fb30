"""Folders and files that only their user can open: pictures of a room, addresses with passwords."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path
from typing import Final

FOLDER_MODE: Final = 0o700
FILE_MODE: Final = 0o600
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO

log = logging.getLogger(__name__)


def make_private_folder(folder: Path) -> None:
    """Make a folder unless it exists, and close it to other users.

    Raises:
        OSError: It cannot be made.
    """
    folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    _close(folder, FOLDER_MODE)


def write_private(path: Path, data: bytes) -> None:
    """Write a new file that is closed to others from the first moment.

    Raises:
        OSError: It cannot be written, or is there already.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    with open(os.open(path, flags, FILE_MODE), "wb") as file:
        file.write(data)


def close_to_others(path: Path) -> None:
    """Close a file to other users, such as one of an earlier version."""
    _close(path, FILE_MODE)


def _close(path: Path, mode: int) -> None:
    if os.name == "nt":
        return  # other users are kept out by the access lists of the folders above
    try:
        if path.stat().st_mode & _OTHERS:
            path.chmod(mode)
    except OSError as error:  # somebody else's folder, or a disk that knows no owners
        log.warning("%s: other users can open it: %s", path, error.strerror)
