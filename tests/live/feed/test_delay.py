"""`output.delay_ms`: pictures leave the same time after their grab; the clock is a fake one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import pytest

from run_live import main
from samcam.live.commands import HideFeed
from samcam.live.config.load import load_settings
from samcam.live.effects.effects import Effect
from samcam.live.errors import ConfigError
from samcam.live.feed.compositor import Compositor, compose
from samcam.live.feed.delay import DelayLine, DelayOptions, plan_delay
from samcam.live.frames import Composite, Frame, FrameResult, StandIn
from samcam.live.loop.capture import CaptureStats
from samcam.live.loop.pipeline import Wiring
from samcam.live.loop.render import RenderLoop, RenderOptions
from samcam.live.metrics.metrics import Metrics
from samcam.live.sinks.choose import Outputs
from samcam.live.sinks.worker import SinkWorker
from samcam.live.sources.base import SourceInfo
from tests.helpers.bounds import WAIT_S
from tests.helpers.results import disc_logits, stand_in, textured, tracked

MS = 1_000_000
PERIOD_NS = 33 * MS


@dataclass
class Clock:
    now_ns: int = 0

    def __call__(self) -> int:
        return self.now_ns


def composite(index: int, grabbed_ns: int, with_object: bool = True) -> Composite:
    objects = (tracked(1, disc_logits(16, 8, 8, 4)),) if with_object else ()
    frame = Frame(index, index * PERIOD_NS, grabbed_ns, textured((32, 24)))
    return compose(FrameResult(frame, index, objects), Effect())


@dataclass
class Camera:
    """Grabs a picture each 33 ms; each is ready after its own latency; the line is asked each ms.

    Attributes:
        left: Index and time of each picture that left, in ns after its grab.
        late: Indices of those that came too late.
        ready_ns: When each picture was ready.
    """

    line: DelayLine
    clock: Clock
    left: list[tuple[int, int]] = field(default_factory=list)
    late: list[int] = field(default_factory=list)
    ready_ns: dict[int, int] = field(default_factory=dict)

    def run(self, latencies_ms: list[int]) -> None:
        last_ns = -MS
        for index, latency_ms in enumerate(latencies_ms):  # one after the other, as inference is
            last_ns = max(last_ns + MS, index * PERIOD_NS + latency_ms * MS)
            self.ready_ns[last_ns] = index
        while self.clock.now_ns < last_ns + 1000 * MS:
            index = self.ready_ns.get(self.clock.now_ns, -1)
            if index >= 0 and self.line.put(composite(index, index * PERIOD_NS)):
                self.late.append(index)
            for item in self.line.take_due():
                frame = item.result.frame
                self.left.append((frame.index, self.clock.now_ns - frame.captured_ns))
            self.clock.now_ns += MS


def make(delay_ms: float | None, places: int = 30) -> tuple[Camera, list[str]]:
    clock, said = Clock(), list[str]()
    return Camera(DelayLine(DelayOptions(delay_ms, places), said.append, clock), clock), said


def test_every_picture_leaves_at_its_grab_plus_the_delay() -> None:
    camera, _ = make(120)
    random = np.random.default_rng(3)
    camera.run([int(ms) for ms in random.integers(20, 110, 60)])
    assert [index for index, _ in camera.left] == list(range(60))
    assert {after for _, after in camera.left} == {120 * MS}
    assert camera.late == []


def test_a_late_picture_leaves_at_once_and_none_overtakes_it() -> None:
    camera, _ = make(100)
    camera.run([50, 50, 160, 120, 50, 50])
    assert camera.left == [
        (0, 100 * MS),
        (1, 100 * MS),
        (2, 160 * MS),
        (3, 128 * MS),
        (4, 100 * MS),
        (5, 100 * MS),
    ]
    assert camera.late == [2, 3]


def test_auto_measures_and_then_holds_still() -> None:
    """p95 of five seconds, rounded up to 10 ms; what comes later does not change it."""
    camera, said = make(None)
    latencies = [40 if i % 10 else 83 for i in range(155)] + [20] * 40 + [300]
    camera.run(latencies)
    assert camera.line.delay_ms == 90
    assert said == ["output delay: 90 ms from now on; set OBS's Sync Offset to it"]
    at_once = [(index, at - index * PERIOD_NS) for at, index in camera.ready_ns.items()]
    assert camera.left[:150] == at_once[:150]
    assert {after for index, after in camera.left if 155 <= index < 195} == {90 * MS}
    assert camera.late == [195]


def test_auto_waits_for_an_object() -> None:
    """Without one there is less to compute; the delay would be too short afterwards."""
    clock = Clock()
    line = DelayLine(DelayOptions(None, 4), lambda _: None, clock)
    for index in range(400):
        clock.now_ns = index * PERIOD_NS
        line.put(composite(index, clock.now_ns, with_object=False))
        assert len(line.take_due()) == 1
    assert line.delay_ms is None


def test_no_more_pictures_wait_than_there_is_room_for() -> None:
    line = DelayLine(DelayOptions(1000, 3), lambda _: None, Clock())
    for index in range(10):
        line.put(composite(index, 0))
    assert line.dropped == 7
    assert line.next_due_s() == 1.0
    line.clear()
    assert line.next_due_s() is None


def test_a_source_that_is_faster_than_it_says_is_thinned_out() -> None:
    """Half as many places as pictures come in: every second one leaves, each when it is due."""
    camera, _ = make(1000, places=15)
    camera.run([10] * 300)
    assert {after for _, after in camera.left} == {1000 * MS}
    steps = np.diff([index for index, _ in camera.left])
    assert len(camera.left) >= 130
    assert steps.max() <= 4
    assert camera.line.dropped == 300 - len(camera.left)


def test_no_signal_leaves_behind_what_waits_and_without_more_delay() -> None:
    clock = Clock(now_ns=10 * MS)
    line = DelayLine(DelayOptions(100, 8), lambda _: None, clock)
    waiting = composite(0, 0)
    line.put(waiting)
    line.put(stand_in(waiting, 5))
    clock.now_ns = 99 * MS
    assert line.take_due() == []
    clock.now_ns = 100 * MS
    due = line.take_due()
    assert [(type(item), item.time_ns) for item in due] == [(Composite, 0), (StandIn, 5)]


def test_memory_limits_the_delay() -> None:
    def info(size_wh: tuple[int, int], fps: float) -> SourceInfo:
        return SourceInfo("0", "camera", size_wh, fps, None, live=True)

    assert plan_delay(0.0, info((1280, 720), 30)) is None
    assert plan_delay(2000.0, info((1280, 720), 30)) == DelayOptions(2000.0, 62)
    with pytest.raises(ConfigError, match=r"output.delay_ms: 2000: 122 pictures of 1920x1080"):
        plan_delay(2000.0, info((1920, 1080), 60))
    auto = plan_delay("auto", info((1920, 1080), 60))
    assert auto is not None
    assert auto.delay_ms is None
    assert auto.limit_ms < 700
    assert (auto.places * 1920 * 1080 * 8) < 600e6


@pytest.mark.parametrize("value", ["-1", "2001", "automatic", "true", "null", "[1]", "[auto]"])
def test_wrong_values(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check-config", "--set", f"output.delay_ms={value}"]) == 2
    assert "output.delay_ms" in (line := capsys.readouterr().err)
    assert "expected auto or a number 0..2000 (ms)" in line


def test_right_values() -> None:
    assert load_settings(None, ["output.delay_ms=auto"]).output.delay_ms == "auto"
    assert load_settings(None, ["output.delay_ms=80"]).output.delay_ms == 80.0


@dataclass
class Collector:
    """A sink that notes what it gets."""

    name: str
    got: list[Composite] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def put(self, item: Composite) -> None:
        with self.changed:
            self.got.append(item)
            self.changed.notify_all()

    def close(self) -> None:
        pass

    def await_count(self, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.got) >= count, WAIT_S)


@contextmanager
def running(
    delay_ms: float, live_source: bool = False
) -> Iterator[tuple[Wiring, Collector, Collector, Metrics]]:
    """Run a real render loop with a file and a virtual camera."""
    wiring, metrics = Wiring.build("live", 4), Metrics()
    file, camera = Collector("video:out.mp4"), Collector("virtualcam")
    workers = tuple(SinkWorker(sink, "newest", f"sink-{sink.name}") for sink in (file, camera))
    options = RenderOptions(live_source, 60.0, DelayOptions(delay_ms, 8))
    loop = RenderLoop(wiring, Compositor(Effect()), Outputs(workers), options, metrics)
    thread = threading.Thread(target=loop.run)
    thread.start()
    try:
        yield wiring, file, camera, metrics
    finally:
        wiring.stop.set()
        thread.join(WAIT_S)
        assert not thread.is_alive()
        assert loop.close(False, time.monotonic() + WAIT_S) is None


def result(index: int) -> FrameResult:
    return composite(index, time.perf_counter_ns()).result


def test_files_get_pictures_at_once_and_the_camera_when_they_are_due() -> None:
    with running(600_000) as (wiring, file, camera, _):
        for index in range(3):
            wiring.results.put(result(index))
            file.await_count(index + 1)
        assert camera.got == []


def test_the_panic_key_does_not_wait() -> None:
    """What waits is forgotten, and the cover leaves at once."""
    with running(600_000) as (wiring, file, camera, _):
        wiring.results.put(result(0))
        file.await_count(1)
        wiring.controls.send(HideFeed(on=True))
        camera.await_count(1)
        wiring.results.put(result(1))
        camera.await_count(2)
    assert [item.hidden for item in camera.got] == [True, True]
    assert [item.result.frame.index for item in camera.got] == [0, 1]


def test_the_panic_key_does_not_wait_without_signal_either() -> None:
    """The "no signal" picture waits behind the last ones, which must not leave any more."""
    with running(600_000, live_source=True) as (wiring, file, camera, _):
        wiring.results.put(result(0))
        file.await_count(1)
        wiring.monitor.publish(CaptureStats(1, 0, "unplugged", 1, ended=False))
        file.await_count(2)
        wiring.controls.send(HideFeed(on=True))
        camera.await_count(1)
    assert [type(item) for item in file.got] == [Composite, StandIn]
    assert [item.hidden for item in camera.got] == [True]


def test_the_panic_key_does_not_wait_at_the_end_of_the_source_either() -> None:
    with running(600_000) as (wiring, file, camera, _):
        wiring.results.put(result(0))
        file.await_count(1)
        wiring.results.close()
        wiring.controls.send(HideFeed(on=True))
        camera.await_count(1)
    assert [item.hidden for item in camera.got] == [True]


def is_last(item: Composite) -> bool:
    return item.result.frame.index == 2 and not item.repeats


def test_a_key_takes_no_picture_from_a_file_that_is_slow() -> None:
    """What is sent again is not for files: it must not take the place of what they still lack."""
    with running(0.0) as (wiring, file, camera, _), file.changed:  # holds the file's thread up
        for index in range(3):
            wiring.results.put(result(index))
            camera.await_count(index + 1)
        wiring.controls.send(HideFeed(on=True))
        camera.await_count(4)
        # lets go while it waits
        assert file.changed.wait_for(lambda: bool(file.got) and is_last(file.got[-1]), WAIT_S)
    assert not any(item.repeats for item in file.got)
    assert camera.got[-1].repeats


def test_at_the_end_of_the_source_everything_still_leaves() -> None:
    with running(50) as (wiring, _, camera, metrics):
        wiring.results.put(result(0))
        wiring.results.close()
        camera.await_count(1)
    assert metrics.snapshot().counters["output delay ms"] == 50


def test_a_delay_without_effect_is_said(caplog: pytest.LogCaptureFixture) -> None:
    arguments = ("--set", "source.demo_frames=1", "--set", "source.demo_size=[96,64]")
    options = ("--output", "none", "--set", "output.delay_ms=100")
    assert main(["--source", "demo", *arguments, *options]) == 0
    assert "output.delay_ms: 100.0 has no effect in --pace all" in caplog.text
