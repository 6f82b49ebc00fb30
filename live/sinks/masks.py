"""`masks:DIR`: one palette PNG per processed frame, and `tracks.jsonl`."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path

from live.frames import NS_PER_S, ObjectResult
from live.sinks.base import Composite, SinkError
from live.sinks.indexed_png import encode_indexed_png

TRACKS_FILE = "tracks.jsonl"
_PICTURE_NAME = re.compile(r"\d{5,}\.png(\.part)?")


class MasksSink:
    """Writes what the tracker found; used by one thread.

    A picture is written beside its place and then moved there, and the rows of one frame go out
    in one write, so that a killed run leaves whole pictures and whole rows. A folder from an
    earlier run (it has a `tracks.jsonl`) is written anew: its numbered pictures are removed first.
    """

    def __init__(self, folder: Path) -> None:
        """Make the folder ready.

        Raises:
            SinkError: It cannot be written, or it holds numbered pictures of another origin.
        """
        self._folder = folder
        tracks = folder / TRACKS_FILE
        try:
            folder.mkdir(parents=True, exist_ok=True)
            older = [item for item in folder.iterdir() if _PICTURE_NAME.fullmatch(item.name)]
            if older and not tracks.exists():
                raise SinkError(
                    f"--output {self.name}: the folder holds {len(older)} numbered pictures, such "
                    f"as {older[0].name}, and no {TRACKS_FILE}: they are not from an earlier run; "
                    "expected an empty folder"
                )
            # Unbuffered: a row is with the system as soon as it is written.
            self._tracks = tracks.open("ab", buffering=0)
        except OSError as error:
            raise self._failure(error) from error
        self._older = older
        self._started = False

    @property
    def name(self) -> str:
        """As the user wrote it."""
        return f"masks:{self._folder}"

    def put(self, composite: Composite) -> None:
        """Write the picture of one frame, then its rows.

        A stand-in picture is no frame, and a repeated one is here already.

        Raises:
            SinkError: The folder cannot be written, such as on a full disk.
        """
        if composite.stand_in_time_ns is not None or composite.repeats:
            return
        try:
            if not self._started:
                self._start_anew()
            index = composite.result.frame.index
            picture = self._folder / f"{index:05d}.png"
            partial = picture.with_name(picture.name + ".part")
            partial.write_bytes(encode_indexed_png(composite.object_ids))
            partial.replace(picture)
            rows = "".join(json.dumps(row, allow_nan=False) + "\n" for row in track_rows(composite))
            self._append(rows.encode())
        except OSError as error:
            raise self._failure(error) from error

    def close(self) -> None:
        """Close the rows' file. Idempotent."""
        try:
            self._tracks.close()
        except OSError as error:
            raise self._failure(error) from error

    def _start_anew(self) -> None:
        """Remove what an earlier run left; only now, when this run has something to write."""
        self._tracks.truncate(0)
        for picture in self._older:
            picture.unlink(missing_ok=True)
        self._older = []
        self._started = True

    def _append(self, rows: bytes) -> None:
        """Write all of `rows` or nothing."""
        if not rows:
            return
        end = os.fstat(self._tracks.fileno()).st_size
        try:
            written = self._tracks.write(rows)
        except OSError:
            self._tracks.truncate(end)
            raise
        if written != len(rows):  # what the system does when the disk fills up on the way
            self._tracks.truncate(end)
            raise OSError(f"only {written} of {len(rows)} bytes fitted; is the disk full?")

    def _failure(self, error: OSError) -> SinkError:
        return SinkError(
            f"--output {self.name}: cannot be written: {error.strerror or error}; "
            "expected a folder that you may write to, on a disk with room"
        )


def track_rows(composite: Composite) -> Iterator[dict[str, object]]:
    """Give one `tracks.jsonl` row per object (docs/schemas/tracks.schema.json)."""
    result = composite.result
    for item, area_px in zip(result.objects, composite.areas_px, strict=True):
        yield {
            "frame": result.frame.index,
            "time_s": round(result.frame.time_ns / NS_PER_S, 6),
            "step": result.step,
            "object": item.object_id,
            "state": item.state.value,
            "reason": item.reason,
            "visible": item.visible,
            "predicted": item.predicted,
            "box_xyxy": _box(item),
            "predicted_iou": _number(item.predicted_iou),
            "object_score": _number(item.object_score),
            "motion_iou": _number(item.motion_iou),
            "area_px": area_px,
            "admitted": item.admitted,
            "memory_steps": [int(step) for step in item.memory_steps],
        }


def _box(item: ObjectResult) -> list[float | None] | None:
    return None if item.box_xyxy_px is None else [_number(edge) for edge in item.box_xyxy_px]


def _number(value: float | None) -> float | None:
    """Return a JSON number; null for what JSON has no number for."""
    if value is None or not math.isfinite(value):
        return None
    return round(float(value), 6)
