"""`coco.json`: the masks of a run as one COCO data set, whole at every moment.

COCO keeps pictures and masks in two lists of one JSON object, and both grow with every frame. So
the list of pictures lies before the other in a block with room (JSON allows spaces), and the end
of the list of masks is rewritten with every mask. The file is valid however the program ends.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import numpy as np

from samcam.live.frames import NS_PER_S, Composite, ObjectResult
from samcam.live.masks import pixel_box
from samcam.live.rle import compress_counts, encode_rle

COCO_FILE: Final = "coco.json"
_HEAD: Final = (
    b'{"info": {"description": "SamCam: masks of one run"},\n'
    b'"categories": [{"id": 1, "name": "object"}],\n"images": ['
)
_BETWEEN: Final = b'],\n"annotations": ['
_TAIL: Final = b"\n]}\n"
_FIRST_BLOCK: Final = 1 << 16  # bytes for pictures, about 600 of them
_COPIED_AT_ONCE: Final = 1 << 20


class CocoFile:
    """Writes a data set frame by frame, in bounded memory; used by one thread.

    Where the block of pictures is full, the file is copied beside its place with a block twice as
    large and moved there. Every method raises OSError where it cannot be written.
    """

    def __init__(self, path: Path, first_block: int = _FIRST_BLOCK) -> None:
        """Begin a file without a picture, in place of an older one.

        Args:
            path: Of the file.
            first_block: Bytes for pictures to begin with.
        """
        self._path = path
        self._pictures = self._masks = 0
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | _BINARY, 0o666)
        self._block = first_block
        self._used = 0  # bytes of the block
        _write_at(self._file, _HEAD + b" " * first_block + _BETWEEN + _TAIL, 0)
        self._end = len(_HEAD) + first_block + len(_BETWEEN)  # of the masks, where the tail begins

    def add(self, composite: Composite) -> None:
        """Write one frame: its picture, then a mask for each object that is to be seen."""
        self._add_picture(_dumped(picture_row(composite)))
        rows = list(mask_rows(composite, self._masks + 1))
        if not rows:
            return
        text = b"".join(
            (b",\n" if self._masks + place else b"\n") + _dumped(row)
            for place, row in enumerate(rows)
        )
        self._replace_tail(text)
        self._masks += len(rows)

    def close(self) -> None:
        """Close the file, which is whole already. Idempotent."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _add_picture(self, row: bytes) -> None:
        text = (b",\n" if self._pictures else b"\n") + row
        while self._used + len(text) > self._block:
            self._enlarge()
        _write_at(self._file, text, len(_HEAD) + self._used)
        self._used += len(text)
        self._pictures += 1

    def _replace_tail(self, text: bytes) -> None:
        """Write masks and the tail over the tail, or leave the file as it was."""
        try:
            _write_at(self._file, text + _TAIL, self._end)
        except OSError:
            _write_at(self._file, _TAIL, self._end)  # overwrites: needs no room on the disk
            os.ftruncate(self._file, self._end + len(_TAIL))
            raise
        self._end += len(text)

    def _enlarge(self) -> None:
        """Copy the file with a block of twice the size."""
        beside = self._path.with_name(self._path.name + ".part")
        larger = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_TRUNC | _BINARY, 0o666)
        try:
            added = self._block
            start = len(_HEAD) + self._block
            _copy(self._file, larger, 0, start, 0)
            _write_at(larger, b" " * added, start)
            end = self._end + len(_TAIL)
            _copy(self._file, larger, start, end, start + added)
            if os.name == "nt":  # no open file can be replaced there
                os.close(self._file)
                os.close(larger)
                os.replace(beside, self._path)
                self._file = os.open(self._path, os.O_RDWR | _BINARY)
            else:
                os.replace(beside, self._path)
                os.close(self._file)
                self._file = larger
        except OSError:
            os.close(larger)
            beside.unlink(missing_ok=True)
            raise
        self._block += added
        self._end += added


_BINARY: Final = getattr(os, "O_BINARY", 0)


def _write_at(file: int, data: bytes, at: int) -> None:
    """Write all of `data` at a place; OSError where not all of it fits."""
    os.lseek(file, at, os.SEEK_SET)
    written = os.write(file, data)
    if written != len(data):  # what the system does when the disk fills up on the way
        raise OSError(f"only {written} of {len(data)} bytes fitted; is the disk full?")


def _copy(source: int, target: int, start: int, end: int, to: int) -> None:
    """Copy the bytes from `start` to `end` to another place in another file."""
    for at in range(start, end, _COPIED_AT_ONCE):
        os.lseek(source, at, os.SEEK_SET)
        _write_at(target, os.read(source, min(_COPIED_AT_ONCE, end - at)), to + at - start)


def _dumped(row: Mapping[str, object]) -> bytes:
    return json.dumps(row, allow_nan=False).encode()


def picture_row(composite: Composite) -> dict[str, object]:
    """Return the entry of a frame in COCO's `images`."""
    frame = composite.result.frame
    width, height = frame.size_wh
    return {
        "id": frame.index,
        "file_name": f"{frame.index:05d}.png",
        "width": width,
        "height": height,
        "frame_index": frame.index,
        "time_s": round(frame.time_ns / NS_PER_S, 6),
    }


def mask_rows(composite: Composite, first_id: int) -> Iterator[dict[str, object]]:
    """Give COCO's `annotations` entries of a frame, one per object that is to be seen.

    Args:
        composite: The frame; masks are those of the palette PNG, no two share a pixel.
        first_id: Number of the first entry.
    """
    number = first_id
    for item, area_px in zip(composite.result.objects, composite.areas_px, strict=True):
        if area_px:
            yield _mask_row(composite, item, number)
            number += 1


def _mask_row(composite: Composite, item: ObjectResult, number: int) -> dict[str, object]:
    mask = composite.object_ids == item.object_id
    box = pixel_box(mask)
    assert box is not None  # it has an area
    runs = encode_rle(mask)
    return {
        "id": number,
        "image_id": composite.result.frame.index,
        "category_id": 1,
        "track_id": item.object_id,
        "iscrowd": 0,
        "area": int(np.count_nonzero(mask)),
        "bbox": [box.x1, box.y1, box.x2 - box.x1, box.y2 - box.y1],
        "score": score_of(item),
        "segmentation": {"size": runs["size"], "counts": compress_counts(runs["counts"])},
    }


def score_of(item: ObjectResult) -> float:
    """Return the network's estimate of a mask's quality, 0..1; 1 where there is none."""
    iou = float(item.predicted_iou)
    return round(min(1.0, max(0.0, iou)), 6) if iou == iou else 1.0
