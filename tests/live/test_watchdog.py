"""A stage that hangs is named with its stack; a blocked output does not keep a run for ever."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from samcam.live.effects.effects import Effect
from samcam.live.errors import SinkError
from samcam.live.feed.compositor import compose
from samcam.live.frames import Composite
from samcam.live.sinks import worker as worker_module
from samcam.live.sinks.worker import SinkWorker
from samcam.live.watchdog import THREAD_NAME, Watchdog, announced_wait, note_progress
from tests.conftest import REPO_ROOT
from tests.helpers.bounds import RUN_TIMEOUT_S, WAIT_S
from tests.helpers.live_run import without_display
from tests.helpers.results import result_of
from tests.helpers.xvfb import wait_until


def test_what_hangs_is_named_once_with_its_stack(caplog: pytest.LogCaptureFixture) -> None:
    go, watchdog = threading.Event(), Watchdog(0.05)

    def hang_in_here() -> None:
        with watchdog.watching("source x: read"):
            go.wait(WAIT_S)

    with caplog.at_level(logging.INFO), watchdog:
        thread = threading.Thread(target=hang_in_here)
        thread.start()
        wait_until(lambda: "hangs, for" in caplog.text, "the message", WAIT_S)
        assert "source x: read has taken " in watchdog.hanging()
        go.set()
        thread.join(WAIT_S)
        assert watchdog.hanging() == ""
    assert "hang_in_here" in caplog.text
    assert "go.wait(WAIT_S)" in caplog.text
    assert "source x: read: went on after " in caplog.text
    assert not any(thread.name == THREAD_NAME for thread in threading.enumerate())


def test_what_is_quick_is_not_named(caplog: pytest.LogCaptureFixture) -> None:
    watchdog = Watchdog()
    with caplog.at_level(logging.INFO), watchdog:
        for _ in range(1000):
            with watchdog.watching("step"):
                assert watchdog.hanging() == ""
    assert caplog.text == ""


@pytest.fixture
def clock_s(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the watchdog's clock says, in seconds: a busy machine passes none of them."""
    now_s = [0.0]
    monkeypatch.setattr("samcam.live.watchdog.time.monotonic", lambda: now_s[0])
    return now_s


def test_what_gets_on_is_no_hang(clock_s: list[float]) -> None:
    watchdog = Watchdog(0.05)
    with watchdog.watching("step"):
        clock_s[0] += 0.2
        assert watchdog.hanging() == "step has taken 0 s"
        note_progress()
        assert watchdog.hanging() == ""


def test_an_announced_wait_is_no_hang(clock_s: list[float]) -> None:
    watchdog = Watchdog(0.05)
    with watchdog.watching("source x: read"):
        with announced_wait():
            clock_s[0] += 0.2
            assert watchdog.hanging() == ""
        clock_s[0] += 0.2
        assert watchdog.hanging() == "source x: read has taken 0 s"


def test_a_blocked_output_ends_in_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of a run that had to write everything waited for it for ever."""
    go = threading.Event()

    class Blocked:
        name = "video:x.mp4"

        def put(self, composite: Composite) -> None:
            go.wait(WAIT_S)

        def close(self) -> None:
            pass

    monkeypatch.setattr(worker_module, "BLOCKED_S", 0.1)
    worker = SinkWorker(Blocked(), "blocking", "sink-video")
    worker.start()
    picture = np.zeros((4, 6, 3), np.uint8)
    worker.put(compose(result_of(picture, (), 0, 0), Effect("highlight")), WAIT_S)
    error = worker.finish(None)
    go.set()
    worker.finish(None)
    assert isinstance(error, SinkError)
    assert "video:x.mp4: has taken nothing for 0.1 s; its end is missing" in str(error)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="pipes of POSIX")
def test_ctrl_c_while_an_output_and_a_source_are_pipes_that_nobody_uses(tmp_path: Path) -> None:
    """The program says what it waits for, names the stage, and ends with 130 on Ctrl-C."""
    os.mkfifo(tmp_path / "out.mp4")
    os.mkfifo(tmp_path / "in.mp4")
    program = [sys.executable, str(REPO_ROOT / "run_live.py"), "--pace", "all"]
    small = ("--set", "source.demo_size=[64, 48]", "--set", "source.demo_frames=0")
    for arguments, said in (
        (
            ("--source", "in.mp4", "--output", "none"),
            "in.mp4: a pipe: waiting for a program",
        ),
        (
            ("--source", "demo", *small, "--output", "video:out.mp4"),
            "output video:out.mp4: write: hangs, for",
        ),
    ):
        log = tmp_path / "log.txt"
        with (
            log.open("w") as output,
            subprocess.Popen(
                [*program, *arguments],
                cwd=tmp_path,
                env=without_display(),
                stdout=output,
                stderr=output,
            ) as process,
        ):
            wait_until(lambda: said in log.read_text(), said, RUN_TIMEOUT_S)  # noqa: B023
            process.send_signal(signal.SIGINT)
            code = process.wait(RUN_TIMEOUT_S)
        text = log.read_text()
        assert code == 130, text
        assert "Traceback" not in text
        assert "terminate called" not in text
    assert "out.mp4: a pipe: waiting for a program that reads it" in text
