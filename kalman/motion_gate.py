"""The motion gate of one object: a box filter, when to trust it, and what it makes of candidates.

Boxes are in pixels of the low-resolution mask, where they are measured. The filter does not mind
that the picture was stretched to a square: its noise scales with width and height apart.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, Protocol, Self

import numpy as np

from samcam.kalman.box_filter import (
    XYWH,
    BoxForm,
    BoxState,
    initiate,
    move_camera,
    predict,
    update,
)
from samcam.kalman.camera_motion import CameraMotion
from samcam.kalman.motion_score import F32, box_iou, box_ious, nearest_boxes, select_mask
from samcam.system import Checked, Setting

TIME_ERROR_S: Final = 1e-6  # ours: frame times are whole nanoseconds, and sums of them round too
MAX_HOLD_STEPS: Final = 1_000_000_000  # stands for "for ever" in counters
AGREEMENT_IOU: Final = 0.5  # ours: a prompted box that overlaps less was not what was followed

_NOWHERE: Final = np.zeros(4, np.float32)
_NOWHERE.flags.writeable = False


@dataclass(frozen=True, slots=True)
class GateSettings(Checked):
    """When the motion model acts and what moves it; sources in `live.tracker.presets`.

    Attributes:
        weight: alpha_kf.
        reset_when_weak: Start over after one mask at or below `stable_iou` (SAMURAI). Else such
            a mask only moves nothing.
        start_iou: Predicted IoU that a mask needs to start the filter; 0 starts it blindly.
        follow_iou: Motion IoU at or above which a mask moves a stable filter; 0 follows any jump.
        hold_steps, hold_s: Without a mask that moves the filter for more than both, it is
            forgotten: an extrapolation that old would only keep the object from being found.
        slack: Only what is beyond the uncertainty of a box that was just measured counts: while
            the object is followed, a mask has to be where the motion has it. 0: always.
    """

    weight: Annotated[
        float, Setting("Share of the motion in the choice among candidate masks.", low=0, high=1)
    ]
    stable_steps: Annotated[
        int, Setting("Good masks in a row before motion takes part.", "steps", 1, 1000)
    ]
    stable_iou: Annotated[
        float, Setting("Predicted IoU above which a mask moves the filter.", low=0, high=1)
    ]
    reset_when_weak: bool
    start_iou: Annotated[float, Setting(low=0, high=1)]
    follow_iou: Annotated[
        float,
        Setting("Overlap with the motion that a mask needs to move the filter.", low=0, high=1),
    ]
    hold_steps: Annotated[int, Setting(low=0, high=MAX_HOLD_STEPS)]
    hold_s: Annotated[
        float, Setting("Motion is forgotten after this long without a mask.", "s", 0, 60)
    ]
    slack: Annotated[
        float,
        Setting(
            "How much of the motion's uncertainty is forgiven in its overlap with a mask.",
            "standard deviations",
            0,
            10,
        ),
    ] = 0.0


class Gate(Protocol):
    """What a tracker asks of an object's motion: `MotionGate`, or one of your own.

    Every object has one. In each step `advance` comes first, then `choose` and `motion_iou`, and
    `observe` or `observe_prompt` last, where the object was seen.
    """

    @property
    def box(self) -> F32 | None:
        """(4,) where the object is, which the crop follows; None: not known."""

    @property
    def moved(self) -> bool:
        """Whether a mask of this step has moved `box`."""

    def fork(self) -> Gate:
        """Return a gate of its own in the same state, for steps that are run again."""

    def advance(self, dt_s: float, camera: CameraMotion | None = None) -> None:
        """Move on to the present frame, `dt_s` seconds later.

        `camera` is how the picture moved meanwhile, in the boxes' unit; None: nobody measured it.
        """

    def choose(self, ious: F32, boxes_xyxy: F32) -> int:
        """Return the index of the best of the candidates; their (N,) IoU is the network's."""

    def motion_iou(self, box_xyxy: F32) -> float | None:
        """Return how well a box agrees with the motion, 0..1; None: nothing is known of it."""

    def observe(self, box_xyxy: F32, predicted_iou: float) -> None:
        """Learn the chosen mask's box on this frame."""

    def observe_prompt(self, box_xyxy: F32) -> None:
        """Learn the box of a mask that is believed: the user prompted it, or a guide agrees."""


