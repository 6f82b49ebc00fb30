"""The pipeline: every stage ends, fails or hangs, and the run comes down cleanly each time."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from samcam.engines.base import EngineError
from samcam.live.commands import Command, HoverAnswer, HoverRequest, RemoveObject, TrackerCommand
from samcam.live.errors import CaptureError, SinkError
from samcam.live.frames import Frame, FrameResult, Prompt
from samcam.live.loop.inference import run_inference
from samcam.live.loop.pipeline import PipelinePace, Wiring, run_pipeline
from samcam.live.loop.spare_work import Proposer
from samcam.live.slots import Closed
from samcam.live.sources.base import SourceInfo
from tests.helpers.bounds import WAIT_S

SIZE = (16, 8)
SHUTDOWN_S = WAIT_S


def frame(index: int) -> Frame:
    image = np.full((SIZE[1], SIZE[0], 3), index % 256, np.uint8)
    return Frame(index, index * 40_000_000, time.perf_counter_ns(), image)


@dataclass
class ScriptedSource:
    """Gives `count` frames, then what `at_end` does."""

    count: int
    at_end: Callable[[], Frame | None] = lambda: None
    live: bool = True
    closed: threading.Event = field(default_factory=threading.Event)
    given: int = 0

    @property
    def info(self) -> SourceInfo:
        return SourceInfo("scripted", "file", SIZE, 25.0, self.count, live=self.live)

    def read(self) -> Frame | None:
        if self.given == self.count:
            return self.at_end()
        self.given += 1
        return frame(self.given - 1)

    def close(self) -> None:
        self.closed.set()


@dataclass
class ScriptedTracker:
    """Answers with no objects; `before` runs ahead of each step."""

    before: Callable[[Frame], None] = lambda _: None
    log: list[str] = field(default_factory=list)
    closed: bool = False
    pending_prompts: int = 0
    steps: int = 0

    def prompt(self, prompt: Prompt) -> None:
        if prompt.object_id == 13:
            raise ValueError("object 13: unlucky")
        self.log.append(f"prompt {prompt.object_id}")

    def remove(self, object_id: int | None) -> None:
        self.log.append(f"remove {object_id}")

    @property
    def next_step(self) -> int:
        return self.steps

    def apply(self, command: TrackerCommand) -> None:
        if isinstance(command, Prompt):
            self.prompt(command)
        elif isinstance(command, RemoveObject):
            self.remove(command.object_id)

    def hover(self, request: HoverRequest) -> HoverAnswer | None:
        return None

    def suggest(self, step: int) -> Proposer:
        raise ValueError(f"step {step}: nothing to suggest")

    def step(self, given: Frame) -> FrameResult:
        self.before(given)
        self.log.append(f"step {given.index}")
        self.steps += 1
        return FrameResult(given, self.steps - 1, ())

    def close(self) -> None:
        assert threading.current_thread().name == "inference"
        self.closed = True


@dataclass
class ScriptedRenderer:
    """Collects results as the render loop would; `on_result` may raise or quit."""

    wiring: Wiring
    on_result: Callable[[FrameResult], None] = lambda _: None
    at_close: SinkError | None = None
    indices: list[int] = field(default_factory=list)
    drained: list[bool] = field(default_factory=list)

    def run(self) -> None:
        while not self.wiring.stop.is_set():
            try:
                result = self.wiring.results.get(WAIT_S)
            except Closed:
                return
            assert result is not None, "no result in time"
            self.indices.append(result.frame.index)
            self.on_result(result)

    def close(self, drain: bool, deadline_s: float) -> BaseException | None:
        self.drained.append(drain)
        return self.at_close


@dataclass
class Run:
    """One pipeline made of scripted parts."""

    pace: PipelinePace = "all"
    source: ScriptedSource = field(default_factory=lambda: ScriptedSource(20))
    tracker: ScriptedTracker = field(default_factory=ScriptedTracker)
    observed: list[tuple[int, float]] = field(default_factory=list)
    shutdown_s: float = SHUTDOWN_S

    def __post_init__(self) -> None:
        self.wiring = Wiring.build(self.pace, command_queue=4)
        self.renderer = ScriptedRenderer(self.wiring)

    def go(self) -> None:
        def observe(result: FrameResult, source_age_ms: float) -> None:
            self.observed.append((result.frame.index, source_age_ms))

        run_pipeline(
            self.wiring, self.source, self.tracker, self.renderer, observe, self.shutdown_s
        )


def assert_down(run: Run, drained: bool) -> None:
    assert run.wiring.stop.is_set()
    assert run.renderer.drained == [drained]
    assert run.tracker.closed
    assert run.source.closed.is_set()
    assert not {"capture", "inference"} & {thread.name for thread in threading.enumerate()}


def test_all_delivers_every_frame_in_order() -> None:
    run = Run()
    run.go()
    assert run.renderer.indices == list(range(20))
    assert [index for index, _ in run.observed] == list(range(20))
    assert all(age >= 0 for _, age in run.observed)
    assert (run.wiring.frames.dropped, run.wiring.results.dropped) == (0, 0)
    assert_down(run, drained=True)


def test_source_without_frames() -> None:
    run = Run(source=ScriptedSource(0))
    run.go()
    assert run.renderer.indices == []
    assert_down(run, drained=True)


def test_live_drops_what_is_stale_and_keeps_the_newest() -> None:
    """While the tracker is at frame 0, the other 19 arrive: 18 are dropped, the last is kept."""
    run = Run(pace="live")

    def wait_for_the_end(given: Frame) -> None:
        assert run.source.closed.wait(WAIT_S)

    read_first = threading.Event()
    at_first_read = run.source.read

    def read() -> Frame | None:
        if run.source.given == 1:  # frame 0 must be with the tracker before the others come
            assert read_first.wait(WAIT_S)
        return at_first_read()

    def before(given: Frame) -> None:
        read_first.set()
        wait_for_the_end(given)

    run.source.read = read  # type: ignore[method-assign]
    run.tracker.before = before
    run.go()
    assert [index for index, _ in run.observed] == [0, 19]
    assert run.wiring.frames.dropped == 18
    assert run.renderer.indices[-1] == 19
    assert_down(run, drained=False)


def test_capture_error_reaches_main_with_its_traceback() -> None:
    def unplugged() -> Frame | None:
        raise CaptureError("camera 0: unplugged")

    run = Run(source=ScriptedSource(3, unplugged))
    with pytest.raises(CaptureError, match="unplugged") as caught:
        run.go()
    names = [entry.name for entry in traceback.extract_tb(caught.value.__traceback__)]
    assert names[-2:] == ["read", "unplugged"]
    assert_down(run, drained=True)  # in `all`, what came before the break is written


def test_engine_error_reaches_main_with_its_traceback() -> None:
    def fail(given: Frame) -> None:
        if given.index == 5:
            raise EngineError("mask_decoder: no memory")

    run = Run(tracker=ScriptedTracker(fail))
    with pytest.raises(EngineError, match="mask_decoder") as caught:
        run.go()
    names = [entry.name for entry in traceback.extract_tb(caught.value.__traceback__)]
    assert names[-2:] == ["step", "fail"]
    assert len(run.observed) == 5
    assert_down(run, drained=False)


def test_observer_error_ends_the_run() -> None:
    """A full disk under --metrics is an error of the run, not a thread that dies unseen."""
    run = Run()

    def observe(result: FrameResult, source_age_ms: float) -> None:
        raise SinkError("--metrics m.jsonl: disk full")

    with pytest.raises(SinkError, match="disk full"):
        run_pipeline(run.wiring, run.source, run.tracker, run.renderer, observe, SHUTDOWN_S)
    assert_down(run, drained=False)


@pytest.mark.parametrize("pace", ["live", "all"])
def test_render_error_ends_the_others(pace: PipelinePace) -> None:
    """The source never ends by itself here."""
    run = Run(pace, source=ScriptedSource(1_000_000))

    def fail(result: FrameResult) -> None:
        raise SinkError("video:out.mp4: disk full")

    run.renderer.on_result = fail
    with pytest.raises(SinkError, match="disk full"):
        run.go()
    assert_down(run, drained=False)


def test_first_error_wins_over_one_while_closing() -> None:
    def fail(given: Frame) -> None:
        raise EngineError("first")

    run = Run(tracker=ScriptedTracker(fail))
    run.renderer.at_close = SinkError("second")
    with pytest.raises(EngineError, match="first"):
        run.go()


def test_error_while_closing_is_raised() -> None:
    run = Run()
    run.renderer.at_close = SinkError("video:out.mp4: cannot be finished")
    with pytest.raises(SinkError, match="cannot be finished"):
        run.go()
    assert run.renderer.indices == list(range(20))
    assert_down(run, drained=True)


@pytest.mark.parametrize("pace", ["live", "all"])
def test_quit_ends_the_run_without_draining(pace: PipelinePace) -> None:
    run = Run(pace, source=ScriptedSource(1_000_000))
    run.renderer.on_result = lambda _: run.wiring.stop.set()
    run.go()
    assert len(run.renderer.indices) == 1
    assert_down(run, drained=False)


def test_stuck_camera_is_named_and_not_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    release = threading.Event()

    def hang() -> Frame | None:
        release.wait(WAIT_S)
        return None

    run = Run("live", source=ScriptedSource(1, hang), shutdown_s=0.05)
    run.renderer.on_result = lambda _: run.wiring.stop.set()
    try:
        run.go()
        assert "left behind: capture" in caplog.text
        for thread in threading.enumerate():
            if thread.name == "inference":  # it ends, though maybe not within that budget
                thread.join(WAIT_S)
        assert run.tracker.closed
        assert not run.source.closed.is_set()
    finally:
        release.set()
    assert run.source.closed.wait(WAIT_S)


def test_stuck_engine_is_named_and_not_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    release, entered = threading.Event(), threading.Event()

    def hang(given: Frame) -> None:
        if given.index == 1:
            entered.set()
            release.wait(WAIT_S)

    run = Run("all", tracker=ScriptedTracker(hang), shutdown_s=0.05)

    def quit_when_stuck(result: FrameResult) -> None:
        assert entered.wait(WAIT_S)
        run.wiring.stop.set()

    run.renderer.on_result = quit_when_stuck
    try:
        run.go()
        assert "inference" in caplog.text.partition("left behind: ")[2]
    finally:
        release.set()


def test_commands_come_before_the_next_frame_and_a_refused_one_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    wiring = Wiring.build("all", command_queue=4)
    point = {"points_xy_px": np.ones((1, 2), np.float32), "labels": np.ones(1, np.int32)}
    wiring.controls.send(Prompt(2, **point))  # type: ignore[arg-type]
    wiring.controls.send(Prompt(13, **point))  # type: ignore[arg-type]
    wiring.controls.send(RemoveObject(2))
    wiring.controls.send(RemoveObject())
    noted: list[tuple[Command, int]] = []
    wiring.controls.watch(lambda command, step: noted.append((command, step)))
    wiring.frames.put(frame(7))
    wiring.frames.close()
    tracker = ScriptedTracker(pending_prompts=2)
    worker = threading.Thread(
        target=run_inference,
        args=(
            wiring.frames,
            wiring.results,
            wiring.controls,
            tracker,
            wiring.watchdog,
            lambda result, source_age_ms: None,
        ),
        name="inference",
    )
    worker.start()
    worker.join(WAIT_S)
    assert not worker.is_alive()
    assert tracker.log == ["prompt 2", "remove 2", "remove None", "step 7"]
    assert "refused: object 13: unlucky" in caplog.text
    assert wiring.controls.notice is not None
    assert wiring.controls.notice.text == "refused: object 13: unlucky"
    assert [step for _, step in noted] == [0, 0, 0]
    assert noted[1:] == [(RemoveObject(2), 0), (RemoveObject(), 0)]
    assert "2 prompts never took effect" in caplog.text
    result = wiring.results.get(0)
    assert result is not None
    assert result.frame.index == 7
    with pytest.raises(Closed):
        wiring.results.get(0)
