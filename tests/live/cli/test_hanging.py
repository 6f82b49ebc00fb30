"""A stage that hangs is said where its user looks, and no longer once it goes on."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from samcam.live.commands import HideFeed
from samcam.live.effects.effects import Effect
from samcam.live.feed.compositor import Compositor
from samcam.live.frames import Composite, Frame, FrameResult
from samcam.live.loop.observer import ObservedSink
from samcam.live.loop.pipeline import Wiring
from samcam.live.loop.render import RenderLoop, RenderOptions
from samcam.live.metrics.metrics import Metrics
from samcam.live.remote.command_text import PromptContext
from samcam.live.remote.desk import CommandDesk
from samcam.live.sinks.choose import Outputs
from samcam.live.sinks.worker import SinkWorker
from samcam.live.watchdog import Watchdog
from samcam.live.window.drawing.status_line import fit_parts, status_parts
from samcam.live.window.drawing.text import AMBER, LINE_PX, text_width, write
from tests.conftest import REPO_ROOT, RunCli
from tests.helpers.bounds import RUN_TIMEOUT_S, WAIT_S
from tests.helpers.live_run import ENDLESS, Run, running, without_display
from tests.helpers.xvfb import Display, Window, wait_until

SIZE_WH = (640, 360)
ALIKE = 0.9  # correlation of a line of text with itself on a ground of its own
TOLD = {
    "read": "the source has not answered for",
    "step": "a step has taken",
    "put": "output video:x.mp4 has taken no picture for",
}


class Held:
    """An output that takes a picture and does not come back until it may."""

    name = "video:x.mp4"

    def __init__(self) -> None:
        self.go = threading.Event()

    def put(self, composite: Composite) -> None:
        self.go.wait()  # the test sets it, whatever happens

    def close(self) -> None:
        """Nothing to release."""


def result(step: int) -> FrameResult:
    image = np.full((6, 8, 3), step, np.uint8)
    return FrameResult(Frame(step, step * 10**8, time.perf_counter_ns(), image), step, ())


def test_an_output_that_everything_waits_for_is_told_while_it_is_waited_for() -> None:
    """The state of the run stood still while the loop waited for room, and said nothing of it."""
    wiring = replace(Wiring.build("all", command_queue=4), watchdog=Watchdog(0.05))
    held, metrics = Held(), Metrics()
    sink = ObservedSink(held, metrics, wiring.watchdog)
    outputs = Outputs((SinkWorker(sink, "blocking", "sink-video"),))
    loop = RenderLoop(wiring, Compositor(Effect()), outputs, RenderOptions(), metrics)
    thread = threading.Thread(target=loop.run)
    thread.start()

    def trouble() -> str:
        status = wiring.controls.status
        return "" if status is None else status.trouble

    try:
        for step in range(3):  # one inside the output, one in its slot, one waits for room
            assert wiring.results.put(result(step), WAIT_S)
        wait_until(lambda: trouble().startswith(TOLD["put"]), "the output named")
        status = wiring.controls.status
        texts = [part.text for part in fit_parts(status_parts(status, 1, False, ()), 900)]
        assert any(text.startswith(TOLD["put"]) for text in texts), texts
        held.go.set()
        wait_until(lambda: trouble() == "", "the output no longer named")
    finally:
        held.go.set()
        wiring.stop.set()
        thread.join(WAIT_S)
        assert loop.close(False, time.monotonic() + WAIT_S) is None


def test_the_panic_key_hides_at_once_while_an_output_blocks_the_run() -> None:
    """It waited until the blocked file took the next picture; the camera showed all meanwhile."""
    wiring, held = Wiring.build("all", command_queue=4), Held()
    seen: list[Composite] = []

    class Camera:
        name = "virtualcam:memory"

        def put(self, composite: Composite) -> None:
            seen.append(composite)

        def close(self) -> None:
            """Nothing to release."""

    workers = tuple(SinkWorker(sink, "blocking", f"sink-{sink.name}") for sink in (held, Camera()))
    loop = RenderLoop(wiring, Compositor(Effect()), Outputs(workers), RenderOptions(), Metrics())
    thread = threading.Thread(target=loop.run)
    thread.start()
    try:
        for step in range(3):
            assert wiring.results.put(result(step), WAIT_S)
        wait_until(lambda: len(seen) == 3, "the camera has what the file has no room for")
        assert not seen[-1].hidden
        assert wiring.controls.send(HideFeed(True))
        wait_until(lambda: seen[-1].panic and seen[-1].hidden, "hidden")
        held.go.set()
        assert wiring.results.put(result(3), WAIT_S)
        wait_until(lambda: seen[-1].result.step == 3, "the next picture")
        assert all(one.panic for one in seen[3:])
    finally:
        held.go.set()
        wiring.stop.set()
        thread.join(WAIT_S)
        assert loop.close(False, time.monotonic() + WAIT_S) is None


def test_before_the_first_picture_ctl_status_says_what_hangs() -> None:
    wiring = replace(Wiring.build("live", command_queue=4), watchdog=Watchdog(0.05))
    desk = CommandDesk(wiring.controls, PromptContext((8, 6)))
    loop = RenderLoop(wiring, Compositor(Effect()), Outputs(()), RenderOptions(), Metrics())
    thread, go = threading.Thread(target=loop.run), threading.Event()

    def read() -> None:
        with wiring.watchdog.watching("source x: read", TOLD["read"]):
            go.wait(WAIT_S)

    reader = threading.Thread(target=read)
    try:
        thread.start()
        reader.start()
        said = f"no picture has been processed yet: {TOLD['read']} "
        wait_until(lambda: said in desk.answer(["status"], Path()).text, said)
    finally:
        go.set()
        wiring.stop.set()
        reader.join(WAIT_S)
        thread.join(WAIT_S)


def test_the_status_has_what_is_done_with_the_picture_and_what_hangs() -> None:
    wiring = replace(Wiring.build("live", command_queue=4), watchdog=Watchdog(0.05))
    options = RenderOptions(recording=True, source_kind="camera")
    loop = RenderLoop(wiring, Compositor(Effect("blur")), Outputs(()), options, Metrics())
    thread = threading.Thread(target=loop.run)
    thread.start()
    try:
        assert wiring.results.put(result(0), WAIT_S)
        wait_until(lambda: wiring.controls.status is not None, "a status")
        assert wiring.controls.send(HideFeed(True))
        wait_until(lambda: bool((now := wiring.controls.status) and now.hidden), "hidden")
        status = wiring.controls.status
        assert status is not None
        assert (status.effect, status.recording, status.source_kind) == ("blur", True, "camera")
        assert status.trouble == ""
        with wiring.watchdog.watching("inference: step", TOLD["step"]):
            wait_until(
                lambda: bool((now := wiring.controls.status) and TOLD["step"] in now.trouble),
                "a hang is the trouble",
            )
        wait_until(lambda: bool((now := wiring.controls.status) and not now.trouble), "over")
    finally:
        wiring.stop.set()
        thread.join(WAIT_S)
        assert loop.close(False, time.monotonic() + WAIT_S) is None


def test_a_call_within_a_call_is_named_alone(caplog: pytest.LogCaptureFixture) -> None:
    """The inner one took the outer one's place, whose end was then an error."""
    watchdog = Watchdog(0.05)
    with caplog.at_level(logging.INFO), watchdog.watching("outer", "outer has taken"):
        with watchdog.watching("inner", "inner has taken"):
            wait_until(lambda: watchdog.hanging() != "", "what hangs")
            said = watchdog.hanging()
            assert said.startswith("inner has taken ")
            assert "outer" not in said
        watchdog._patience_s = WAIT_S  # a busy machine may stop here for a while
        assert watchdog.hanging() == ""
    assert watchdog.hanging() == ""


