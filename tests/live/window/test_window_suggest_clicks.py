"""The key `a`: a click means what is on screen, and what can be clicked is seen."""

from __future__ import annotations

import numpy as np
import pytest

from samcam.live.commands import Proposal, Suggestions
from samcam.live.effects.effects import Effect
from samcam.live.feed.compositor import compose
from samcam.live.frames import Prompt
from samcam.live.window.drawing.canvas import View, draw_canvas
from samcam.live.window.letterbox import Letterbox, Point
from tests.helpers.results import result_of
from tests.helpers.suggest_user import SOURCE_WH, Finder, User, disc


@pytest.mark.parametrize("looks", [("moved",), ("pressed",), ("moved", "pressed")])
def test_a_click_takes_what_is_on_screen_though_a_better_one_came(looks: tuple[str, ...]) -> None:
    """A click at an outline's edge was a point when the search had replaced it by then."""
    finder = Finder((disc(20, 20, 6), disc(18.5, 20, 6, 0.95), disc(40, 40, 5)))
    user = User(finder)
    user.press("a")
    user.look(2)
    (shown,) = user.outlines
    assert user.point(25.5, 20) is shown
    better = Suggestions(user.asked, finder.found[1:], 3, 3)
    if "moved" in looks:  # after the picture was drawn
        user.controls.suggestions.put(better)
    user.input.press_left(*user.at(25.5, 20))
    if "pressed" in looks:
        user.controls.suggestions.put(better)
        user.input.look_for_proposals()
        assert shown not in user.outlines
    user.sent()
    user.input.release_left(*user.at(25.5, 20))
    (prompt,) = user.sent()
    assert isinstance(prompt, Prompt)
    assert prompt.mask is not None
    assert prompt.mask[112, 255]
    user.input.look_for_proposals()
    state = user.input.state
    assert state.proposals is not None
    assert state.proposals.taken == ((shown, 1),)
    assert [outline.proposal for outline in user.outlines] == [finder.found[2]]


def test_a_press_is_not_for_a_picture_that_was_let_go() -> None:
    user = User()
    user.press("a")
    user.look()
    user.input.press_left(*user.at(20, 20))
    user.press("a")
    user.sent()
    user.input.release_left(*user.at(20, 20))
    (prompt,) = user.sent()
    assert isinstance(prompt, Prompt)
    assert (len(prompt.points_xy_px), prompt.mask) == (1, None)


def test_holes_are_outlined_too() -> None:
    """A click in a hole takes nothing, so it must be seen."""
    ring = np.where(disc(20, 20, 4).mask_logits > 0, np.float32(-10), disc(20, 20, 9).mask_logits)
    user = User(Finder((Proposal(ring, 0.9, 0.9, (200, 112.5)),)))
    user.input.letterbox = Letterbox(SOURCE_WH, SOURCE_WH)
    user.press("a")
    user.look()
    composite = compose(result_of(np.zeros((360, 640, 3), np.uint8)), Effect())
    canvas = draw_canvas(View(composite, user.input.state), SOURCE_WH)
    (outline,) = user.outlines
    (columns,) = np.nonzero((canvas[112] == outline.colour).all(axis=1))
    for edge in (110, 160, 240, 290):
        assert np.abs(columns - edge).min() <= 8
    assert not outline.contains(Point(200, 112))
