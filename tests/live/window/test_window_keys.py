"""Every key and button of the window, pressed on a real X server (xdotool)."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from samcam.live.effects.palette import object_colour
from samcam.live.feed.control import PANIC_GUARD_S
from samcam.live.frames import U8
from samcam.live.sources.demo.scene import CARD_ID, GEAR_ID, demo_clicks
from samcam.live.window.drawing.status_line import RED
from tests.helpers.demo_user import find_object, wait_for_both
from tests.helpers.window_program import SIZE_WH
from tests.helpers.window_user import (
    MANY_PIXELS,
    Program,
    count_colour,
    status,
    without_status,
)
from tests.helpers.xvfb import wait_until

pytestmark = [pytest.mark.window, pytest.mark.slow]


def click_gear(program: Program) -> dict[str, Any]:
    """Click the demo's gear for the chosen object and wait until it is marked as object 1."""
    count = len(program.commands())
    program.window.click(*demo_clicks(SIZE_WH)[GEAR_ID])
    sent = program.await_commands(count + 1)
    wait_until(lambda: marks(program) > MANY_PIXELS, "the gear marked")
    return sent


def marks(program: Program, object_id: int = 1) -> int:
    """Return how many pixels of the picture have an object's colour."""
    return count_colour(without_status(program.window.screenshot()), object_id)


def middle_of_marks(program: Program) -> tuple[int, int]:
    """Return the middle of what is marked as object 1."""
    shot = without_status(program.window.screenshot()).astype(np.int16)
    rows, columns = np.nonzero(np.abs(shot - object_colour(1)).max(axis=2) <= 3)
    return round(float(np.mean(columns))), round(float(np.mean(rows)))


def press(program: Program, *keys: str) -> list[dict[str, Any]]:
    """Press keys that send a command each; return the commands."""
    commands = []
    for key in keys:
        count = len(program.commands())
        program.window.key(key)
        commands.append(program.await_commands(count + 1))
    return commands


def has_colour(image: U8, bgr: tuple[int, int, int], count: int) -> bool:
    """Whether that many pixels have a colour."""
    return int((image == np.array(bgr, np.uint8)).all(axis=2).sum()) >= count


def test_keys_and_buttons_for_the_tracker(program: Program) -> None:
    click_gear(program)
    program.window.click(*middle_of_marks(program), button=2)
    assert program.await_commands(2) == {"remove": 1}
    wait_until(lambda: marks(program) < MANY_PIXELS, "the gear forgotten")
    assert press(program, "u", "c", "bracketright", "bracketleft") == [
        {"command": "UndoPrompt", "object_id": 1},
        {"command": "CommitMask", "object_id": 1},
        {"command": "CycleCandidate", "object_id": 1, "by": 1},
        {"command": "CycleCandidate", "object_id": 1, "by": -1},
    ]
    for button, by in ((4, 1), (5, -1)):
        count = len(program.commands())
        program.window.display.xdotool("click", button)
        assert program.await_commands(count + 1)["by"] == by
    assert press(program, "x", "Delete", "r", "k") == [
        {"remove": 1},
        {"remove": 1},
        {"remove": 1},
        {"remove": None},
    ]


def test_keys_that_choose_the_object(program: Program) -> None:
    """The status line's first square has the colour of the object that the next click is for."""
    click_gear(program)
    for key, object_id in (("n", 2), ("9", 9), ("period", 10), ("period", 11), ("comma", 10)):
        program.window.key(key)
        wait_until(
            lambda object_id=object_id: (  # type: ignore[misc]
                count_colour(status(program.window.screenshot()), object_id) > 60
            ),
            f"object {object_id} chosen",
        )
    count = len(program.commands())
    program.window.click(*demo_clicks(SIZE_WH)[CARD_ID])
    assert program.await_commands(count + 1)["object"] == 10


def test_effect_and_panic_keys(program: Program) -> None:
    """The panic key hides what is sent and nothing else; held down it does not show it again."""
    window = program.window
    click_gear(program)
    window.key("e")
    wait_until(lambda: len(program.rows("feed.jsonl")) == 1, "the next effect")
    before = window.screenshot()
    assert not has_colour(before, RED, 1000)
    for _ in range(3):
        window.display.xdotool("key", "p")
    wait_until(lambda: has_colour(window.screenshot(), RED, 1000), "the red banner")
    middle = np.s_[100:300, 100:540]
    assert window.screenshot()[middle].std() > 25, "the user still sees the picture"
    time.sleep(2 * PANIC_GUARD_S)
    window.key("p")
    wait_until(lambda: program.rows("feed.jsonl")[-1].get("on") is None, "shown again")
    wait_until(lambda: not has_colour(window.screenshot(), RED, 1000), "no banner")
    name, panic = "SetEffect", "HideFeed"
    given = [(row["command"], row.get("on")) for row in program.rows("feed.jsonl")]
    assert given[0] == (name, None)
    assert {*given[1:-1]} == {(panic, True)}  # once more where the window had not heard of it yet
    assert given[-1] == (panic, None)  # a second after it was hidden, the feed is shown
    report = program.quit()
    assert report["panic"] > 0
    assert report["differing"] == 0


def test_freeze_hover_and_help_stay_in_the_window(program: Program) -> None:
    """A frozen picture is the one that prompts are for; what is sent goes on and stays clean."""
    window = program.window
    wait_for_both(window, SIZE_WH)
    pinned = press(program, "space")[0]
    assert (pinned["command"], pinned["step"] >= 0) == ("PinStep", True)
    middle = np.s_[100:300]
    wait_until(lambda: has_colour(window.screenshot(), (60, 190, 255), 1000), "the frozen banner")
    x, y = find_object(window, GEAR_ID, SIZE_WH)
    window.display.xdotool("mousemove", "--window", window.id, x, y)
    wait_until(lambda: marks(program) > MANY_PIXELS, "the outline under the pointer")
    window.display.xdotool("mousemove", "--window", window.id, 5, 200)
    wait_until(lambda: marks(program) < MANY_PIXELS, "the outline gone")
    still = window.screenshot()[middle]
    program.await_pictures(15)
    np.testing.assert_array_equal(window.screenshot()[middle], still)
    window.click(x, y)
    sent = program.await_commands(2)
    assert (sent["step"], sent["labels"]) == (pinned["step"], [1])
    window.key("h")
    wait_until(lambda: window.screenshot()[middle].mean() < 0.7 * still.mean(), "the help")
    program.await_pictures(15)  # with all of it open
    window.key("h")
    assert press(program, "space") == [{"command": "PinStep", "step": None}]
    wait_until(lambda: marks(program) > MANY_PIXELS, "the gear in the running picture")
    sent = click_card(program)
    assert sent["step"] > pinned["step"] + 20
    program.await_pictures(15)  # of both: one may be behind the pillar
    report = program.quit()
    assert report["with_objects"] > 10
    assert report["differing"] == 0


def click_card(program: Program) -> dict[str, Any]:
    """Click the demo's card for object 2."""
    count = len(program.commands())
    program.window.key("2")
    program.window.click(*demo_clicks(SIZE_WH)[CARD_ID])
    return program.await_commands(count + 1)
