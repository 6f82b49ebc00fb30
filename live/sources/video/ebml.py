"""The elements of a Matroska file or its beginning, as far as this program looks at them itself."""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import BinaryIO, Final, NamedTuple

SEGMENT: Final = 0x18538067
CLUSTER: Final = 0x1F43B675
TRACKS: Final = 0x1654AE6B
TRACK_ENTRY: Final = 0xAE
VIDEO: Final = 0xE0
_LONGEST_HEAD: Final = 12  # bytes
_MOST: Final = 200_000  # elements; a file of more is not looked at further


class Element(NamedTuple):
    """One element.

    Attributes:
        kind: Its EBML ID.
        start: Where its content starts in the file, in bytes.
        length: Of its content in bytes; None where a recorder wrote none.
    """

    kind: int
    start: int
    length: int | None


def elements(file: BinaryIO, entered: Container[int] = ()) -> Iterator[Element]:
    """Walk the elements of a file in their order, up to what is none.

    Args:
        file: From its beginning.
        entered: Kinds whose content is walked too; that of a segment or cluster without a length
            always is.
    """
    at = 0
    for _ in range(_MOST):
        file.seek(at)
        head = file.read(_LONGEST_HEAD)
        kind, kind_bytes = _number(head, keep_marker=True)
        length, length_bytes = _number(head[kind_bytes:], keep_marker=False)
        if not kind_bytes or not length_bytes:
            return
        at += kind_bytes + length_bytes
        if length == (1 << 7 * length_bytes) - 1:
            yield Element(kind, at, None)
            if kind not in (SEGMENT, CLUSTER):
                return
        else:
            yield Element(kind, at, length)
            at += 0 if kind in entered else length


def _number(data: bytes, keep_marker: bool) -> tuple[int, int]:
    """Return a number of variable length and its bytes, (0, 0) where there is none."""
    length = 9 - data[0].bit_length() if data else 9
    if length > min(8, len(data)):
        return 0, 0
    value = int.from_bytes(data[:length], "big")
    return (value if keep_marker else value & ((1 << 7 * length) - 1)), length
