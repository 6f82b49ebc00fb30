"""`masks:DIR`: `tracks.jsonl`, and the masks as palette PNGs, COCO or MOT."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from samcam.live.errors import SinkError
from samcam.live.frames import NS_PER_S, Composite, ObjectResult
from samcam.live.masks import pixel_box
from samcam.live.sinks.coco import COCO_FILE, CocoFile, score_of
from samcam.live.sinks.indexed_png import encode_indexed_png
from samcam.system.files import RowFile, is_there, write_whole

TRACKS_FILE: Final = "tracks.jsonl"
MOT_FILE: Final = "mot.txt"
FORMATS: Final = ("png", "coco", "mot")
PNG_ALONE: Final = ("png",)
_WRITTEN_NAME = re.compile(
    rf"\d{{5,}}\.png(\.part)?|{re.escape(COCO_FILE)}(\.part)?|{re.escape(MOT_FILE)}"
)


class MasksSink:
    """Writes what the tracker found; used by one thread.

    A picture is written beside its place and then moved there, and the rows of one frame go out
    in one write, so that a killed run leaves whole pictures and whole rows. A folder from an
    earlier run (it has a `tracks.jsonl`) is replaced: what that run wrote is removed first,
    whatever its formats were.
    """

    def __init__(self, folder: Path, formats: Sequence[str] = PNG_ALONE) -> None:
        """Make the folder ready.

        Args:
            folder: Made if missing.
            formats: Of `FORMATS`, at least one; `tracks.jsonl` is written in any case.

        Raises:
            SinkError: It cannot be written, or it holds masks of another origin.
        """
        self._folder = folder
        self._formats = tuple(formats)
        self._coco: CocoFile | None = None
        self._mot: RowFile | None = None
        tracks = folder / TRACKS_FILE
        try:
            folder.mkdir(parents=True, exist_ok=True)
            older = [item for item in folder.iterdir() if _WRITTEN_NAME.fullmatch(item.name)]
            if older and not is_there(tracks):
                numbered = all(item.suffix not in (".json", ".txt") for item in older)
                what = "numbered pictures" if numbered else "files with masks"
                raise SinkError(
                    f"--output {self.name}: the folder holds {len(older)} {what}, such as "
                    f"{older[0].name}, and no {TRACKS_FILE}: they are not from an earlier run; "
                    "expected an empty folder"
                )
            self._tracks = RowFile(tracks)
        except OSError as error:
            raise self._failure(error) from error
        self._older = older
        self._started = False

    @property
    def name(self) -> str:
        """As the user wrote it."""
        options = "" if self._formats == PNG_ALONE else f"?format={','.join(self._formats)}"
        return f"masks:{self._folder}{options}"

    def put(self, composite: Composite) -> None:
        """Write the picture of one frame, then its rows.

        A stand-in picture is no frame, and a repeated one is here already.

        Raises:
            SinkError: The folder cannot be written, such as on a full disk.
        """
        if not composite.is_new_frame:
            return
        try:
            if not self._started:
                self._clear()
            if "png" in self._formats:
                self._write_picture(composite)
            if self._coco is not None:
                self._coco.add(composite)
            if self._mot is not None:
                self._mot.write_lines(mot_rows(composite))
            self._tracks.write(*track_rows(composite))
        except OSError as error:
            raise self._failure(error) from error

    def close(self) -> None:
        """Close the files. Idempotent."""
        try:
            self._tracks.close()
            if self._mot is not None:
                self._mot.close()
            if self._coco is not None:
                self._coco.close()
        except OSError as error:
            raise self._failure(error) from error

    def _clear(self) -> None:
        """Remove the files of an earlier run, once this run has something to write."""
        self._tracks.clear()
        for picture in self._older:
            picture.unlink(missing_ok=True)
        self._older = []
        if "coco" in self._formats:
            self._coco = CocoFile(self._folder / COCO_FILE)
        if "mot" in self._formats:
            self._mot = RowFile(self._folder / MOT_FILE, replace=True)
        self._started = True

    def _write_picture(self, composite: Composite) -> None:
        name = f"{composite.result.frame.index:05d}.png"
        write_whole(self._folder / name, encode_indexed_png(composite.object_ids))

    def _failure(self, error: OSError) -> SinkError:
        return SinkError(
            f"--output {self.name}: cannot be written: {error.strerror or error}; "
            "expected a folder that you may write to, on a disk with room"
        )


def settled_box(composite: Composite, item: ObjectResult) -> Sequence[float] | None:
    """Return the box of the pixels that an object has in the picture of ids, as its own mask's box
    where another object took nothing of that edge, which is finer than a pixel.

    Returns:
        x1, y1, x2, y2 in source pixels, x2 and y2 exclusive; None where it has no pixel.
    """
    if item.box_xyxy_px is None:
        return None
    pixels = pixel_box(composite.object_ids == item.object_id)
    if pixels is None:
        return None
    edges = (pixels.x1, pixels.y1, pixels.x2, pixels.y2)
    return [
        edge if abs(own - edge) > 1 else own
        for own, edge in zip(item.box_xyxy_px, edges, strict=True)
    ]


def mot_rows(composite: Composite) -> Iterator[str]:
    """Give one row of MOTChallenge's text per visible object: frames count from 1.

    Frame, object, left, top, width, height, score, and -1 for the unknown x, y, z.
    """
    for item in composite.result.objects:
        box = settled_box(composite, item)
        if box is not None:
            x1, y1, x2, y2 = box
            edges = ",".join(f"{value:.2f}" for value in (x1, y1, x2 - x1, y2 - y1))
            frame = composite.result.frame.index + 1
            yield f"{frame},{item.object_id},{edges},{score_of(item):.4f},-1,-1,-1\n"


def track_rows(composite: Composite) -> Iterator[dict[str, object]]:
    """Give one `tracks.jsonl` row per object (docs/schemas/tracks.schema.json)."""
    result = composite.result
    for item, area_px in zip(result.objects, composite.areas_px, strict=True):
        box = settled_box(composite, item)
        yield {
            "frame": result.frame.index,
            "time_s": round(result.frame.time_ns / NS_PER_S, 6),
            "step": result.step,
            "object": item.object_id,
            "state": item.state.value,
            "reason": item.reason,
            "visible": box is not None,
            "predicted": item.predicted,
            "box_xyxy": None if box is None else [_number(edge) for edge in box],
            "predicted_iou": _number(item.predicted_iou),
            "object_score": _number(item.object_score),
            "motion_iou": _number(item.motion_iou),
            "guide_iou": _number(item.guide_iou),
            "area_px": area_px,
            "admitted": item.admitted,
            "memory_steps": [int(step) for step in item.memory_steps],
            "appearance": _number(item.appearance),
            "memory_tiers": [tier.value for tier in item.memory_tiers],
        }


def _number(value: float | None) -> float | None:
    """Return a JSON number; null for what JSON has no number for."""
    if value is None or not math.isfinite(value):
        return None
    return round(float(value), 6)
