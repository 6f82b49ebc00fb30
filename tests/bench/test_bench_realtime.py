"""VOT's real-time rule: which pictures a slow tracker misses, and which answer counts for each."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from bench.scores.realtime import RealTimeTracker
from samcam.live.frames import Frame, FrameResult, Prompt

FPS = 10


class Counting:
    """Answers with the step's number; remembers which pictures it saw."""

    def __init__(self) -> None:
        self.seen: list[Frame] = []

    def prompt(self, prompt: Prompt) -> None:
        pass

    def step(self, frame: Frame) -> FrameResult:
        self.seen.append(frame)
        return FrameResult(frame, len(self.seen) - 1, ())


def run(step_ms: float | None, count: int = 9, prompts: tuple[int, ...] = (0,)) -> list[list[int]]:
    """Return which pictures were seen, and for each picture that of the answer which counts."""
    inner = Counting()
    tracker = RealTimeTracker(inner, FPS, step_ms)
    answers = []
    for index in range(count):
        if index in prompts:
            tracker.prompt(Prompt.click(1, 1))
        frame = Frame(index, 7 * index, 0, np.zeros((4, 4, 3), np.uint8))
        result = tracker.step(frame)
        assert result.frame.index == index  # the masks are shown on this picture
        answers.append(inner.seen[result.step].index)
    assert [frame.time_ns for frame in inner.seen] == [f.index * 10**8 for f in inner.seen]
    return [[frame.index for frame in inner.seen], answers]


@pytest.mark.parametrize("step_ms", [1.0, 60.0, 100.0])
def test_a_tracker_that_keeps_up_misses_nothing(step_ms: float) -> None:
    assert run(step_ms) == [list(range(9)), list(range(9))]


def test_what_is_late_counts_for_a_later_picture() -> None:
    """150 ms a step at 10 pictures a second, by hand: step on 1 runs from 0.1 to 0.25 s and is
    ready before picture 3 comes, so it counts for 2; then the newest is 2, until 0.4 s."""
    seen, answers = run(150)
    assert seen == [0, 1, 2, 4, 5, 7, 8]
    assert answers == [0, 0, 1, 2, 2, 4, 5, 5, 7]


def test_a_very_slow_tracker_holds_its_answers() -> None:
    seen, answers = run(400)
    assert seen == [0, 1, 5]
    assert answers == [0, 0, 0, 0, 1, 1, 1, 1, 5]


def test_the_stream_waits_for_a_prompts_answer() -> None:
    seen, answers = run(400, prompts=(0, 3))
    assert seen == [0, 1, 3, 4, 8]
    assert answers[3:] == [3, 3, 3, 3, 4, 4]


def test_without_a_given_time_the_step_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that goes on by 150 ms from one look to the next."""
    monkeypatch.setattr("time.perf_counter", itertools.count(0.0, 0.15).__next__)
    assert run(None) == run(150)
