"""Guides beside the motion gate: which candidate, which memory, which crop; when they are asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from samcam.engines import EngineError
from samcam.engines.fake_backend import fake_networks
from samcam.guides import Box, GuideError
from samcam.live.commands import GuideBox, UndoPrompt
from samcam.live.frames import U8, ObjectResult, ObjectState
from samcam.live.tracker.guidance import LOST_EVERY, MAX_BOX_AGE_S, RESTART_STEPS
from samcam.live.tracker.presets import DEFAULT, PRESETS, TrackerSettings
from samcam.live.tracker.tracker import Tracker
from tests.helpers.tracker_networks import SIZE, Script, click, frame
from tests.helpers.tracker_plans import BOX, FIX, run, same, seen_on, taking_any

EDGE = 10  # cells, of the scripted masks
HERE, THERE = (10, 20), (40, 20)  # cells
CELL = SIZE[0] / 64, SIZE[1] / 64


def px(place: tuple[int, int]) -> Box:
    """Return the box of a scripted mask in source pixels."""
    x, y = place
    return x * CELL[0], y * CELL[1], (x + EDGE) * CELL[0], (y + EDGE) * CELL[1]


class Scripted:
    """A guide that says what the test says, and notes what it is asked.

    Attributes:
        says: Its box.
        started: The boxes it was started from.
        asked: How often it was.
    """

    made: Sequence[Scripted] = ()

    def __init__(self) -> None:
        self.says: Any = (px(HERE), 0.9)
        self.started: list[Box] = []
        self.asked = 0
        type(self).made = [*type(self).made, self]

    def start(self, picture: U8, box: Box) -> None:
        assert picture.shape == (SIZE[1], SIZE[0], 3)
        self.started.append(box)

    def update(self, picture: U8) -> tuple[Box, float]:
        self.asked += 1
        answer: tuple[Box, float] = self.says
        return answer


@pytest.fixture
def guides(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Sequence[Scripted]]:
    """All guides that were made in this test."""
    monkeypatch.setattr(Scripted, "made", ())
    return lambda: Scripted.made


GUIDED = replace(DEFAULT, make_guide=Scripted)


class Play:
    """A tracker on scripted networks: every candidate is at one place unless told otherwise."""

    def __init__(self, settings: TrackerSettings = GUIDED) -> None:
        self.script = Script(masks=((*HERE, EDGE),) * 4, ious=(0.1, 0.9, 0.2, 0.3))
        self.tracker = Tracker(fake_networks(decoder=self.script.decode), settings)
        self.index = 0
        self.tracker.prompt(click(15 * CELL[0], 25 * CELL[1]))

    def step(self, times: int = 1, at: tuple[int, int] | None = None) -> ObjectResult:
        if at is not None:
            self.script.masks = ((*at, EDGE),) * 4
        for _ in range(times):
            (answer,) = self.tracker.step(frame(self.index)).objects
            self.index += 1
        return answer


def test_it_starts_from_the_prompted_mask_and_is_asked_once_a_step(
    guides: Callable[[], Sequence[Scripted]],
) -> None:
    play = Play()
    assert play.step().guide_iou is None
    (guide,) = guides()  # the one that was made to see whether it can be
    np.testing.assert_allclose(guide.started, [px(HERE)])
    answer = play.step(5)
    assert answer.guide_iou == pytest.approx(1.0)
    assert (guide.asked, len(guide.started)) == (5, 1)
    play.tracker.prompt(click(300, 60, object_id=2))
    play.tracker.step(frame(play.index))
    assert len(guides()) == 2, "one for each object"
    assert guides()[1].asked == 0


def test_where_the_mask_is_unsure_the_guide_chooses(
    guides: Callable[[], Sequence[Scripted]],
) -> None:
    """Two candidates score alike; the motion is where the guide is not."""
    answers = {}
    for name, settings in (("alone", DEFAULT), ("guided", GUIDED)):
        play = Play(settings)
        play.step(10)
        if name == "guided":
            guides()[0].says = (px(THERE), 0.9)
        play.script.masks = ((*HERE, EDGE), (*HERE, EDGE), (*THERE, EDGE), (0, 0, 0))
        play.script.ious = (0.1, 0.62, 0.6, 0.3)
        answers[name] = play.step()
    boxes = {name: answer.box_xyxy_px for name, answer in answers.items()}
    np.testing.assert_allclose(np.array(boxes["alone"]), px(HERE))
    np.testing.assert_allclose(np.array(boxes["guided"]), px(THERE))
    assert answers["guided"].predicted_iou == pytest.approx(0.6), "the network's own"


def test_a_leap_that_the_guide_made_too_is_remembered_and_followed(
    guides: Callable[[], Sequence[Scripted]],
) -> None:
    play = Play()
    play.step(10)
    guides()[0].says = (px(THERE), 0.9)
    leapt = play.step(at=THERE)
    assert (leapt.motion_iou, leapt.guide_iou) == (0, pytest.approx(1))
    assert leapt.admitted, "without the guide it is not: test_what_leaps_off_is_not_remembered"
    after = play.step()
    assert after.motion_iou is None or after.motion_iou > 0.9, "the filter is there now"


def test_a_mask_that_the_guide_objects_to_is_not_remembered(
    guides: Callable[[], Sequence[Scripted]],
) -> None:
    play = Play()
    play.step(10)
    guides()[0].says = (px(THERE), 0.9)
    answer = play.step()
    assert answer.visible
    assert (answer.guide_iou, answer.motion_iou) == (0, pytest.approx(1))
    assert not answer.admitted


def test_it_starts_anew_where_it_objects_for_long_to_a_sure_mask(
    guides: Callable[[], Sequence[Scripted]],
) -> None:
    play = Play()
    play.step(10)
    (guide,) = guides()
    guide.says = (px(THERE), 0.9)
    play.script.ious = (0.1, 0.65, 0.2, 0.3)
    play.step(3 * RESTART_STEPS)
    assert len(guide.started) == 1, "an unsure mask is no reason"
    play.script.ious = (0.1, 0.9, 0.2, 0.3)
    play.step(RESTART_STEPS - 1)
    guide.says = (px(HERE), 0.9)
    play.step()
    guide.says = (px(THERE), 0.9)
    play.step(RESTART_STEPS - 1)
    assert len(guide.started) == 1, "it must object all the time"
    play.step()
    assert len(guide.started) == 2


def test_while_lost_it_is_asked_now_and_then_and_a_given_box_counts_at_once(
    guides: Callable[[], Sequence[Scripted]],
) -> None:
    play = Play()
    play.step(10)
    (guide,) = guides()
    play.script.score = -5
    play.step(5)
    before = guide.asked
    for _ in range(6 * LOST_EVERY):
        assert play.step().guide_iou is None
    assert guide.asked == before + 6
    play.script.score = 5
    play.tracker.apply(GuideBox(1, *px(HERE)))
    assert play.step().guide_iou == pytest.approx(1)


def test_an_object_that_is_found_again_starts_it_anew(
    guides: Callable[[], Sequence[Scripted]],
) -> None:
    """It still says the old place: the mask that was found again counts, once it is sure."""
    play = Play()
    play.step(10)
    (guide,) = guides()
    play.script.score = -5
    play.step(30)
    play.script.score = 5
    play.script.ious = (0.1, 0.65, 0.2, 0.3)
    states = [play.step(at=THERE).state for _ in range(5)]
    assert ObjectState.RECOVERED in states
    assert len(guide.started) == 1, "not from an unsure mask"
    play.script.ious = (0.1, 0.9, 0.2, 0.3)
    play.step()
    np.testing.assert_allclose(guide.started, [px(HERE), px(THERE)])
    guide.says = (px(THERE), 0.9)
    play.step(RESTART_STEPS)
    assert len(guide.started) == 2, "once"


def test_a_new_prompt_on_a_past_picture_starts_it_anew(
    guides: Callable[[], Sequence[Scripted]],
) -> None:
    play = Play()
    play.step(10)
    (guide,) = guides()
    play.tracker.prompt(click(15 * CELL[0], 25 * CELL[1], at=play.index - 1))
    assert play.step(at=THERE).guide_iou is None, "what it said came of another mask"
    np.testing.assert_allclose(guide.started[1:], [px(THERE)])
    guide.says = (px(THERE), 0.9)
    assert play.step().guide_iou == pytest.approx(1)


def test_steps_that_are_run_again_take_what_the_guide_said_then() -> None:
    """An undo of a prompt on the newest step leaves nothing of it, the guide's box included."""

    class Wandering(Scripted):
        def update(self, picture: U8) -> tuple[Box, float]:
            self.asked += 1
            return (100 + 9.0 * self.asked, 90, 300 + 9.0 * self.asked, 260), 0.8

    settings = replace(DEFAULT, make_guide=Wandering)
    plain = run(settings, {2: [BOX]})
    undone = run(settings, {2: [BOX], 12: [seen_on(11, FIX), UndoPrompt(5)]})
    assert any(answers[5].guide_iou for answers in plain[2:])
    assert all(same(plain[:12], undone[:12], 5))
    again = run(settings, {2: [BOX], 12: [seen_on(9, FIX)]})
    twice = run(settings, {2: [BOX], 12: [seen_on(9, FIX)]})
    assert all(same(again, twice, 5)), "the same commands, the same bits"


