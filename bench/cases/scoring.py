"""Runs a tracker over one case and scores it: overlap, false masks, recoveries.

A recovery is an answer that overlaps the truth by `GOOD_OVERLAP` within `RECOVERY_S` after the
object is seen again, under the same object id.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from bench.cases.catalogue import Case
from bench.cases.footage import CaseFrame, Footage, Target, is_box
from bench.reports.sheet import SHEET_TILES, draw_tile
from bench.scores.evaluate import Run, StepTracker
from bench.scores.metrics import box_iou, compute_j, mask_box_xywh
from bench.scores.prompts import PromptKind, prompt_from_box, prompt_from_mask
from samcam.live.frames import NS_PER_S, U8, Frame, Mask, Prompt

GOOD_OVERLAP: Final = 0.5
RECOVERY_S: Final = 2.0
MIN_ABSENT_FRAMES: Final = 5  # less is a flicker of the annotation


@dataclass(frozen=True, slots=True)
class CaseScore:
    """One case of one clip; means over its objects' judged pictures after their prompts.

    Attributes:
        frames: Pictures tracked.
        judged: Object-pictures on which the object is seen, and may be judged.
        overlap: Mean there: IoU of the masks, or of the boxes where the clip has boxes.
        absent: Object-pictures without the object.
        false_masks: Share of them with a mask all the same; None where there are none.
        returns: Seconds until each return was noticed; None where it was not.
        on_decoy: Share of the pictures with a twin on which the answer fits the twin better.
        overlaps: Of each judged object-picture, in order.
        seconds: Tracking time.
    """

    frames: int
    judged: int
    overlap: float
    absent: int
    false_masks: float | None
    returns: tuple[float | None, ...]
    on_decoy: float | None
    overlaps: tuple[float, ...]
    seconds: float


@dataclass(slots=True)
class Watch:
    """One object's answers through a case."""

    overlaps: list[float] = field(default_factory=list)
    false_masks: list[bool] = field(default_factory=list)
    on_decoy: list[bool] = field(default_factory=list)
    returns: list[float | None] = field(default_factory=list)
    _gone: int = 0
    _back_s: float | None = None  # since when a return waits to be noticed

    def see(self, frame: CaseFrame, answer: Mask, target: Target | None, now_s: float) -> None:
        """Judge the answer, (H, W), on a picture whose truth is known.

        `target`: Where the object is; None: absent.
        """
        if target is None:
            self._gone += 1
            if self._gone >= MIN_ABSENT_FRAMES:
                self._miss()
            self.false_masks.append(bool(answer.any()))
            return
        overlap = overlap_of(answer, target)
        self.overlaps.append(overlap)
        if frame.decoy is not None:
            self.on_decoy.append(compute_j(answer, frame.decoy) > overlap)
        if self._gone >= MIN_ABSENT_FRAMES:
            self.comes_back(now_s)
        self._gone = 0
        if self._back_s is None:
            return
        waited = now_s - self._back_s
        if waited > RECOVERY_S:
            self._miss()
        elif overlap >= GOOD_OVERLAP:
            self.returns.append(waited)
            self._back_s = None

    def comes_back(self, now_s: float) -> None:
        """From now on it is to be found again."""
        self._miss()
        self._back_s = now_s

    def end(self) -> None:
        self._miss()

    def _miss(self) -> None:
        """A return that still waits was not noticed."""
        if self._back_s is not None:
            self.returns.append(None)
            self._back_s = None


def overlap_of(answer: Mask, target: Target) -> float:
    """IoU of an (H, W) answer with a mask, or of its tight box with a box."""
    if not is_box(target):
        return compute_j(answer, np.asarray(target, np.bool_))
    box = mask_box_xywh(answer)
    if box is None:
        return 0.0
    return float(box_iou(box[None], np.asarray(target, np.float64)[None])[0])


class Tiles:
    """An even choice of a clip's pictures whose number is not known before; at most twice
    `SHEET_TILES`."""

    def __init__(self) -> None:
        self.kept: list[U8] = []
        self._every = 1

    def offer(self, index: int, frame: CaseFrame, ids: U8, caption: str) -> None:
        if index % self._every:
            return
        truth, box = np.zeros_like(ids), None
        for object_id, target in (frame.visible or {}).items():
            if is_box(target):
                box = np.asarray(target, np.float64)
            else:
                truth[np.asarray(target, np.bool_)] = object_id
        self.kept.append(draw_tile(frame.image_bgr, ids, truth, caption, box))
        if len(self.kept) > 2 * SHEET_TILES:
            self.kept, self._every = self.kept[::2], 2 * self._every


def evaluate_case(
    case: Case, footage: Footage, tracker: StepTracker, kind: PromptKind, tiles: Tiles | None
) -> CaseScore | None:
    """Track every object of a case from the first picture that shows it, and score it.

    Returns:
        None where nothing can be judged.

    Raises:
        DatasetError: A picture or annotation cannot be read.
    """
    run = Run(tracker, frozenset())
    watches: dict[int, Watch] = {}
    now_s = 0.0
    index = -1
    for index, frame in enumerate(case.make(footage)):
        now_s += frame.step_s if index else 0.0
        picture = Frame(
            index, round(now_s * NS_PER_S), time.perf_counter_ns(), np.array(frame.image_bgr)
        )
        new = [key for key in sorted(frame.visible or {}) if key not in watches]
        ids = run.step(picture, [_prompt(frame, key, kind, index) for key in new])
        if frame.jump:
            for watch in watches.values():
                watch.comes_back(now_s)
        if frame.visible is not None:
            for object_id, watch in watches.items():
                if object_id not in frame.unsure:
                    target = frame.visible.get(object_id)
                    watch.see(frame, ids == object_id, target, now_s)
        watches |= {key: Watch() for key in new}
        if tiles is not None:
            tiles.offer(index, frame, ids, _caption(index, now_s, watches))
    for watch in watches.values():
        watch.end()
    return _score(list(watches.values()), index + 1, run.seconds)


def _prompt(frame: CaseFrame, object_id: int, kind: PromptKind, index: int) -> Prompt:
    assert frame.visible is not None
    target = frame.visible[object_id]
    if is_box(target):
        return prompt_from_box(np.asarray(target, np.float64), frame.size_wh, kind, index)
    return prompt_from_mask(np.asarray(target, np.bool_), kind, object_id, index)


def _caption(index: int, now_s: float, watches: dict[int, Watch]) -> str:
    last = " ".join(f"{watch.overlaps[-1]:.2f}" for watch in watches.values() if watch.overlaps)
    return f"{index}  {now_s:.1f} s  last seen {last}"


def _mean(values: list[bool]) -> float | None:
    return float(np.mean(values)) if values else None


def _score(watches: list[Watch], frames: int, seconds: float) -> CaseScore | None:
    judged = [watch for watch in watches if watch.overlaps]
    if not judged:
        return None
    false_masks = [value for watch in watches for value in watch.false_masks]
    return CaseScore(
        frames=frames,
        judged=sum(len(watch.overlaps) for watch in judged),
        overlap=float(np.mean([np.mean(watch.overlaps) for watch in judged])),
        absent=len(false_masks),
        false_masks=_mean(false_masks),
        returns=tuple(value for watch in watches for value in watch.returns),
        on_decoy=_mean([value for watch in watches for value in watch.on_decoy]),
        overlaps=tuple(round(value, 4) for watch in judged for value in watch.overlaps),
        seconds=round(seconds, 3),
    )
