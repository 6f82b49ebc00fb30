"""Reads files of unknown origin: regular ones only, of bounded size and depth.

Such a file can be a pipe or a device without end, or a link in a circle; its JSON can be huge or
deeply nested, have a key twice, or hold NaN, infinity and numbers of thousands of digits. Every
fault is an `OSError` or a `ValueError` of one line.
"""

from __future__ import annotations

import errno
import json
import math
import os
import re
import stat
from collections import Counter
from pathlib import Path
from typing import Any, BinaryIO, Final

from samcam.system.files.places import IMPOSSIBLE

MAX_JSON_BYTES: Final = 64 << 20
MAX_DEPTH: Final = 64  # lists and objects inside each other; ours have at most eight
_MAX_KEYS: Final = 1 << 14  # of one object; ours have some hundred
_MAX_DIGITS: Final = 32  # beyond any number of ours; Python refuses from 4,300 on
_SHOWN: Final = 40
_LONGEST_LINE: Final = 4000
_LONGEST_PATH: Final = 1000

_OPEN_FLAGS: Final = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)  # else opening a pipe waits for its writer
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_BINARY", 0)
)
# Also one that is not closed, and without ways back: a search from every quote takes minutes.
_STRING: Final = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_BRACKET: Final = re.compile(r"[\[\]{}]")


def open_regular(path: Path, follow: bool = True) -> BinaryIO:
    """Open a regular file for reading; `follow`: it may be a symbolic link.

    Raises:
        OSError: There is none, or it is a folder, a pipe, a device, or a link that may not be one.
    """
    try:
        status = os.stat(path, follow_symlinks=follow)
        _check_regular(path, status)  # before: opening alone can do something to a device
        file = os.open(path, _OPEN_FLAGS | (0 if follow else getattr(os, "O_NOFOLLOW", 0)))
    except ValueError as error:  # a zero byte, or what the system's encoding cannot write
        raise OSError(errno.EINVAL, IMPOSSIBLE, str(path)) from error
    try:
        _check_regular(path, os.fstat(file))
        return os.fdopen(file, "rb")
    except BaseException:
        os.close(file)
        raise


def read_regular(path: Path, max_bytes: int, follow: bool = True) -> bytes:
    """Read a whole file.

    Raises:
        OSError: As `open_regular`, or it cannot be read.
        ValueError: It is larger.
    """
    with open_regular(path, follow) as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise ValueError(f"larger than {max_bytes} bytes")
    return data


def read_json(path: Path, max_bytes: int = MAX_JSON_BYTES, follow: bool = True) -> Any:
    """Read a JSON file; raises as `read_regular` and `parse_json`."""
    return parse_json(read_regular(path, max_bytes, follow))


def parse_json(data: str | bytes) -> Any:
    """Parse JSON; bytes are UTF-8, with or without a byte order mark.

    Raises:
        ValueError: It is not JSON, or such as no program of ours writes: deeper than
            `MAX_DEPTH`, a key twice in one object or too many, NaN, infinity, or an endless number.
    """
    text = data if isinstance(data, str) else _decoded(data)
    _check_depth(text)
    try:
        return json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_no_number,
            parse_int=_whole,
            parse_float=_number,
        )
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise ValueError(f"not valid JSON ({where}: {error.msg})") from error
    except RecursionError as error:  # another limit of depth: a deep stack called this
        raise ValueError("not valid JSON: nested too deeply") from error


def one_line(text: str) -> str:
    """Return a message that quotes untrusted text as one readable line of bounded length.

    A value with line ends, terminal codes or halves of characters is shown escaped; a long text
    loses its middle.
    """
    if not text.isprintable():
        text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    if len(text) > _LONGEST_LINE:
        half = _LONGEST_LINE // 2
        text = f"{text[:half]} ... {text[-half:]}"
    return text


def shown_value(value: object, limit: int = 80) -> str:
    """Return a value that came from JSON as JSON again, cut to a bounded length, for messages."""
    text = ""
    for part in json.JSONEncoder(ensure_ascii=False, default=str).iterencode(value):
        text += part
        if len(text) > limit:  # the rest of a huge value is not even written out
            return f"{text[: limit - 3]}..."
    return text


def shown_path(value: object) -> str:
    """Return a path that came from JSON for a message: whole, on one line."""
    return one_line(shown_value(value, _LONGEST_PATH))


def reason_of(error: Exception) -> str:
    """Return the message of an error of these functions, without the path."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _check_regular(path: Path, status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if stat.S_ISLNK(status.st_mode):
        raise OSError(errno.ELOOP, "a link; expected a file", str(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "a pipe or device; expected a file", str(path))


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"cannot be read as UTF-8 text (byte {error.start})") from error


def _check_depth(text: str) -> None:
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    depth = 0
    for found in _BRACKET.finditer(_STRING.sub("", text)):
        depth += 1 if found[0] in "[{" else -1
        if depth > MAX_DEPTH:
            raise ValueError(f"not valid JSON: nested deeper than {MAX_DEPTH} levels")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        counts = Counter(key for key, _ in pairs)
        twice = next(key for key, count in counts.items() if count > 1)
        raise ValueError(f"the key {twice[:_SHOWN]!r} stands twice")
    if len(made) > _MAX_KEYS:  # a message for each is too much to keep
        raise ValueError(f"an object of {len(made)} keys; expected at most {_MAX_KEYS}")
    return made


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no JSON number")


def _whole(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise ValueError(f"a number of {len(digits)} digits; expected at most {_MAX_DIGITS}")
    return int(digits)


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:_SHOWN]} is too large for a number")
    return value
