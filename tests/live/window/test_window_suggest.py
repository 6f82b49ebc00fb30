"""The key `a`: the job that makes proposals, and the input that takes them."""

from __future__ import annotations

import re
from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pytest

from samcam.engines.fake_backend import fake_networks
from samcam.live.commands import PinStep, RemoveObject, SuggestRequest, UndoPrompt
from samcam.live.control.controls import Controls
from samcam.live.effects.effects import Effect
from samcam.live.effects.palette import object_colour
from samcam.live.feed.compositor import compose
from samcam.live.frames import F32, Prompt
from samcam.live.loop.independent import IndependentPictures
from samcam.live.loop.inference import Stepper, apply_commands
from samcam.live.loop.spare_work import SuggestJob
from samcam.live.tracker.presets import PRESETS
from samcam.live.tracker.tracker import Tracker
from samcam.live.window.drawing.canvas import View, draw_canvas
from samcam.live.window.letterbox import Letterbox, Point
from tests.helpers.results import result_of
from tests.helpers.suggest_user import SOURCE_WH, STEP, Finder, User, disc
from tests.helpers.tracker_networks import frame


def test_the_job_works_slice_by_slice_for_the_newest_request() -> None:
    controls, finder = Controls(4), Finder()
    job = SuggestJob(controls, finder)
    assert not job()
    first, second = SuggestRequest(5), SuggestRequest(5)
    controls.suggest.put(first)
    assert [job(), job()] == [True, True]
    answer = controls.suggestions.peek()
    assert answer is not None
    assert (answer.request, answer.done, answer.total) == (first, 1, 3)
    assert answer.proposals == finder.found[:1]
    controls.suggest.put(second)
    assert [job() for _ in range(6)] == [True] * 4 + [False] * 2
    answer = controls.suggestions.peek()
    assert answer is not None
    assert (answer.request, answer.done, answer.proposals) == (second, 3, finder.found)
    assert finder.asked == [5, 5]


def test_the_job_stops_when_the_request_is_taken_back() -> None:
    controls, finder = Controls(4), Finder()
    job = SuggestJob(controls, finder)
    controls.suggest.put(SuggestRequest(5))
    job()
    job()
    controls.suggest.put(None)
    assert not job()
    assert finder.asked == [5]


def test_refused_where_no_picture_is_kept() -> None:
    """One line; the window lets the picture go."""
    settings = replace(PRESETS["default"], prompt_history=0)
    with fake_networks() as networks:
        tracker = Tracker(networks, settings)
        tracker.step(frame(0))
        with pytest.raises(ValueError, match="prompt_history is 0"):
            tracker.suggest(0)
        with pytest.raises(ValueError, match=r"source\.independent"):
            IndependentPictures(tracker).suggest(0)
    user = User()
    user.input.set_picture(99, None)
    user.press("a")
    user.look()
    assert user.controls.notice is not None
    assert user.controls.notice.text == "no suggestions: that picture is no longer kept"
    assert user.input.state.proposals is None
    assert not user.input.state.frozen
    assert user.sent() == [PinStep(99), PinStep(None)]


def test_a_freezes_asks_and_ends() -> None:
    user = User()
    user.press("a")
    assert user.sent() == [PinStep(STEP)]
    assert user.input.state.frozen
    assert user.note == "looking for objects: 0 %; a stops"
    user.look(2)
    assert re.fullmatch(r"looking for objects: 33 %, about \d+ s left; a stops", user.note)
    assert len(user.outlines) == 1
    user.look()
    assert user.note.startswith("3 proposals: ")
    areas = [outline.area_px for outline in user.outlines]
    assert areas == sorted(areas, reverse=True), "the smallest is drawn last"
    assert len({outline.colour for outline in user.outlines}) == 3
    user.press("a")
    assert user.sent() == [PinStep(None)]
    assert user.input.state.proposals is None
    assert not user.input.state.frozen
    assert user.controls.suggest.peek() is None
    user.press("a")
    user.look(0)
    assert user.outlines == (), "what an earlier request brought is not shown"
    user.press(" ")
    assert user.input.state.proposals is None
    assert user.controls.suggest.peek() is None


