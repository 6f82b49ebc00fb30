"""The SINK grammar, opening several outputs, and the worker that isolates each of them."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from samcam.live.effects.effects import Effect
from samcam.live.errors import ConfigError, SinkError
from samcam.live.feed.compositor import compose
from samcam.live.frames import Composite
from samcam.live.sinks.choose import SinkOptions, SinkSpec, open_sinks, parse_sinks
from samcam.live.sinks.worker import SinkWorker
from samcam.live.sources.base import SourceInfo
from tests.helpers.bounds import WAIT_S
from tests.helpers.results import MS, result_of, textured

INFO = SourceInfo("demo", "demo", (96, 64), 25.0, None, live=False)


def composite(index: int) -> Composite:
    return compose(result_of(textured((8, 6)), (), index, index * 40 * MS), Effect())


@dataclass
class ScriptedSink:
    """Keeps frame indices; can be made to wait or to fail."""

    name: str = "scripted"
    fail_at: int | None = None
    fail_close: bool = False
    gate: threading.Event = field(default_factory=threading.Event)
    entered: threading.Event = field(default_factory=threading.Event)
    indices: list[int] = field(default_factory=list)
    threads: set[str] = field(default_factory=set)
    closed: int = 0

    def __post_init__(self) -> None:
        self.gate.set()

    def put(self, item: Composite) -> None:
        self.threads.add(threading.current_thread().name)
        self.entered.set()
        assert self.gate.wait(WAIT_S)
        if item.result.frame.index == self.fail_at:
            raise SinkError("scripted: broke")
        self.indices.append(item.result.frame.index)

    def close(self) -> None:
        self.closed += 1
        if self.fail_close:
            raise SinkError("scripted: did not close")


def test_the_grammar() -> None:
    texts = ("window", "video:out/a b.mp4", "masks:c:d", "none")
    assert parse_sinks(texts) == (
        SinkSpec("window"),
        SinkSpec("video", Path("out/a b.mp4")),
        SinkSpec("masks", Path("c:d")),
        SinkSpec("none"),
    )


def test_all_problems_come_at_once() -> None:
    texts = (
        "virtualcam:", "web:8080", "screen", "video:", "masks", "video:a.avi", "video:a.mp4/",
        "window:1", "none", "none", "masks:x", "masks:y/../x",
    )  # fmt: skip
    with pytest.raises(ConfigError) as caught:
        parse_sinks(texts)
    starts = [problem.split("expected")[0] for problem in caught.value.problems]
    assert starts == [
        "--output virtualcam:: no name; ",
        "--output web:8080: unknown; ",
        "--output screen: unknown; ",
        "--output video:: no name; ",
        "--output masks: no name; ",
        "--output video:a.avi: ",
        "--output video:a.mp4/: ",
        "--output window:1: window takes nothing after it; ",
        "--output none: given twice; ",
        "--output masks:y/../x: given twice; ",
    ]


@pytest.mark.parametrize(
    ("kind", "source", "output"),
    [
        ("file", "in.mp4", "video:in.mp4"),
        ("folder", "frames", "masks:frames"),
        ("picture", "frames/1.png", "masks:frames"),
    ],
)
def test_the_source_is_not_written_over(
    kind: str, source: str, output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "frames").mkdir()
    (tmp_path / "in.mp4").write_bytes(b"film")
    info = SourceInfo(str(tmp_path / source), kind, (96, 64), 25.0, 9, live=False)
    with pytest.raises(ConfigError, match=f"--output {output}: this is where --source"):
        open_sinks((output,), SinkOptions(), info)
    assert (tmp_path / "in.mp4").read_bytes() == b"film"


def test_the_source_is_not_written_over_by_another_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--source=~/in.mp4` was overwritten by `--output video:in.mp4` in the home folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "in.mp4").write_bytes(b"film")
    os.link(tmp_path / "in.mp4", tmp_path / "linked.mp4")
    for source, output in (("~/in.mp4", "video:in.mp4"), ("in.mp4", "video:linked.mp4")):
        info = SourceInfo(source, "file", (96, 64), 25.0, 9, live=False)
        with pytest.raises(ConfigError, match="this is where --source"):
            open_sinks((output,), SinkOptions(), info)
    assert (tmp_path / "in.mp4").read_bytes() == b"film"


def test_several_of_a_kind_have_threads_of_their_own(tmp_path: Path) -> None:
    texts = [f"video:{tmp_path}/{name}.mp4" for name in "ab"] + [f"masks:{tmp_path}/m"]
    opened = open_sinks(texts, SinkOptions(), INFO)
    names = [worker.thread_name for worker in opened.workers]
    assert names == ["sink-video", "sink-video-2", "sink-masks"]
    assert opened.window is None
    for worker in opened.workers:
        assert worker.finish(None) is None


def test_one_that_cannot_be_opened_closes_the_others(tmp_path: Path) -> None:
    closed: list[str] = []

    @dataclass
    class Wrapped:
        name: str

        def put(self, item: Composite) -> None:
            raise AssertionError

        def close(self) -> None:
            closed.append(self.name)

    with pytest.raises(SinkError, match="/proc/nowhere"):
        open_sinks(
            (f"video:{tmp_path}/a.mp4", "none", "masks:/proc/nowhere"),
            SinkOptions(),
            INFO,
            lambda sink: Wrapped(sink.name),
        )
    assert closed == [f"video:{tmp_path}/a.mp4", "none"]


def test_a_blocking_worker_writes_everything_in_order() -> None:
    sink = ScriptedSink()
    worker = SinkWorker(sink, "blocking", "sink-scripted")
    worker.start()
    for index in range(50):
        assert worker.put(composite(index), WAIT_S)
    assert worker.finish(None) is None
    assert (sink.indices, sink.closed, worker.dropped) == (list(range(50)), 1, 0)
    assert sink.threads == {"sink-scripted"}


def test_a_slow_sink_in_live_pace_drops_the_oldest_and_stalls_nobody() -> None:
    sink = ScriptedSink()
    sink.gate.clear()
    worker = SinkWorker(sink, "newest", "sink-scripted")
    worker.start()
    assert worker.put(composite(0))
    assert sink.entered.wait(WAIT_S)
    for index in range(1, 20):
        assert worker.put(composite(index), 0)
    sink.gate.set()
    assert worker.finish(None) is None
    assert (sink.indices, worker.dropped) == ([0, 19], 18)


@pytest.mark.parametrize(
    ("name", "expected", "dropped"), [("masks:x", [0, 1], 0), ("virtualcam", [0, 1], 1)]
)
def test_a_repeated_frame_takes_no_frame_from_a_file(
    name: str, expected: list[int], dropped: int
) -> None:
    """The panic key while a file is behind: the frame that waits must still be written."""
    sink = ScriptedSink(name)
    sink.gate.clear()
    worker = SinkWorker(sink, "newest", "sink-scripted")
    worker.start()
    worker.put(composite(0))
    assert sink.entered.wait(WAIT_S)
    waiting = composite(1)
    worker.put(waiting)
    assert worker.put(replace(waiting, repeats=True))
    sink.gate.set()
    assert worker.finish(None) is None
    assert sink.indices == expected
    assert worker.dropped == dropped


def test_no_room_in_a_blocking_slot_is_said() -> None:
    sink = ScriptedSink()
    sink.gate.clear()
    worker = SinkWorker(sink, "blocking", "sink-scripted")
    worker.start()
    assert worker.put(composite(0), WAIT_S)
    assert sink.entered.wait(WAIT_S)
    assert worker.put(composite(1), 0)
    assert not worker.put(composite(2), 0)
    sink.gate.set()
    assert worker.finish(None) is None
    assert sink.indices == [0, 1]


def test_an_error_reaches_whoever_puts_and_the_sink_is_closed_once() -> None:
    sink = ScriptedSink(fail_at=1, fail_close=True)
    worker = SinkWorker(sink, "blocking", "sink-scripted")
    worker.start()

    def put_until_it_fails() -> None:
        for index in range(1000):
            worker.put(composite(index), WAIT_S)

    with pytest.raises(SinkError, match="scripted: broke"):
        put_until_it_fails()
    with pytest.raises(SinkError, match="scripted: broke"):
        worker.check()
    assert str(worker.finish(None)) == "scripted: broke", "the first error, not the close's"
    assert (sink.indices, sink.closed) == ([0], 1)


def test_an_error_while_closing_is_reported() -> None:
    for started in (True, False):
        worker = SinkWorker(ScriptedSink(fail_close=True), "newest", "sink-scripted")
        if started:
            worker.start()
        assert str(worker.finish(None)) == "scripted: did not close"


def test_closing_has_a_time_budget(caplog: pytest.LogCaptureFixture) -> None:
    sink = ScriptedSink()
    sink.gate.clear()
    worker = SinkWorker(sink, "newest", "sink-scripted")
    worker.start()
    worker.put(composite(0))
    assert sink.entered.wait(WAIT_S)
    assert worker.finish(time.monotonic()) is None
    assert "scripted: not finished in time" in caplog.text
    sink.gate.set()
    assert worker.finish(None) is None
    assert (sink.indices, sink.closed) == ([0], 1)


def test_a_picture_is_shared_not_copied() -> None:
    kept: list[Composite] = []

    class Keeping(ScriptedSink):
        def put(self, item: Composite) -> None:
            kept.append(item)

    given = composite(0)
    for _ in range(2):
        worker = SinkWorker(Keeping(), "blocking", "sink-scripted")
        worker.start()
        worker.put(given, WAIT_S)
        worker.finish(None)
    assert kept[0] is kept[1] is given
    with pytest.raises(ValueError, match="read-only"):
        np.copyto(given.feed_bgr, 0)
