"""A tracker that is watched: each object's row per frame, as in tracks.jsonl, and some pictures."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from bench.reports.sheet import OBJECT_BGR
from bench.reports.timeline_plot import Row, Timeline, write_timeline
from bench.scores.evaluate import BoxClipScore, MaskClipScore, StepTracker
from samcam.live.frames import NS_PER_S, U8, Frame, FrameResult, ObjectResult, Prompt

PICTURE_WIDTH_PX: Final = 240
MOST_PICTURES: Final = 64  # kept of a clip, however long it is


@dataclass
class WatchedTracker:
    """Passes everything on to a tracker, and keeps what a timeline shows of it.

    Attributes:
        rows: By object id, a row per frame from its first one on.
        pictures: Some frames, evenly spread: index to (h, w, 3) uint8 with outlines.
    """

    tracker: StepTracker
    rows: dict[int, list[Row]] = field(default_factory=dict)
    pictures: dict[int, U8] = field(default_factory=dict)
    _every: int = 1

    def prompt(self, prompt: Prompt) -> object:
        return self.tracker.prompt(prompt)

    def step(self, frame: Frame) -> FrameResult:
        result = self.tracker.step(frame)
        for item in result.objects:
            self.rows.setdefault(item.object_id, []).append(row_of(result, item))
        if frame.index % self._every == 0:
            self.pictures[frame.index] = outlined(result)
        if len(self.pictures) > MOST_PICTURES:
            self._every *= 2
            kept = {at: seen for at, seen in self.pictures.items() if at % self._every == 0}
            self.pictures = kept
        return result


def row_of(result: FrameResult, item: ObjectResult) -> Row:
    """Return what tracks.jsonl has of one object's step, as far as a timeline shows it."""
    return {
        "frame": result.frame.index,
        "time_s": result.frame.time_ns / NS_PER_S,
        "step": result.step,
        "object": item.object_id,
        "state": item.state.value,
        "reason": item.reason,
        "visible": item.visible,
        "predicted_iou": item.predicted_iou,
        "object_score": item.object_score,
        "motion_iou": item.motion_iou,
        "guide_iou": item.guide_iou,
        "appearance": item.appearance,
        "admitted": item.admitted,
        "memory_steps": list(item.memory_steps),
        "memory_tiers": [tier.value for tier in item.memory_tiers],
    }


def outlined(result: FrameResult) -> U8:
    """Return a frame, small, with the outline of every mask."""
    image = result.frame.image_bgr
    size_wh = PICTURE_WIDTH_PX, max(1, round(image.shape[0] * PICTURE_WIDTH_PX / image.shape[1]))
    small = np.asarray(cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA), np.uint8)
    for item in result.objects:
        if item.mask_logits is None:
            continue
        inside = cv2.resize(item.mask_logits, size_wh, interpolation=cv2.INTER_LINEAR) > 0
        contours, _ = cv2.findContours(
            inside.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
        )
        colour = OBJECT_BGR[(item.object_id - 1) % len(OBJECT_BGR)]
        cv2.drawContours(small, contours, -1, colour, 2, cv2.LINE_AA)
    return small


def watched(tracker: StepTracker, folder: Path | None) -> StepTracker:
    """Return the tracker, watched where its timelines are wanted in a folder."""
    return tracker if folder is None else WatchedTracker(tracker)


def write_timelines(
    folder: Path | None,
    heading: str,
    tracker: StepTracker,
    score: MaskClipScore | BoxClipScore,
) -> None:
    """Draw what a watched tracker did on a clip, a PNG file per object.

    Raises:
        SheetError: One cannot be written.
    """
    if folder is None or not isinstance(tracker, WatchedTracker):
        return
    if isinstance(score, MaskClipScore):
        name = "J"
        truths = {
            one.object_id: {at: j for at, (j, _) in one.frames.items()} for one in score.objects
        }
    else:
        name, first = "box IoU", score.frames - len(score.overlaps)
        known = {first + at: v for at, v in enumerate(score.overlaps) if v is not None}
        truths = dict.fromkeys(tracker.rows, known)
    for object_id, rows in tracker.rows.items():
        title = f"{heading}, object {object_id}" if len(tracker.rows) > 1 else heading
        timeline = Timeline(title, rows, truths.get(object_id, {}), name, tracker.pictures)
        write_timeline(folder / f"{score.name}_{object_id}.png", timeline)