def test_a_file_that_waits_goes_on_waiting_while_it_is_searched() -> None:
    """Its first picture is the one to choose on; taking a proposal, or letting go, plays."""
    user = User()
    user.controls.play.hold()
    user.press("a")
    user.look()
    assert user.input.state.frozen
    assert len(user.outlines) == 3
    assert user.controls.play.holds
    user.click(40, 40)
    assert user.controls.play.holds, "until the prompt is taken, as with any first one"
    tracker = Mock(spec_set=Stepper, next_step=1)
    tracker.apply.return_value = None
    apply_commands(user.controls, tracker)
    assert not user.controls.play.holds
    for key in "a ":
        user = User()
        user.controls.play.hold()
        user.press("a")
        user.press(key)
        assert not user.input.state.frozen
        assert not user.controls.play.holds
    user = User()
    user.controls.play.hold()
    user.input.set_picture(99, np.zeros((360, 640), np.uint8))
    user.press("a")
    user.look()
    assert not user.input.state.frozen
    assert user.controls.play.holds, "what was refused starts nothing"


def test_a_on_a_picture_that_is_frozen_already() -> None:
    user = User()
    user.press(" ")
    user.press("a")
    assert user.sent() == [PinStep(STEP)]
    user.look()
    assert len(user.outlines) == 3
    assert user.finder.asked == [STEP]


def test_without_a_picture_or_without_room_nothing_begins() -> None:
    user = User(room=1)
    user.input.set_picture(None, None)
    user.press("a")
    assert user.input.state.message == "no picture to freeze just now"
    user.input.set_picture(STEP, None)
    user.controls.send(RemoveObject(1))
    user.press("a")
    assert user.input.state.proposals is None
    assert user.controls.suggest.peek() is None


def test_a_click_takes_the_smallest_one_as_a_mask() -> None:
    user = User()
    user.press("a")
    user.look()
    user.sent()
    assert user.point(60, 5) is None
    small, large = user.point(20, 20), user.point(23.5, 20)
    assert small is not None
    assert large is not None
    assert small.area_px < large.area_px
    user.click(20, 20)
    (prompt,) = user.sent()
    assert isinstance(prompt, Prompt)
    assert (prompt.object_id, prompt.step) == (1, STEP)
    assert prompt.mask is not None
    assert prompt.mask.shape == (360, 640)
    rows, columns = np.nonzero(prompt.mask)
    assert (columns.mean(), rows.mean()) == pytest.approx((199.5, 112), abs=1)
    assert prompt.mask.sum() == pytest.approx(np.pi * 20 * 11.25, rel=0.1)
    state = user.input.state
    assert state.object_id == 2, "the next click is for the next free object"
    assert state.proposals is not None
    assert state.proposals.taken == ((small, 1),)
    user.click(20, 20)  # a double click takes it once
    assert user.sent() == []
    assert user.input.state.message == "this is object 1 already"
    user.click(23.5, 20)
    (prompt,) = user.sent()
    assert isinstance(prompt, Prompt)
    assert prompt.object_id == 2


def test_beside_proposals_clicks_and_boxes_are_as_ever() -> None:
    user = User()
    user.press("a")
    user.look()
    user.sent()
    user.click(60, 5)
    user.input.press_left(*user.at(20, 20))
    user.input.release_left(*user.at(30, 30))
    point, box = user.sent()
    assert isinstance(point, Prompt)
    assert isinstance(box, Prompt)
    assert (len(point.points_xy_px), point.mask) == (1, None)
    assert box.box_xyxy_px is not None


def test_a_right_click_drops_one_for_good() -> None:
    """What replaces it in the search is not shown either."""
    finder = Finder((disc(20, 20, 5), disc(20, 20.2, 5.1), disc(40, 40, 5)))
    user = User(finder)
    user.press("a")
    user.look(2)
    user.input.press_right(*user.at(20, 20))
    assert user.outlines == ()
    user.look()
    assert [outline.proposal for outline in user.outlines] == [finder.found[2]]
    assert user.sent() == [PinStep(STEP)], "no command"


