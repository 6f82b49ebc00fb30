"""Decodes users' texts: UTF-8 or UTF-16, with or without a byte order mark, any line ends."""

from __future__ import annotations

import codecs
import re
from typing import Final

_MARKS: Final = (  # UTF-32's begins as UTF-16's does
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_GUESSED_BYTES: Final = 1024
_ASCII: Final = re.compile(r"[\t\r\n -~]")
_LINE_END: Final = re.compile(r"\r\n|\r|\n")


def decode_text(data: bytes) -> str:
    """Decode UTF-8 or UTF-16, with a byte order mark or without.

    Raises:
        ValueError: It is neither.
    """
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "")
    if not encoding:
        # Without a mark the zeros tell: each ASCII character has one in UTF-16.
        low, high = data[:_GUESSED_BYTES:2].count(0), data[1:_GUESSED_BYTES:2].count(0)
        half = len(data[:_GUESSED_BYTES]) // 4
        encoding = "utf-16-le" if high > max(half, low) else "utf-8"
        if low > max(half, high):
            encoding = "utf-16-be"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError("not a text in UTF-8 or UTF-16") from error
    if "\0" in text or (data and not _ASCII.search(text)):  # any two bytes are a UTF-16 character
        raise ValueError("not a text")
    return text


def text_lines(text: str) -> list[str]:
    """Split at line ends of every system, and only there."""
    return _LINE_END.split(text)
