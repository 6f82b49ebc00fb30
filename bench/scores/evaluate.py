"""Runs a tracker over labelled clips, straight and without threads, and scores its answers."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bench.reports.sheet import draw_tile, pick_frames
from bench.scores.datasets import VOID_OR_BINARY, BoxClip, MaskClip, read_object_ids, read_picture
from bench.scores.metrics import (
    BoxScores,
    box_iou,
    compute_f,
    compute_j,
    mask_box_xywh,
    quarter_means,
    score_boxes,
    valid_boxes,
)
from bench.scores.prompts import PromptKind, prompt_from_box, prompt_from_mask
from samcam.live.frames import NS_PER_S, U8, Frame, FrameResult, Prompt

NOMINAL_FPS = 30  # labelled clips are folders of pictures; the same rate as `source.fps`
_NOT_FOUND = np.full(4, np.nan)


class StepTracker(Protocol):
    """The part of `live.tracker.tracker.Tracker` that an evaluation needs."""

    def prompt(self, prompt: Prompt) -> object: ...

    def step(self, frame: Frame) -> FrameResult: ...


@dataclass(frozen=True, slots=True)
class ObjectScore:
    """One object of a clip: means over its judged frames, and each frame's (J, F)."""

    object_id: int
    prompt_frame: int
    j: float
    f: float
    frames: Mapping[int, tuple[float, float]]


@dataclass(frozen=True, slots=True)
class MaskClipScore:
    """One clip with masks; means over objects, as DAVIS 2017 does within a sequence.

    Attributes:
        frames: Frames tracked.
        judged: Object-frames that entered the means.
        quarters: Mean J in each quarter of the clip; None where no frame was judged.
        seconds: Tracking time, reading and scoring left out.
    """

    name: str
    frames: int
    judged: int
    j: float
    f: float
    quarters: tuple[float | None, ...]
    objects: tuple[ObjectScore, ...]
    seconds: float

    @property
    def jf(self) -> float:
        return (self.j + self.f) / 2


@dataclass(frozen=True, slots=True)
class BoxClipScore:
    """One clip with boxes; `quarters` is the mean overlap in each quarter of the clip."""

    name: str
    frames: int
    scores: BoxScores
    quarters: tuple[float | None, ...]
    overlaps: tuple[float | None, ...]
    seconds: float


@dataclass(slots=True)
class Run:
    """A clip on its way through the tracker: collects tracking time and contact sheet tiles."""

    tracker: StepTracker
    shown: frozenset[int]
    seconds: float = 0.0
    tiles: list[U8] = field(default_factory=list)

    def step(self, frame: Frame, prompts: list[Prompt]) -> U8:
        """Track one frame; returns (H, W) object ids, overlaps given to the higher logit."""
        begun = time.perf_counter()
        for prompt in prompts:
            self.tracker.prompt(prompt)
        result = self.tracker.step(frame)
        self.seconds += time.perf_counter() - begun
        return result.object_ids()