def test_a_detectors_boxes_stay_when_steps_are_run_again() -> None:
    """They came of no mask, so a late prompt is answered as one in time."""
    settings = taking_any(replace(DEFAULT, guide="boxes"))
    boxes = {10: [GuideBox(5, 90, 80, 320, 280)], 13: [GuideBox(5, 300, 200, 420, 285)]}
    in_time = run(settings, {2: [BOX], 9: [FIX], **boxes})
    late = run(settings, {2: [BOX], 14: [seen_on(9, FIX)], **boxes})
    assert any(answers[5].guide_iou is not None for answers in in_time[10:14])
    assert all(same(late, in_time, 5)[14:])


def test_a_guide_that_is_forgotten_with_its_object_is_made_anew(
    guides: Callable[[], Sequence[Scripted]],
) -> None:
    play = Play()
    for _ in range(5):
        play.step()
        play.tracker.remove()
        play.tracker.prompt(click(15 * CELL[0], 25 * CELL[1]))
    play.step()
    assert len(guides()) == 6
    assert all(len(guide.started) == 1 for guide in guides())


def test_a_first_prompt_on_a_past_picture_starts_it_from_any_next_mask(
    guides: Callable[[], Sequence[Scripted]],
) -> None:
    play = Play()
    play.step()
    play.tracker.remove()
    for _ in range(3):
        play.tracker.step(frame(play.index))
        play.index += 1
    play.script.ious = (0.1, 0.6, 0.2, 0.3)  # not sure enough to start a guide unasked
    play.tracker.prompt(seen_on(2, click(15 * CELL[0], 25 * CELL[1])))
    play.step()
    assert [len(guide.started) for guide in guides()] == [1, 1]


