"""`--output virtualcam`: what a program sees that chose this camera."""

from __future__ import annotations

import itertools
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from run_live import main
from samcam.live.cli.plan import choose_pace, is_watched
from samcam.live.effects.effects import Effect
from samcam.live.feed.compositor import compose
from samcam.live.feed.cover import NO_SIGNAL, STARTING, captioned, cover
from samcam.live.frames import U8, Composite
from samcam.live.sinks import virtualcam as virtualcam_module
from samcam.live.sinks.choose import SinkSpec, parse_sinks
from samcam.live.sinks.virtualcam import (
    MODPROBE,
    NoVirtualCameraError,
    VirtualCameraOptions,
    VirtualCameraSink,
    even_size,
    fit_picture,
    fix_command,
    linux_device,
    open_virtual_camera,
)
from samcam.live.sources.base import SourceInfo
from samcam.live.sources.demo.scene import DemoScene
from samcam.live.watchdog import Watchdog
from samcam.live.window.window import WindowOptions
from tests.conftest import DISPLAY_VARIABLES, REPO_ROOT
from tests.helpers.bounds import RUN_TIMEOUT_S, WAIT_S
from tests.helpers.results import result_of, textured
from tests.helpers.synthetic_video import MjpegServer
from tests.helpers.xvfb import Display, wait_until

NO_SUCH = "virtualcam:no such device"
DEMO = ("--source", "demo", "--set", "source.demo_frames=3", "--set", "source.demo_size=[96,64]")


@dataclass(frozen=True, eq=False)
class Sent:
    """What the camera in memory got: times in s, the number of each picture, the pictures.

    `beats_s` are times in s at which a metronome of the same rate beat beside it.
    """

    times_s: np.ndarray
    beats_s: np.ndarray
    order: np.ndarray
    fps: float
    pictures: np.ndarray

    @classmethod
    def read(cls, path: Path) -> Sent:
        with np.load(path) as data:
            times_s, beats_s = data["times_s"], data["beats_s"]
            return cls(times_s, beats_s, data["order"], float(data["fps"]), data["pictures"])


