"""What the window draws around the picture: readable anywhere, fitting any width."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from samcam.live.commands import HoverAnswer, HoverRequest
from samcam.live.control.controls import Notice
from samcam.live.control.status import LiveStatus, ObjectStatus, object_name
from samcam.live.effects.effects import Effect
from samcam.live.effects.palette import object_colour
from samcam.live.feed.compositor import compose
from samcam.live.frames import U8, Composite
from samcam.live.window.drawing.canvas import View, draw_canvas
from samcam.live.window.drawing.status_line import RED, Part, fit_parts, status_parts
from samcam.live.window.drawing.text import AMBER, LINE_PX, PAD_PX
from samcam.live.window.keys import HELP_LINES
from samcam.live.window.letterbox import Point
from samcam.live.window.marks import Mark
from samcam.live.window.state import InputState
from samcam.live.window.window import newest_message
from tests.helpers.results import disc_logits, result_of

SIZE_WH = (640, 360)
STATUS = np.s_[-(LINE_PX + PAD_PX) :]


def status_of(count: int = 1, hidden: bool = False, recording: bool = False) -> LiveStatus:
    objects = tuple(ObjectStatus(i, "tracking", "fine", True) for i in range(1, count + 1))
    return LiveStatus(9, 9, 0.3, 30.0, 12.5, 41.0, 3, 88.0, "blur", hidden, objects, recording)


def picture(kind: str) -> Composite:
    height, width = SIZE_WH[1], SIZE_WH[0]
    if kind == "noise":
        image = np.random.default_rng(1).integers(0, 256, (height, width, 3)).astype(np.uint8)
    else:
        image = np.full((height, width, 3), 255 if kind == "white" else 0, np.uint8)
    return compose(result_of(image), Effect())


@pytest.mark.parametrize("kind", ["white", "black", "noise"])
def test_panels_read_on_any_background(kind: str) -> None:
    """Behind the letters it is dark, whatever the picture; the letters are bright."""
    state = InputState(help_visible=True, message="a message")
    view = View(picture(kind), state, status_of(2), notice="a notice")
    canvas = draw_canvas(view, SIZE_WH)
    bare = draw_canvas(View(picture(kind), InputState()), SIZE_WH)
    for panel in (canvas[STATUS], canvas[100:260, 200:440], canvas[12:34, 12:60]):
        luma = cv2.cvtColor(np.ascontiguousarray(panel), cv2.COLOR_BGR2GRAY)
        bright = float((luma > 130).mean())
        assert 0.01 < bright < 0.4
        assert np.percentile(luma, 50) <= 52
    assert not np.array_equal(canvas[100:260], bare[100:260])


@pytest.mark.parametrize("width", [1600, 900, 640, 420, 300])
def test_the_status_line_drops_the_least_important_first(width: int) -> None:
    parts = status_parts(status_of(5, recording=True), 2, True, ())
    kept = fit_parts(parts, width)
    assert sum(part.width for part in kept) <= width
    assert kept[0].text == "next click: object 2"
    ranks = [part.rank for part in parts if part not in kept and part.rank < 100]
    left = [part.rank for part in kept if 0 < part.rank < 100]
    assert not ranks or not left or min(ranks) >= max(left)
    shown = sum(part.rank >= 100 for part in kept)
    assert (f"+{5 - shown} more" in [part.text for part in kept]) == (shown < 5)
    if width == 1600:
        texts = [part.text for part in kept]
        assert len(kept) == len(parts)
        assert {"source 30 fps, inference 12.5", "age 41 ms", "dropped 3", "CPU 88 %"} <= {*texts}
        assert {"FROZEN", "REC", "effect blur", "object 5 tracking"} <= {*texts}
    if width <= 420:
        assert "dropped 3" not in [part.text for part in kept]
        assert "FROZEN" in [part.text for part in kept] or width == 300


def test_a_line_without_room_keeps_what_never_goes() -> None:
    only = Part("next click: a very long name for an object", 0)
    assert fit_parts([only, Part("effect blur", 4)], 50) == [only]


def test_names() -> None:
    assert object_name(2, ("guitar", "cat")) == "cat"
    assert object_name(3, ("guitar", "cat")) == "object 3"
    assert object_name(1, ("", "cat")) == "object 1"


@pytest.mark.parametrize("canvas_wh", [(1280, 720), (640, 360), (500, 300)])
def test_the_help_lies_between_banner_and_status_line(canvas_wh: tuple[int, int]) -> None:
    with_help = InputState(help_visible=True, frozen=True)
    shown = draw_canvas(View(picture("white"), with_help, status_of()), canvas_wh)
    without = draw_canvas(View(picture("white"), InputState(frozen=True), status_of()), canvas_wh)
    changed = np.flatnonzero((shown != without).any(axis=(1, 2)))
    assert changed[0] >= LINE_PX + PAD_PX
    assert changed[-1] < canvas_wh[1] - LINE_PX - PAD_PX
    assert changed[-1] - changed[0] > 5 * len(HELP_LINES)


def test_hidden_and_frozen_are_loud() -> None:
    plain = draw_canvas(View(picture("black"), InputState(), status_of()), SIZE_WH)
    hidden = View(picture("black"), InputState(frozen=True), status_of(hidden=True))
    canvas = draw_canvas(hidden, SIZE_WH)
    for colour in (RED, AMBER):
        assert count(canvas, colour) > 0.6 * SIZE_WH[0] * (LINE_PX + PAD_PX)
        assert count(plain, colour) < 50


def test_a_frozen_window_says_what_leaves_not_what_is_on_screen() -> None:
    """Clicked in a frozen picture, the object left in the open, and the window went on to say
    that the output was hidden: what it says follows the newest picture that left."""
    frozen = InputState(frozen=True)
    private = replace(picture("black"), hidden=True)
    public = picture("white")
    note = "only you see this, the output is hidden: click the object"
    assert View(private, frozen, left=(private,)).hidden_note == note
    assert View(public, frozen, left=(private,)).hidden_note == note
    assert View(private, frozen, left=(public,)).hidden_note == ""
    # with `output.delay_ms` a file has the picture before the window shows it
    assert View(private, frozen, left=(private, public)).hidden_note == ""
    assert View(private, frozen, left=(private, private)).hidden_note == note
    pressed = replace(private, panic=True)
    assert View(public, frozen, status_of(hidden=False), left=(pressed,)).hidden
    assert not View(pressed, frozen, status_of(hidden=False), left=(private,)).hidden
    said = draw_canvas(View(private, frozen, status_of(), left=(private,)), SIZE_WH)
    silent = draw_canvas(View(private, frozen, status_of(), left=(public,)), SIZE_WH)
    assert (said != silent).any()


def test_hover_and_marks_are_drawn_where_they_are() -> None:
    """On a canvas twice the picture's size, with bars left and right."""
    composite = picture("black")
    answer = HoverAnswer(HoverRequest(3, 0, 320, 180), disc_logits(64, 32, 32, 8), 0.9)
    mark = Mark(2, Point(100.0, 50.0), True)
    state = InputState(object_id=3, frozen=True, marks=(mark,))
    canvas_wh = (1400, 720)
    canvas = draw_canvas(View(composite, state, status_of(), hover=answer), canvas_wh)
    left = (1400 - 1280) // 2
    rows, columns = np.nonzero((canvas[60:600] == object_colour(3)).all(axis=2))
    assert rows.mean() + 60 == pytest.approx(360, abs=4)
    assert columns.mean() == pytest.approx(left + 640, abs=4)
    assert columns.max() - columns.min() == pytest.approx(2 * 8 * 1280 / 64, abs=24)
    tint = canvas[360, left + 640]
    assert 0 < int(tint.max()) < 0.4 * max(object_colour(3))
    assert tuple(canvas[101, left + 201]) == object_colour(2)