def test_a_guide_goes_with_an_object_whose_first_prompt_is_taken_back(
    guides: Callable[[], Sequence[Scripted]],
) -> None:
    play = Play()
    for made in range(1, 4):
        play.step(3)
        assert len(guides()) == made
        assert "not tracked any more" in str(play.tracker.apply(UndoPrompt(1)))
        play.tracker.prompt(click(15 * CELL[0], 25 * CELL[1]))


def test_a_detectors_box_counts_for_a_short_time() -> None:
    play = Play(replace(DEFAULT, guide="boxes"))
    assert play.step(10).guide_iou is None
    play.tracker.apply(GuideBox(1, *px(THERE)))
    leapt = play.step(at=THERE)
    assert leapt.guide_iou == pytest.approx(1)
    assert leapt.admitted
    told = sum(play.step().guide_iou is not None for _ in range(30))
    assert told == int(MAX_BOX_AGE_S * 30) - 1
    play.tracker.apply(GuideBox(1, *px(THERE), step=play.index - 4))
    told = sum(play.step().guide_iou is not None for _ in range(30))
    assert told == int(MAX_BOX_AGE_S * 30) - 3, "it is as old as its picture"


@pytest.mark.parametrize(
    ("settings", "box", "says"),
    [
        (
            DEFAULT,
            (1, 2, 3, 4),
            "object 1: tracker.guide is none, .*; expected a run with --guide boxes",
        ),
        ("boxes", (-9, 2, -3, 4), r"x1 < x2 and y1 < y2 in the picture of 640x480, got -9,2,-3,4"),
        ("boxes", (9, 2, 9, 4), r"got 9,2,9,4"),
    ],
)
def test_a_box_that_cannot_be_used_is_refused(
    settings: TrackerSettings | str, box: Box, says: str
) -> None:
    chosen = replace(DEFAULT, guide=settings) if isinstance(settings, str) else settings
    play = Play(chosen)
    play.step()
    with pytest.raises(ValueError, match=says):
        play.tracker.apply(GuideBox(1, *box))


