"""The render loop without a window: order, errors, lost signals; and no GUI call at all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
import pytest

from samcam.engines.base import EngineError
from samcam.live.commands import Command, HideFeed, SetEffect
from samcam.live.control.controls import Controls
from samcam.live.effects.effects import Effect
from samcam.live.errors import ConfigError, SinkError
from samcam.live.feed.compositor import Compositor
from samcam.live.feed.control import FeedControl
from samcam.live.frames import Composite, Frame, FrameResult, StandIn
from samcam.live.loop.capture import CaptureStats
from samcam.live.loop.pipeline import Wiring
from samcam.live.loop.render import RenderLoop, RenderOptions
from samcam.live.metrics.metrics import COMPOSE, Metrics
from samcam.live.sinks.choose import Outputs
from samcam.live.sinks.worker import SinkWorker
from samcam.live.slots import Closed
from tests.helpers.bounds import WAIT_S

MAX_AGE_MS = 60.0


@dataclass
class Collector:
    """A sink that keeps what it gets and tells when something of interest came."""

    name: str = "collector"
    fail_at: int | None = None
    got: list[Composite] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)
    closed: bool = False

    def put(self, item: Composite) -> None:
        if item.result.frame.index == self.fail_at:
            raise SinkError("collector: broke")
        with self.changed:
            self.got.append(item)
            self.changed.notify_all()

    def close(self) -> None:
        self.closed = True

    def await_count(self, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.got) >= count, WAIT_S)


def captions(sink: Collector) -> list[str]:
    return [item.caption if isinstance(item, StandIn) else "" for item in sink.got]


def result(index: int) -> FrameResult:
    image = np.full((6, 8, 3), index, np.uint8)
    return FrameResult(Frame(index, index * 10**8, time.perf_counter_ns(), image), index, ())


@dataclass
class Loop:
    """A render loop with its wiring and one collecting sink."""

    wiring: Wiring
    sink: Collector
    metrics: Metrics
    loop: RenderLoop


def make(pace: str = "all", live_source: bool = False, fail_at: int | None = None) -> Loop:
    wiring = Wiring.build("live" if pace == "live" else "all", command_queue=4)
    sink, metrics = Collector(fail_at=fail_at), Metrics()
    mode = wiring.results.mode
    outputs = Outputs((SinkWorker(sink, mode, "sink-collector"),))
    options = RenderOptions(live_source, MAX_AGE_MS)
    loop = RenderLoop(wiring, Compositor(Effect()), outputs, options, metrics)
    return Loop(wiring, sink, metrics, loop)


@contextmanager
def running(made: Loop) -> Iterator[None]:
    """Run the loop on a thread while the test looks on; then stop and close it."""
    thread = threading.Thread(target=made.loop.run)
    thread.start()
    try:
        yield
    finally:
        made.wiring.stop.set()
        thread.join(WAIT_S)
        assert not thread.is_alive()
        assert made.loop.close(False, time.monotonic() + WAIT_S) is None


def test_every_result_is_composed_once_and_reaches_the_sink(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without a window no GUI function may be called: opencv-python-headless has none."""
    for name in ("namedWindow", "imshow", "waitKey", "destroyWindow", "setMouseCallback"):
        monkeypatch.delattr(cv2, name)
    made = make()

    def produce() -> None:
        for index in range(30):
            made.wiring.results.put(result(index))
        made.wiring.results.close()

    producer = threading.Thread(target=produce)
    producer.start()
    made.loop.run()
    producer.join(WAIT_S)
    assert made.loop.close(True, time.monotonic()) is None
    assert [item.result.frame.index for item in made.sink.got] == list(range(30))
    assert made.sink.closed
    snapshot = made.metrics.snapshot()
    assert snapshot.stages[COMPOSE].count == 30
    assert snapshot.dropped == {"sink-collector": 0}


def test_what_broke_inference_comes_out_here() -> None:
    made = make()
    made.wiring.results.close(EngineError("mask_decoder: no memory"))
    with pytest.raises(EngineError, match="mask_decoder: no memory"):
        made.loop.run()
    assert made.loop.close(False, time.monotonic() + WAIT_S) is None
    assert made.sink.closed


def test_what_broke_a_sink_comes_out_even_if_no_further_result_comes() -> None:
    made = make(fail_at=0)
    made.wiring.results.put(result(0))
    with pytest.raises(SinkError, match="collector: broke"):
        made.loop.run()  # nobody closes the results: the loop must look by itself
    assert isinstance(made.loop.close(True, time.monotonic()), SinkError)


