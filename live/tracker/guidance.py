"""Guides: another tracker of the same object, whose box stands beside the motion gate.

A guide is started from the object's own mask and asked once a step, before the object is looked
for. A guide cannot go back in time, so what it says is noted on the step, and running the step
again takes that. While the object is lost the guide rests and is asked now and then.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

from samcam.engines import EngineError
from samcam.guides import NANOTRACK, Guide, GuideError, NanoTrackGuide
from samcam.kalman import TIME_ERROR_S, Gate, box_ious
from samcam.live.commands import GuideBox
from samcam.live.frames import F32, U8, ObjectResult, ObjectState
from samcam.system import lacks, shown

if TYPE_CHECKING:
    from samcam.live.tracker.history import PastStep

NO_GUIDE: Final = "none"
GIVEN_BOXES: Final = "boxes"
GUIDES: Final = (NO_GUIDE, NANOTRACK, GIVEN_BOXES)
MAX_BOX_AGE_S: Final = 0.25  # a detector's box older than that is of another place

# Ours, chosen by the means over labelled clips.
WEIGHT: Final = 0.5  # of the overlap with the guide's box, beside the predicted IoU
IDLE_STEPS: Final = 2  # without a mask that moves the filter: from then on the guide steers
AGREES_FROM: Final = 0.5  # overlap at which the guide vouches for a mask
OBJECTS_BELOW: Final = 0.3  # overlap below which it objects
SURE_IOU: Final = 0.7  # predicted IoU of a mask that needs no guide, and may start one
MOVES_FROM: Final = 0.5  # predicted IoU of a mask that may move the filter because the guide agrees
RESTART_STEPS: Final = 15  # sure masks in a row that the guide objects to: then it is wrong
LOST_EVERY: Final = 10  # steps from one question to the next while the object is lost


@dataclass(frozen=True, slots=True, eq=False)
class GuideAnswer:
    """What an object's guide said on a step.

    Attributes:
        box_xyxy_px: (4,) float32 in source pixels, not empty.
        score: How sure the guide is, 0..1.
        given: A detector outside said so, whatever the masks were.
    """

    box_xyxy_px: F32
    score: float
    given: bool = False

    def in_cells(self, size_wh: tuple[int, int], cells: int) -> F32:
        """Return the (4,) box in pixels of the low-resolution mask of the whole picture."""
        return np.asarray(self.box_xyxy_px * (cells / np.array(size_wh * 2)), np.float32)


def choose(gate: Gate, ious: F32, boxes_xyxy: F32, guide: F32 | None) -> int:
    """Return the index of the candidate that network, motion and guide agree on.

    The guide has a say where the choice without it is no sure mask, or lies elsewhere.

    Args:
        gate: Chooses by motion.
        ious: (N,) predicted IoU.
        boxes_xyxy: (N, 4) in cells; zeros for an empty mask.
        guide: (4,) the guide's box in cells; None: it does not say.
    """
    best = gate.choose(ious, boxes_xyxy)
    if guide is None:
        return best
    guided = box_ious(boxes_xyxy, guide)
    if ious[best] >= SURE_IOU and guided[best] >= AGREES_FROM:
        return best
    mixed = (1 - WEIGHT) * ious + WEIGHT * guided
    return gate.choose(mixed.astype(np.float32), boxes_xyxy)


def vouches(guide_iou: float | None, predicted_iou: float) -> bool:
    """Whether the guide has a good mask where it is, so that the motion may be wrong."""
    return guide_iou is not None and guide_iou >= AGREES_FROM and predicted_iou >= MOVES_FROM


def objects(guide_iou: float | None) -> bool:
    """Whether the guide has the object elsewhere."""
    return guide_iou is not None and guide_iou < OBJECTS_BELOW


@dataclass(slots=True)
class _Followed:
    """One object's guide between steps.

    Attributes:
        guide: None where only boxes from outside count.
        running: It was started and may be asked.
        wanted: The user has said something new: the next mask that is its own starts it.
        doubts: Sure masks in a row that it disagreed with.
        lost_steps: Since the object is lost.
        was_lost: The object was lost since the guide was started, which may have kept its old
            place meanwhile.
        given: A box from outside; None: there is none.
        given_age_s: How old that is.
    """

    guide: Guide | None
    running: bool = False
    wanted: bool = False
    doubts: int = 0
    lost_steps: int = 0
    was_lost: bool = False
    given: F32 | None = None
    given_age_s: float = 0.0


class Guides:
    """The guides of one tracker's objects, one each; used by the inference thread only."""

    def __init__(self, kind: str, make: Callable[[], Guide] | None = None) -> None:
        """Make the first guide, so that what is missing is told at once.

        Args:
            kind: One of `GUIDES`.
            make: Makes the guide of one object, whatever `kind` says; None: as that says.

        Raises:
            EngineError: Its files are missing or damaged.
            TypeError: What `make` makes is no guide.
        """
        self._make = NanoTrackGuide if make is None and kind == NANOTRACK else make
        self._takes_boxes = kind != NO_GUIDE or make is not None
        self._followed: dict[int, _Followed] = {}
        self._spare = self._new()

    def ask(self, past: PastStep, picture: U8, object_id: int, state: ObjectState | None) -> None:
        """Note on a step where the object's guide has it.

        Args:
            past: The step, before it is run.
            picture: (H, W, 3) of it.
            object_id: Of the object.
            state: The object's before the step; None: it has none yet.

        Raises:
            EngineError: The guide failed.
            ValueError: A guide of the user's own gave no box.
        """
        mine = self._followed.get(object_id)
        if mine is None:
            return
        mine.given_age_s += past.dt_s
        if mine.given is not None and mine.given_age_s > MAX_BOX_AGE_S + TIME_ERROR_S:
            mine.given = None
        mine.lost_steps = mine.lost_steps + 1 if state is ObjectState.LOST else 0
        mine.was_lost = mine.was_lost or state is ObjectState.LOST
        answer = None
        if mine.given is not None:
            answer = GuideAnswer(mine.given, 1.0, given=True)
        elif mine.running and mine.guide and mine.lost_steps % LOST_EVERY == 0:
            try:
                answer = _checked(mine.guide.update(picture))
            except GuideError as error:
                raise EngineError(error.reason, error.fix) from error
        past.of(object_id).guide = answer

    def learn(self, past: PastStep, picture: U8, result: ObjectResult) -> None:
        """Start the object's guide, or start it anew, where this step's answer calls for it.

        After a prompt it starts from the mask; later from a sure one with which a lost object was
        found again, or that the guide has disagreed with for long. A mask that may be another
        object's, or that looks different, is not sure.

        Raises:
            EngineError: The guide failed.
        """
        box, mine = result.box_xyxy_px, self._followed.get(result.object_id)
        if box is None or self._make is None:
            return
        if mine is None:
            mine = self._followed[result.object_id] = _Followed(None)
        step = past.of(result.object_id)
        wanted = mine.wanted and step.teaches
        if step.prompts or wanted or self._is_due(mine, result, step.teaches):
            try:
                if mine.guide is None:
                    mine.guide, self._spare = self._spare or self._new(), None
                if mine.guide is not None:
                    mine.guide.start(picture, box)
            except GuideError as error:
                raise EngineError(error.reason, error.fix) from error
            mine.running, mine.wanted, mine.doubts, mine.was_lost = True, False, 0, False

    def take(self, box: GuideBox, size_wh: tuple[int, int], age_s: float) -> None:
        """Take a box from outside for the object's next steps.

        Args:
            box: Where a detector found the object.
            size_wh: Of the picture on which it did.
            age_s: How much older that picture is than the newest one.

        Raises:
            ValueError: No guide is wanted, the box is too old, or not in the picture.
        """
        who = f"object {box.object_id}"
        if not self._takes_boxes:
            raise ValueError(
                f"{who}: tracker.guide is {NO_GUIDE}, so boxes do not count; expected a run with "
                f"--guide {GIVEN_BOXES}"
            )
        if age_s >= MAX_BOX_AGE_S:
            raise ValueError(
                f"{who}: the box is {age_s:.2f} s old; expected one of at most {MAX_BOX_AGE_S} s"
            )
        given = np.array((box.x1, box.y1, box.x2, box.y2), np.float32)
        given = np.clip(given, 0, np.array(size_wh * 2, np.float32))
        if given[0] >= given[2] or given[1] >= given[3]:
            raise ValueError(
                f"{who}: box: expected x1 < x2 and y1 < y2 in the picture of "
                f"{size_wh[0]}x{size_wh[1]}, got {box.x1:g},{box.y1:g},{box.x2:g},{box.y2:g}"
            )
        mine = self._followed.setdefault(box.object_id, _Followed(None))
        mine.given, mine.given_age_s = given, age_s

    def renew(self, object_id: int) -> None:
        """Start the object's guide from its next mask: the user has said something new."""
        if self._make is not None:
            mine = self._followed.setdefault(object_id, _Followed(None))
            mine.running, mine.wanted = False, True

    def forget(self, object_id: int | None) -> None:
        """Forget one object's guide, or all."""
        if object_id is None:
            self._followed.clear()
        else:
            self._followed.pop(object_id, None)

    def _is_due(self, mine: _Followed, result: ObjectResult, teaches: bool) -> bool:
        """Whether a mask that nobody prompted starts the guide."""
        sure = teaches and result.predicted_iou >= SURE_IOU and not objects(result.motion_iou)
        found = mine.was_lost and result.state in (ObjectState.RECOVERED, ObjectState.TRACKING)
        if found or not mine.running:
            return sure
        if result.guide_iou is not None:
            mine.doubts = mine.doubts + sure if objects(result.guide_iou) else 0
        return mine.doubts >= RESTART_STEPS

    def _new(self) -> Guide | None:
        if self._make is None:
            return None
        try:
            guide = self._make()
        except GuideError as error:
            raise EngineError(error.reason, error.fix) from error
        if missing := lacks(guide, Guide):
            raise TypeError(f"make_guide: its guide has no {missing}; see samcam.guides.Guide")
        return guide


def _checked(answer: object) -> GuideAnswer | None:
    """Return a guide's answer; None where it does not see the object: no score, or no box.

    Raises:
        ValueError: It is none.
    """
    try:
        box, score = cast(Any, answer)
        given, sure = np.array(box, np.float32), float(score)
    except (TypeError, ValueError):
        given, sure = np.zeros(0, np.float32), 0.0
    if given.shape != (4,) or not np.isfinite(given).all() or not np.isfinite(sure):
        raise ValueError(f"guide: update: expected ((x1, y1, x2, y2), score), got {shown(answer)}")
    seen = sure > 0 and given[0] < given[2] and given[1] < given[3]
    return GuideAnswer(given, sure) if seen else None
