"""The boxes of mp4, QuickTime and AVIF files, and what of a picture a clap box shows."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from fractions import Fraction
from typing import BinaryIO, Final, NamedTuple

_MOST_BOXES: Final = 200_000  # of one file or box; one with more is not looked at further


class Box(NamedTuple):
    """One box: where its content starts and ends in bytes, perhaps beyond the end of the file."""

    kind: bytes
    start: int
    end: int


def boxes(file: BinaryIO) -> Iterator[Box]:
    """Walk the boxes of a file, or of a box's content, at its top level."""
    at, file_size = 0, file.seek(0, os.SEEK_END)
    for _ in range(_MOST_BOXES):
        file.seek(at)
        head = file.read(16)
        if len(head) < 8:
            return
        size, start = int.from_bytes(head[:4], "big"), at + 8
        if size == 1:
            size, start = int.from_bytes(head[8:16], "big"), at + 16
        elif size == 0:  # to the end of the file
            size = file_size - at
        at += size
        yield Box(head[4:8], start, at)
        if size < 8 or at > file_size:  # no system can look for what is 2^63 bytes on
            return


def clean_aperture(clap: bytes, size_wh: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of what a picture shows, perhaps beyond its borders.

    Args:
        clap: Content of a clap box: width, height and the centre's offset to the right and down.
        size_wh: Size of the picture as it is coded.

    Raises:
        ValueError, struct.error, ZeroDivisionError: It is damaged.
    """
    width, height, right, down = (Fraction(*pair) for pair in struct.iter_unpack(">iI", clap))
    left, top = round((size_wh[0] - width) / 2 + right), round((size_wh[1] - height) / 2 + down)
    return left, top, left + round(width), top + round(height)
