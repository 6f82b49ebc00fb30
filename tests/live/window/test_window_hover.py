"""Hover: asked for sparingly, drawn only where it belongs; freeze, panic guard, free ids."""

from __future__ import annotations

import numpy as np
import pytest

from samcam.live.commands import HideFeed, HoverRequest, PinStep, RemoveObject
from samcam.live.control.controls import Controls
from samcam.live.frames import Prompt
from samcam.live.window.hover import HOVER_EVERY_S, HOVER_NEAR_PX, HOVER_REST_S, HOVER_STEPS
from samcam.live.window.input import WindowInput
from samcam.live.window.keys import DELETE, ESCAPE, HELP_LINES, Key, KeyPress, key_of
from samcam.live.window.letterbox import Letterbox

STEP = 20


class User:
    """A window's input with a clock that is moved by hand."""

    def __init__(self) -> None:
        self.now_s = 50.0
        self.controls = Controls(16)
        self.input = WindowInput(self.controls, lambda: self.now_s)
        self.input.letterbox = Letterbox((640, 360), (1280, 720))
        self.input.set_picture(STEP, np.zeros((360, 640), np.uint8))

    def hover(self, after_s: float = 1.1 * HOVER_EVERY_S) -> HoverRequest | None:
        """Let time pass, look once, return the request."""
        self.now_s += after_s
        self.input.hover()
        return self.controls.hover.take()

    def press(self, *keys: str) -> None:
        for key in keys:
            self.input.key(KeyPress(key))


def test_hover_is_asked_in_source_pixels_and_not_too_often() -> None:
    user = User()
    assert user.hover() is None, "the pointer has not been seen yet"
    user.input.move(201, 101)
    assert user.hover() == HoverRequest(1, STEP, 100.25, 50.25)
    assert user.hover() is None, "nothing is new"
    user.input.move(203, 101)
    assert user.hover() == HoverRequest(1, STEP, 101.25, 50.25)
    user.input.move(205, 101)
    assert user.hover(HOVER_EVERY_S / 3) is None
    assert user.hover() == HoverRequest(1, STEP, 102.25, 50.25)
    user.input.set_picture(STEP + 1, None)
    request = user.hover()
    assert request is not None
    assert request.step == STEP + 1
    user.press("3")
    request = user.hover()
    assert request is not None
    assert request.object_id == 3


def test_no_hover_while_dragging_outside_at_rest_or_without_a_picture() -> None:
    """What waits to be answered is taken back, too."""
    user = User()
    for spoil in ("drag", "outside", "rest", "no picture"):
        user.input.letterbox = Letterbox((640, 360), (1280, 800))
        user.input.move(200, 300)
        request = user.hover()
        assert request is not None, spoil
        assert user.input.hover_fits(request)
        user.controls.hover.put(request)
        if spoil == "drag":
            user.input.press_left(200, 300)
        elif spoil == "outside":
            user.input.move(200, 10)
        elif spoil == "no picture":
            user.input.set_picture(None, None)
        assert user.hover(HOVER_REST_S + 0.1 if spoil == "rest" else 0.0) is None
        assert not user.input.hover_fits(request), spoil
        user.input.release_left(200, 300)


def test_a_stale_answer_is_not_drawn() -> None:
    user = User()
    user.input.move(200, 100)
    near = HoverRequest(1, STEP, 100.0, 50.0)
    assert user.input.hover_fits(near)
    assert not user.input.hover_fits(HoverRequest(2, STEP, 100.0, 50.0)), "another object"
    assert not user.input.hover_fits(HoverRequest(1, STEP + 1, 100.0, 50.0)), "a later picture"
    for lag, fits in ((HOVER_STEPS, True), (HOVER_STEPS + 1, False)):
        old = HoverRequest(1, STEP - lag, 100.0, 50.0)
        assert user.input.hover_fits(old) is fits
    user.input.move(200 + HOVER_NEAR_PX + 3, 100)
    assert not user.input.hover_fits(near), "the pointer went on"


def test_a_prompt_belongs_to_the_picture_at_the_press() -> None:
    user = User()
    user.input.press_left(100, 100)
    user.input.set_picture(STEP + 4, None)
    user.input.release_left(300, 300)
    box = user.controls.tracker.get_nowait()
    assert isinstance(box, Prompt)
    assert (box.step, box.box_xyxy_px is not None) == (STEP, True)
    user.input.set_picture(None, None)
    user.input.press_left(100, 100)
    user.input.release_left(100, 100)
    user.input.press_middle(100, 100)
    assert user.controls.tracker.empty(), "a stand-in picture is nothing to click in"
    assert user.input.state.message == "no picture to click in just now"