class MotionGate:
    """Predicts once per step, helps to choose a candidate, and is moved by the mask that was
    chosen.

    Attributes:
        form: The filter's state.
    """

    form: ClassVar[BoxForm] = XYWH

    def __init__(self, settings: GateSettings) -> None:
        self._settings = settings
        self._filter: BoxState | None = None
        self._stable = 0
        self._idle_steps = 0
        self._idle_s = 0.0

    def fork(self) -> Self:
        return copy.copy(self)  # the filter's state is never written into

    @property
    def box(self) -> F32 | None:
        """(4,) where the filter has the object, stable or not; None without a filter."""
        return None if self._filter is None else self._filter.box_xyxy

    @property
    def moved(self) -> bool:
        """Whether a mask of this step has started or moved the filter."""
        return self._filter is not None and self._idle_steps == 0

    @property
    def predicted_box(self) -> F32 | None:
        """(4,) where the object should be on this frame; None until the filter is stable."""
        if self._filter is None or self._stable < self._settings.stable_steps:
            return None
        return self._filter.box_xyxy

    def advance(self, dt_s: float, camera: CameraMotion | None = None) -> None:
        """Move on to the present frame; call it once per step, before anything else."""
        if self._filter is None:
            return
        self._idle_steps += 1
        self._idle_s += dt_s
        settings = self._settings
        too_long = self._idle_s > settings.hold_s + TIME_ERROR_S
        if self._idle_steps > settings.hold_steps and too_long:
            self._filter, self._stable = None, 0
            return
        if camera is not None:
            self._filter = move_camera(self._filter, camera)
        self._filter = self._predicted(self._filter, dt_s)

    def choose(self, ious: F32, boxes_xyxy: F32) -> int:
        """Return the index of the candidate that network and motion agree on.

        Until the filter is stable the best predicted IoU wins; an empty mask never does where
        another has pixels.

        Args:
            ious: (N,) predicted IoU.
            boxes_xyxy: (N, 4); zeros for an empty mask.
        """
        predicted = self.predicted_box
        if predicted is None:
            return select_mask(ious, boxes_xyxy, _NOWHERE, 0.0)
        expected = self._expected(boxes_xyxy, predicted)
        return select_mask(ious, boxes_xyxy, expected, self._settings.weight)

    def motion_iou(self, box_xyxy: F32) -> float | None:
        """Return the overlap with the prediction; None until the filter is stable."""
        predicted = self.predicted_box
        if predicted is None:
            return None
        boxes = box_xyxy[None]
        return float(box_ious(boxes, self._expected(boxes, predicted))[0])

    def observe(self, box_xyxy: F32, predicted_iou: float) -> None:
        """Let the chosen mask of this frame start or move the filter.

        Source: the three regimes of SAMURAI, sam2_base.py:419-498 @76ba195. Differs: an empty
        mask is no measurement, and starting and following have conditions of their own.
        """
        settings = self._settings
        if box_xyxy[0] >= box_xyxy[2] or box_xyxy[1] >= box_xyxy[3]:
            return
        if self._filter is None or self._stable == 0:
            if predicted_iou >= settings.start_iou:
                self._start(box_xyxy)
            return
        if predicted_iou <= settings.stable_iou:
            if settings.reset_when_weak:
                self._stable = 0
            return
        motion = self.motion_iou(box_xyxy)
        if motion is None or motion >= settings.follow_iou:
            self._move(box_xyxy)

    def observe_prompt(self, box_xyxy: F32) -> None:
        """Believe a prompted mask: it moves the filter, or restarts it where they disagree."""
        if box_xyxy[0] >= box_xyxy[2] or box_xyxy[1] >= box_xyxy[3]:
            return
        if self._filter is None or self._stable == 0:
            self._start(box_xyxy)
        elif box_iou(box_xyxy, self._filter.box_xyxy) >= AGREEMENT_IOU:
            self._move(box_xyxy)
        else:
            self._start(box_xyxy)

    def _expected(self, boxes_xyxy: F32, predicted: F32) -> F32:
        """Return where each of (N, 4) boxes would have to be, as far as the filter is sure of it.

        In doubt (time without a mask, a gap, a cut) that is more and more where it is.
        """
        if self._filter is None or self._settings.slack == 0:
            return predicted
        return nearest_boxes(boxes_xyxy, predicted, self._settings.slack * self._filter.doubt)

    def _predicted(self, state: BoxState, dt_s: float) -> BoxState:
        return predict(state, dt_s)

    def _start(self, box_xyxy: F32) -> None:
        self._filter, self._stable = initiate(box_xyxy, self.form), 1
        self._idle_steps, self._idle_s = 0, 0.0

    def _move(self, box_xyxy: F32) -> None:
        if self._filter is not None:
            self._filter = update(self._filter, box_xyxy)
        self._stable = min(self._stable + 1, self._settings.stable_steps)
        self._idle_steps, self._idle_s = 0, 0.0