def test_stop_ends_the_loop_while_a_sink_has_no_room() -> None:
    """Ctrl-C with a sink that hangs: the loop must not wait for room that never comes."""
    made = make()
    with made.sink.changed, running_without_close(made) as thread:
        for index in range(3):  # one inside the sink, one in its slot, one waiting for room
            assert made.wiring.results.put(result(index), WAIT_S)
        made.wiring.stop.set()
        thread.join(WAIT_S)
        assert not thread.is_alive()
    assert made.loop.close(True, time.monotonic()) is None


@contextmanager
def running_without_close(made: Loop) -> Iterator[threading.Thread]:
    thread = threading.Thread(target=made.loop.run)
    thread.start()
    yield thread


def test_a_lost_signal_replaces_the_stale_picture_once_until_it_is_back() -> None:
    made = make("live", live_source=True)
    with running(made):
        made.wiring.results.put(result(5))
        made.sink.await_count(1)
        stats = CaptureStats(6, 0, "unplugged", time.perf_counter_ns(), ended=False)
        made.wiring.monitor.publish(stats)
        made.sink.await_count(2)
        lost = made.sink.got[1]
        assert lost.hidden
        assert lost.time_ns >= 5 * 10**8 + int(MAX_AGE_MS * 1e6)
        assert not np.array_equal(lost.feed_bgr, made.sink.got[0].feed_bgr)
        made.wiring.results.put(result(20))
        made.sink.await_count(3)
    assert [type(item) for item in made.sink.got[:3]] == [Composite, StandIn, Composite]
    assert made.sink.got[2].time_ns == 20 * 10**8


def test_a_camera_that_is_back_before_inference_is_not_said_to_be_lost() -> None:
    made = make("live", live_source=True)
    with running(made):
        made.wiring.results.put(result(5))
        made.sink.await_count(1)
        now_ns = time.perf_counter_ns()
        made.wiring.monitor.publish(CaptureStats(6, 0, "unplugged", now_ns))
        made.sink.await_count(2)
        back_ns = time.perf_counter_ns() + 60 * 10**9  # fine for all of the test
        made.wiring.monitor.publish(CaptureStats(7, 0, None, back_ns))
        made.sink.await_count(3)
    assert captions(made.sink)[:3] == ["", "no signal", "starting"]
    assert all(item.hidden for item in made.sink.got[1:3])
    assert made.sink.got[2].time_ns >= made.sink.got[1].time_ns


@pytest.mark.parametrize("effect", ["blur", "chroma"])
def test_a_virtual_camera_says_starting_until_the_first_picture(effect: str) -> None:
    """It sent black, for all of the seconds that a large model takes for its first answer."""
    wiring = Wiring.build("live", command_queue=4)
    camera, file = Collector("virtualcam:demo"), Collector("video:a.mp4")
    workers = tuple(SinkWorker(sink, "newest", f"sink-{sink.name}") for sink in (camera, file))
    options = RenderOptions(True, MAX_AGE_MS, size_wh=(8, 6))
    loop = RenderLoop(wiring, Compositor(Effect(effect)), Outputs(workers), options, Metrics())
    with running(Loop(wiring, camera, Metrics(), loop)):
        camera.await_count(1)
        wiring.monitor.publish(CaptureStats(0, 0, "unplugged"))
        camera.await_count(2)
        wiring.controls.send(SetEffect("highlight"))
        camera.await_count(3)
        wiring.results.put(result(5))
        camera.await_count(4)
        file.await_count(1)
    assert captions(camera) == ["starting", "no signal", "no signal", ""]
    assert captions(file) == [""], "a file begins with its first picture"
    corner = (0, 255, 0) if effect == "chroma" else (32, 32, 32)
    assert tuple(camera.got[0].feed_bgr[0, 0]) == corner
    assert camera.got[0].feed_bgr.shape == (6, 8, 3)


def test_a_stuck_camera_counts_as_lost_too() -> None:
    """Some drivers just stop answering: the last grab is then long ago."""
    made = make("live", live_source=True)
    with running(made):
        made.wiring.results.put(result(0))
        long_ago_ns = time.perf_counter_ns() - 10**9
        made.wiring.monitor.publish(CaptureStats(1, 0, None, long_ago_ns, ended=False))
        made.sink.await_count(2)
    assert isinstance(made.sink.got[1], StandIn)