def test_freezing_pins_the_step_and_marks_the_clicks() -> None:
    user = User()
    user.press(" ")
    assert user.controls.tracker.get_nowait() == PinStep(STEP)
    user.input.press_left(200, 100)
    user.input.release_left(200, 100)
    state = user.input.state
    assert state.frozen
    assert [(mark.object_id, mark.positive) for mark in state.marks] == [(1, True)]
    user.press(" ")
    user.controls.tracker.get_nowait()
    assert user.controls.tracker.get_nowait() == PinStep(None)
    assert not user.input.state.frozen
    assert not user.input.state.marks
    user.input.set_picture(None, None)
    user.press(" ")
    assert not user.input.state.frozen


def test_the_marks_of_an_object_go_with_it() -> None:
    user = User()
    user.press(" ")
    for key in "12":
        user.press(key)
        user.input.press_left(200, 100)
        user.input.release_left(200, 100)
    user.press("r")
    assert [mark.object_id for mark in user.input.state.marks] == [1]
    user.press("k")
    assert not user.input.state.marks


def test_a_full_queue_neither_freezes_nor_lets_go() -> None:
    user = User()
    user.press(" ")
    while user.controls.send(RemoveObject(1)):
        pass
    user.press(" ")
    assert user.input.state.frozen, "else the step would stay pinned"


def test_the_panic_key_by_what_is_on_screen() -> None:
    """Hiding is said outright; showing is asked for, and guarded where the feed is hidden."""
    user = User()
    user.press("p", "p")
    assert user.controls.feed.get_nowait() == HideFeed(on=True)
    assert user.controls.feed.get_nowait() == HideFeed(None)
    user.input.set_hidden(True)  # by a hotkey, say, or the press before was too early
    user.press("p")
    assert user.controls.feed.get_nowait() == HideFeed(None)


def test_a_new_object_gets_an_id_that_is_neither_known_nor_awaited() -> None:
    user = User()
    user.input.set_known_objects([1, 3])
    user.press("n")
    assert user.input.state.object_id == 2
    user.input.press_left(9, 9)
    user.input.release_left(9, 9)  # prompted, but no result shows it yet
    user.press("n")
    assert user.input.state.object_id == 4
    user.press("2", "x", "n")
    assert user.input.state.object_id == 2, "removed before it came"
    user.input.set_known_objects(range(1, 255))
    user.press("n")
    assert user.input.state.message.startswith("all 254 objects are in use")
    user.press("1", ",")
    assert user.input.state.object_id == 1


def test_middle_button_removes_what_is_under_the_pointer() -> None:
    user = User()
    ids = np.zeros((360, 640), np.uint8)
    ids[50:60, 100:110] = 7
    user.input.set_picture(STEP, ids)
    user.input.press_middle(210, 110)
    assert user.controls.tracker.get_nowait() == RemoveObject(7)
    user.input.press_middle(300, 300)
    assert user.controls.tracker.empty()
    user.input.wheel(1)
    assert user.controls.tracker.empty(), "no click yet whose candidates there could be"


@pytest.mark.parametrize("character", [DELETE, "x", "X"])
def test_delete_and_x_remove(character: str) -> None:
    assert key_of(KeyPress(character)) is Key.REMOVE


def test_capitals_and_unknown_keys() -> None:
    """With Caps Lock a key is what it is without; only Shift makes r another one."""
    shift = frozenset({"<shift>"})
    assert key_of(KeyPress("R", "r", shift)) is Key.RESET_ALL
    assert key_of(KeyPress("r", "r", shift)) is Key.RESET_ALL, "Caps Lock and Shift"
    assert key_of(KeyPress("r", "r")) is Key.RESET
    assert key_of(KeyPress("R", "r")) is Key.RESET, "Caps Lock alone"
    assert key_of(KeyPress("U", "u", shift)) is Key.UNDO
    unknown = ("", "\t", "0", "w", "z", "\x05")
    assert [key_of(KeyPress(character)) for character in unknown] == [None] * 6
    listed = " ".join(key for key, _ in HELP_LINES)
    for word in ("Delete", "space", "Esc", "h", "p", "e", "a", "c", "u", "n", "k", "[ ]"):
        assert word in listed


def test_keys_for_somebody_else_do_nothing() -> None:
    """A key with Ctrl, Alt or Cmd is a shortcut; so is one on which a global hotkey acts."""
    user = User()
    user.input.key(KeyPress("\x05", "e", frozenset({"<ctrl>", "<alt>"}), shortcut=True))
    user.input.key(KeyPress("p", "p", frozenset({"<cmd>"}), shortcut=True))
    assert user.controls.feed.empty()
    user.controls.global_keys = (frozenset({"<shift>", "<delete>"}), frozenset({"<esc>"}))
    user.input.key(KeyPress(ESCAPE, ESCAPE))
    user.input.key(KeyPress(DELETE, DELETE, frozenset({"<shift>", "<alt_gr>"})))
    assert not user.input.quit_requested
    assert user.controls.tracker.empty()
    user.input.key(KeyPress(DELETE, DELETE))
    assert user.controls.tracker.get_nowait() == RemoveObject(1)
    user.input.key(KeyPress("[", "8", frozenset({"<alt_gr>"})))
    assert user.input.state.message.startswith("click an object first"), "AltGr types it"
