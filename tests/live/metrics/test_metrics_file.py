"""The file of --metrics: rows, their schema, when they are written, disks that fail or hang."""

from __future__ import annotations

import errno
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from samcam.live import writer_thread
from samcam.live.cli.opening import open_renderer
from samcam.live.cli.plan import plan_request
from samcam.live.cli.run import Run
from samcam.live.config.request import Request
from samcam.live.errors import SinkError
from samcam.live.feed.delay import plan_delay
from samcam.live.frames import Frame, FrameResult, ObjectResult, ObjectState
from samcam.live.loop.pipeline import Wiring
from samcam.live.metrics.file import _LATE, MetricsWriter
from samcam.live.metrics.metrics import Metrics
from samcam.live.metrics.progress import Progress
from samcam.live.profiles import ProfileSaver
from samcam.live.sources.base import SourceInfo
from samcam.live.watchdog import Watchdog
from samcam.live.writer_thread import NotFinishedError
from samcam.system.files.rows import RowFile
from tests.helpers.bounds import WAIT_S
from tests.helpers.xvfb import wait_until

VIDEO, MASKS = "video:a.mp4", "masks:m"


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


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_rows_match_the_schema_and_are_appended(tmp_path: Path, repo_root: Path) -> None:
    schema = json.loads((repo_root / "docs/schemas/metrics.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    path = tmp_path / "metrics.jsonl"
    for run in range(2):
        with MetricsWriter(path) as writer:
            writer.expect([VIDEO])
            writer.write(result(5, 3, encode=1.25, decode=0.5), inference_age_ms=12.3456, dropped=2)
            assert len(rows_of(path)) == run, "its picture has not left"
            writer.left(VIDEO, 3)
            # Whole at once: a run killed here leaves this row.
            wait_until(lambda: len(rows_of(path)) == run + 1, "the row")  # noqa: B023
        writer.close()
    for row in rows_of(path):
        jsonschema.validate(row, schema)
        assert row.pop("source_age_ms") > 12.346  # since the clock began: the frame's time is 0
        assert row == {
            "frame": 5,
            "step": 3,
            "time_s": 0.2,
            "inference_age_ms": 12.346,
            "left": True,
            "stage_ms": {"encode": 1.25, "decode": 0.5},
            "objects": 2,
            "visible": 1,
            "dropped": 2,
        }


def test_a_row_counts_until_the_last_output_has_its_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where one output, or all, take a newer picture in its place."""
    now_ns = [0]
    monkeypatch.setattr("samcam.live.metrics.file.time.perf_counter_ns", lambda: now_ns[0])
    path = tmp_path / "m.jsonl"
    with MetricsWriter(path) as writer:
        writer.expect([VIDEO, MASKS])
        for step in range(4):
            writer.write(result(step, step), 0.0, 0)
        for ms, output, step in (
            *((10, VIDEO, 0), (20, MASKS, 0)),
            *((30, VIDEO, 1), (40, MASKS, 3)),
            (50, VIDEO, 3),
        ):
            now_ns[0] = ms * 1_000_000
            writer.left(output, step)
    rows = [(row["source_age_ms"], row["left"]) for row in rows_of(path)]
    assert rows == [(20.0, True), (30.0, True), (50.0, False), (50.0, True)]


def test_an_output_that_takes_no_pictures_keeps_few_rows_back(tmp_path: Path) -> None:
    """And the end of a run keeps none back."""
    path = tmp_path / "m.jsonl"
    with MetricsWriter(path) as writer:
        writer.expect([VIDEO])
        for step in range(_LATE + 5):
            writer.write(result(step, step), 0.0, 0)
        wait_until(lambda: len(rows_of(path)) == 5, "the oldest")
    assert [row["step"] for row in rows_of(path)] == list(range(_LATE + 5))


def test_a_row_waits_for_an_output_that_shows_it_later_on_purpose(tmp_path: Path) -> None:
    """At 60 fps 120 pictures are on their way in 2 s; rows of most said that they never left."""
    path, info = tmp_path / "m.jsonl", SourceInfo("c", "camera", (64, 48), 60.0, None, True)
    plan = plan_request(Request(overrides=("output.delay_ms=2000",)), None)
    delay = plan_delay(2000.0, info)
    assert delay is not None
    wiring = Wiring.build("live", command_queue=4)
    with MetricsWriter(path) as writer:
        run = Run(wiring, Metrics(), Progress(None, 1.0, lambda: 0.0), writer)
        profiles = ProfileSaver("demo", "nano", "sam2", None)
        loop = open_renderer(plan, ["none"], info, run, profiles)
        steps = delay.places + _LATE + 1
        for step in range(steps):
            writer.write(result(step, step), 0.0, 0)
        wait_until(lambda: rows_of(path) != [], "the one row too many")
        for step in range(steps):
            run.metrics.left("none", result(step, step))
    assert loop.close(False, time.monotonic() + WAIT_S) is None
    assert [row["left"] for row in rows_of(path)] == [False] + [True] * (steps - 1)


def test_unwritable_row_file(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match=r"none/m\.jsonl: cannot be written: No such file"):
        MetricsWriter(tmp_path / "none" / "m.jsonl")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, which Linux has")
def test_full_disk_is_an_output_error() -> None:
    with pytest.raises(SinkError, match="No space left"), MetricsWriter(Path("/dev/full")) as full:
        full.write(result(0, 0), 0.0, 0)
    full.close()  # nothing is kept back that could fail once more


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no named pipes in folders")
def test_a_pipe_whose_reader_has_gone_is_no_full_disk(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    writer = MetricsWriter(path)
    os.close(reader)
    said = "Broken pipe; expected a pipe that is read until the run ends; the rows before are whole"
    with pytest.raises(SinkError, match=said), writer:
        writer.write(result(0, 0), 0.0, 0)


def test_what_failed_is_said_before_the_file_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A close that failed as well, or hung, hid the full disk: the run ended as if all was well."""
    said: list[SinkError] = []

    def fill(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def close(_: RowFile) -> None:
        try:
            writer._check()
        except SinkError as error:
            said.append(error)
        raise ValueError("closed in an odd state")

    writer = MetricsWriter(tmp_path / "m.jsonl")
    monkeypatch.setattr(RowFile, "write", fill)
    with monkeypatch.context() as closing:
        closing.setattr(RowFile, "close", close)
        with pytest.raises(SinkError, match="No space left") as caught, writer:
            writer.write(result(0, 0), 0.0, 0)
    assert said == [caught.value]
    writer._file.close()


def test_a_disk_that_stands_still_is_named_and_waited_for_a_bounded_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody named it, and the end of the run waited for it for ever."""
    go, watchdog = threading.Event(), Watchdog(0.05)
    monkeypatch.setattr(writer_thread, "PATIENCE_S", 0.2)
    monkeypatch.setattr(RowFile, "write", lambda *_: go.wait(WAIT_S))
    path = tmp_path / "m.jsonl"
    writer = MetricsWriter(path, watchdog)
    told = f"--metrics {path} has taken nothing for "

    def run() -> None:
        with writer:
            writer.write(result(0, 0), 0.0, 0)
            wait_until(lambda: watchdog.hanging().startswith(told), told)

    with pytest.raises(NotFinishedError, match=r"not finished within 0\.2 s; the rows"):
        run()
    go.set()
    wait_until(lambda: watchdog.hanging() == "", "no longer")
