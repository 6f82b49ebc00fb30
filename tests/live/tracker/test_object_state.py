"""The state machine of one object, step by step."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import pytest

from samcam.live.frames import NS_PER_S, ObjectState
from samcam.live.tracker.history import step_seconds
from samcam.live.tracker.state import Observation, StateThresholds, Status, advance

FRAME_S = 1 / 30
TRACKING, UNCERTAIN = ObjectState.TRACKING, ObjectState.UNCERTAIN
LOST, RECOVERED = ObjectState.LOST, ObjectState.RECOVERED


@dataclass
class Story:
    """An object that is looked at frame after frame."""

    thresholds: StateThresholds
    status: Status | None = None
    dt_s: float = FRAME_S

    def see(self, iou: float = 0.9, prompted: bool = False, times: int = 1) -> ObjectState:
        return self._go(Observation(True, True, prompted, iou, 8.0), times)

    def miss(self, prompted: bool = False, times: int = 1, present: bool = False) -> ObjectState:
        return self._go(Observation(present, False, prompted, 0.1, -3.5), times)

    @property
    def reason(self) -> str:
        assert self.status is not None
        return self.status.reason

    def _go(self, seen: Observation, times: int) -> ObjectState:
        for _ in range(times):
            self.status = advance(self.status, seen, self.dt_s, self.thresholds)
        assert self.status is not None
        return self.status.state


@pytest.fixture
def story() -> Story:
    told = Story(StateThresholds())
    assert told.see(prompted=True) is TRACKING
    return told


def test_a_prompted_object_is_tracked(story: Story) -> None:
    assert story.reason == "prompted on this frame"
    assert story.see(times=50) is TRACKING
    assert story.reason == "seen (predicted IoU 0.90)"


def test_a_prompt_without_a_mask_is_lost_at_once() -> None:
    story = Story(StateThresholds())
    assert story.miss(prompted=True) is LOST
    assert story.reason == "the prompt gave no mask"


def test_one_missed_frame_is_not_a_loss(story: Story) -> None:
    assert story.miss() is UNCERTAIN
    assert story.reason == "not seen for 1 step (object score -3.5)"
    assert story.see() is UNCERTAIN
    assert story.reason == "seen again for 1 step of 2 (predicted IoU 0.90)"
    assert story.see() is TRACKING


def test_an_empty_mask_is_not_seen_either(story: Story) -> None:
    assert story.miss(present=True) is UNCERTAIN
    assert story.reason == "not seen for 1 step (empty mask)"


def test_lost_takes_steps_and_seconds(story: Story) -> None:
    assert story.miss(times=2) is UNCERTAIN
    assert story.miss() is LOST
    assert story.reason == "not seen for 3 steps (object score -3.5)"
    assert story.miss(times=10_000) is LOST


def test_many_steps_in_no_time_are_not_a_loss(story: Story) -> None:
    story.dt_s = 0.001
    assert story.miss(times=50) is UNCERTAIN
    assert story.miss(times=51) is LOST


@pytest.mark.parametrize(
    ("fps", "steps", "unit_ns"),
    [
        (30, 3, 1),
        (30_000 / 1001, 3, 1),
        (60, 6, 1),
        (15, 3, 1),
        (30, 3, 1_000_000),  # a container that has whole milliseconds
        (60, 6, 1_000_000),
    ],
)
@pytest.mark.parametrize("first", range(7))
def test_when_it_is_lost_does_not_hang_on_rounding(
    fps: float, steps: int, unit_ns: int, first: int
) -> None:
    """0.1 s after the last picture that had it, whatever the clock said before."""
    times_ns = [round(i * NS_PER_S / fps / unit_ns) * unit_ns for i in range(first, first + 10)]
    story = Story(StateThresholds())
    story.see(prompted=True)
    for step in range(1, steps + 1):
        story.dt_s = step_seconds(times_ns[step - 1], times_ns[step])
        assert (story.miss() is LOST) == (step == steps), step


@pytest.mark.parametrize(("fps", "steps"), [(30, 30), (30_000 / 1001, 30), (60, 60), (15, 15)])
@pytest.mark.parametrize("first", range(7))
def test_when_recovered_ends_does_not_hang_on_rounding(fps: float, steps: int, first: int) -> None:
    times_ns = [round(i * NS_PER_S / fps) for i in range(first, first + 100)]
    story = Story(StateThresholds())
    story.see(prompted=True)
    story.miss(times=5)
    states = []
    for then, now in pairwise(times_ns):
        story.dt_s = step_seconds(then, now)
        states.append(story.see())
    assert states.count(RECOVERED) == steps


def test_recovery_takes_certain_masks_and_lasts_a_while(story: Story) -> None:
    story.miss(times=5)
    assert story.see() is UNCERTAIN
    assert story.see() is RECOVERED
    assert story.reason == "found again (predicted IoU 0.90)"
    assert story.see(times=29) is RECOVERED
    assert story.see(times=3) is TRACKING


def test_a_weak_mask_does_not_recover(story: Story) -> None:
    story.miss(times=5)
    assert story.see(iou=0.35, times=100) is UNCERTAIN
    assert story.reason == "doubtful mask for 100 steps (predicted IoU 0.35)"
    assert story.see(iou=0.45) is UNCERTAIN
    assert story.see(iou=0.45) is RECOVERED


def test_doubt_has_hysteresis(story: Story) -> None:
    assert story.see(iou=0.2) is TRACKING
    assert story.see(iou=0.2) is UNCERTAIN
    assert story.see(iou=0.35, times=20) is UNCERTAIN  # above where doubt begins, below its end
    assert story.see(iou=0.5, times=2) is TRACKING
    assert story.see(iou=0.35, times=20) is TRACKING


def test_an_object_lost_again_while_recovered_recovers_again(story: Story) -> None:
    story.miss(times=5)
    story.see(times=2)
    assert story.miss() is UNCERTAIN
    assert story.miss(times=5) is LOST
    assert story.see(times=2) is RECOVERED


def test_a_flicker_while_lost_does_not_forget_the_loss(story: Story) -> None:
    story.miss(times=5)
    assert story.see() is UNCERTAIN
    assert story.miss() is UNCERTAIN
    assert story.see(times=2) is RECOVERED


def test_a_prompt_ends_any_state(story: Story) -> None:
    story.miss(times=5)
    assert story.see(iou=0.05, prompted=True) is TRACKING


def test_thresholds_must_be_in_order() -> None:
    with pytest.raises(ValueError, match=r"uncertain_iou: expected at most certain_iou 0\.5"):
        StateThresholds(uncertain_iou=0.6, certain_iou=0.5)