@contextmanager
def running(
    folder: Path, *arguments: str, break_after: int = 0, display: str | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Run the program with the camera in memory; its report is `folder/sent.npz`."""
    environment = {k: v for k, v in os.environ.items() if k not in DISPLAY_VARIABLES}
    if display is not None:
        environment["DISPLAY"] = display
    program = (sys.executable, "-m", "tests.helpers.virtualcam_program")
    process = subprocess.Popen(
        [*program, str(folder / "sent.npz"), str(break_after), *arguments],
        cwd=REPO_ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=RUN_TIMEOUT_S)


def composite(picture: U8) -> Composite:
    return compose(result_of(picture, (), 0, 0), Effect())


def test_a_real_run_sends_the_pictures_in_an_even_size(tmp_path: Path) -> None:
    """97x65 becomes 98x66 by one more column and row; pixels are the scene's, in BGR."""
    size = ("--set", "source.demo_size=[97,65]", "--set", "source.demo_frames=15")
    with running(tmp_path, "--source", "demo", *size, "--output", "virtualcam:memory") as process:
        text, _ = process.communicate(timeout=RUN_TIMEOUT_S)
    assert process.returncode == 0, text
    assert "virtual camera memory (memory): 98x66 at 30 fps" in text
    sent = Sent.read(tmp_path / "sent.npz")
    assert sent.pictures.shape[1:] == (66, 98, 3)
    scene = DemoScene((97, 65))
    wanted = {
        np.pad(scene.render(index)[0], ((0, 1), (0, 1), (0, 0)), "edge").tobytes()
        for index in range(15)
    }
    card = captioned(cover((97, 65), None, 0), STARTING).feed_bgr
    before = [np.zeros((66, 98, 3), np.uint8), np.pad(card, ((0, 1), (0, 1), (0, 0)), "edge")]
    opening = {picture.tobytes() for picture in before}
    rest = list(itertools.dropwhile(lambda p: p.tobytes() in opening, sent.pictures))
    assert 0 < len(rest) < len(sent.pictures)
    assert all(picture.tobytes() in wanted for picture in rest)


@pytest.mark.parametrize(
    ("effect", "colour"), [("blur", (32, 32, 32)), ("chroma", (0, 255, 0)), ("replace", (32,) * 3)]
)
def test_nothing_of_the_room_is_sent_without_an_object(
    effect: str, colour: tuple[int, int, int], tmp_path: Path
) -> None:
    """Before the first click every picture is black, "starting", or what the effect hides with."""
    size = ("--set", "source.demo_size=[96,64]", "--set", "source.demo_frames=12")
    outputs = ("--output", "virtualcam", "--effect", effect)
    with running(tmp_path, "--source", "demo", *size, *outputs) as process:
        text, _ = process.communicate(timeout=RUN_TIMEOUT_S)
    assert process.returncode == 0, text
    sent = Sent.read(tmp_path / "sent.npz")
    corners = {tuple(picture[0, 0].tolist()) for picture in sent.pictures}
    assert corners <= {(0, 0, 0), colour}
    assert len(sent.pictures) <= 3, "no movement of the room either"
    assert (sent.pictures[sent.order[-1]] == colour).all()


SLOW = """
import sys, time
from samcam.live.tracker.tracker import Tracker
from tests.helpers import virtualcam_program
step = Tracker.step
def slow_step(self, frame):
    time.sleep(0.8)
    return step(self, frame)
Tracker.step = slow_step
sys.exit(virtualcam_program.main())
"""


def test_a_slow_model_is_no_lost_signal(tmp_path: Path) -> None:
    """Every frame of a network camera, each inferred for longer than a signal may be away: it was
    "no signal" again and again, though the camera was fine."""
    server = MjpegServer(per_connection=100_000)
    command = [sys.executable, "-c", SLOW, str(tmp_path / "sent.npz"), "0", "--pace", "all"]
    with server.serve() as url:
        process = subprocess.Popen(
            [*command, "--source", url, "--output", "virtualcam"],
            cwd=REPO_ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        try:
            count = tmp_path / "sent.sent"
            wait_until(lambda: count.exists() and count.stat().st_size > 90, "three seconds")
            process.send_signal(signal.SIGINT)
            text, _ = process.communicate(timeout=RUN_TIMEOUT_S)
        finally:
            process.kill()
    assert process.returncode == 130, text
    sent = Sent.read(tmp_path / "sent.npz")
    card = captioned(cover((96, 64), None, 0), NO_SIGNAL).feed_bgr
    assert all((picture != card).any() for picture in sent.pictures)
    starting = captioned(cover((96, 64), None, 0), STARTING).feed_bgr
    assert any((picture == starting).all() for picture in sent.pictures)
    assert sent.pictures[sent.order[-1]].std() > 20, "the last picture stays"


@pytest.mark.slow
def test_the_rate_stays_while_the_source_is_silent(tmp_path: Path) -> None:
    """A network camera hangs, then is gone for good: the last pictures say so, at full rate."""
    server = MjpegServer(per_connection=20)
    server.silent.set()
    limits = ("--set", "source.read_timeout_s=0.5", "--set", "source.retry_limit_s=3")
    rate = ("--set", "output.virtual_camera_fps=25", "--output", "virtualcam")
    with (
        server.serve() as url,
        running(tmp_path, "--source", url, *limits, *rate) as process,
    ):
        wait_until(lambda: server.connections > 0, "a connection")
        server.refuse = True
        text, _ = process.communicate(timeout=RUN_TIMEOUT_S)
    assert process.returncode == 3, text
    assert "gave up" in text
    sent = Sent.read(tmp_path / "sent.npz")
    assert sent.fps == 25
    times_s = sent.times_s
    assert times_s[-1] - times_s[0] > 2.0
    beats = (sent.beats_s >= times_s[0]) & (sent.beats_s <= times_s[-1])
    missed = 25 * (times_s[-1] - times_s[0]) - beats.sum()  # by the machine: 0 where it is quiet
    sent_per_s = (len(times_s) - 1) / (times_s[-1] - times_s[0])
    assert sent_per_s < 25 * 1.05
    assert sent_per_s > 25 * 0.95 - 2 * max(0, missed - 1) / (times_s[-1] - times_s[0])
    lag_s = max(0.0, np.diff(sent.beats_s).max() - 1 / 25)
    hole_s = np.diff(times_s).max()
    assert hole_s < 0.3 + 2 * lag_s, "no hole, for another program takes it for an end"
    silent = sent.order == sent.order[-1]
    assert silent.sum() > 25, "the same picture again and again"
    assert (sent.pictures[sent.order[-1]][0, 0] == 32).all(), "the no-signal picture"


@pytest.mark.window
@pytest.mark.slow
def test_help_and_status_stay_in_the_window(display: Display, tmp_path: Path) -> None:
    """With the help open, each sent picture is one of the scene's, bit for bit."""
    scene_size = ("--set", "source.demo_size=[320,240]", "--set", "source.demo_frames=0")
    outputs = ("--output", "window", "--output", "virtualcam")
    demo = ("--source", "demo", *scene_size)
    with running(tmp_path, *demo, *outputs, display=display.name) as process:
        window = display.find_window(WindowOptions().title, lambda: process.poll() is None)
        wait_until(lambda: window.screenshot()[:100].std() > 10, "the scene")
        before = window.screenshot()
        window.key("h")
        wait_until(lambda: before.mean() - window.screenshot().mean() > 3, "the help")
        opened_s, count = time.monotonic(), tmp_path / "sent.sent"
        enough = count.stat().st_size + 30
        wait_until(lambda: count.stat().st_size >= enough, "a second of pictures")
        window.key("q", "q")  # once more: whoever looks through the camera would lose the picture
        text, _ = process.communicate(timeout=RUN_TIMEOUT_S)
    assert process.returncode == 0, text
    sent = Sent.read(tmp_path / "sent.npz")
    after = sent.order[sent.times_s > opened_s]
    assert len(after) > 15
    scene = DemoScene((320, 240))
    wanted = {scene.render(index)[0].tobytes() for index in range(1000)}
    assert all(sent.pictures[number].tobytes() in wanted for number in set(after))


@pytest.mark.slow
def test_a_camera_that_breaks_ends_the_run(tmp_path: Path) -> None:
    with running(
        tmp_path, *DEMO[:2], "--set", "source.demo_frames=0", "--output", "virtualcam",
        break_after=5,
    ) as process:  # fmt: skip
        text, _ = process.communicate(timeout=RUN_TIMEOUT_S)
    assert process.returncode == 5, text
    (line,) = [line for line in text.splitlines() if line.startswith("error: ")]
    assert "--output virtualcam: stopped taking pictures (memory camera: unplugged)" in line
    assert "Traceback" not in text
    assert len(Sent.read(tmp_path / "sent.npz").order) == 5


def test_without_one_the_other_outputs_go_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out"
    assert main([*DEMO, "--pace", "all", "--output", NO_SUCH, "--output", f"masks:{out}"]) == 0
    (line,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert line.startswith(f"--output {NO_SUCH}: no virtual camera takes pictures")
    assert line.endswith(f"{fix_command()}; the other outputs go on without it")
    assert len(list(out.glob("*.png"))) == 3


@pytest.mark.parametrize(
    "rest",
    [
        ("--output", "none"),
        ("--output", "masks:out", "--set", "output.require_virtual_camera=true"),
    ],
)
def test_without_one_it_is_an_error_where_nothing_else_shows_it_or_it_is_required(
    rest: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*DEMO, "--output", NO_SUCH, *rest]) == 5
    errors = capsys.readouterr().err.splitlines()
    (line,) = [line for line in errors if line.startswith("error: ")]
    assert line.startswith(f"error: --output {NO_SUCH}: ")
    assert line.endswith(fix_command())


def test_without_the_package_the_message_names_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    with pytest.raises(NoVirtualCameraError) as caught:
        open_virtual_camera(None, (64, 48), 30.0)
    assert str(caught.value).startswith("--output virtualcam: pyvirtualcam cannot be imported")
    assert str(caught.value).endswith('run: pip install -c constraints.txt -e ".[virtualcam]"')
    assert "\n" not in str(caught.value)


def test_what_fixes_it_depends_on_the_system(tmp_path: Path) -> None:
    modules, sysfs = tmp_path / "modules", tmp_path / "sys" / "class" / "video4linux"
    sysfs.mkdir(parents=True)
    where = (modules, sysfs)
    assert "apt-get install v4l2loopback-dkms && " + MODPROBE in fix_command("linux", *where)
    built = modules / platform.release() / "updates"
    built.mkdir(parents=True)
    (built / "v4l2loopback.ko.zst").touch()
    assert fix_command("linux", *where) == f"run: {MODPROBE}"
    (tmp_path / "sys" / "module" / "v4l2loopback").mkdir(parents=True)
    assert "modprobe -r v4l2loopback && " + MODPROBE in fix_command("linux", *where)
    for word in ("devices=1", "exclusive_caps=1", "card_label="):
        assert word in MODPROBE
    assert "Start Virtual Camera" in fix_command("darwin", *where)
    assert "Unity Capture" in fix_command("win32", *where)


def test_devices_by_name(tmp_path: Path) -> None:
    for node, label in (("video0", "HD Webcam"), ("video9", "SamCam"), ("video10", "SamCam 2")):
        (tmp_path / node).mkdir()
        (tmp_path / node / "name").write_text(f"{label}\n")
    wanted = {"9": "/dev/video9", "/dev/video3": "/dev/video3", "webcam": "/dev/video0"}
    wanted |= {"SamCam 2": "/dev/video10", "samcam": "samcam", "OBS": "OBS"}
    assert {name: linux_device(name, tmp_path) for name in wanted} == wanted


def test_a_picture_that_fits_is_not_copied() -> None:
    picture = textured((96, 64))
    assert fit_picture(picture, (96, 64)) is picture


def test_other_shapes_are_letterboxed() -> None:
    assert even_size((97, 64)) == (98, 64)
    wide = np.full((40, 100, 3), 200, np.uint8)
    fitted = fit_picture(wide, (64, 64))
    assert fitted.shape == (64, 64, 3)
    assert (fitted[19:45] == 200).all(), "100:40 is 64 x 26"
    assert not fitted[:19].any()
    assert not fitted[45:].any()
    tall = cv2.rotate(wide, cv2.ROTATE_90_CLOCKWISE)
    assert np.array_equal(fit_picture(np.asarray(tall, np.uint8), (64, 64)), fitted.swapaxes(0, 1))


class HangingCamera:
    """Stands in for pyvirtualcam.Camera: its driver does not come back."""

    device = backend = "hanging"

    def __init__(self) -> None:
        self.entered, self.release, self.closed = threading.Event(), threading.Event(), False

    def send(self, frame: U8) -> None:
        self.entered.set()
        assert self.release.wait(WAIT_S)

    def close(self) -> None:
        self.closed = True


def test_a_driver_that_hangs_holds_nobody_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    camera = HangingCamera()
    monkeypatch.setattr(virtualcam_module, "_JOIN_S", 0.2)
    monkeypatch.setattr(virtualcam_module, "open_virtual_camera", lambda *_: camera)
    watchdog = Watchdog(0.05)
    sink = VirtualCameraSink(None, (96, 64), 30.0, VirtualCameraOptions(), watchdog)
    assert camera.entered.wait(WAIT_S)
    sink.put(composite(textured((96, 64))))
    said = "output virtualcam has taken no picture for "
    wait_until(lambda: watchdog.hanging().startswith(said), said)
    sink.close()
    assert "left behind" in caplog.text
    assert not camera.closed, "closing under a call that runs is not safe"
    camera.release.set()


def test_grammar_and_pace() -> None:
    assert parse_sinks(("virtualcam", "virtualcam:OBS Virtual Camera")) == (
        SinkSpec("virtualcam"),
        SinkSpec("virtualcam", device="OBS Virtual Camera"),
    )
    file = SourceInfo("a.mp4", "file", (96, 64), 25.0, 9, live=False)
    assert choose_pace(None, file, ("virtualcam:x",)) == "live", "watched in real time"
    assert choose_pace(None, file, ("video:virtualcam.mp4",)) == "all"
    assert not is_watched(("none", "masks:virtualcam"))
