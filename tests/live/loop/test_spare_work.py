"""Work between frames: what it may cost, what comes first, and the inference loop around it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from samcam.engines.base import EngineError
from samcam.live.commands import HoverAnswer, HoverRequest, TrackerCommand, UndoPrompt
from samcam.live.control.controls import Controls
from samcam.live.frames import Frame, FrameResult, Prompt
from samcam.live.loop.inference import apply_commands, run_inference
from samcam.live.loop.spare_work import MAX_SAVED_S, SHARE, HoverJob, Proposer, SpareWork
from samcam.live.slots import Slot
from samcam.live.watchdog import Watchdog
from tests.helpers.bounds import WAIT_S

SLICE_S = 0.01


@dataclass
class World:
    """A clock and a job that moves it on."""

    now_s: float = 0.0
    slices: int = 0
    wanted: bool = True

    def job(self) -> bool:
        if self.wanted:
            self.now_s += SLICE_S
            self.slices += 1
        return self.wanted


def spend(seconds: float, held_up: bool) -> tuple[float, World]:
    """Alternate steps of 30 ms with slices; return the time lost to slices and the world."""
    world = World()
    spare = SpareWork([world.job], lambda: world.now_s)
    while world.now_s < seconds:
        spare.run_slice(lambda: held_up)
        world.now_s += 0.03
    return world.slices * SLICE_S, world


def test_slices_that_hold_up_frames_cost_a_small_share_of_the_time() -> None:
    lost_s, world = spend(100.0, held_up=True)
    assert 0.8 * SHARE < lost_s / world.now_s <= SHARE + 2 * SLICE_S / world.now_s
    assert SHARE < 0.1


def test_slices_that_hold_up_nothing_are_free() -> None:
    lost_s, world = spend(10.0, held_up=False)
    assert lost_s > 0.24 * world.now_s  # one after each step but the first


def test_what_held_up_nothing_in_the_end_comes_back() -> None:
    """Slices that a frame waits for, and after each of them time to wait for the next frame."""
    rates = []
    for drops in (0, 1):
        world, dropped = World(), 0
        spare = SpareWork([world.job], lambda world=world: world.now_s)  # type: ignore[misc]
        while world.now_s < 100:
            before = world.slices
            spare.run_slice(lambda: True)
            world.now_s += 0.03
            dropped += drops * (world.slices - before)
            spare.caught_up(dropped)
        rates.append(world.slices * SLICE_S / world.now_s)
    caught_up, behind = rates
    assert caught_up > 0.24
    assert behind <= 1.1 * SHARE


def test_little_is_saved_up_while_there_is_nothing_to_do() -> None:
    world = World(wanted=False)
    spare = SpareWork([world.job], lambda: world.now_s)
    world.now_s = 1_000.0
    assert not spare.run_slice(lambda: True)
    world.wanted = True
    done = 0
    while spare.run_slice(lambda: True):
        done += 1
    assert 1 <= done <= MAX_SAVED_S / SLICE_S + 1


def test_the_first_job_with_work_gets_the_slice() -> None:
    first, second = World(), World()
    now_s = 0.0
    spare = SpareWork([first.job, second.job], lambda: now_s)
    now_s = 1.0
    assert spare.run_slice(lambda: False)
    first.wanted = False
    assert spare.run_slice(lambda: False)
    assert (first.slices, second.slices) == (1, 1)


def test_an_iterator_is_a_job() -> None:
    slices, done = iter(range(3)), object()
    now_s = 0.0
    spare = SpareWork([lambda: next(slices, done) is not done], lambda: now_s)
    now_s = 1.0
    assert [spare.run_slice(lambda: False) for _ in range(5)] == [True] * 3 + [False] * 2


@dataclass
class HoveringTracker:
    """Answers hovers, and notes steps and hovers in order."""

    log: list[str] = field(default_factory=list)
    threads: set[str] = field(default_factory=set)
    hovered: threading.Event = field(default_factory=threading.Event)
    steps: int = 0
    pending_prompts: int = 0

    @property
    def next_step(self) -> int:
        return self.steps

    def apply(self, command: TrackerCommand) -> str | None:
        self.log.append("command")
        return f"step {self.steps}: done"

    def hover(self, request: HoverRequest) -> HoverAnswer | None:
        self.log.append(f"hover {request.x:g}")
        self.threads.add(threading.current_thread().name)
        self.hovered.set()
        if request.step > self.steps:
            return None
        return HoverAnswer(request, np.zeros((4, 4), np.float32), 0.5)

    def suggest(self, step: int) -> Proposer:
        raise ValueError(f"step {step}: nothing to suggest")

    def step(self, given: Frame) -> FrameResult:
        self.log.append("step")
        self.steps += 1
        return FrameResult(given, self.steps - 1, ())

    def close(self) -> None:
        self.log.append("closed")


def wait_for(ready: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while not ready() and time.monotonic() < deadline_s:
        time.sleep(0.002)
    assert ready()


def test_the_loop_answers_hovers_while_no_frame_comes() -> None:
    frames: Slot[Frame] = Slot("newest")
    results: Slot[FrameResult] = Slot("newest")
    controls, tracker = Controls(4), HoveringTracker()
    arguments = (frames, results, controls, tracker, Watchdog(), lambda *_: None)
    thread = threading.Thread(target=run_inference, args=arguments, name="inference")
    thread.start()
    try:
        controls.hover.put(HoverRequest(1, 0, 5.0, 6.0))
        wait_for(tracker.hovered.is_set)
        wait_for(lambda: controls.hover_answer.peek() is not None)
        answer = controls.hover_answer.take()
        assert answer is not None
        assert answer.request.x == 5
        tracker.hovered.clear()
        controls.hover.put(HoverRequest(1, 99, 7.0, 6.0))  # a step that is not kept
        wait_for(tracker.hovered.is_set)
        frames.put(Frame(0, 0, 0, np.zeros((4, 4, 3), np.uint8)))
        assert results.get(WAIT_S) is not None
        assert controls.hover_answer.take() is None
    finally:
        controls.stop.set()
        thread.join(WAIT_S)
    assert not thread.is_alive()
    assert tracker.log == ["hover 5", "hover 7", "step", "closed"]
    assert tracker.threads == {"inference"}


def test_only_the_newest_hover_is_answered() -> None:
    controls, tracker = Controls(4), HoveringTracker()
    job = HoverJob(controls, tracker)
    for x in (1.0, 2.0, 3.0):
        controls.hover.put(HoverRequest(1, 0, x, 1.0))
    assert job()
    assert not job()
    assert tracker.log == ["hover 3"]


def test_what_a_command_did_is_said() -> None:
    """And before it counts as done: `ctl`, which waits for that, answers with what was said."""
    controls, tracker = Controls(4), HoveringTracker()
    said_by_then: list[str] = []
    controls.watch(
        lambda command, step: said_by_then.append(
            "" if controls.notice is None else controls.notice.text
        )
    )
    controls.send(UndoPrompt())
    apply_commands(controls, tracker)
    assert controls.notice is not None
    assert controls.notice.text == "step 0: done"
    assert said_by_then == ["step 0: done"]


def test_a_refused_command_goes_on_and_a_failed_network_ends_the_run() -> None:
    class Failing(HoveringTracker):
        error: Exception = ValueError("not now")

        def apply(self, command: TrackerCommand) -> str | None:
            raise self.error

    controls, tracker = Controls(4), Failing()
    controls.send(UndoPrompt())
    apply_commands(controls, tracker)
    tracker.error = EngineError("cudaMemcpyAsync: an illegal memory access")
    controls.send(UndoPrompt())
    with pytest.raises(EngineError, match="illegal memory access"):
        apply_commands(controls, tracker)


def test_a_waiting_file_plays_once_a_prompt_was_taken() -> None:
    """The sending of a prompt started it, also where the prompt was refused."""
    frames: Slot[Frame] = Slot("newest")
    results: Slot[FrameResult] = Slot("newest")
    controls = Controls(4)
    controls.play.hold()
    refused = threading.Event()
    controls.watch_refusals(lambda command, reason: refused.set())

    class Refusing(HoveringTracker):
        def apply(self, command: TrackerCommand) -> str | None:
            if isinstance(command, Prompt) and not (command.labels == 1).any():
                raise ValueError("negative points only")
            return super().apply(command)

    tracker = Refusing()
    arguments = (frames, results, controls, tracker, Watchdog(), lambda *_: None)
    thread = threading.Thread(target=run_inference, args=arguments, name="inference")
    thread.start()
    point = np.array([[1, 2]], np.float32)
    try:
        frames.put(Frame(0, 0, 0, np.zeros((4, 4, 3), np.uint8)))
        assert results.get(WAIT_S) is not None
        controls.send(Prompt(points_xy_px=point, labels=np.array([0], np.int32)))
        assert refused.wait(WAIT_S), "it was not answered while the file waits"
        assert controls.play.holds
        controls.send(UndoPrompt(None))
        wait_for(lambda: tracker.log == ["step", "command"])
        assert controls.play.holds
        controls.send(Prompt(points_xy_px=point, labels=np.array([1], np.int32)))
        wait_for(lambda: not controls.play.holds)
    finally:
        controls.stop.set()
        thread.join(WAIT_S)
    assert not thread.is_alive()
