"""A lost object is found again by what it looks like; what fails is neither shown nor kept."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from samcam.engines.base import Array
from samcam.engines.fake_backend import fake_networks
from samcam.engines.host_tensors import HostTensor
from samcam.engines.sam2_graphs import DecoderOutput
from samcam.live.commands import HoverRequest
from samcam.live.frames import U8, ObjectResult, ObjectState
from samcam.live.tracker.crop import Crop, CropSettings, CropState
from samcam.live.tracker.identity.look import COLOURS, colours_of
from samcam.live.tracker.identity.recovery import RecoverySettings, Sighting, doubt, refusal
from samcam.live.tracker.identity.search import MIN_SEARCH_SHARE, search_crop
from samcam.live.tracker.judge import Judge
from samcam.live.tracker.presets import PRESETS, preset
from samcam.live.tracker.state import Observation, StateThresholds, Status, advance
from samcam.live.tracker.track import ObjectTrack
from samcam.live.tracker.tracker import Tracker
from tests.helpers.tracker_networks import SIZE, Script, click, frame, square_logits

RULES, CERTAIN = RecoverySettings(), StateThresholds().certain_iou
WH, CELLS, STEP_S = (640, 480), 64, 1 / 30
RED, BLUE = (30, 40, 220), (220, 90, 20)
TRACKED, MISSED = (True, True), (False, False)


def status(*seen: tuple[bool, bool], doubtful: bool = False) -> Status:
    """Return the status after a prompt and steps of (present, visible)."""
    now = advance(None, Observation(True, True, True, 0.9, 5.0), STEP_S, StateThresholds())
    for present, visible in seen:
        why = "looks different" if doubtful else None
        step = Observation(present, visible, False, 0.9, 5.0, doubt=why)
        now = advance(now, step, STEP_S, StateThresholds())
    return now


def sighting(x: float = 20, size: float = 10, iou: float = 0.9, looks: float = 0.9) -> Sighting:
    return Sighting(np.array((x, 20, x + size, 30), np.float32), iou, looks, STEP_S)


LAST = CropState(25, 25, 10)


@pytest.mark.parametrize(
    ("seen", "before", "why"),
    [
        (sighting(looks=0.6), status(TRACKED), None),  # a tracked object may change
        (sighting(looks=0.4), status(TRACKED), "looks different: 0.40 of 0.45"),
        (sighting(looks=0.58), status(MISSED), "looks different: 0.58 of 0.60"),
        (sighting(looks=0.58), status(*[MISSED] * 9), "looks different: 0.58 of 0.60"),
        (sighting(looks=0.8), status(*[MISSED] * 9), None),
        (sighting(iou=0.35), status(TRACKED), None),
        (sighting(iou=0.35), status(*[MISSED] * 9), "no sure mask: predicted IoU 0.35 of 0.40"),
        (sighting(x=60), status(TRACKED), None),  # how far it jumps is the gate's to judge
        (sighting(x=60), status(*[MISSED] * 5), "too far away: 4.0 of 2.2 times its size"),
        (sighting(x=41.5), status(*[MISSED] * 5), None),  # it moved on to the present step too
        (sighting(x=60), status(*[MISSED] * 13), "too far away: 4.0 of 3.8 times its size"),
        (sighting(x=60), status(*[MISSED] * 14), None),  # half a second after it was seen
        (sighting(x=60), status(*[MISSED] * 20), None),  # who knows where it went since
        (sighting(size=40), status(*[MISSED] * 9), "4.0 times as large"),
        (sighting(looks=0.5), status(*[TRACKED] * 5, doubtful=True), None),
        (
            sighting(looks=0.5),
            status(*[TRACKED] * 12, doubtful=True),
            "looks different: 0.50 of 0.55",
        ),
        (sighting(looks=0.58), status(*[TRACKED] * 12, doubtful=True), None),
    ],
)
def test_what_is_refused_and_why(seen: Sighting, before: Status, why: str | None) -> None:
    assert refusal(seen, before, LAST, CERTAIN, RULES) == why


@pytest.mark.parametrize("fps", [10, 20, 30, 60, 100])
def test_how_long_a_doubt_lasts_does_not_hang_on_rounding(fps: int) -> None:
    settings = replace(RULES, doubt_s=0.3)
    now, steps = status(), round(0.3 * fps)
    for step in range(steps + 3):
        seen = Observation(True, True, False, 0.9, 5.0, doubt="looks different")
        now = advance(now, seen, 1 / fps, StateThresholds())
        refused = refusal(sighting(looks=0.5), now, LAST, CERTAIN, settings) is not None
        assert refused == (step > steps)  # the first doubtful step begins it


def test_a_likeness_in_doubt_is_said() -> None:
    assert doubt(sighting(looks=0.55), RULES) is None
    assert doubt(sighting(looks=0.54), RULES) == "looks different: 0.54 of 0.55"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"sure": 0.5}, "remembered: expected at most sure 0.5, got 0.55"),
        ({"shown": 0.6}, "shown: expected at most remembered 0.55, got 0.6"),
        ({"remembered": 0.61}, "remembered: expected at most sure 0.6, got 0.61"),
        ({"remembered": 0.4}, "shown: expected at most remembered 0.4, got 0.45"),
        (
            {"shown": 0.7, "sure": 0.5},
            "shown: expected at most remembered 0.55, got 0.7; "
            "remembered: expected at most sure 0.5, got 0.55",
        ),
    ],
)
def test_the_likenesses_are_in_order(wrong: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        replace(RULES, **wrong)


def test_a_refused_mask_leaves_the_object_lost_and_says_why() -> None:
    now = status(*[MISSED] * 9)
    step = Observation(False, False, False, 0.9, 5.0, refused="looks different: 0.40 of 0.70")
    now = advance(now, step, STEP_S, StateThresholds())
    assert now.state is ObjectState.LOST
    assert now.reason == "not seen for 10 steps (looks different: 0.40 of 0.70)"


def test_the_search_goes_over_the_whole_picture() -> None:
    """Every pixel comes into a crop, and a large object is looked for in the whole picture."""
    lost, seen = CropState(50, 10, 4, unsure=100), np.zeros(WH[::-1], np.int32)
    crops = [search_crop(lost, step, WH, CELLS, CropSettings()) for step in range(40)]
    assert all(crop.is_whole for crop in crops[::2])
    for crop in crops[1::2]:
        assert crop.width == round(WH[0] * MIN_SEARCH_SHARE)
        crop.cut(seen)[:] += 1  # type: ignore[type-var]
    assert seen.min() >= 1
    nearest = crops[1]
    assert nearest.x + nearest.width >= 50 / CELLS * WH[0]
    large = CropState(30, 30, 30, unsure=100)
    assert all(search_crop(large, n, WH, CELLS, CropSettings()).is_whole for n in range(9))
    narrow = CropState(50, 10, 4, unsure=1)
    assert search_crop(narrow, 2, WH, CELLS, CropSettings()).width == round(WH[0] * 0.25)
    assert search_crop(lost, 1, WH, CELLS, None).is_whole


def test_colours_are_those_of_the_mask_alone() -> None:
    picture = np.full((480, 640, 3), BLUE, np.uint8)
    picture[150:225, 200:300] = RED
    whole = Crop.whole(WH)

    def colours(x: int, y: int, edge: int, where: U8 = picture) -> np.ndarray | None:
        logits = square_logits(CELLS, x, y, edge)
        box = np.array((x, y, x + edge, y + edge), np.float32)
        return colours_of(logits, whole, box, where, CELLS)

    red, blue = colours(22, 22, 6), colours(40, 40, 9)
    assert red is not None
    assert blue is not None
    assert red.shape == (COLOURS,)
    assert np.dot(red, red) == pytest.approx(1)
    assert np.dot(red, blue) < 0.05
    assert colours(20, 20, 0) is None


class Story:
    """An object of one colour at one place, under a decoder that always answers the same."""

    def __init__(self, name: str = "default") -> None:
        self.script = Script(masks=((20, 20, 12),) * 4)
        self.tracker = Tracker(fake_networks(decoder=self.script.decode), preset(name))
        self._index = 0
        self.tracker.prompt(click(250, 200))

    def see(self, colour: tuple[int, int, int], score: float = 5.0) -> ObjectResult:
        self.script.score = score
        picture = np.full((SIZE[1], SIZE[0], 3), 128, np.uint8)
        picture[140:250, 190:330] = colour
        (answer,) = self.tracker.step(frame(self._index, picture)).objects
        self._index += 1
        return answer


def test_another_thing_is_not_taken_for_a_lost_object_but_itself_is() -> None:
    story = Story()
    assert [story.see(RED).visible for _ in range(8)] == [True] * 8
    for _ in range(6):
        gone = story.see(RED, score=-5.0)
    assert gone.state is ObjectState.LOST
    for _ in range(30):
        other = story.see(BLUE)
        assert not other.visible
        assert not other.admitted
        assert other.state is ObjectState.LOST
        assert "looks different" in other.reason
        assert other.appearance is not None
        assert other.appearance < 0.5
    again = story.see(RED)
    assert again.visible
    assert not again.admitted
    assert again.state is ObjectState.UNCERTAIN
    assert story.see(RED).state is ObjectState.RECOVERED
    kept = story.see(RED)
    assert kept.visible
    assert kept.admitted
    assert kept.appearance is not None
    assert kept.appearance > 0.9
    assert kept.object_id == 1


def test_a_click_corrects_what_was_shown_and_not_a_refused_mask() -> None:
    """Where nothing is shown, a click starts from nothing, also in its preview."""
    inputs: list[bool] = []
    story = Story()

    def decode(feeds: Mapping[str, Array]) -> DecoderOutput:
        if (np.asarray(feeds["point_labels"]) >= 0).any():
            inputs.append(bool(np.asarray(feeds["has_mask_input"])[0]))
        return story.script.decode(feeds)

    story.tracker = Tracker(fake_networks(decoder=decode), preset("default"))
    story.tracker.prompt(click(250, 200))
    for _ in range(8):
        story.see(RED)
    assert not story.see(BLUE).visible
    inputs.clear()
    story.tracker.hover(HoverRequest(1, 8, 250, 200))
    story.tracker.prompt(replace(click(250, 200), step=8))
    assert story.see(BLUE).visible
    assert inputs == [False, False]
    inputs.clear()
    story.tracker.prompt(replace(click(250, 200), step=6))
    story.see(BLUE)
    assert inputs[0], "there its mask was shown"


def test_what_takes_the_objects_place_is_refused_at_once() -> None:
    story = Story()
    for _ in range(8):
        story.see(RED)
    taken = story.see(BLUE)
    assert not taken.visible
    assert not taken.admitted
    assert "looks different" in taken.reason


@pytest.mark.parametrize("name", [name for name, one in PRESETS.items() if one.recovery is None])
def test_other_presets_take_what_their_scores_let_pass(name: str) -> None:
    story = Story(name)
    for _ in range(8):
        story.see(RED)
    taken = story.see(BLUE)
    assert taken.visible
    assert taken.appearance is None


@pytest.mark.parametrize(
    ("dt_s", "vouched", "counts"),
    [(1 / 30, False, 0.501), (20.0, False, 0.53), (1 / 30, True, 1.0)],
)
def test_how_much_a_memory_counts(dt_s: float, vouched: bool, counts: float) -> None:
    """What looks half like the object counts half: over a gap too, and whole where the user
    committed it."""
    settings = preset("default")
    track = ObjectTrack(1, settings)
    track.predict(dt_s)
    answer = replace(Judge(settings, fake_networks().manifest).absent(WH), appearance=0.5)
    track.remember(3, answer, HostTensor(np.zeros(1, np.float32), owned=True), conditioning=vouched)
    (kept,) = track.bank.at(3)
    assert kept.appearance == pytest.approx(counts)