def test_an_object_that_is_removed_is_a_proposal_again() -> None:
    user = User()
    user.press("a")
    user.look()
    user.click(20, 20)
    user.input.set_known_objects([1])
    user.look()
    assert len(user.outlines) == 2
    user.input.set_known_objects([])  # by `ctl`, say
    user.look()
    assert len(user.outlines) == 3
    assert user.point(20, 20) in user.outlines
    user.sent()
    user.press("1")
    user.click(20, 20)
    assert len(user.sent()) == 1


def test_u_takes_back_what_was_taken_last() -> None:
    user = User()
    user.press("a")
    user.look()
    user.click(20, 20)
    user.sent()
    user.press("u")
    assert user.sent() == [UndoPrompt(1)]
    assert user.input.state.object_id == 1


def test_nothing_found_is_said_and_hover_gives_way_to_proposals() -> None:
    user = User(Finder(()))
    user.press("a")
    user.look()
    assert user.note.startswith("no objects found")
    user = User()
    user.press("a")
    user.look()
    for x, y, asked in ((60.0, 5.0, True), (20.0, 20.0, False)):
        user.point(x, y)
        user.input.hover()
        assert (user.controls.hover.take() is not None) is asked


def test_only_the_best_are_shown_and_a_few_at_a_time() -> None:
    found = tuple(disc(4 + 8 * (i % 8), 4 + 8 * (i // 8), 3, 1 - i / 100) for i in range(64))
    user = User(Finder(found))
    user.press("a")
    user.look()
    assert 0 < len(user.outlines) < 10
    for _ in range(20):
        user.look()
    assert {outline.proposal for outline in user.outlines} == set(found[:16])


def test_on_a_carried_picture_proposals_lie_where_things_are_seen() -> None:
    """The mask that is sent is the step's own."""
    motion: F32 = np.zeros((36, 64, 2), np.float32)
    motion[..., 0] = -10  # what is seen here was 100 source pixels further left
    user = User(Finder((disc(20, 20, 5),)))
    user.input.set_picture(STEP, None, motion)
    user.press("a")
    user.look()
    assert user.point(20, 20) is None
    assert user.point(30, 20) is not None
    user.sent()
    user.click(30, 20)
    (prompt,) = user.sent()
    assert isinstance(prompt, Prompt)
    assert prompt.mask is not None
    assert np.nonzero(prompt.mask)[1].mean() == pytest.approx(199.5, abs=1)


@pytest.mark.parametrize("canvas_wh", [(640, 360), (1400, 720)])
def test_proposals_are_drawn_where_they_are(canvas_wh: tuple[int, int]) -> None:
    user = User()
    user.input.letterbox = Letterbox(SOURCE_WH, canvas_wh)
    user.press("a")
    user.look()
    composite = compose(result_of(np.zeros((360, 640, 3), np.uint8)), Effect())
    small = user.outlines[-1]
    user.input.move(*_canvas(canvas_wh, 200, 112.5))
    user.input.look_for_proposals()
    canvas = draw_canvas(View(composite, user.input.state), canvas_wh)
    x, y = _canvas(canvas_wh, 200, 112.5)
    tint = canvas[round(y), round(x)]
    assert np.abs(tint - 0.45 * np.array(small.colour)).max() <= 2
    user.input.press_left(x, y)
    user.input.release_left(x, y)
    user.input.look_for_proposals()
    canvas = draw_canvas(View(composite, user.input.state), canvas_wh)
    tint = canvas[round(y), round(x)]
    assert np.abs(tint - 0.45 * np.array(object_colour(1))).max() <= 2
    for outline in user.outlines:
        rows, columns = np.nonzero((canvas == outline.colour).all(axis=2))
        low = outline.proposal.point_xy_px
        middle = (columns.min() + columns.max()) / 2, (rows.min() + rows.max()) / 2
        assert middle == pytest.approx(_canvas(canvas_wh, *low), abs=4)


def _canvas(canvas_wh: tuple[int, int], x: float, y: float) -> tuple[float, float]:
    at: Point = Letterbox(SOURCE_WH, canvas_wh).to_canvas(x, y)
    return at.x, at.y