def read_frames(paths: tuple[Path, ...]) -> Iterator[Frame]:
    """Read a clip's pictures as frames on media time at the nominal rate."""
    for index, path in enumerate(paths):
        image = read_picture(path)
        yield Frame(index, index * NS_PER_S // NOMINAL_FPS, time.perf_counter_ns(), image)


def evaluate_mask_clip(
    clip: MaskClip, tracker: StepTracker, kind: PromptKind
) -> tuple[MaskClipScore | None, list[U8]]:
    """Track every object of a clip from the first annotation that shows it, and score it.

    DAVIS's semi-supervised protocol: the prompted frame and the clip's last frame do not count.
    With sparse annotation, neither do frames without one.

    Returns:
        The scores (None where no frame can be judged), and contact sheet tiles.
    """
    shown = frozenset(pick_frames(len(clip.frame_paths), sorted(clip.mask_paths)))
    run = Run(tracker, shown)
    prompted: dict[int, int] = {}
    rows: dict[int, dict[int, tuple[float, float]]] = {}
    for frame in read_frames(clip.frame_paths):
        index = frame.index
        truth = read_object_ids(clip.mask_paths[index]) if index in clip.mask_paths else None
        new = [] if truth is None else sorted(object_ids_of(truth) - prompted.keys())
        prompts = []
        for object_id in new:
            assert truth is not None
            prompts.append(prompt_from_mask(truth == object_id, kind, object_id, index))
            prompted[object_id] = index
            rows[object_id] = {}
        ids = run.step(frame, prompts)
        if truth is not None:
            ids = np.where(truth == VOID_OR_BINARY, np.uint8(0), ids)
            truth = np.where(truth == VOID_OR_BINARY, np.uint8(0), truth)
            for object_id, first in prompted.items():
                if first < index < len(clip.frame_paths) - 1:
                    mine, true = ids == object_id, truth == object_id
                    rows[object_id][index] = (compute_j(mine, true), compute_f(mine, true))
        if index in shown:
            run.tiles.append(draw_tile(frame.image_bgr, ids, truth, _caption(index, rows)))
    return _mask_score(clip, run, prompted, rows), run.tiles


def object_ids_of(truth: U8) -> set[int]:
    """Return the ids in an (H, W) annotation, without background and void."""
    return {int(value) for value in np.unique(truth)} - {0, VOID_OR_BINARY}


def _caption(index: int, rows: Mapping[int, Mapping[int, tuple[float, float]]]) -> str:
    js = [frames[index][0] for frames in rows.values() if index in frames]
    return f"frame {index}" + ("  J " + " ".join(f"{j:.2f}" for j in js) if js else "")


def _mask_score(
    clip: MaskClip,
    run: Run,
    prompted: Mapping[int, int],
    rows: Mapping[int, Mapping[int, tuple[float, float]]],
) -> MaskClipScore | None:
    objects = []
    for object_id, frames in sorted(rows.items()):
        if frames:
            j, f = np.mean(list(frames.values()), axis=0).tolist()
            objects.append(ObjectScore(object_id, prompted[object_id], j, f, frames))
    if not objects:
        return None
    count = len(clip.frame_paths)
    places = np.array([index / count for item in objects for index in item.frames])
    all_j = np.array([j for item in objects for j, _ in item.frames.values()])
    return MaskClipScore(
        name=clip.name,
        frames=count,
        judged=len(all_j),
        j=float(np.mean([item.j for item in objects])),
        f=float(np.mean([item.f for item in objects])),
        quarters=quarter_means(all_j, places),
        objects=tuple(objects),
        seconds=run.seconds,
    )


def evaluate_box_clip(
    clip: BoxClip, tracker: StepTracker, kind: PromptKind
) -> tuple[BoxClipScore | None, list[U8]]:
    """Track the object of a clip with boxes from its first true box, and score the mask's box.

    One-pass evaluation: frames from the prompted one on count, that one included, as in OTB and
    LaSOT. The answer is the tight box of the mask.

    Returns:
        The scores (None where no frame has a true box), and contact sheet tiles.
    """
    valid = valid_boxes(clip.boxes_xywh)
    if not valid.any():
        return None, []
    first = int(np.flatnonzero(valid)[0])
    run = Run(tracker, frozenset(pick_frames(len(clip.frame_paths))))
    found: list[NDArray[np.float64]] = []
    for frame in read_frames(clip.frame_paths):
        index, truth = frame.index, clip.boxes_xywh[frame.index]
        start = [prompt_from_box(truth, frame.size_wh, kind, index)] if index == first else []
        ids = run.step(frame, start)
        box = mask_box_xywh(ids > 0)
        found.append(_NOT_FOUND if box is None else box)
        if index in run.shown:
            overlap = float(box_iou(found[-1][None], truth[None])[0])
            caption = f"frame {index}" + (f"  IoU {overlap:.2f}" if valid[index] else "")
            run.tiles.append(draw_tile(frame.image_bgr, ids, None, caption, truth))
    boxes, true = np.array(found)[first:], clip.boxes_xywh[first:]
    overlaps = box_iou(boxes, true)
    judged = valid[first:]
    places = np.arange(first, len(found)) / len(found)
    score = BoxClipScore(
        name=clip.name,
        frames=len(found),
        scores=score_boxes(boxes, true),
        quarters=quarter_means(overlaps[judged], places[judged]),
        overlaps=tuple(float(v) if ok else None for v, ok in zip(overlaps, judged, strict=True)),
        seconds=run.seconds,
    )
    return score, run.tiles
