"""The crop that an AVIF picture asks for (its clap property), which Pillow's decoder leaves out."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import Final

from samcam.live.sources.iso_boxes import boxes, clean_aperture

_MOST_ITEMS: Final = 10_000  # a file of more is damaged
_FULL_BOX: Final = 4  # bytes of version and flags


def crop_of(data: bytes, size_wh: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """Return left, top, right and bottom of what a file's main picture shows, before it is turned.

    `size_wh` is the size as it is coded. None: nothing is cropped, or the property is damaged.
    """
    try:
        found = _clap(data)
        if found is None:
            return None
        left, top, right, bottom = clean_aperture(found, size_wh)
    except (struct.error, ValueError, ZeroDivisionError, StopIteration, IndexError):
        return None
    inside = 0 <= left < right <= size_wh[0] and 0 <= top < bottom <= size_wh[1]
    is_whole = (right - left, bottom - top) == size_wh
    return (left, top, right, bottom) if inside and not is_whole else None


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Give kind and content of each box."""
    return ((box.kind, data[box.start : box.end]) for box in boxes(io.BytesIO(data)))


def _inside(data: bytes, kind: bytes, skipped: int = 0) -> bytes:
    """Return the content of the first box of a kind, StopIteration where there is none."""
    return next(body for found, body in _boxes(data[skipped:]) if found == kind)


def _clap(data: bytes) -> bytes | None:
    """Return the content of the main picture's clap box."""
    meta = _inside(data, b"meta")
    main = _inside(meta, b"pitm", _FULL_BOX)
    main_id = int.from_bytes(main[_FULL_BOX : _FULL_BOX + (4 if main[0] else 2)], "big")
    shared = _inside(meta, b"iprp", _FULL_BOX)
    properties = list(_boxes(_inside(shared, b"ipco")))
    for number in _properties_of(_inside(shared, b"ipma"), main_id):
        if number and properties[number - 1][0] == b"clap":
            return properties[number - 1][1]
    return None


def _properties_of(ipma: bytes, main_id: int) -> list[int]:
    """Return which properties an item has, counted from 1; 0 stands for none."""
    id_form = ">I" if ipma[0] else ">H"
    wide = ipma[3] & 1
    (count,), at = struct.unpack_from(">I", ipma, 4), 8
    for _ in range(min(count, _MOST_ITEMS)):
        (item,) = struct.unpack_from(id_form, ipma, at)
        at += struct.calcsize(id_form)
        used, at = ipma[at], at + 1
        step = 2 if wide else 1
        numbers = [
            int.from_bytes(ipma[at + i * step : at + (i + 1) * step], "big") for i in range(used)
        ]
        if item == main_id:
            return [number & (0x7FFF if wide else 0x7F) for number in numbers]
        at += used * step
    return []
