"""The capture loop: order, pace, ends, errors, no signal, a camera that hangs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from samcam.live.errors import CaptureError
from samcam.live.frames import Frame
from samcam.live.loop.capture import CaptureMonitor, CaptureOptions, CaptureStats, Pace, run_capture
from samcam.live.slots import Closed, Slot
from samcam.live.sources.base import NoSignal, SourceInfo, VideoSource
from samcam.live.sources.choose import open_source
from samcam.live.sources.options import SourceOptions
from tests.helpers.bounds import WAIT_S

IMAGE = np.zeros((4, 6, 3), np.uint8)
Step = Callable[[], Frame | None]


class ScriptedSource:
    """Gives what the steps return or raise, one a read, then the end."""

    def __init__(self, steps: Iterator[Step], live: bool = False) -> None:
        self.info = SourceInfo("script", "camera" if live else "file", (6, 4), 30.0, None, live)
        self.broken_frames = 0
        self.closed_by: list[str] = []
        self._steps = steps

    def read(self) -> Frame | None:
        """Take the next step."""
        return next(self._steps, lambda: None)()

    def close(self) -> None:
        """Note who closes."""
        self.closed_by.append(threading.current_thread().name)


def give(index: int, time_ns: int | None = None) -> Step:
    """A step that gives a frame."""
    at = index * 1000 if time_ns is None else time_ns
    return lambda: Frame(index, at, time.perf_counter_ns(), IMAGE)


def fail(error: BaseException) -> Step:
    """A step that raises."""

    def step() -> Frame | None:
        raise error

    return step


class Run:
    """One capture thread and what belongs to it."""

    def __init__(self, source: VideoSource, pace: Pace) -> None:
        self.frames: Slot[Frame] = Slot("newest" if pace == "live" else "blocking")
        self.stop = threading.Event()
        self.monitor = CaptureMonitor()
        self.thread = threading.Thread(
            target=run_capture,
            args=(source, self.frames, self.stop, CaptureOptions(pace), self.monitor),
            name="capture",
            daemon=True,
        )
        self.thread.start()

    def drain(self) -> list[Frame]:
        """Read until the slot is closed."""
        got: list[Frame] = []
        while True:
            try:
                frame = self.frames.get(WAIT_S)
            except Closed:
                return got
            assert frame is not None, "capture is stuck"
            got.append(frame)

    def join(self) -> None:
        """Wait for the thread."""
        self.thread.join(WAIT_S)
        assert not self.thread.is_alive()


@contextmanager
def running(source: VideoSource, pace: Pace) -> Iterator[Run]:
    """Run a capture thread; stop it at the end."""
    run = Run(source, pace)
    try:
        yield run
    finally:
        run.stop.set()
        run.frames.close()
        run.join()


def test_all_delivers_everything_in_order_and_closes_the_source() -> None:
    source = ScriptedSource(iter([give(i) for i in range(100)]))
    source.broken_frames = 2
    with running(source, "all") as run:
        assert [frame.index for frame in run.drain()] == list(range(100))
    assert source.closed_by == ["capture"], "its owner closes it, once"
    stats = run.monitor.stats
    assert (stats.frames_read, stats.broken_frames, stats.ended) == (100, 2, True)


def test_live_keeps_the_newest_and_counts_the_rest() -> None:
    source = ScriptedSource(iter([give(i) for i in range(50)]), live=True)
    with running(source, "live") as run:
        run.join()
        assert [frame.index for frame in run.drain()] == [49]
        assert run.frames.dropped == 49
        assert run.monitor.stats.frames_read == 50


def test_live_plays_a_file_in_real_time_by_its_own_times() -> None:
    """Uneven times on purpose: no frame is delivered before it is due."""
    times_ns = [0, 10_000_000, 70_000_000, 80_000_000, 150_000_000]
    source = ScriptedSource(iter([give(i, t) for i, t in enumerate(times_ns)]))
    begin_ns = time.perf_counter_ns()
    with running(source, "live") as run:
        frames = run.drain()
    assert frames[-1].time_ns == times_ns[-1], "the last one is never dropped"
    tolerance_ns = 1_000_000  # of the clock behind Event.wait
    for frame in frames:
        assert frame.captured_ns - begin_ns >= frame.time_ns - tolerance_ns


def test_live_does_not_hold_back_a_live_source() -> None:
    """Its times are when it came, so waiting for them would add a delay."""
    hour_ns = 3_600_000_000_000
    source = ScriptedSource(iter([give(0, 0), give(1, hour_ns)]), live=True)
    with running(source, "live") as run:
        run.join()
        assert run.monitor.stats.frames_read == 2


def test_stop_wakes_the_wait_for_a_due_frame() -> None:
    hour_ns = 3_600_000_000_000
    asked_for_second = threading.Event()

    def second() -> Frame | None:
        asked_for_second.set()
        return give(1, hour_ns)()

    source = ScriptedSource(iter([give(0, 0), second]))
    with running(source, "live") as run:
        assert asked_for_second.wait(WAIT_S)
        run.stop.set()
        run.join()
    assert source.closed_by == ["capture"]


def test_stop_ends_a_put_that_nobody_reads() -> None:
    reading = threading.Event()

    def third() -> Frame | None:
        reading.set()
        return give(2)()

    source = ScriptedSource(iter([give(0), give(1), third]))
    with running(source, "all") as run:
        assert run.frames.get(WAIT_S) is not None
        assert run.frames.get(WAIT_S) is not None
        assert reading.wait(WAIT_S)
        run.stop.set()
        run.join()
    assert source.closed_by == ["capture"]


def test_an_error_reaches_the_reader_with_its_traceback() -> None:
    source = ScriptedSource(iter([give(0), fail(CaptureError("disk gone"))]))
    with running(source, "all") as run, pytest.raises(CaptureError, match="disk gone") as caught:
        run.drain()
    names = [entry.name for entry in caught.traceback]
    assert "run_capture" in names
    assert source.closed_by == ["capture"]
    assert run.monitor.stats.ended


def test_a_reader_that_closes_the_slot_ends_capture() -> None:
    source = ScriptedSource(give(i) for i in range(10**9))
    with running(source, "all") as run:
        assert run.frames.get(WAIT_S) is not None
        run.frames.close()
        run.join()
    assert source.closed_by == ["capture"]


def test_no_signal_is_shown_and_goes_when_frames_come_again() -> None:
    back = threading.Event()

    def lost() -> Frame | None:
        if back.is_set():
            return give(1)()
        raise NoSignal("unplugged", 0.01)

    def steps() -> Iterator[Step]:
        yield give(0)
        while not back.is_set():
            yield lost
        yield give(2)

    source = ScriptedSource(steps(), live=True)
    with running(source, "live") as run:
        deadline = time.monotonic() + WAIT_S
        while run.monitor.stats.no_signal is None:
            assert time.monotonic() < deadline
            run.stop.wait(0.001)
        during = run.monitor.stats
        assert during.no_signal == "unplugged"
        assert during.frames_read == 1
        assert not run.frames.closed, "no signal is not the end"
        back.set()
        run.join()
        after = run.monitor.stats
        assert after.no_signal is None
        assert after.frames_read >= 2


def test_stop_ends_the_wait_for_a_signal() -> None:
    waiting = threading.Event()

    def lost() -> Frame | None:
        waiting.set()
        raise NoSignal("unplugged", 3600.0)

    source = ScriptedSource((lost for _ in range(10**9)), live=True)
    with running(source, "live") as run:
        assert waiting.wait(WAIT_S)
        run.stop.set()
        run.join()
    assert source.closed_by == ["capture"]


def test_a_camera_stuck_in_read_is_not_waited_for() -> None:
    """Main closes the slot and goes on; the thread is a daemon and can be named."""
    stuck, release = threading.Event(), threading.Event()

    def hang() -> Frame | None:
        stuck.set()
        release.wait(WAIT_S)
        return None

    source = ScriptedSource(iter([hang]), live=True)
    with running(source, "live") as run:
        assert stuck.wait(WAIT_S)
        run.stop.set()
        run.frames.close()
        with pytest.raises(Closed):
            run.frames.get(WAIT_S)
        assert run.thread.is_alive()
        assert run.thread.daemon
        assert run.thread.name == "capture"
        assert source.closed_by == [], "nobody but its owner touches the source"
        release.set()


def test_a_source_that_cannot_be_closed_does_not_hide_the_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Unclosable(ScriptedSource):
        def close(self) -> None:
            raise OSError("device busy")

    with running(Unclosable(iter([give(0)])), "all") as run:
        assert len(run.drain()) == 1
    assert "closing the source failed" in caplog.text


def test_before_the_first_frame_the_statistics_are_empty() -> None:
    assert CaptureMonitor().stats == CaptureStats(0, 0, None, None, False)


def test_a_real_source_from_end_to_end() -> None:
    source = open_source("demo", SourceOptions(demo_frames=10, demo_size=(64, 36)))
    with running(source, "all") as run:
        assert [frame.index for frame in run.drain()] == list(range(10))
    assert source.read() is None, "it was closed"
