"""Whether a video file ends before its own structure does: a copy or a recording that was cut off.

Demuxers take such a file for a short one. What is looked at is what cannot be meant otherwise, so
that no intact file is called incomplete; what a structure does not tell is not guessed.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO, Final

from samcam.live.sources.iso_boxes import boxes
from samcam.live.sources.video.ebml import SEGMENT, elements

_MOST_ELEMENTS: Final = 200_000  # of one file; one with more is taken for whole
_PICTURE_BOXES: Final = frozenset((b"mdat", b"moof"))
_SHORTEST_ELEMENT: Final = 2  # bytes; what is left over is the beginning of one
_TS_SYNC: Final = 0x47


def is_cut_off(path: Path, container_format: str) -> bool:
    """Return whether a file ends in the middle of what it says it has.

    Args:
        container_format: FFmpeg's name of its format.

    Raises:
        OSError: It cannot be read.
    """
    formats = container_format.split(",")
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if "mov" in formats:
            return any(box.kind in _PICTURE_BOXES and box.end > size for box in boxes(file))
        if "matroska" in formats:
            return _is_matroska_cut_off(file, size)
        if "avi" in formats:
            return _is_avi_cut_off(file, size)
        if "mpegts" in formats:
            return _is_transport_stream_cut_off(file, size)
    return False


def _is_matroska_cut_off(file: BinaryIO, size: int) -> bool:
    """Walk the elements; a recorder that was killed wrote no length of the whole."""
    end = 0
    for element in elements(file):
        end = element.start + (element.length or 0)
        if end > size:
            return True
        if element.kind == SEGMENT and element.length is not None:
            return False
    return 0 < size - end < _SHORTEST_ELEMENT


def _is_avi_cut_off(file: BinaryIO, size: int) -> bool:
    """Look for the list of pictures; that the index behind it is missing loses none."""
    at = 12
    for _ in range(_MOST_ELEMENTS):
        file.seek(at)
        head = file.read(12)
        if len(head) < 12:
            return False
        length = int.from_bytes(head[4:8], "little")
        at += 8 + length + length % 2
        if head[:4] == b"LIST" and head[8:] == b"movi":
            return at - length % 2 > size
    return False


def _is_transport_stream_cut_off(file: BinaryIO, size: int) -> bool:
    """Look whether the last of the packets, all of one length, is whole."""
    head = file.read(400)
    for offset, length in ((0, 188), (4, 192), (0, 204)):
        marks = head[offset::length][:2]
        if marks == bytes((_TS_SYNC, _TS_SYNC)):
            return size % length != 0
    return False