def count(image: U8, colour: tuple[int, int, int]) -> int:
    return int((image == np.array(colour, np.uint8)).all(axis=2).sum())


def test_the_newer_of_message_and_notice_stands() -> None:
    """A refusal beside "take back the last prompt", or beside what was done since, would lie."""
    done = InputState(message="object 1: take back the last prompt", frozen=True)
    quiet = InputState(frozen=True)
    refused = Notice("refused: object 1: nothing left to take back", 5.1)
    assert newest_message(done, 5.0, None, 5.2) == (done, "")
    assert newest_message(done, 5.0, refused, 5.2) == (quiet, refused.text)
    assert newest_message(done, 6.0, refused, 6.1) == (done, ""), "something was done since"
    assert newest_message(quiet, 5.0, refused, 60.0) == (quiet, ""), "long ago"


def test_the_help_does_not_cover_what_is_said() -> None:
    """In a small window the list lies over the place of notes; it stays, they go."""
    small_wh = (420, 320)
    said = "hidden: nothing leaves until you show it again"
    found = [
        cv2.inRange(
            draw_canvas(
                View(picture("black"), InputState(help_visible=shown), notice=said), small_wh
            )[PAD_PX : PAD_PX + LINE_PX + PAD_PX],
            np.array(AMBER, np.uint8),
            np.array(AMBER, np.uint8),
        )
        for shown in (False, True)
    ]
    assert found[0].sum() > 0
    assert (found[1] >= found[0]).all()


@pytest.mark.parametrize("private", [True, False])
def test_privacy_and_refusals_stand_above_a_list_that_leaves_no_room(private: bool) -> None:
    said = "" if private else "refused: " + "object 1: nothing left to take back; " * 3
    hidden = replace(picture("black"), hidden=private)
    rows = np.s_[PAD_PX + 2 : PAD_PX + LINE_PX, 2 * PAD_PX : 300]  # the first line
    alone, over = (
        draw_canvas(
            View(hidden, InputState(help_visible=shown), notice=said, refusal=not private),
            (400, 200),
        )[rows]
        for shown in (False, True)
    )
    words = alone == np.array(AMBER, np.uint8)
    assert words.any()
    assert np.array_equal(over[words], alone[words])
    assert (over[~words.any(axis=2)].max(axis=1) < 200).any()
