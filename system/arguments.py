"""What callers from Python hand in: a wrong type ends in one line that says what is expected."""

from __future__ import annotations

import os
import reprlib
from types import UnionType


def check_type(name: str, value: object, kind: type | UnionType, expected: str) -> None:
    """Raise a TypeError where a value is none of that kind."""
    if not isinstance(value, kind):
        raise TypeError(f"{name}: expected {expected}, got {type(value).__name__}")


def name_or_path(name: str, value: str | os.PathLike[str], expected: str) -> str:
    """Return a text as it is, a path as one that means nothing else: Path("demo") is ./demo.

    Raises:
        TypeError: It is neither.
    """
    if isinstance(value, os.PathLike):
        return os.path.join(os.curdir, value)
    check_type(name, value, str, expected)
    return value


def lacks(thing: object, protocol: type) -> str:
    """Return the names of a protocol's members that a thing does not have, "" where it is whole."""
    return ", ".join(name for name in vars(protocol) if name[0] != "_" and not hasattr(thing, name))


def shown(value: object) -> str:
    """Return a value as Python writes it, for a message: cut, on one line."""
    return " ".join(reprlib.repr(value).split())
