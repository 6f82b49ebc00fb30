"""The window on a real X server, used with a real mouse and keyboard (xdotool)."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import samcam.live.window.desktop.display
from samcam.live.errors import SinkError
from samcam.live.sources.demo.scene import CARD_ID, GEAR_ID, demo_clicks
from samcam.live.window.desktop.display import check_display, check_libraries
from tests.helpers.window_program import SIZE_WH
from tests.helpers.window_user import (
    END_TIMEOUT_S,
    MANY_PIXELS,
    Program,
    count_colour,
    status,
    without_status,
)
from tests.helpers.xvfb import wait_until

pytestmark = pytest.mark.window


@pytest.mark.slow
def test_closing_the_window_ends_the_program(program: Program) -> None:
    program.window.ask_to_close()
    assert program.process.wait(END_TIMEOUT_S) == 0


@pytest.mark.slow
def test_click_shows_the_mask_and_outputs_stay_clean(program: Program) -> None:
    """A left click on the demo's gear marks it on screen; help and status reach no sink."""
    window = program.window
    assert count_colour(without_status(window.screenshot()), 1) < MANY_PIXELS
    x, y = demo_clicks(SIZE_WH)[GEAR_ID]
    window.click(x, y)
    sent = program.await_commands(1)
    assert sent.pop("step") >= 0
    assert sent == {"object": 1, "points": [[float(x), float(y)]], "labels": [1], "box": None}
    wait_until(
        lambda: count_colour(without_status(window.screenshot()), 1) > MANY_PIXELS,
        "the contour in the window",
    )
    before_help = window.screenshot()
    window.key("h")

    def help_shown() -> bool:
        centre = window.screenshot()[110:250, 150:490].mean()
        return float(centre) < 0.7 * float(before_help[110:250, 150:490].mean())

    wait_until(help_shown, "the help panel")
    report = program.quit()
    assert report["with_objects"] > 0
    assert report["differing"] == 0


@pytest.mark.slow
def test_every_gesture_becomes_its_command(program: Program) -> None:
    """Right click, drag, digits and x; the window keeps its mapping when it is resized."""
    window = program.window
    x, y = demo_clicks(SIZE_WH)[GEAR_ID]
    window.click(5, 5, button=3)  # nothing to correct yet: no command
    window.click(x, y)
    assert program.await_commands(1)["labels"] == [1]
    wait_until(
        lambda: count_colour(without_status(window.screenshot()), 1) > MANY_PIXELS, "the object"
    )
    window.click(20, 30, button=3)
    sent = program.await_commands(2)
    assert (sent["points"], sent["labels"]) == ([[20.0, 30.0]], [0])
    window.key("2")
    wait_until(lambda: count_colour(status(window.screenshot()), 2) > 20, "object 2 chosen")
    window.drag((300, 200), (200, 120))
    sent = program.await_commands(3)
    assert (sent["object"], sent["box"]) == (2, [200.0, 120.0, 300.0, 200.0])
    window.key("x")
    assert program.await_commands(4) == {"remove": 2}
    window.key("k")
    assert program.await_commands(5) == {"remove": None}

    # 1000 x 400: the picture is 711 x 400 with a bar of 144 pixels on its left.
    window.display.xdotool("windowsize", "--sync", window.id, 1000, 400)
    wait_until(lambda: bool((window.screenshot()[50:300, 20:140] == 24).all()), "the bars")
    window.click(60, 200)  # on the bar: no command
    window.click(144 + 355, 200)
    sent = program.await_commands(6)
    centre = [(355.5) * 640 / 711 - 0.5, 200.5 * 360 / 400 - 0.5]
    assert sent["points"][0] == pytest.approx(centre, abs=1e-3)
    assert program.quit("Escape")["differing"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("program", ["blur"], indirect=True)
def test_blur_hides_the_output_but_not_the_preview(program: Program) -> None:
    """Before the first click the feed is hidden, yet the user must see what to click."""
    window = program.window
    sharp = np.abs(np.diff(without_status(window.screenshot())[60:].astype(np.int16), axis=1))
    x, y = demo_clicks(SIZE_WH)[CARD_ID]
    window.click(x, y)
    program.await_commands(1)

    def background_blurred() -> bool:
        shot = without_status(window.screenshot())[60:].astype(np.int16)
        return float(np.abs(np.diff(shot, axis=1)).mean()) < 0.6 * float(sharp.mean())

    wait_until(background_blurred, "the blurred background")
    assert program.quit()["differing"] == 0


def test_a_missing_system_library_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """SDL would only say that x11 is not available."""
    monkeypatch.setattr(
        samcam.live.window.desktop.display, "_LIBRARIES", ("libX11.so.6", "libXnone.so.9")
    )
    with pytest.raises(SinkError, match=r"a system library is missing: .*Xnone.*apt-get install"):
        check_libraries()


def test_no_display_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """SDL would only say that x11 is not available; so the display is looked at first."""
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    with pytest.raises(SinkError, match=r"DISPLAY is not set; Wayland.*video:FILE.mp4"):
        check_display()
    monkeypatch.setenv("DISPLAY", ":4093")
    with pytest.raises(SinkError, match=r"no X server answers at DISPLAY=:4093: .*masks:DIR"):
        check_display()
    monkeypatch.setattr(sys, "platform", "darwin")
    check_display()
