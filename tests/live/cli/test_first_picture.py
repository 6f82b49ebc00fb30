"""A file in a window waits on its first picture, until there was a click or somebody wants it to
play: the real command on a real display."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import REPO_ROOT
from tests.helpers.bounds import RUN_TIMEOUT_S, WAIT_S
from tests.helpers.synthetic_video import VideoSpec, write_video
from tests.helpers.window_user import END_TIMEOUT_S, running_command
from tests.helpers.xvfb import Display, Window, wait_until

pytestmark = [pytest.mark.window, pytest.mark.slow]

SPEC = VideoSpec(count=40, fps=20, size_wh=(320, 240))
WAITING = "waiting on the first picture"
MOVES = 12  # of the pointer, each seen on screen, while the file waits


def arguments(video: Path, nano_dir: Path, folder: Path) -> tuple[str | Path, ...]:
    options = ("--source", video, "--model", nano_dir, "--metrics", folder / "metrics.jsonl")
    return (*options, "--output", "window")


@contextmanager
def playing(
    display: Display, folder: Path, nano_dir: Path, *more: str
) -> Iterator[tuple[subprocess.Popen[bytes], Window]]:
    video = write_video(folder / "clip.mp4", SPEC)
    with running_command(display, folder, *arguments(video, nano_dir, folder), *more) as started:
        yield started


def frames(folder: Path) -> Sequence[int]:
    path = folder / "metrics.jsonl"
    text = path.read_text() if path.exists() else ""
    return [json.loads(line)["frame"] for line in text.splitlines(keepends=True) if line[-1:]]


def log_of(folder: Path) -> str:
    return (folder / "log.txt").read_text()


def stays_on_the_first(folder: Path, window: Window) -> None:
    """The user looks around: each move changes what is drawn, and no second picture comes."""
    wait_until(lambda: frames(folder) == [0], "the first frame")
    for number in range(MOVES):
        before = window.screenshot()
        window.key("h")  # the help comes and goes: the window is alive
        wait_until(lambda before=before: (window.screenshot() != before).any(), f"key {number}")  # type: ignore[misc]
    assert frames(folder) == [0]


def test_first_click_starts_the_file(display: Display, nano_dir: Path, tmp_path: Path) -> None:
    """The clip used to be over before the first click: 2 s of it, and the model still to load."""
    with playing(display, tmp_path, nano_dir, "--output", "masks:masks") as (process, window):
        wait_until(lambda: WAITING in log_of(tmp_path), "the line that says why it stands still")
        stays_on_the_first(tmp_path, window)
        window.click(100, 100)
        assert process.wait(END_TIMEOUT_S) == 0
    seen = frames(tmp_path)
    assert seen[0] == 0
    assert len(seen) > 1
    tracks = [
        json.loads(row) for row in (tmp_path / "masks" / "tracks.jsonl").read_text().splitlines()
    ]
    assert {row["object"] for row in tracks} == {1}
    assert min(row["step"] for row in tracks) <= 1, "the click is of the first picture"
    passed = re.search(r"frames read were processed in ([0-9.]+) s", log_of(tmp_path))
    assert passed is not None
    assert float(passed[1]) < WAIT_S, "the time of waiting is none of the run"


def test_space_plays_without_a_click(display: Display, nano_dir: Path, tmp_path: Path) -> None:
    with playing(display, tmp_path, nano_dir) as (process, window):
        stays_on_the_first(tmp_path, window)
        window.key("space")
        assert process.wait(END_TIMEOUT_S) == 0
    assert frames(tmp_path)[-1] > 0


def test_quit_while_it_waits(display: Display, nano_dir: Path, tmp_path: Path) -> None:
    with playing(display, tmp_path, nano_dir) as (process, window):
        stays_on_the_first(tmp_path, window)
        window.key("q")
        assert process.wait(END_TIMEOUT_S) == 0
    assert frames(tmp_path) == [0]
    assert "1 of 1 frames read were processed" in log_of(tmp_path)


@pytest.mark.parametrize("more", [("--prompt", "point=100,100"), ("--pace", "all")])
def test_starts_at_once(
    more: tuple[str, str], display: Display, nano_dir: Path, tmp_path: Path
) -> None:
    """What scripts did before: a prompt on the command line, or every frame in order."""
    video = write_video(tmp_path / "clip.mp4", SPEC)
    words = (REPO_ROOT / "run_live.py", *arguments(video, nano_dir, tmp_path), *more)
    done = subprocess.run(  # it may be over before anybody has seen its window
        [sys.executable, *map(str, words)],
        cwd=tmp_path,
        env=display.environment,
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert WAITING not in done.stderr
    assert frames(tmp_path)[-1] > 0


def test_a_refused_prompt_does_not_start_the_file(
    display: Display, nano_dir: Path, tmp_path: Path
) -> None:
    """It played on, without an object, when the first prompt could not be taken."""
    with playing(display, tmp_path, nano_dir) as (process, window):
        wait_until(lambda: frames(tmp_path) == [0], "the first frame")

        def ctl(*words: str) -> tuple[int, str]:
            done = subprocess.run(
                [sys.executable, REPO_ROOT / "run_live.py", "ctl", f"--pid={process.pid}", *words],
                cwd=tmp_path,
                env=display.environment,
                capture_output=True,
                text=True,
                timeout=RUN_TIMEOUT_S,
                check=False,
            )
            return done.returncode, done.stdout + done.stderr

        for spec, said in (
            ("neg=100,100", "needs a positive point"),
            ("mask=none.png", "No such file"),
            ("point=999,5", "lies outside"),
        ):
            code, answer = ctl("prompt", spec)
            assert (code, said in answer) == (2, True), answer
            stays_on_the_first(tmp_path, window)
        code, answer = ctl("prompt", "point=100,100 frame=0")  # the one that it waits on
        assert (code, "has passed" in answer) == (0, False), answer
        assert process.wait(END_TIMEOUT_S) == 0
    assert frames(tmp_path)[-1] > 0