def test_a_box_needs_its_object_and_its_picture() -> None:
    play = Play(replace(DEFAULT, guide="boxes", prompt_history=20))
    play.step(15)
    with pytest.raises(ValueError, match="object 2: not tracked, there is nothing to guide"):
        play.tracker.apply(GuideBox(2, *px(HERE)))
    with pytest.raises(ValueError, match="object 1: picture 99 is not kept"):
        play.tracker.apply(GuideBox(1, *px(HERE), step=99))
    with pytest.raises(ValueError, match=r"object 1: the box is 0\.33 s old; expected one of at"):
        play.tracker.apply(GuideBox(1, *px(HERE), step=4))


@pytest.mark.parametrize("name", PRESETS)
def test_a_guide_needs_a_gate_to_stand_beside(name: str) -> None:
    if PRESETS[name].gate is None:
        with pytest.raises(ValueError, match=f"guide: the preset {name} has no motion gate"):
            replace(PRESETS[name], guide="boxes")
    else:
        assert replace(PRESETS[name], guide="boxes").guide == "boxes"


def test_what_is_no_guide_is_refused_when_the_tracker_is_made() -> None:
    with pytest.raises(TypeError, match="its guide has no start"):
        Play(replace(DEFAULT, make_guide=dict))  # type: ignore[arg-type]  # that is the test


@pytest.mark.parametrize("says", [None, ((1, 2, 3), 0.5), ((1, 2, 3, float("nan")), 0.5)])
def test_a_guide_that_says_nothing_sensible_is_named(
    guides: Callable[[], Sequence[Scripted]], says: object
) -> None:
    play = Play()
    play.step()
    guides()[0].says = says
    with pytest.raises(ValueError, match=r"guide: update: expected \(\(x1, y1, x2, y2\), score\)"):
        play.step()


@pytest.mark.parametrize("says", [(px(THERE), 0.0), ((50, 50, 50, 90), 0.9)])
def test_a_guide_that_does_not_see_the_object_has_no_say(
    guides: Callable[[], Sequence[Scripted]], says: object
) -> None:
    play = Play()
    play.step(10)
    guides()[0].says = says
    answer = play.step()
    assert answer.guide_iou is None
    assert answer.admitted


def test_an_error_of_a_guide_ends_the_run_in_one_line(
    guides: Callable[[], Sequence[Scripted]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: Scripted, picture: U8) -> tuple[Box, float]:
        raise GuideError("guide script: broke", "try another")

    play = Play()
    play.step()
    monkeypatch.setattr(Scripted, "update", fails)
    with pytest.raises(EngineError, match=r"^guide script: broke: try another$"):
        play.step()
