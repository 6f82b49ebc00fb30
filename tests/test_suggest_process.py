"""The key `a` on a real X server: with the harness's exact masks, and as the real command."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from live.frames import Mask
from live.ui_text import AMBER
from live.window_suggest import outline_colour
from tests.helpers.window_user import (
    END_TIMEOUT_S,
    MANY_PIXELS,
    Program,
    count_colour,
    running_command,
    running_program,
    status,
    without_status,
)
from tests.helpers.xvfb import Display, Window, running_xvfb, wait_until

pytestmark = [pytest.mark.window, pytest.mark.slow]

MAX_TRIES = 5
TAKEN_S = 10.0


@pytest.fixture(scope="module")
def display(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Display]:
    with running_xvfb(tmp_path_factory.mktemp("xvfb")) as running:
        yield running


@pytest.fixture
def program(display: Display, tmp_path: Path) -> Iterator[Program]:
    with running_program(display, tmp_path) as running:
        yield running


def line(window: Window, number: int) -> Mask:
    """Return where the window has the line of the outline that came as that number."""
    shot = without_status(window.screenshot())
    return np.asarray((shot == np.array(outline_colour(number), np.uint8)).all(axis=2), np.bool_)


def drawn(window: Window, number: int) -> bool:
    """Whether an outline is on screen."""
    return int(line(window, number).sum()) > MANY_PIXELS


def middle(window: Window, number: int) -> tuple[int, int]:
    """Return the middle of an outline's extent."""
    rows, columns = np.nonzero(line(window, number))
    return int(columns.min() + columns.max()) // 2, int(rows.min() + rows.max()) // 2


def marks(window: Window, object_id: int) -> int:
    return count_colour(without_status(window.screenshot()), object_id)


def is_frozen(window: Window) -> bool:
    return int((window.screenshot() == np.array(AMBER, np.uint8)).all(axis=2).sum()) > 1000


def test_proposals_are_taken_and_dropped_and_never_leave(program: Program) -> None:
    """Gear and card become objects 1 and 2; what leaves has neither outlines nor notes."""
    window = program.window
    window.key("a")
    wait_until(lambda: drawn(window, 0) and drawn(window, 1) and drawn(window, 2), "three outlines")
    asked = {row.get("command", "suggest") for row in program.commands()}
    assert asked == {"PinStep", "suggest"}
    step = next(row["suggest"] for row in program.commands() if "suggest" in row)
    assert {"command": "PinStep", "step": step} in program.commands()

    card = middle(window, 2)
    window.click(*card, button=3)
    wait_until(lambda: not drawn(window, 2), "the middle of the card dropped")
    window.click(*middle(window, 0))
    sent = program.await_commands(3)
    assert (sent["object"], sent["step"], sent["points"]) == (1, step, [])
    assert sent["mask_px"] > 1000
    wait_until(lambda: marks(window, 1) > MANY_PIXELS, "the gear taken")
    window.click(*card)
    sent = program.await_commands(4)
    assert (sent["object"], sent["step"]) == (2, step)
    wait_until(lambda: marks(window, 2) > MANY_PIXELS, "the card taken")
    assert count_colour(status(window.screenshot()), 3) > 20, "the next click is for object 3"
    time.sleep(1.0)  # frames go out meanwhile, with all of it on screen
    window.key("a")
    assert program.await_commands(5) == {"command": "PinStep", "step": None}
    wait_until(lambda: not is_frozen(window), "the picture goes on")
    assert not drawn(window, 0)
    wait_until(lambda: marks(window, 1) > MANY_PIXELS, "the gear in the running picture")
    report = program.quit()
    assert report["with_objects"] > 10
    assert report["differing"] == 0


def test_the_real_command(display: Display, nano_dir: Path, tmp_path: Path) -> None:
    """`a`, an outline comes, a click inside takes it; quitting in the middle of a search works."""
    source = ("--source", "demo", "--set", "source.demo_frames=0", "--output", "window")
    search = ("--model", nano_dir, "--set", "suggest.points_per_side=6")
    with running_command(display, tmp_path, *source, *search) as (process, window):
        window.key("a")
        wait_until(lambda: is_frozen(window), "the frozen picture", 60)
        take_one(window)
        wait_until(lambda: marks(window, 1) > MANY_PIXELS, "the proposal taken", 60)
        window.key("a")
        wait_until(lambda: not is_frozen(window), "the picture goes on", 60)
        wait_until(lambda: marks(window, 1) > MANY_PIXELS, "the mask in the running picture", 60)
        window.key("a")
        wait_until(lambda: is_frozen(window), "frozen again", 60)
        window.key("q")
        assert process.wait(END_TIMEOUT_S) == 0
    log = (tmp_path / "log.txt").read_text()
    assert "refused" not in log.replace("tensorrt refused", "")


def take_one(window: Window) -> None:
    """Click inside outlines until one is taken: where they cross, a part may belong to none."""
    wait_until(lambda: bool(insides(window)), "an outline that is drawn whole", 90)
    tried: set[tuple[int, int]] = set()
    for _ in range(MAX_TRIES):
        point = next((point for point in insides(window) if point not in tried), None)
        if point is None:
            break
        tried.add(point)
        window.click(*point)
        end_s = time.monotonic() + TAKEN_S
        while time.monotonic() < end_s:
            if count_colour(status(window.screenshot()), 2) > 20:  # object 2 is next
                return
            time.sleep(0.1)
    raise AssertionError(f"no outline could be taken at {sorted(tried)}")


def insides(window: Window) -> list[tuple[int, int]]:
    """Return for each outline that is drawn whole the point deepest inside, deepest first."""
    found: list[tuple[float, tuple[int, int]]] = []
    for number in range(16):
        closed = cv2.dilate(line(window, number).astype(np.uint8), np.ones((5, 5), np.uint8))
        contours, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(closed, contours, -1, (1,), cv2.FILLED)
        depth = cv2.distanceTransform(closed, cv2.DIST_L2, 5)
        row, column = np.unravel_index(int(depth.argmax()), depth.shape)
        if depth[row, column] > 10:
            found.append((float(depth[row, column]), (int(column), int(row))))
    return [point for _, point in sorted(found, reverse=True)]
