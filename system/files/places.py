"""Paths as users write them: a leading ~, links, names that no file can have.

The checks here answer for every name: one that is too long, leads in a circle or through a locked
folder is not a file. Opening it then tells why, in an `OSError`.
"""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Final

IMPOSSIBLE: Final = "not a name that a file can have"

_SET: Final = {
    "win32": "USERPROFILE or LOCALAPPDATA",
    "darwin": "HOME",
}.get(sys.platform, "HOME or XDG_DATA_HOME")


class NoHomeError(ValueError):
    """There is no home folder where one is needed; one line for the user."""


class ImpossibleNameError(NoHomeError):
    """A name that no file can have, wherever that is looked for; one line for the user."""


def check_name(path: Path) -> None:
    """Refuse a name that no file can have; it may come from prompts, settings or `ctl`.

    Raises:
        OSError: It has a zero byte, or what the system's encoding cannot write.
    """
    if not is_possible(path):
        raise OSError(errno.EINVAL, IMPOSSIBLE, str(path))


def is_possible(path: str | Path) -> bool:
    """Whether a file could have a name of these characters."""
    try:
        return b"\0" not in os.fsencode(path)
    except UnicodeError:
        return False


def expand_user(name: str | Path) -> Path:
    """Return a path with ~ and ~USER replaced.

    Raises:
        NoHomeError: There is no such user, or no home folder at all.
        ImpossibleNameError: No file can have this name.
    """
    if not is_possible(name):
        raise ImpossibleNameError(f"{name}: {IMPOSSIBLE}; expected one without zero bytes")
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
    try:
        return Path(os.path.expanduser(name))
    except ValueError:  # a zero byte after the ~
        return Path(name)


def is_there(path: Path) -> bool:
    """Whether a path leads to anything; `Path.exists` raises for a name that is too long."""
    return os.path.exists(path)


def is_file(path: Path) -> bool:
    return os.path.isfile(path)


def is_folder(path: Path) -> bool:
    return os.path.isdir(path)


def foreign_entry(folder: Path, marker: str | None = None) -> Path | None:
    """Return one entry of a folder that we must not write to; None where we may.

    We may where it is empty, does not exist, or holds the file `marker`.

    Raises:
        OSError: It cannot be looked into, such as a file.
    """
    if not is_there(folder) or (marker is not None and is_file(folder / marker)):
        return None
    return next(folder.iterdir(), None)


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


def user_data_folder() -> Path:
    """Return the folder for what the program keeps for this user; it need not exist.

    Raises:
        NoHomeError: Nothing says where.
    """
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or user_home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = user_home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or user_home() / ".local" / "share")
    return base / "samcam"