def says(window: Window, text: str) -> bool:
    """Whether a line of the window's own holds these words."""
    line = np.zeros((LINE_PX, text_width(text), 3), np.uint8)
    write(line, text, (0, LINE_PX - 6), AMBER)
    shot = cv2.cvtColor(window.screenshot(), cv2.COLOR_BGR2GRAY)
    words = cv2.cvtColor(line, cv2.COLOR_BGR2GRAY)
    return float(cv2.matchTemplate(shot, words, cv2.TM_CCOEFF_NORMED).max()) > ALIKE


@pytest.mark.window
@pytest.mark.slow
def test_the_window_says_which_stage_hangs_until_it_goes_on(
    display: Display, run_cli: RunCli, control_folder: Path, tmp_path: Path
) -> None:
    """One after the other source, tracker and output hang; the line goes when they are back."""
    scene = ("--set", f"source.demo_size=[{SIZE_WH[0]}, {SIZE_WH[1]}]")
    outputs = ("--output", "window", "--output", "video:x.mp4")
    words = ("-m", "tests.helpers.hanging_program", str(tmp_path))
    environment = {**display.environment, "PYTHONPATH": str(REPO_ROOT)}
    arguments = (*ENDLESS, *scene, *outputs)
    with running(arguments, run_cli, tmp_path, environment, words) as run:
        window = display.find_window("SamCam", lambda: run.process.poll() is None)
        for stage, told in TOLD.items():
            assert not says(window, told)
            (tmp_path / stage).touch()
            wait_until(lambda: says(window, told), told)  # noqa: B023
            wait_until(lambda: trouble_of(run).startswith(told), f"ctl status: {told}")  # noqa: B023
            (tmp_path / stage).unlink()
            wait_until(lambda: not says(window, told), f"no longer: {told}")  # noqa: B023
            wait_until(lambda: trouble_of(run) == "", f"ctl status no longer: {told}")
        window.key("q", "q")
        assert run.process.wait(WAIT_S) == 0


