"""`--suggest FILE.json`: a plain loop over the pictures of a source, with proposals for each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from samcam.live.commands import Proposal
from samcam.live.errors import ConfigError
from samcam.live.frames import NS_PER_MS, Frame, FrameResult, Mask, ObjectResult, ObjectState
from samcam.live.masks import PixelBox, pixel_box, upsample_logits
from samcam.live.rle import encode_rle
from samcam.live.sinks import SuggestionsFile
from samcam.live.sources import SourceInfo, VideoSource
from samcam.live.tracker import MaskGenerator
from samcam.live.watchdog import note_progress

_STILL_KINDS: Final = ("picture", "folder")


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """A proposal in source pixels; its mask at that size only as runs."""

    proposal: Proposal
    box: PixelBox
    area_px: int
    runs: dict[str, list[int]]

    def row(self, number: int) -> dict[str, object]:
        """As the schema has it."""
        return {
            "id": number,
            "box_xyxy": [self.box.x1, self.box.y1, self.box.x2, self.box.y2],
            "area_px": self.area_px,
            "predicted_iou": round(self.proposal.predicted_iou, 6),
            "stability": round(self.proposal.stability, 6),
            "point": [round(value, 2) for value in self.proposal.point_xy_px],
            "mask": self.runs,
        }

    def as_object(self, number: int, size_wh: tuple[int, int]) -> ObjectResult:
        """As effects and outputs take it."""
        return ObjectResult(
            object_id=number,
            state=ObjectState.TRACKING,
            reason="suggested, not prompted",
            mask_logits=self.proposal.mask_logits,
            predicted_iou=self.proposal.predicted_iou,
            object_score=0.0,
            motion_iou=None,
            box_xyxy_px=(self.box.x1, self.box.y1, self.box.x2, self.box.y2),
            admitted=False,
            memory_steps=(),
            size_wh=size_wh,
        )


def _stretch(proposals: Sequence[Proposal], size_wh: tuple[int, int]) -> Iterator[_Found]:
    """Give proposals in source pixels, one mask in memory at a time; one that vanishes is none."""
    for proposal in proposals:
        mask: Mask = upsample_logits(proposal.mask_logits, size_wh) > 0
        box = pixel_box(mask)
        if box is not None:
            yield _Found(proposal, box, int(np.count_nonzero(mask)), encode_rle(mask))


def pictures_to_suggest_for(info: SourceInfo) -> SourceInfo:
    """Return a source's info with the pictures that get proposals: of a video only the first.

    Raises:
        ConfigError: A camera or a URL.
    """
    if info.live:
        raise ConfigError(
            f"--suggest: source {info.name!r} is live; expected a picture, a folder of pictures, "
            "or a video file, of which the first frame is taken"
        )
    return info if info.kind in _STILL_KINDS else replace(info, frame_count=1)


def suggest_objects(
    source: VideoSource,
    generate: Callable[[Frame], MaskGenerator],
    report: SuggestionsFile,
    stopped: Callable[[], bool],
    take: Callable[[FrameResult, float], None],
) -> bool:
    """Find objects on each picture, write them to the report, and give them to `take`.

    Args:
        source: Read to its end; of a video the first picture only.
        generate: Finds the objects of one picture.
        report: Gets them first.
        stopped: Asked after every point; a picture is then left unfinished and unwritten.
        take: Gets them as objects 1, 2, ... and the age of the picture in ms when its turn came.

    Returns:
        Whether all pictures have theirs; False where it was stopped.

    Raises:
        CaptureError, EngineError, SinkError: The source, a network or the file failed.
    """
    for step, frame in enumerate(iter(source.read, None)):
        age_ms = (time.perf_counter_ns() - frame.captured_ns) / NS_PER_MS
        generator = generate(frame)
        for _ in generator:
            note_progress()
            if stopped():
                return False
        found = list(enumerate(_stretch(generator.proposals, frame.size_wh), 1))
        report.add(frame, [item.row(number) for number, item in found])
        objects = tuple(item.as_object(number, frame.size_wh) for number, item in found)
        take(FrameResult(frame, step, objects), age_ms)
        if source.info.kind not in _STILL_KINDS:
            break
    return True
