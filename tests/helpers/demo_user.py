"""A user in front of the demo scene: the real command in a window, `ctl` beside it, open eyes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from samcam.live.frames import F32, U8
from samcam.live.sources.demo.scene import PERIOD, DemoScene
from samcam.live.window.letterbox import Letterbox
from tests.conftest import REPO_ROOT
from tests.helpers.window_user import END_TIMEOUT_S, running_command
from tests.helpers.xvfb import Display, Window, wait_until

SCREENSHOTS = "SAMCAM_SCREENSHOTS"  # a folder to keep what was seen, for people to look at
_SMALL_WH = (61, 34)
_STATUS_PX = 30
_TRIES = 40  # the scene moves on between a look and its click, far where the machine is busy


class Scene:
    """What the demo shows at any frame, and which frame a picture of it is."""

    def __init__(self, size_wh: tuple[int, int]) -> None:
        self.size_wh = size_wh
        self._scene = DemoScene(size_wh)

    def truth(self, index: int) -> U8:
        """Return which object each pixel belongs to: 1 the gear, 2 the card."""
        return self._scene.render(index % PERIOD)[1]

    @cached_property
    def _small(self) -> F32:
        return np.stack([_shrink(self._scene.render(index)[0]) for index in range(PERIOD)])

    def index_of(self, picture: U8) -> int:
        """Return the frame, 0..PERIOD - 1, that a picture with marks on it looks most like."""
        distance = np.abs(self._small - _shrink(picture)).mean(axis=(1, 2, 3))
        return int(distance.argmin())


def _shrink(picture: U8) -> F32:
    small = cv2.resize(picture, _SMALL_WH, interpolation=cv2.INTER_AREA)
    return np.asarray(small[: -_STATUS_PX * _SMALL_WH[1] // 480], np.float32)


def find_object(window: Window, object_id: int, size_wh: tuple[int, int]) -> tuple[int, int]:
    """Return where an object of the demo scene is in a window of the scene's size.

    Args:
        window: With the picture in its own size.
        object_id: 1 the gear, 2 the card.
        size_wh: Of the scene.
    """
    scene = Scene(size_wh)
    inside = scene.truth(scene.index_of(window.screenshot())) == object_id
    depth = cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, 5)
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    return int(column), int(row)


def wait_for_both(window: Window, size_wh: tuple[int, int]) -> None:
    """Wait until both objects of the demo scene are well to be seen, for a moment at least."""
    scene, enough = Scene(size_wh), size_wh[0] * size_wh[1] // 100

    def seen() -> bool:
        index = scene.index_of(window.screenshot())
        counts = [np.bincount(scene.truth(at).ravel(), minlength=3) for at in (index, index + 20)]
        return all(int(count[1:3].min()) > enough for count in counts)

    wait_until(seen, "both objects")


@dataclass
class DemoUser:
    """A run under way and the person who uses it."""

    process: subprocess.Popen[bytes]
    window: Window
    folder: Path
    scene: Scene
    environment: dict[str, str]
    _shots: list[str] = field(default_factory=list)
    _given: Counter[str] = field(default_factory=Counter)

    def look(self, name: str) -> U8:
        """Return what the window shows; keep it where the environment names a folder."""
        shot = self.window.screenshot()
        where = os.environ.get(SCREENSHOTS)
        if where:
            self._shots.append(name)
            Path(where).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(Path(where) / f"{len(self._shots):02d}_{name}.png"), shot)
        return shot

    def find(self, object_id: int, share: float = 0.0) -> tuple[int, int]:
        """Return where an object of the scene is in the window: the pixel deepest inside it.

        Args:
            object_id: 1 the gear, 2 the card.
            share: How far from there towards the object's upper left, 0..1 of its depth.
        """
        shot = self.window.screenshot()
        box = Letterbox(self.scene.size_wh, (shot.shape[1], shot.shape[0]))
        (left, top), (width, height) = box.offset_xy, box.drawn_wh
        drawn = shot[top : top + height, left : left + width]
        inside = self.scene.truth(self.scene.index_of(drawn)) == object_id
        depth = cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, 5)
        row, column = np.unravel_index(int(depth.argmax()), depth.shape)
        away = share * float(depth.max())
        at = box.to_canvas(column - away, row - away)
        return round(at.x), round(at.y)

    def ctl(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run `run_live.py ctl` beside the run, for it."""
        return subprocess.run(
            [sys.executable, str(REPO_ROOT / "run_live.py"), "ctl", *words],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=END_TIMEOUT_S,
            check=False,
        )

    def status(self) -> dict[str, Any]:
        """Return what `ctl status` prints."""
        said = self.ctl("--pid", str(self.process.pid), "status")
        assert said.returncode == 0, said.stderr
        state: dict[str, Any] = json.loads(said.stdout)
        return state

    def states(self) -> dict[int, str]:
        """Return the state of each object."""
        return {item["object_id"]: item["state"] for item in self.status()["objects"]}

    def rows(self, name: str) -> list[dict[str, Any]]:
        """Return the whole rows of a file of the recording so far."""
        path = self.folder / "rec" / name
        data = path.read_bytes() if path.exists() else b""
        return [json.loads(line) for line in data[: data.rfind(b"\n") + 1].splitlines()]

    def await_command(self, kind: str) -> dict[str, Any]:
        """Wait until the recording has one more command of a kind; return it."""
        self._given[kind] += 1

        def given() -> list[dict[str, Any]]:
            rows = [row["command"] for row in self.rows("commands.jsonl")]
            return [command for command in rows if command["type"] == kind]

        wait_until(lambda: len(given()) >= self._given[kind], f"one more {kind} in the recording")
        assert len(given()) == self._given[kind], given()
        return given()[-1]

    def click_object(self, object_id: int) -> None:
        """Click an object of the scene; reset and click again where it was gone by then."""
        for _ in range(_TRIES):
            self.window.click(*self.find(object_id))
            prompt = self.await_command("Prompt")
            (frame,) = (
                row["frame"] for row in self.rows("steps.jsonl") if row["step"] == prompt["step"]
            )
            x, y = map(round, prompt["points_xy_px"]["values"])
            if self.scene.truth(frame)[y, x] == object_id:
                return
            self.window.key("r")
            self.await_command("RemoveObject")
        raise AssertionError(f"object {object_id} not hit in {_TRIES} clicks")

    def await_steps(self, count: int) -> None:
        """Let the run process so many frames more."""
        before = len(self.rows("steps.jsonl"))
        wait_until(lambda: len(self.rows("steps.jsonl")) >= before + count, f"{count} steps")

    def quit(self) -> str:
        """Press q, once more because the run is recorded, wait for the end, return the log."""
        self.window.key("q", "q")
        assert self.process.wait(END_TIMEOUT_S) == 0
        return (self.folder / "log.txt").read_text()


@contextmanager
def demo_user(
    display: Display, folder: Path, arguments: Sequence[str], size_wh: tuple[int, int]
) -> Iterator[DemoUser]:
    """Start an endless demo, recorded to `rec`, in a window; end it, whatever happened."""
    endless = ("--source", "demo", "--set", "source.demo_frames=0", "--record", "rec")
    size = ("--set", f"source.demo_size={list(size_wh)}", "--output", "window")
    with running_command(display, folder, *endless, *size, *arguments) as (process, window):
        user = DemoUser(process, window, folder, Scene(size_wh), display.environment)
        wait_until(lambda: len(user.rows("steps.jsonl")) > 2, "the first pictures")
        yield user
