"""What a frozen picture's prompts came to, and what the window says of what is not there."""

from __future__ import annotations

from itertools import count

import numpy as np
import pytest

from samcam.live.commands import CycleCandidate, PinStep, RemoveObject, UndoPrompt
from samcam.live.control.controls import Controls
from samcam.live.control.status import LiveStatus
from samcam.live.effects.effects import Effect
from samcam.live.effects.palette import object_colour
from samcam.live.feed.compositor import compose
from samcam.live.frames import F32, U8, FrameResult, PinnedAnswers
from samcam.live.tracker.presets import DEFAULT_PRESET, preset
from samcam.live.tracker.tracker import Tracker
from samcam.live.window.drawing.canvas import View, draw_canvas
from samcam.live.window.drawing.help import draw_help, help_fits
from samcam.live.window.drawing.status_line import status_parts
from samcam.live.window.drawing.text import LINE_PX, PAD_PX
from samcam.live.window.input import QUIT_AGAIN_S, WindowInput
from samcam.live.window.keys import ESCAPE, KeyPress
from samcam.live.window.letterbox import Letterbox, Point
from samcam.live.window.state import InputState
from tests.helpers.results import disc_logits, result_of, tracked
from tests.helpers.tracker_networks import click, frame, sensitive_networks
from tests.helpers.tracker_plans import BOX, FIX, OTHER, PICTURES, run, seen_on

SETTINGS = preset(DEFAULT_PRESET)
PINNED = 9


def mask_on_pinned(plan: dict[int, list[object]], object_id: int = 5) -> F32 | None:
    """Return an object's mask on the pinned step where its prompts were given in time."""
    return run(SETTINGS, plan)[PINNED][object_id].mask_logits  # type: ignore[arg-type]


@pytest.mark.parametrize("after", [2, 12])  # steps: while it is recent, and long after
def test_the_pinned_step_is_answered_as_if_prompted_in_time(after: int) -> None:
    """First prompts, a correction, other candidates, undo, reset: always what is there now."""
    with Tracker(sensitive_networks(), SETTINGS) as tracker:
        step, results = count(), list[FrameResult]()

        def go_on(steps: int = 1) -> None:
            for _ in range(steps):
                index = next(step)
                results[:] = [
                    tracker.step(frame(2 * index + index % 3, PICTURES[index % len(PICTURES)]))
                ]

        def mask(object_id: int = 5) -> F32 | None:
            assert results[0].pinned is not None
            assert results[0].pinned.step == PINNED
            return results[0].pinned.masks[object_id]

        go_on(PINNED + 1)
        assert results[0].pinned is None
        tracker.apply(PinStep(PINNED))
        go_on(after)
        assert results[0].pinned is not None
        assert not results[0].pinned.masks
        tracker.apply(seen_on(PINNED, BOX))
        tracker.apply(seen_on(PINNED, OTHER))
        go_on()
        first = mask()
        np.testing.assert_array_equal(first, mask_on_pinned({PINNED: [BOX, OTHER]}))
        np.testing.assert_array_equal(mask(9), mask_on_pinned({PINNED: [OTHER]}, 9))
        tracker.apply(seen_on(PINNED, FIX))
        go_on()
        np.testing.assert_array_equal(mask(), mask_on_pinned({PINNED: [BOX, FIX]}))
        tracker.apply(UndoPrompt(5))
        go_on()
        np.testing.assert_array_equal(mask(), first)
        tracker.apply(CycleCandidate(5, 1))
        go_on()
        assert not np.array_equal(mask(), first)
        tracker.apply(CycleCandidate(5, -1))
        go_on()
        np.testing.assert_array_equal(mask(), first)
        tracker.apply(RemoveObject(9))
        go_on()
        assert mask(9) is None
        tracker.apply(UndoPrompt(5))
        go_on()
        assert mask() is None
        tracker.apply(PinStep(None))
        go_on()
        assert results[0].pinned is None


def test_another_mask_for_an_earlier_click_is_seen_on_the_pinned_step() -> None:
    with Tracker(sensitive_networks(), SETTINGS) as tracker:
        for index, picture in enumerate(PICTURES):
            if index == 1:
                tracker.apply(click(300, 200, object_id=5))
            if index == PINNED + 1:
                tracker.apply(PinStep(PINNED))
            if index == PINNED + 12:
                tracker.apply(CycleCandidate(5, 1))
            result = tracker.step(frame(index, picture))
        assert result.pinned is not None
        assert result.pinned.masks.keys() == {5}


def test_an_object_that_is_not_there_cannot_be_forgotten() -> None:
    """`ctl reset 9` and the key r said that it was done."""
    with Tracker(sensitive_networks(), SETTINGS) as tracker:
        assert tracker.apply(RemoveObject(None)) == "no object to forget"
        tracker.apply(BOX)
        with pytest.raises(ValueError, match="object 9: not known, nothing to forget; objects: 5"):
            tracker.apply(RemoveObject(9))
        assert tracker.apply(RemoveObject(5)) is None, "it waits for a picture"
        tracker.apply(OTHER)
        tracker.step(frame(0, PICTURES[0]))
        assert tracker.apply(RemoveObject(None)) is None
        tracker.remove(77)  # from Python, forgetting what is not there is nothing wrong


# --- the window's input -----------------------------------------------------------------------


class User:
    """A window's input with a clock that is moved by hand."""

    def __init__(self, *served: str) -> None:
        self.now_s = 50.0
        self.controls = Controls(16)
        self.input = WindowInput(self.controls, lambda: self.now_s, served=served)
        self.input.letterbox = Letterbox((640, 360), (640, 360))
        self.input.set_picture(3, np.zeros((360, 640), np.uint8))

    def press(self, *keys: str) -> None:
        for key in keys:
            self.input.key(KeyPress(key))

    def click(self, x: float, y: float) -> None:
        self.input.press_left(x, y)
        self.input.release_left(x, y)


