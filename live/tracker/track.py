"""One object's state between frames: memory bank, motion, state, where to look for it.

Nothing here is shared between objects.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from samcam.kalman import CameraMotion, Gate
from samcam.live.frames import F32, ObjectState
from samcam.live.tracker.crop import CropState
from samcam.live.tracker.guidance import IDLE_STEPS, vouches
from samcam.live.tracker.identity.rivals import KnownLook, Place, met
from samcam.live.tracker.judge import EMPTY_BOX, Answer
from samcam.live.tracker.presets import TrackerSettings
from samcam.live.tracker.state import Observation, Status, advance
from samcam.memory import Areas, MemoryBank, MemoryEntry, MemoryPicture, may_anchor
from samcam.system import lacks

if TYPE_CHECKING:
    from samcam.engines import DeviceTensor

LONGEST_STEP_S: Final = 1.0  # what is seen less often is not followed
NEVER: Final = -1  # a step before the first


class ObjectTrack:
    """State of one object between frames. Used by the inference thread only.

    Attributes:
        object_id: As the user knows it.
        bank: What it looked like.
        gate: How it moves; None without a motion model.
        crop_state: Where its crop points; None until a mask has moved the filter.
        alone_wh: (2,) its size when a mask of its own last moved the filter, in cells; None: none
            has.
        areas: How large its last remembered masks were, where the preset asks.
        status: What is said of it; None before its first step.
        dt_s: Seconds from the step before to the present one.
        coasts: No mask moved the filter on the step before.
        begun: Step of the newest prompt that made another thing of it; what tracking left before is
            gone. `NEVER` without one.
        rivals: Objects that it was seen apart from, with the seconds that both have been together
            since.
    """

    def __init__(self, object_id: int, settings: TrackerSettings) -> None:
        self.object_id = object_id
        self.bank: MemoryBank[DeviceTensor] = MemoryBank(settings.bank_policy)
        self.gate: Gate | None = None
        self.crop_state: CropState | None = None
        self.alone_wh: F32 | None = None
        self.areas = Areas()
        self.status: Status | None = None
        self.begun = NEVER
        self.rivals: Mapping[int, float] = {}
        self._settings = settings
        self.dt_s = 0.0
        self.coasts = True
        self.forget_motion()

    @property
    def remembers(self) -> bool:
        return bool(self.bank.conditioning)

    @property
    def state(self) -> ObjectState | None:
        """Of its newest step; None before the first."""
        return None if self.status is None else self.status.state

    @property
    def is_lost(self) -> bool:
        """Whether it was lost and has not been found again for sure."""
        return self.status is not None and self.status.was_lost

    @property
    def absent_steps(self) -> int:
        """Steps since it was seen."""
        return 0 if self.status is None else self.status.absent_steps

    def fork(self) -> ObjectTrack:
        """Return a track of its own in the same state; what it remembers is shared, unchanged."""
        twin = copy.copy(self)
        twin.bank = self.bank.fork()
        twin.gate = None if self.gate is None else self.gate.fork()
        return twin

    def carried_to(self, later: ObjectTrack | None, step: int) -> ObjectTrack:
        """Return a later state with what a prompt on a past step changed, without tracking from
        there.

        This is the track that the prompt was answered on, its motion carried on to where the later
        one is; the step's memories enter as such. None: the object was not known there.
        """
        if later is None:
            return self.fork()
        if self.begun == step:
            later.begun = self.begun
            later.bank.forget_tracked(before=step, after=step)
        later.bank.forget(step)
        for entry in self.bank.at(step):
            later.bank.add(entry)
        later.gate = None if self.gate is None else self.gate.fork()
        later.status, later.crop_state = self.status, self.crop_state
        later.alone_wh = self.alone_wh
        return later

    def forget(self, step: int) -> None:
        """Drop the memories of one step; where its prompt made another thing of the object, also
        what tracking has left of that since."""
        self.bank.forget(step)
        if self.begun == step:
            self.begun = NEVER
            self.bank.forget_tracked(after=step)

    def forget_motion(self) -> None:
        """Start the motion model again: too much time has passed that nobody measured."""
        if self._settings.gate is not None:
            self.gate = self._settings.make_gate(self._settings.gate)
            if missing := lacks(self.gate, Gate):
                raise TypeError(f"make_gate: its gate has no {missing}; see samcam.kalman.Gate")
        self.crop_state = self.alone_wh = None

    def predict(self, dt_s: float, camera: CameraMotion | None = None) -> None:
        """Move the motion model on to the present frame; once per step, before any answer.

        `camera` is in the gate's unit: pixels of the low-resolution mask.
        """
        self.dt_s = dt_s
        if self.alone_wh is not None and camera is not None:
            self.alone_wh = np.asarray(self.alone_wh * camera.zoom, np.float32)
        self.coasts = self.gate is None or not self.gate.moved
        if self.gate is not None:
            self.gate.advance(dt_s, camera)
            if self.crop_state is not None:
                self.crop_state = self.crop_state.predicted(self.gate.box, dt_s, camera)

    @property
    def expected_box(self) -> F32 | None:
        """(4,) where the filter has it, in cells, if a mask moved it a step ago; else None."""
        if self.gate is None or self.crop_state is None or self.crop_state.unsure > 1:
            return None
        return self.gate.box

    def place(self, dt_s: float, camera: CameraMotion | None = None) -> Place:
        """Return where the object is expected after a step's time; one that is not seen too, as
        long as its filter holds: another one may only hide it."""
        later = copy.copy(self)
        later.gate = None if self.gate is None else self.gate.fork()
        later.predict(dt_s, camera)
        looks = tuple(KnownLook.of(memory) for memory in self.bank.looks)
        return replace(later._here, looks=looks)

    def meet(self, places: Sequence[Place], dt_s: float) -> None:
        """Take in where the objects are expected on this step, after `predict`."""
        others = [place for place in places if place.object_id != self.object_id]
        self.rivals = met(self.rivals, self._here, others, dt_s)

    def knows_since(self, step: int) -> bool:
        """Say whether tracking left a memory after a step."""
        return any(kept.step > step for kept in (*self.bank.recent, *self.bank.anchors))

    def forget_rival(self, object_id: int) -> None:
        """Forget that another object was seen: its id may come to mean another thing."""
        self.rivals = {other: s for other, s in self.rivals.items() if other != object_id}

    def steer(self, box: F32) -> None:
        """Point the crop where a guide has the object, a (4,) box in cells, if the filter is idle.

        Else the filter steers: its place is smoother.
        """
        if self.crop_state is not None and self.crop_state.unsure >= IDLE_STEPS:
            there = CropState.at(box)
            self.crop_state = replace(self.crop_state, x=there.x, y=there.y)

    def remember(
        self,
        step: int,
        answer: Answer,
        maskmem_features: DeviceTensor,
        conditioning: bool,
        picture: MemoryPicture | None = None,
    ) -> None:
        """Put an admitted answer into the bank; as an anchor too, if it saw a distractor.

        Where a prompt on a lost object means another thing, what tracking had left goes: those
        memories would outvote the prompt's own on the next step.

        `picture` is what people get to see of it.
        """
        if self._means_another(answer):
            self.begun = step
            self.bank.forget_tracked(before=step)
        known = 1.0 if conditioning or answer.prompted else self._known(answer)
        entry = _entry(step, answer, maskmem_features, picture, known, conditioning)
        self.bank.add(entry)
        if answer.distractor and not conditioning:
            self.bank.promote(step)
        if self._settings.anchors is not None:
            self.areas = self.areas.noted(step, answer.area)

    def remember_once(
        self,
        step: int,
        answer: Answer,
        maskmem_features: DeviceTensor,
        picture: MemoryPicture | None = None,
    ) -> None:
        """Keep the memory of an answer that was not admitted for the next step alone."""
        self.bank.add_previous(_entry(step, answer, maskmem_features, picture, self._known(answer)))

    def may_anchor(self, step: int, answer: Answer) -> bool:
        """Say whether the answer becomes an anchor if it also sees a distractor."""
        test, since = self._settings.anchors, self.bank.last_sure_step
        if test is None or since is None or not answer.visible:
            return False
        ratio = self.areas.ratio(step, answer.area)
        return may_anchor(test, answer.predicted_iou, ratio, step - since)

    def observe(self, answer: Answer, dt_s: float) -> Status:
        """Let an answer move motion gate, crop and state; return the state."""
        if self.gate is not None and answer.visible:
            vouched = vouches(answer.guide_iou, answer.predicted_iou) and not answer.shared
            if answer.prompted or vouched:
                self.gate.observe_prompt(answer.box)
            elif answer.measured is not None and not answer.is_elsewhere:
                self.gate.observe(answer.measured, answer.predicted_iou)
            self._follow(answer, self.gate)
            if self.is_lost and self._settings.recovery is not None and not answer.shared:
                self.crop_state = self._again_at(answer.box, self.gate)
        seen = Observation(
            present=answer.present,
            visible=answer.visible,
            prompted=answer.prompted,
            predicted_iou=answer.predicted_iou,
            object_score=answer.object_score,
            refused=answer.refused,
            doubt=answer.doubt,
        )
        self.status = advance(self.status, seen, dt_s, self._settings.state)
        return self.status

    def _means_another(self, answer: Answer) -> bool:
        """Say whether a prompt's answer looks like another thing than the lost object."""
        recovery = self._settings.recovery
        if recovery is None or not (self.is_lost and answer.prompted) or answer.appearance is None:
            return False
        return answer.appearance < recovery.sure

    def _known(self, answer: Answer) -> float:
        """Return how much later masks may rely on what an answer looks like, 0..1."""
        recovery = self._settings.recovery
        if recovery is None or answer.appearance is None:
            return 1.0
        # where it was not seen, nobody saw the look change slowly
        followed_s = 0.0 if self.absent_steps else min(self.dt_s, LONGEST_STEP_S)
        return min(1.0, answer.appearance + recovery.regained * followed_s)

    @property
    def _here(self) -> Place:
        """Where it is expected now, after `predict`; without its looks."""
        box = None if self.gate is None else self.gate.box
        return Place(self.object_id, EMPTY_BOX if box is None else box, coasts=self.coasts)

    def _again_at(self, box: F32, gate: Gate) -> CropState:
        """Return where to look for what was found again, whether or not that moved the filter."""
        there = CropState.at(box)
        if gate.moved or self.crop_state is None:
            return there
        unsure = min(self.crop_state.unsure, IDLE_STEPS)
        return replace(there, unsure=unsure, in_sight=unsure)

    def _follow(self, answer: Answer, gate: Gate) -> None:
        """Point the crop where the filter has the object now, if this step moved it."""
        if gate.box is None:
            return
        if not gate.moved:
            if answer.shared and self.crop_state is not None:
                self.crop_state = self.crop_state.seen()
            return
        if not answer.shared:
            self.alone_wh = gate.box[2:] - gate.box[:2]
        if answer.prompted or self.crop_state is None:
            self.crop_state = CropState.at(answer.box)
        else:
            self.crop_state = self.crop_state.updated(gate.box)


def _entry(
    step: int,
    answer: Answer,
    maskmem_features: DeviceTensor,
    picture: MemoryPicture | None,
    appearance: float,
    conditioning: bool = False,
) -> MemoryEntry[DeviceTensor]:
    return MemoryEntry(
        step=step,
        conditioning=conditioning,
        maskmem_features=maskmem_features,
        obj_ptr=answer.obj_ptr,
        object_score_logit=answer.memory_score,
        predicted_iou=answer.predicted_iou,
        motion_iou=answer.motion_iou,
        colours=answer.colours,
        appearance=appearance,
        picture=picture,
    )
