"""Real buttons on a real window: each does what it says, and nothing moves what is there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from samcam.live.frames import U8
from samcam.live.sources.demo.scene import CARD_ID, GEAR_ID
from samcam.live.window.drawing.text import AMBER
from tests.helpers.bounds import RUN_TIMEOUT_S
from tests.helpers.demo_user import find_object, wait_for_both
from tests.helpers.window_program import SIZE_WH
from tests.helpers.window_user import (
    MANY_PIXELS,
    Program,
    count_colour,
    running_command,
    status,
    without_status,
)
from tests.helpers.xvfb import Display, Window, wait_until

pytestmark = [pytest.mark.window, pytest.mark.slow]

CORNER = (20, 320)  # of the picture: only background, above the status line's rows
PICTURE = np.s_[130:-40]  # below all notes
BOX = ((500, 280), (420, 200))


def marks(window: Window, object_id: int = 1) -> int:
    """Return how many pixels of the picture have an object's colour."""
    return count_colour(without_status(window.screenshot()), object_id)


def freeze(window: Window) -> None:
    """Press space while both objects are to be seen, and wait for the banner."""
    wait_for_both(window, SIZE_WH)
    window.key("space")
    wait_until(lambda: is_frozen(window.screenshot()), "the frozen banner")


def is_frozen(shot: U8) -> bool:
    return int((shot[:30] == np.array(AMBER, np.uint8)).all(axis=2).sum()) > 1000


def notes(shot: U8) -> int:
    """Return how many pixels of the notes' letters there are, below the banner."""
    return int((shot[34:130, 8:-8] == np.array(AMBER, np.uint8)).all(axis=2).sum())


def test_no_button_moves_the_canvas(program: Program) -> None:
    """The wheel used to zoom: status and toasts left the window, and a drag panned."""
    window = program.window
    window.display.xdotool("mousemove", "--window", window.id, *CORNER)
    freeze(window)
    wait_until(lambda: notes(window.screenshot()) == 0, "no toast")
    still = window.screenshot()
    for button in (4, 4, 4, 5, 4, 4, 2, 5):  # nothing of it has an object to act on
        window.click(*CORNER, button=button)
        wait_until(lambda: notes(window.screenshot()) > 20, "what is to be said, in the window")
        shot = window.screenshot()
        np.testing.assert_array_equal(shot[PICTURE], still[PICTURE], f"button {button}")
        assert count_colour(status(shot), 1) > 60, "the status line stays where it was"
    assert len(program.commands()) == 1, "the pinned step alone"

    window.drag(*BOX, release=False)
    wait_until(lambda: marks(window) > MANY_PIXELS, "the box being drawn")
    shot, inside = window.screenshot(), np.zeros(still.shape[:2], bool)
    inside[195:286, 415:506] = True
    unchanged = ~inside[PICTURE]
    np.testing.assert_array_equal(shot[PICTURE][unchanged], still[PICTURE][unchanged])
    window.display.xdotool("mouseup", 1)
    sent = program.await_commands(2)
    assert sent["box"] == [420.0, 200.0, 500.0, 280.0]
    for button, by in ((4, 1), (4, 1), (5, -1)):
        count = len(program.commands())
        window.click(*CORNER, button=button)
        assert program.await_commands(count + 1)["by"] == by
    count = len(program.commands())
    window.click(*CORNER, button=1)
    assert program.await_commands(count + 1)["points"] == [[float(value) for value in CORNER]]
    assert program.quit()["differing"] == 0


def test_two_quick_clicks_are_two(program: Program) -> None:
    """Some toolkits report the second one as a double click."""
    window = program.window
    window.display.xdotool(
        *("mousemove", "--window", window.id, *CORNER, "click", "--repeat", 2, "--delay", 40, 1)
    )
    program.await_commands(2)
    window.drag((100, 300), (60, 280), release=False)
    place = window.geometry()
    window.display.xdotool("mousemove", place["X"] - 40, place["Y"] + 260)  # out at the left
    window.display.xdotool("mouseup", 1)
    assert program.await_commands(3)["box"] == [0.0, 260.0, 100.0, 300.0]


def test_answers_are_drawn_on_the_frozen_picture(program: Program) -> None:
    """After a click or a box on it there was only a dot: nobody saw what had come of it."""
    window = program.window
    freeze(window)
    gear, card = (find_object(window, which, SIZE_WH) for which in (GEAR_ID, CARD_ID))
    window.display.xdotool("mousemove", "--window", window.id, *CORNER)
    wait_until(lambda: marks(window) < MANY_PIXELS, "nothing marked")
    window.click(*gear)
    program.await_commands(2)
    window.display.xdotool("mousemove", "--window", window.id, *CORNER)  # no hover
    wait_until(lambda: marks(window, 1) > MANY_PIXELS, "the gear's outline")
    window.key("2")
    x, y = card
    window.drag((x - 15, y - 10), (x + 15, y + 10))
    program.await_commands(3)
    window.display.xdotool("mousemove", "--window", window.id, *CORNER)
    wait_until(lambda: marks(window, 2) > 2 * MANY_PIXELS, "the card's outline beside its box")
    assert is_frozen(window.screenshot())
    assert marks(window, 1) > MANY_PIXELS
    assert program.quit()["differing"] == 0


def test_a_frozen_picture_with_the_real_tracker(
    module_display: Display, nano_dir: Path, tmp_path: Path
) -> None:
    """Click, correction, other masks, undo and reset, all seen on the picture that stands still."""
    scene = (
        "--source",
        "demo",
        "--set",
        "source.demo_frames=0",
        "--set",
        "source.demo_size=[640,360]",
    )
    arguments = (*scene, "--model", nano_dir, "--effect", "blur", "--output", "window")
    with running_command(module_display, tmp_path, *arguments) as (process, window):
        freeze(window)
        gear = find_object(window, GEAR_ID, SIZE_WH)
        bare = seen(window)
        window.click(*gear)
        wait_until(lambda: marks(window) > MANY_PIXELS, "the answer to the click")
        clicked = at_rest(window)
        window.key("bracketright")
        wait_until(lambda: not np.array_equal(seen(window), clicked), "another mask")
        window.key("bracketleft")
        wait_until(lambda: np.array_equal(seen(window), clicked), "the first mask again")
        window.click(gear[0] + 40, gear[1], button=3)
        wait_until(lambda: not np.array_equal(seen(window), clicked), "the correction")
        window.key("u")
        wait_until(lambda: np.array_equal(seen(window), clicked), "it is taken back")
        window.key("r")
        wait_until(lambda: np.array_equal(seen(window), bare), "the picture without marks")
        assert is_frozen(window.screenshot())
        window.key("Escape")
        assert process.wait(RUN_TIMEOUT_S) == 0


def seen(window: Window) -> U8:
    """Return the picture below the notes, with the pointer outside the window.

    Anywhere on the picture it would outline, for a while, what a click would give there.
    """
    window.display.xdotool("mousemove", "--window", window.id, SIZE_WH[0] + 40, SIZE_WH[1] // 2)
    return window.screenshot()[PICTURE]


def at_rest(window: Window) -> U8:
    """Return the picture once it is the same for some looks."""
    found = [seen(window)]

    def rests() -> bool:
        found.append(seen(window))
        return len(found) > 5 and all(np.array_equal(found[-1], one) for one in found[-5:])

    wait_until(rests, "a picture that stands still")
    return found[-1]
