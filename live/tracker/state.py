"""Where one object stands: a pure state machine with hysteresis and a reason in words.

    prompt ----> tracking <---- uncertain <---- lost
                    |   ^          ^  |  ^        ^
                    |   +--time--+ |  |  |        |
                    +--- doubt --|-+  +--|- absent+
                                 |       |
                            recovered ---+  (a lost object seen again, surely, for some steps)

An object is never lost on one bad frame, and never found again on one good one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from samcam.kalman import TIME_ERROR_S
from samcam.live.frames import ObjectState
from samcam.system import Checked, Setting


@dataclass(frozen=True, slots=True)
class StateThresholds(Checked):
    """When the state changes. Ours; only the first number has a model elsewhere.

    Attributes:
        uncertain_iou: Source: SAMURAI's stable_ious_threshold, sam2.1_hiera_t.yaml:125 @76ba195.
        certain_iou: At least `uncertain_iou`.
        lost_steps, lost_s: Both must have passed.
        recover_steps: Also before `tracking` after a doubt.
    """

    uncertain_iou: Annotated[
        float, Setting("Predicted IoU below which a mask is in doubt.", low=0, high=1)
    ] = 0.3
    certain_iou: Annotated[
        float,
        Setting("Predicted IoU at which the doubt ends; at least uncertain_iou.", low=0, high=1),
    ] = 0.4
    doubt_steps: Annotated[
        int, Setting("Doubtful masks in a row before uncertain.", "steps", 1, 1000)
    ] = 2
    lost_steps: Annotated[
        int, Setting("Steps without the object before lost.", "steps", 1, 1000)
    ] = 3
    lost_s: Annotated[float, Setting("Seconds without the object before lost.", "s", 0, 60)] = 0.1
    recover_steps: Annotated[
        int, Setting("Certain masks in a row before recovered.", "steps", 1, 1000)
    ] = 2
    recovered_s: Annotated[
        float, Setting("How long recovered is shown before tracking.", "s", 0, 60)
    ] = 1.0

    def ascending(self) -> Sequence[Sequence[str]]:
        """Return the thresholds of the doubt."""
        return (("uncertain_iou", "certain_iou"),)


class Evidence(StrEnum):
    """What one step says about the object."""

    ABSENT = "absent"
    WEAK = "weak"
    GOOD = "good"


@dataclass(frozen=True, slots=True)
class Observation:
    """One step's answer, as far as the state depends on it.

    Attributes:
        visible: Present, and its mask is not empty.
        prompted: A user's prompt of this step gave the mask.
        predicted_iou: The network's own estimate, 0..1.
        object_score: Object score logit.
        refused: Why a mask that was there was not taken for the object.
        doubt: What speaks against the mask, though it was taken.
    """

    present: bool
    visible: bool
    prompted: bool
    predicted_iou: float
    object_score: float
    refused: str | None = None
    doubt: str | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """State of an object and what it takes to go on from there.

    Attributes:
        state, reason: For the user.
        evidence: Of the latest step.
        evidence_steps, evidence_s: How long it has been the same evidence, this step included.
        absent_s: Seconds since it was seen, from the last picture that had it; 0 while it is seen.
        state_s: Seconds in this state.
        was_lost: Lost since it was last tracked.
    """

    state: ObjectState
    reason: str
    evidence: Evidence
    evidence_steps: int
    evidence_s: float
    absent_s: float
    state_s: float
    was_lost: bool

    @property
    def doubtful_s(self) -> float:
        """Seconds for which its masks have been in doubt."""
        return self.evidence_s if self.evidence is Evidence.WEAK else 0.0

    @property
    def absent_steps(self) -> int:
        """Steps since it was seen."""
        return self.evidence_steps if self.evidence is Evidence.ABSENT else 0


def advance(
    status: Status | None, seen: Observation, dt_s: float, thresholds: StateThresholds
) -> Status:
    """Return the status after one more step, `dt_s` of media time later; None before: a new
    object."""
    evidence = _weigh(status, seen, thresholds)
    same = status is not None and status.evidence is evidence
    steps = status.evidence_steps + 1 if status is not None and same else 1
    seconds = status.evidence_s + dt_s if status is not None and same else 0.0
    absent_s = 0.0
    if status is not None and evidence is Evidence.ABSENT:
        absent_s = status.absent_s + dt_s
    if seen.prompted or status is None:
        state = ObjectState.TRACKING if seen.visible else ObjectState.LOST
        was_lost = not seen.visible
    else:
        state = _next_state(status, evidence, steps, absent_s, dt_s, thresholds)
        was_lost = state is ObjectState.LOST or (status.was_lost and state is ObjectState.UNCERTAIN)
    unchanged = status is not None and status.state is state
    return Status(
        state=state,
        reason=_reason(state, seen, evidence, steps, thresholds),
        evidence=evidence,
        evidence_steps=steps,
        evidence_s=seconds,
        absent_s=absent_s,
        state_s=status.state_s + dt_s if status is not None and unchanged else 0.0,
        was_lost=was_lost,
    )


def _weigh(status: Status | None, seen: Observation, thresholds: StateThresholds) -> Evidence:
    if not seen.visible:
        return Evidence.ABSENT
    doubted = status is not None and status.state in (ObjectState.UNCERTAIN, ObjectState.LOST)
    least = thresholds.certain_iou if doubted else thresholds.uncertain_iou
    weak = seen.predicted_iou < least or seen.doubt is not None
    return Evidence.WEAK if weak else Evidence.GOOD


def _next_state(
    status: Status,
    evidence: Evidence,
    steps: int,
    absent_s: float,
    dt_s: float,
    thresholds: StateThresholds,
) -> ObjectState:
    """Return the state after `steps` steps of this evidence, `absent_s` after it was seen."""
    state = status.state
    if evidence is Evidence.ABSENT:
        gone = steps >= thresholds.lost_steps and absent_s >= thresholds.lost_s - TIME_ERROR_S
        return ObjectState.LOST if gone or state is ObjectState.LOST else ObjectState.UNCERTAIN
    if evidence is Evidence.WEAK:
        settled = state in (ObjectState.TRACKING, ObjectState.RECOVERED)
        return state if settled and steps < thresholds.doubt_steps else ObjectState.UNCERTAIN
    if state in (ObjectState.LOST, ObjectState.UNCERTAIN):
        if steps < thresholds.recover_steps:
            return ObjectState.UNCERTAIN
        return ObjectState.RECOVERED if status.was_lost else ObjectState.TRACKING
    state_s = status.state_s + dt_s
    if state is ObjectState.RECOVERED and state_s < thresholds.recovered_s - TIME_ERROR_S:
        return state
    return ObjectState.TRACKING


def _reason(
    state: ObjectState,
    seen: Observation,
    evidence: Evidence,
    steps: int,
    thresholds: StateThresholds,
) -> str:
    if seen.prompted:
        return "prompted on this frame" if seen.visible else "the prompt gave no mask"
    count = f"{steps} step{'s' if steps > 1 else ''}"
    if evidence is Evidence.ABSENT:
        why = "empty mask" if seen.present else f"object score {seen.object_score:.1f}"
        why = seen.refused or why
        return f"not seen for {count} ({why})"
    iou = f"predicted IoU {seen.predicted_iou:.2f}"
    if evidence is Evidence.WEAK:
        return f"doubtful mask for {count} ({seen.doubt or iou})"
    if state is ObjectState.UNCERTAIN:
        return f"seen again for {count} of {thresholds.recover_steps} ({iou})"
    if state is ObjectState.RECOVERED:
        return f"found again ({iou})"
    return f"seen ({iou})"