@pytest.mark.parametrize("case", ["file", "slow model", "waiting", "low rate", "ended"])
def test_no_stand_in_where_no_signal_is_lost(case: str) -> None:
    """A slow model, a file with long frames and the end of a source are no lost signal.

    Nor is a frame that waits for a slow model in `--pace all`, nor a camera at one frame a second.
    """
    made = make("live", live_source=case != "file")
    seen = threading.Event()

    class Monitor:
        """Gives the same statistics for ever and counts the looks."""

        looks = 0

        @property
        def stats(self) -> CaptureStats:
            self.looks += 1
            if self.looks >= 5:
                seen.set()
            grabbed_ns = 1
            if case in ("slow model", "low rate"):
                grabbed_ns = time.perf_counter_ns() - (0 if case == "slow model" else 2 * 10**9)
            usual_ms = 1000.0 if case == "low rate" else None
            return CaptureStats(
                9, 0, None, grabbed_ns, case == "waiting", usual_ms, case == "ended"
            )

    object.__setattr__(made.wiring, "monitor", Monitor())
    with running(made):
        made.wiring.results.put(result(0))
        made.sink.await_count(1)
        if case == "file":  # the monitor is not even asked there
            time.sleep(2 * MAX_AGE_MS / 1000)
        else:
            assert seen.wait(WAIT_S)
    assert [type(item) for item in made.sink.got] == [Composite]


def test_the_panic_key_hides_at_once_while_the_stream_stands_still() -> None:
    made = make("live")
    noted: list[tuple[Command, int]] = []
    made.wiring.controls.watch(lambda command, step: noted.append((command, step)))
    with running(made):
        made.wiring.results.put(result(7))
        made.sink.await_count(1)
        made.wiring.controls.send(HideFeed())
        made.sink.await_count(2)
        made.wiring.controls.send(HideFeed(on=False))
        made.sink.await_count(3)
    shown, hidden, again = made.sink.got
    assert not shown.hidden
    assert hidden.hidden
    assert hidden.repeats
    assert not np.array_equal(hidden.feed_bgr, shown.feed_bgr)
    assert not again.hidden
    assert np.array_equal(again.feed_bgr, shown.feed_bgr)
    assert noted == [(HideFeed(), 8), (HideFeed(on=False), 8)]


def test_effects_change_while_running_and_an_unknown_one_is_refused() -> None:
    made = make("live")
    with running(made):
        made.wiring.results.put(result(7))
        made.sink.await_count(1)
        made.wiring.controls.send(SetEffect("blurr"))
        made.wiring.controls.send(SetEffect("blur"))
        made.sink.await_count(2)
        assert made.wiring.controls.notice is not None
        assert made.wiring.controls.notice.text == "effect blur"
        made.wiring.controls.send(SetEffect())
        made.sink.await_count(3)
        assert made.wiring.controls.notice.text == "effect pixelate"
    # nothing is prompted: what hides keeps the picture in
    assert [item.hidden for item in made.sink.got] == [False, True, True]


def test_a_command_upon_a_carried_picture_counts_from_the_next_step_on() -> None:
    """A recording would else have it a step too early: the step itself was shown without it."""
    made = make("live")
    noted: list[int] = []
    made.wiring.controls.watch(lambda command, step: noted.append(step))
    carried = replace(result(8), step=7)
    given = iter((result(7), carried, result(9), result(10)))

    class Shown:
        """Gives each result together with a command."""

        def get(self, timeout: float) -> FrameResult:
            made.wiring.controls.send(HideFeed(on=True))  # each counts, however soon
            try:
                return next(given)
            except StopIteration:
                raise Closed("shown: ended") from None

    object.__setattr__(made.wiring, "shown", Shown())
    made.loop.run()
    assert made.loop.close(True, 0.0) is None
    assert noted == [7, 8, 9, 10]


def test_an_effect_that_cannot_be_made_does_not_end_the_round() -> None:
    """As `replace` with a picture that is gone: the key goes on to the one after it."""

    def build(name: str) -> Effect:
        if name == "replace":
            raise ConfigError("effect.replace.picture: gone.png")
        return Effect(name)

    controls, compositor = Controls(4), Compositor(Effect("pixelate"))
    control = FeedControl(controls, compositor, build)
    controls.send(SetEffect())
    assert control.apply(3)
    assert compositor.effect.name == "chroma"
    assert controls.notice is not None
    expected = "effect chroma; replace left out: effect.replace.picture: gone.png"
    assert controls.notice.text == expected
    controls.send(SetEffect("replace"))
    assert not control.apply(4)
    assert compositor.effect.name == "chroma"
    controls.send(SetEffect("pixelate", 2))
    controls.send(SetEffect(None, 2))
    assert control.apply(5)
    assert compositor.own_effects == {}, "chroma again, as all"


def test_the_state_is_published_and_renewed_while_the_stream_stands_still() -> None:
    made = make("live")
    controls = made.wiring.controls
    assert controls.status is None
    with running(made):
        made.wiring.results.put(result(7))
        made.sink.await_count(1)
        wait_for(lambda: controls.status is not None)
        first = controls.status
        assert first is not None
        assert (first.step, first.effect, first.hidden) == (7, "highlight", False)
        controls.send(HideFeed())
        wait_for(lambda: controls.status is not None and controls.status.hidden)
        last = controls.status
        wait_for(lambda: controls.status is not last)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.005)
