"""The key `m`: what is in memory of the chosen object, over the picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from samcam.live.control.controls import Controls
from samcam.live.frames import U8, FrameResult
from samcam.live.sources.demo.scene import GEAR_ID, demo_clicks
from samcam.live.window.drawing.canvas import View, draw_canvas
from samcam.live.window.drawing.memory_strip import TIER_COLOURS, age_text, memories_of
from samcam.live.window.drawing.text import LINE_PX, PAD_PX
from samcam.live.window.input import WindowInput
from samcam.live.window.keys import KeyPress
from samcam.live.window.state import InputState
from samcam.memory import MemoryPicture, Tier
from tests.helpers.results import tracked
from tests.helpers.tracker_networks import frame
from tests.helpers.window_user import END_TIMEOUT_S, running_command
from tests.helpers.xvfb import Display, wait_until

SIZE = (854, 480)
TIERS = (Tier.CONDITIONING, *(Tier.LONG_TERM,) * 3, *(Tier.WORKING,) * 5, Tier.SENSORY)


def seen(at_ns: int) -> MemoryPicture:
    image = np.full((64, 64, 3), 128, np.uint8)
    mask = np.zeros((64, 64), np.bool_)
    mask[20:40, 20:40] = True
    return MemoryPicture(image, mask, at_ns, 0.9)


def result_with(count: int, step: int = 40) -> FrameResult:
    """A result whose object 1 attended to so many memories, at 30 frames a second."""
    item = replace(
        tracked(1, None),
        memory_steps=tuple(range(count)),
        memory_tiers=TIERS[:count],
        memory_pictures=tuple(seen(at * 33_333_333) for at in range(count)),
    )
    return FrameResult(frame(step), step, (item,))


def canvas(count: int, wh: tuple[int, int], object_id: int = 1) -> U8:
    state = InputState(object_id=object_id, memory_visible=True)
    return draw_canvas(View(None, state, inferred=result_with(count)), wh)


def pixels_of(image: U8, tier: Tier) -> int:
    colour = np.array(TIER_COLOURS[tier], np.int16)
    return int((np.abs(image.astype(np.int16) - colour).max(axis=2) <= 3).sum())


def test_age_and_order_are_those_of_what_was_attended_to() -> None:
    result = result_with(3)
    memories = memories_of(result, result.objects[0])
    assert [one.age_steps for one in memories] == [40, 39, 38]
    assert [one.tier for one in memories] == list(TIERS[:3])
    assert memories[0].lines() == ("1.3 s", "IoU 0.90", "40 steps")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (99, "99 s"),
        (100, "2 min"),
        (7200, "2.0 h"),
    ],
)
def test_ages_are_short(seconds: float, text: str) -> None:
    assert age_text(seconds) == text


@pytest.mark.parametrize("wh", [SIZE, (1280, 720), (427, 240), (320, 180), (200, 400), (480, 854)])
def test_every_memory_is_shown_in_its_tiers_colour_above_the_status_line(
    wh: tuple[int, int],
) -> None:
    image = canvas(len(TIERS), wh)
    for tier in Tier:
        assert pixels_of(image, tier) >= 3 * 4 * 17 * TIERS.count(tier), tier
    bottom = wh[1] - LINE_PX - PAD_PX
    assert not any(pixels_of(image[bottom:], tier) for tier in Tier)
    assert not any(pixels_of(image[: bottom // 2 - LINE_PX], tier) for tier in Tier)


@pytest.mark.parametrize("wh", [(1, 1), (40, 30), (90, 60), (160, 20)])
def test_a_tiny_window_is_no_error(wh: tuple[int, int]) -> None:
    assert canvas(len(TIERS), wh).shape == (wh[1], wh[0], 3)


def test_another_object_and_no_picture_yet() -> None:
    assert not any(pixels_of(canvas(4, SIZE, object_id=2), tier) for tier in Tier)
    image = draw_canvas(View(None, InputState(memory_visible=True)), SIZE)
    assert not any(pixels_of(image, tier) for tier in Tier)


@pytest.mark.parametrize(("wh", "beside"), [(SIZE, True), ((1280, 720), True), ((427, 240), False)])
def test_the_list_of_keys_stands_above_it_where_both_have_room(
    wh: tuple[int, int], beside: bool
) -> None:
    state = InputState(memory_visible=True, help_visible=True)
    both = draw_canvas(View(None, state, inferred=result_with(len(TIERS))), wh)
    alone = canvas(len(TIERS), wh)
    top = np.flatnonzero((alone != canvas(0, wh)).any(axis=(1, 2)))[0]
    assert np.array_equal(both[top:], alone[top:]) is beside
    assert not np.array_equal(both[:top], alone[:top])


def test_the_key_shows_and_hides_it() -> None:
    user = WindowInput(Controls(4), Mock(return_value=0.0))
    shown = []
    for _ in range(3):
        shown.append(user.state.memory_visible)
        user.key(KeyPress("m", "m"))
    assert shown == [False, True, False]


@pytest.mark.window
@pytest.mark.slow
def test_a_user_looks_at_the_memory(display: Display, nano_dir: Path, tmp_path: Path) -> None:
    """The real command: `m` shows the click and what followed, `m` again the bare picture."""
    x, y = demo_clicks(SIZE)[GEAR_ID]
    words = ("--source", "demo", "--set", "source.demo_frames=0", "--output", "window")
    words += ("--model", str(nano_dir))
    with running_command(display, tmp_path, *words, "--prompt", f"object=1 point={x},{y}") as (
        process,
        window,
    ):
        given = 3 * 4 * 40
        window.key("m")
        wait_until(
            lambda: pixels_of(window.screenshot(), Tier.CONDITIONING) > given, "the first memory"
        )
        wait_until(lambda: pixels_of(window.screenshot(), Tier.WORKING) > given, "recent ones")
        window.key("m")
        wait_until(
            lambda: pixels_of(window.screenshot(), Tier.WORKING) < given // 4, "no memory on screen"
        )
        window.key("q")
        assert process.wait(END_TIMEOUT_S) == 0