def test_after_a_reset_of_all_the_next_click_is_for_object_1() -> None:
    user = User()
    user.press("3")
    user.click(100, 100)
    user.press("4", "k")
    assert user.input.state.object_id == 1
    user.input.wheel(1)
    assert user.input.state.message.startswith("click an object first")
    user.press("2")
    user.controls.applied(RemoveObject(None), 9)  # of this window: it chose since
    user.input.set_known_objects([])
    assert user.input.state.object_id == 2
    user.controls.applied(RemoveObject(None), 12)  # by ctl or a global hotkey
    user.input.set_known_objects([])
    assert user.input.state.object_id == 1


def test_forgetting_says_what_was_there() -> None:
    user = User()
    user.press("r")
    assert user.input.state.message == "object 1: not known, nothing to forget"
    user.press("k")
    assert user.input.state.message == "no object to forget"
    user.click(10, 10)
    user.press("r")
    assert user.input.state.message == "object 1: forgotten"


def test_marks_follow_what_is_done_on_the_frozen_picture() -> None:
    user = User()
    user.press(" ")
    user.click(10, 10)
    user.input.press_left(100, 100)
    user.input.release_left(150, 160)
    first, box = user.input.state.marks
    assert (first.at, first.to) == (Point(10, 10), None)
    assert (box.at, box.to) == (Point(100, 100), Point(150, 160))
    user.press("u")
    assert user.input.state.marks == (first,)
    user.press("r")
    assert user.input.state.marks == ()


def test_the_question_before_quitting() -> None:
    user = User("the virtual camera is on")
    user.press("q")
    question = user.input.state.message
    assert question == "the virtual camera is on: press q or Esc again within 2 s to quit"
    user.now_s += QUIT_AGAIN_S + 0.1
    assert user.input.state.message == "", "what is asked for stands as long as it holds"
    user.press("q")
    assert not user.input.quit_requested
    user.press(ESCAPE)
    assert user.input.quit_requested
    alone = User()
    alone.press("q")
    assert alone.input.quit_requested
    remote = User()
    remote.controls.heard_ctl()
    remote.press("q")
    assert remote.input.state.message.startswith("ctl is in use: press q")


# --- what is drawn ----------------------------------------------------------------------------


def test_answers_take_the_place_of_the_masks_before() -> None:
    """Two masks of one object would say nothing; and another step's are not for this one."""
    image = np.full((360, 640, 3), 90, np.uint8)
    before = (tracked(1, disc_logits(64, 10, 10, 5)), tracked(2, disc_logits(64, 50, 10, 5)))
    composite = compose(result_of(image, before), Effect("chroma"))
    answers = PinnedAnswers(composite.result.step, {1: disc_logits(64, 30, 50, 5), 2: None})
    view = View(composite, InputState(frozen=True), pinned=answers)

    def colour_at(canvas: U8, object_id: int, x: int, y: int) -> bool:
        near = canvas[y - 60 : y + 60, max(0, x - 60) : x + 60]
        return bool((near == object_colour(object_id)).all(axis=2).any())

    canvas = draw_canvas(view, (640, 360))
    assert colour_at(canvas, 1, 300, 280)
    assert not colour_at(canvas, 1, 100, 90)
    assert not colour_at(canvas, 2, 500, 90)
    assert (canvas[150:160, 560:600] == 90).all(), "the bare picture, to click in"
    other = PinnedAnswers(composite.result.step + 1, answers.masks)
    key_colour = draw_canvas(View(composite, InputState(frozen=True), pinned=other), (640, 360))
    assert not (key_colour[150:160, 560:600] == 90).all()


@pytest.mark.parametrize("canvas_wh", [(400, 300), (640, 360), (1280, 720)])
def test_the_help_is_not_covered_by_a_toast(canvas_wh: tuple[int, int]) -> None:
    below = LINE_PX + 2 * PAD_PX
    assert help_fits(canvas_wh, below)
    state = InputState(help_visible=True, message="object 1: this")
    canvas = draw_canvas(View(None, state), canvas_wh)
    alone = np.full((canvas_wh[1], canvas_wh[0], 3), 24, np.uint8)
    draw_help(alone, below)
    rows = np.s_[below : -(LINE_PX + PAD_PX)]
    np.testing.assert_array_equal(canvas[rows], alone[rows])


def test_help_without_room_lies_over_the_toast() -> None:
    state = InputState(help_visible=True, message="a message of some length " * 6)
    canvas = draw_canvas(View(None, state), (400, 300))
    alone = draw_canvas(View(None, InputState(help_visible=True)), (400, 300))
    letters = (alone > 120).any(axis=2)
    assert (canvas[letters] > 60).any(axis=1).mean() > 0.95


def test_long_notes_are_wrapped() -> None:
    text = "the virtual camera is on, this is being recorded: press q or Esc again within 2 s"
    canvas = draw_canvas(View(None, InputState(message=text)), (400, 300))
    assert not (canvas[:100, -PAD_PX:] > 60).any(), "no letter at the right edge"
    assert (canvas[PAD_PX + LINE_PX : PAD_PX + 2 * LINE_PX] > 120).any(), "a second line"


@pytest.mark.parametrize("kind", ["camera", "file", "demo", ""])
def test_only_a_camera_is_called_one(kind: str) -> None:
    status = LiveStatus(1, 1, 0.0, 15.0, 12.0, source_kind=kind)
    texts = " ".join(part.text for part in status_parts(status, 1, False, ()))
    assert ("camera 15 fps" in texts) is (kind == "camera")
    assert ("source 15 fps" in texts) is (kind != "camera")