def trouble_of(run: Run) -> str:
    status = run.status()
    assert status is not None
    return str(status["trouble"])


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="sets the size of a pipe")
def test_a_recording_and_a_metrics_file_that_hang_are_named_and_do_not_keep_the_run(
    run_cli: RunCli, control_folder: Path, tmp_path: Path
) -> None:
    """Nobody watched them: the run stood still, silently, and its end waited for ever."""
    import fcntl

    os.mkfifo(tmp_path / "m.jsonl")
    reader = os.open(tmp_path / "m.jsonl", os.O_RDONLY | os.O_NONBLOCK)  # and never reads
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
    scene = ("--set", "source.demo_size=[64, 48]", "--set", "source.fps=6")
    outputs = ("--output", "none", "--metrics", "m.jsonl", "--record", "rec")
    words = ("-m", "tests.helpers.hanging_program", str(tmp_path))
    environment = {**without_display(), "PYTHONPATH": str(REPO_ROOT)}
    try:
        with running((*ENDLESS, *scene, *outputs), run_cli, tmp_path, environment, words) as run:
            (tmp_path / "write").touch()
            for option, told in (
                ("--record rec", "the recording has taken nothing for"),
                ("--metrics m.jsonl", "--metrics m.jsonl has taken nothing for"),
            ):
                said = f"{option}: write: hangs, for "
                wait_until(lambda: said in run.log.read_text(), said)  # noqa: B023
                wait_until(lambda: told in trouble_of(run), told)  # noqa: B023
            run.process.send_signal(signal.SIGINT)
            assert run.process.wait(RUN_TIMEOUT_S) == 130
    finally:
        os.close(reader)
    log = run.log.read_text()
    assert "written = self._file.write(data)" in log, "its stack"
    assert "helpers/hanging_program.py" in log
    for option in ("--record rec", "--metrics m.jsonl"):
        assert f"{option}: not finished within 2 s; " in log
    assert "Traceback" not in log
