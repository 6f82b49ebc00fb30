"""Figures: percentiles, rates, drops, the summary, progress."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from samcam.live.effects.effects import Effect
from samcam.live.feed.compositor import compose
from samcam.live.frames import Frame, FrameResult, ObjectResult, ObjectState
from samcam.live.loop.observer import ObservedSink
from samcam.live.metrics.metrics import TOTAL, WINDOW, Metrics, peak_rss_mb
from samcam.live.metrics.progress import Progress
from samcam.live.metrics.summary import format_summary
from samcam.live.sinks.null import NullSink
from samcam.live.slots import Slot
from samcam.live.watchdog import Watchdog
from tests.helpers.bounds import RUN_TIMEOUT_S, WAIT_S
from tests.helpers.results import stand_in


def result(index: int, step: int, **stage_ms: float) -> FrameResult:
    image = np.zeros((8, 16, 3), np.uint8)
    seen = ObjectResult(
        1,
        ObjectState.TRACKING,
        "",
        np.ones((4, 4), np.float32),
        0.9,
        5.0,
        None,
        None,
        True,
        (),
        (16, 8),
    )
    lost = ObjectResult(2, ObjectState.LOST, "", None, 0.1, -5.0, None, None, False, (0,), (16, 8))
    return FrameResult(Frame(index, index * 40_000_000, 0, image), step, (seen, lost), stage_ms)


def test_percentiles_are_those_of_the_values() -> None:
    metrics = Metrics()
    for value in range(1, 102):
        metrics.record("encode", float(value))
    stats = metrics.snapshot().stages["encode"]
    assert (stats.count, stats.mean, stats.p50) == (101, 51.0, 51.0)
    assert (stats.p95, stats.p99) == (96.0, 100.0)


def test_window_is_bounded_and_holds_the_newest() -> None:
    metrics = Metrics()
    metrics.record("encode", 1.0)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(3 * WINDOW):
        metrics.record("encode", 7.0)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    stats = metrics.snapshot().stages["encode"]
    assert stats.count == 3 * WINDOW + 1
    assert stats.mean == stats.p50 == 7.0
    assert grown < 4096


def test_threads_lose_no_value() -> None:
    metrics = Metrics()

    def work() -> None:
        for _ in range(2000):
            metrics.record("compose", 1.0)
            metrics.count("clicks")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    snapshot = metrics.snapshot()
    assert snapshot.stages["compose"].count == snapshot.counters["clicks"] == 8000


def test_processed_frames_drops_and_source_age() -> None:
    metrics = Metrics()
    slot: Slot[int] = Slot("newest")
    metrics.watch_drops("frames", lambda: slot.dropped)
    for index in range(4):
        metrics.captured()
        slot.put(index)
        metrics.processed(result(index, index, encode=2.0, decode=1.0), source_age_ms=10.0 * index)
    snapshot = metrics.snapshot()
    assert (snapshot.captured, snapshot.processed) == (4, 4)
    assert snapshot.dropped == {"frames": 3}
    assert snapshot.stages["source_age"].mean == 15.0
    assert snapshot.stages["encode"].p99 == 2.0
    assert snapshot.source_fps > 0
    assert snapshot.elapsed_s > 0


def test_timing_leaves_out_what_failed() -> None:
    metrics = Metrics()
    with metrics.timing("compose"):
        pass
    with pytest.raises(ZeroDivisionError), metrics.timing("compose"):
        raise ZeroDivisionError
    assert metrics.snapshot().stages["compose"].count == 1


def test_peak_rss_grows_with_what_is_used() -> None:
    before = peak_rss_mb()
    assert before is not None
    filled = np.ones(64 * 1024 * 1024, np.uint8)
    after = peak_rss_mb()
    assert after is not None
    assert filled.nbytes == 64 * 1024 * 1024
    assert 5 < before <= after < 100_000


def test_peak_rss_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resource", None)
    assert peak_rss_mb() is None
    assert "not available" in format_summary(Metrics().snapshot(), "quit")


def test_summary_names_everything() -> None:
    metrics = Metrics()
    metrics.watch_drops("frames", lambda: 3)
    metrics.count("broken frames", 2)
    metrics.record("video:out.mp4", 4.0)
    metrics.record("total video:out.mp4", 30.0)
    metrics.captured()
    metrics.processed(result(0, 0, encode=2.0), 5.0)
    text = format_summary(metrics.snapshot(), "end of the source")
    for part in (
        "end of the source",
        "1 of 1 frames",
        "frames 3",
        "broken frames 2",
        "mean 5.0 ms, p95 5.0 ms when inference starts",
        "mean 30.0 ms, p95 30.0 ms when the picture leaves",
        "MiB",
        "encode",
        "video:out.mp4",
    ):
        assert part in text
    assert text.splitlines()[-1].split() == [
        "total",
        "video:out.mp4",
        "30.00",
        "30.00",
        "30.00",
        "1",
    ]


def test_summary_of_a_run_without_frames() -> None:
    assert "0 of 0 frames" in format_summary(Metrics().snapshot(), "interrupted")


def test_progress_lines() -> None:
    known, endless = Progress(120, 0.5), Progress(None, 0.5)
    known._done = 30
    assert known.line(29, 2.0) == "frame 30 of 120, 15.0 fps, 6 s left"
    endless._done = 30
    assert endless.line(40, 2.0) == "frame 40, 15.0 fps"


def test_progress_is_logged_where_there_is_no_terminal(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("INFO")
    progress = Progress(10, period_s=0.0)
    with progress.log_above_bar():
        for index in range(10):
            progress.update(index)
    progress.close()
    assert "frame 10 of 10" in caplog.records[-1].getMessage()
    assert len(caplog.records) == 10
    assert capsys.readouterr().err == ""


def test_progress_bar_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bar follows source frames, so dropped ones count as passed; no thread stays behind."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    progress = Progress(10, period_s=0.0)
    for index in (0, 4, 9):
        progress.update(index)
    progress.close()
    progress.close()
    assert "10/10" in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a pseudo-terminal")
def test_progress_bar_on_a_terminal_without_a_size(repo_root: Path) -> None:
    """A terminal may say 0 x 0, as `script` and containers do; tqdm alone then drew nothing."""
    program = (
        "from samcam.live.metrics.progress import Progress\n"
        "progress = Progress(2, 1.0)\n"
        "progress.update(0); progress.update(1); progress.close()\n"
    )
    ours, theirs = os.openpty()
    try:
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=repo_root,
            stderr=theirs,
            timeout=RUN_TIMEOUT_S,
            check=True,
        )
        assert b"2/2" in os.read(ours, 65536)
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_repeated_picture_is_not_late() -> None:
    """It is sent again because of a command, however long ago its frame was grabbed."""
    metrics = Metrics()
    sink = ObservedSink(NullSink(), metrics, Watchdog())
    made = compose(result(0, 0), Effect())
    sink.put(made)
    sink.put(replace(made, repeats=True))
    sink.put(stand_in(made, 5))
    assert metrics.snapshot().stages[f"{TOTAL} {sink.name}"].count == 1
