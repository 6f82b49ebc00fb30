"""What a user's name of a place stands for: a leading ~, a link, a name that no file can have.

The questions here have an answer for every name: one that is too long, leads in a circle or through
a locked folder is no file. Whoever opens it then says why, in an `OSError`.
"""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Final

_SET: Final = {
    "win32": "USERPROFILE or LOCALAPPDATA",
    "darwin": "HOME",
}.get(sys.platform, "HOME or XDG_DATA_HOME")


class NoHomeError(ValueError):
    """There is no home folder where one is needed; one line for the user."""


def expand_user(name: str | Path) -> Path:
    """Return a path with ~ and ~USER replaced.

    Raises:
        NoHomeError: There is no such user, or no home folder at all.
    """
    path = lenient_path(name)
    word = path.parts[0] if path.parts and str(name).startswith("~") else ""
    if word.startswith("~"):
        who = f"there is no user {word[1:]}" if word[1:] else "there is no home folder"
        raise NoHomeError(
            f"{name}: {who} here; expected a path, ./{word} for what is really called that"
        )
    return path


def lenient_path(name: str | Path) -> Path:
    """Return a path with ~ and ~USER replaced where they stand for something; to compare with."""
    return Path(os.path.expanduser(name))


def is_there(path: Path) -> bool:
    """Whether a path leads to anything; `Path.exists` raises for a name that is too long."""
    return os.path.exists(path)


def is_file(path: Path) -> bool:
    """Whether a path leads to a regular file."""
    return os.path.isfile(path)


def is_folder(path: Path) -> bool:
    """Whether a path leads to a folder."""
    return os.path.isdir(path)


def is_loop(path: Path) -> bool:
    """Whether a path is a link that leads in a circle."""
    try:
        path.stat()
    except OSError as error:
        return error.errno == errno.ELOOP
    return False


def on_another_machine(name: str, system: str = os.name) -> bool:
    r"""Whether opening a path connects to another machine: `\\HOST\SHARE` of Windows."""
    return system == "nt" and name.replace("/", "\\").startswith("\\\\")


def resolved(path: Path) -> Path:
    """Return the absolute path without links; `Path.resolve` raises for links in a circle."""
    try:
        return Path(os.path.realpath(path))
    except ValueError:  # a zero byte
        return path.absolute()


def user_home() -> Path:
    """Return the home folder.

    Raises:
        NoHomeError: Neither the environment nor the system's list of users names one.
    """
    try:
        return Path.home()
    except RuntimeError as error:
        raise NoHomeError(f"this user has no home folder: set {_SET} to a folder") from error
