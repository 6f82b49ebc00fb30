"""What a leading ~ stands for; containers have users without a home folder."""

from __future__ import annotations

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


def user_home() -> Path:
    """Return the home folder.

    Raises:
        NoHomeError: Neither the environment nor the system's list of users names one.
    """
    try:
        return Path.home()
    except RuntimeError as error:
        raise NoHomeError(f"this user has no home folder: set {_SET} to a folder") from error
