"""A user's hands and eyes: the window program running on a display, and what its window shows."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from samcam.live.effects.palette import object_colour
from samcam.live.frames import U8
from samcam.live.window.window import WindowOptions
from tests.conftest import REPO_ROOT
from tests.helpers.bounds import RUN_TIMEOUT_S
from tests.helpers.xvfb import Display, Window, wait_until

END_TIMEOUT_S = RUN_TIMEOUT_S
MANY_PIXELS = 80  # of a contour's colour: far more than noise, far less than a contour


@dataclass
class Program:
    """The running program and its window."""

    process: subprocess.Popen[bytes]
    window: Window
    folder: Path

    def commands(self) -> list[dict[str, Any]]:
        """What the tracker got so far."""
        return self.rows("commands.jsonl")

    def rows(self, name: str) -> list[dict[str, Any]]:
        """What a log of the program holds so far."""
        path = self.folder / name
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def await_commands(self, count: int) -> dict[str, Any]:
        """Wait until that many commands came; return the last of them."""
        wait_until(lambda: len(self.commands()) >= count, f"{count} commands")
        commands = self.commands()
        assert len(commands) == count
        return commands[-1]

    def await_pictures(self, count: int) -> None:
        """Wait until that many more pictures have left the program."""
        left = self.folder / "left"
        enough = left.stat().st_size + count
        wait_until(lambda: left.stat().st_size >= enough, f"{count} pictures more")

    def quit(self, key: str = "q") -> dict[str, int]:
        """Leave as a user does; return what the program reports."""
        self.window.key(key)
        assert self.process.wait(END_TIMEOUT_S) == 0
        report: dict[str, int] = json.loads((self.folder / "report.json").read_text())
        return report


@contextmanager
def running_program(display: Display, folder: Path, effect: str = "highlight") -> Iterator[Program]:
    """Start the program; end it, whatever happened, and print its log."""
    words = ("-m", "tests.helpers.window_program", folder, effect)
    with _running(display, folder, words, cwd=REPO_ROOT) as (process, window):
        yield Program(process, window, folder)


@contextmanager
def running_command(
    display: Display, folder: Path, *arguments: str | Path
) -> Iterator[tuple[subprocess.Popen[bytes], Window]]:
    """Start `run_live.py` in a folder, its log in log.txt; end it, whatever happened, and print
    the log."""
    words = (REPO_ROOT / "run_live.py", *arguments)
    with _running(display, folder, words, cwd=folder) as started:
        yield started


@contextmanager
def _running(
    display: Display, folder: Path, words: Sequence[str | Path], cwd: Path
) -> Iterator[tuple[subprocess.Popen[bytes], Window]]:
    """Start Python with these words and wait until there is a picture in its window."""
    log = folder / "log.txt"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *map(str, words)],
            cwd=cwd,
            env=display.environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        window = display.find_window(WindowOptions().title, lambda: process.poll() is None)
        wait_until(lambda: is_picture(window.screenshot()), "a picture in the window")
        yield process, window
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(END_TIMEOUT_S)
        print(log.read_text())


def is_picture(image: U8) -> bool:
    """Whether there is more to see than the canvas with a line of text."""
    return float(image.std()) > 25


def count_colour(image: U8, object_id: int) -> int:
    """Return how many pixels have an object's contour colour."""
    colour = np.array(object_colour(object_id), np.int16)
    return int((np.abs(image.astype(np.int16) - colour).max(axis=2) <= 3).sum())


def without_status(image: U8) -> U8:
    """Return the picture without the status line, which names objects in their colours."""
    return image[:-40]


def status(image: U8) -> U8:
    """Return the left of the status line, where the chosen object stands."""
    return image[-40:, :100]
