"""The key `a` on a real X server: with the harness's exact masks, and as the real command."""

from __future__ import annotations

import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from samcam.live.frames import U8, Mask
from samcam.live.window.drawing.text import AMBER
from samcam.live.window.proposals import outline_colour
from tests.helpers.window_user import (
    END_TIMEOUT_S,
    MANY_PIXELS,
    Program,
    count_colour,
    running_command,
    status,
    without_status,
)
from tests.helpers.xvfb import POLL_S, Display, Window, wait_until

pytestmark = [pytest.mark.window, pytest.mark.slow]

TINT_S = 3.0
# 36 points with three masks each: more outlines cannot have been made
COLOURS = [outline_colour(number) for number in range(108)]


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
    """Gear and card become objects 1 and 2; what is sent has neither outlines nor notes."""
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
    program.await_pictures(15)  # with all of it on screen
    window.key("a")
    assert program.await_commands(5) == {"command": "PinStep", "step": None}
    wait_until(lambda: not is_frozen(window), "the picture goes on")
    assert not drawn(window, 0)
    wait_until(lambda: marks(window, 1) > MANY_PIXELS, "the gear in the running picture")
    report = program.quit()
    assert report["with_objects"] > 10
    assert report["differing"] == 0


def test_the_real_command(module_display: Display, nano_dir: Path, tmp_path: Path) -> None:
    """`a`, an outline comes, a click inside takes it; quitting in the middle of a search works."""
    source = ("--source", "demo", "--set", "source.demo_frames=0", "--output", "window")
    search = ("--model", nano_dir, "--set", "suggest.points_per_side=6")
    with running_command(module_display, tmp_path, *source, *search) as (process, window):
        window.key("a")
        wait_until(lambda: is_frozen(window), "the frozen picture")
        wait_until(lambda: search_ended(window), "the end of the search")
        window.click(*point_at_one(window))
        wait_until(lambda: marks(window, 1) > MANY_PIXELS, "the proposal taken")
        wait_until(lambda: count_colour(status(window.screenshot()), 2) > 20, "object 2 next")
        window.key("a")
        wait_until(lambda: not is_frozen(window), "the picture goes on")
        wait_until(lambda: marks(window, 1) > MANY_PIXELS, "the mask in the running picture")
        window.key("a")
        wait_until(lambda: is_frozen(window), "frozen again")
        window.key("q")
        assert process.wait(END_TIMEOUT_S) == 0
    log = (tmp_path / "log.txt").read_text()
    assert "refused" not in log


def search_ended(window: Window) -> bool:
    """Whether the note tells how many were found: it is longer than that on how far it is."""
    tail = window.screenshot()[36:66, 230:320].astype(np.int16)
    return int((np.abs(tail - np.array(AMBER)).max(axis=2) < 30).sum()) > 60


def point_at_one(window: Window) -> tuple[int, int]:
    """Move the pointer until a proposal is tinted, as a person does before a click."""
    shots: list[U8] = [without_status(window.screenshot())]

    def still() -> bool:
        shots.append(without_status(window.screenshot()))
        return np.array_equal(shots[-1], shots[-2])

    wait_until(still, "all outlines of the frozen picture")
    before = shots[-1]
    for patience_s in (TINT_S, 4 * TINT_S, 16 * TINT_S):  # the window of a busy machine is slow
        for x, y in far_from_lines(before):
            window.display.xdotool("mousemove", "--window", window.id, x, y)
            end_s = time.monotonic() + patience_s
            while time.monotonic() < end_s:
                beside = np.s_[y - 9 : y - 2, x - 9 : x - 2]  # the pointer's picture is right of it
                if is_tinted(before[beside], window.screenshot()[beside]):
                    return x, y
                time.sleep(POLL_S)
    raise AssertionError("no proposal is tinted under the pointer")


def far_from_lines(shot: U8) -> list[tuple[int, int]]:
    """Return the points farthest from all outlines, each one away from those before."""
    lines = [(shot == np.array(colour, np.uint8)).all(axis=2) for colour in COLOURS]
    depth = cv2.distanceTransform((~np.any(lines, axis=0)).astype(np.uint8), cv2.DIST_L2, 5)
    depth[:80] = depth[-20:] = depth[:, :20] = depth[:, -20:] = 0  # banner and note; the edges
    points = []
    for _ in range(12):
        row, column = np.unravel_index(int(depth.argmax()), depth.shape)
        points.append((int(column), int(row)))
        cv2.circle(depth, points[-1], 50, (0,), cv2.FILLED)
    return points


def is_tinted(before: U8, after: U8) -> bool:
    """Whether something has the tint of a proposal that the pointer means."""
    tints = (0.55 * before + 0.45 * np.array(colour) for colour in COLOURS)
    return any(np.abs(after - tint).max() <= 3 for tint in tints)
