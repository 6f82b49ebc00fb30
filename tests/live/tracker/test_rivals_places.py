"""Several objects: which are rivals, and what a mask that several share says of where each is."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from samcam.kalman import CameraMotion
from samcam.live.frames import F32
from samcam.live.tracker.crop import Crop, CropSettings, CropState
from samcam.live.tracker.guidance import IDLE_STEPS
from samcam.live.tracker.history import step_seconds
from samcam.live.tracker.identity.rivals import TOGETHER_S, UNSEEN, Place, met, placed
from samcam.live.tracker.judge import Answer
from samcam.live.tracker.presets import preset
from samcam.live.tracker.track import ObjectTrack
from tests.helpers.tracker_networks import SIZE
from tests.live.tracker.test_rivals import NOWHERE, box

FLAT = np.array((64, 20, 64, 30), np.float32)  # what has left by the right edge


@pytest.mark.parametrize(
    ("before", "mine", "theirs", "expected"),
    [
        (None, box(20), box(40), 0.0),  # apart: rivals
        (None, box(20), box(25), None),  # nobody saw them apart: perhaps one thing
        (None, box(20), box(22, 5), None),  # a part of it
        (0.0, box(20), box(25), 0.1),
        (1.0, box(20), box(40), 0.0),
        (0.0, box(20), NOWHERE, 0.0),  # lost: it may come back, and still is none of the other
        (0.0, NOWHERE, box(20), 0.0),
        (1.0, box(20), NOWHERE, 1.0 + UNSEEN * 0.1),  # lost where they met: not for ever
        (1.0, NOWHERE, box(20), 1.0 + UNSEEN * 0.1),
        (TOGETHER_S - UNSEEN * 0.1, NOWHERE, box(20), None),
        (TOGETHER_S, box(20), box(25), None),
        (None, FLAT, FLAT, None),  # what left the picture is nowhere
        (None, FLAT, box(50), None),
        (1.0, box(50), FLAT, 1.0 + UNSEEN * 0.1),
    ],
)
def test_rivals_were_seen_apart_not_long_ago(
    before: float | None, mine: F32, theirs: F32, expected: float | None
) -> None:
    known = {} if before is None else {2: before}
    after = met(known, Place(1, mine), [Place(2, theirs)], 0.1)
    assert after.get(2) == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize("coasting", [(True, False), (False, True), (True, True)])
@pytest.mark.parametrize(
    ("before", "theirs", "expected"),
    [
        (None, box(40), None),
        (0.0, box(40), 0.0),
        (1.0, box(40), 0.0),  # they are two
        (1.0, box(25), 1.1),
    ],
)
def test_what_only_coasts_is_not_seen_apart_for_the_first_time(
    coasting: tuple[bool, bool], before: float | None, theirs: F32, expected: float | None
) -> None:
    known = {} if before is None else {2: before}
    mine, other = Place(1, box(20), coasts=coasting[0]), Place(2, theirs, coasts=coasting[1])
    after = met(known, mine, [other], 0.1)
    assert after.get(2) == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize("fps", [15, 24, 25, 29.97, 30, 60])
def test_rivals_let_go_on_the_first_step_after_the_same_time(fps: float) -> None:
    times = [round(index * 1e9 / fps) for index in range(300)]
    seconds, steps = {2: 0.0}, 0
    while seconds:
        steps += 1
        dt_s = step_seconds(times[steps - 1], times[steps])
        seconds = met(seconds, Place(1, box(20)), [Place(2, box(25))], dt_s)
    assert steps == math.ceil(TOGETHER_S * fps - 1e-3)


def test_who_is_gone_is_no_rival() -> None:
    assert met({2: 0.0}, Place(1, box(20)), [], 0.1) == {}


WH = np.array((10, 10), np.float32)


@pytest.mark.parametrize(
    ("mask", "own", "other", "expected"),
    [
        ((20, 20, 36, 30), box(20), box(26), box(20)),  # as expected
        ((20, 20, 36, 30), box(20.5), box(26), box(20.5)),  # about as expected
        ((20, 20, 36, 30), box(19.5), box(26), box(20)),  # it ends here, or the other one does
        ((20, 20, 36, 30), box(22), box(24), box(20)),  # both stopped before they had passed
        ((20, 20, 36, 30), box(24), box(22), box(26)),  # they have passed
        ((20, 20, 36, 30), box(18, 12), box(26), box(20)),  # its size is that of before
        ((20, 20, 36, 30), box(27), box(22), box(26)),  # none of them is beyond the mask
        ((16, 20, 36, 30), box(20), box(26), None),  # something else is in it, on one side
        ((10, 20, 30, 30), box(15), box(20), None),  # it stopped, or the other one did
        ((20, 20, 36, 36), box(20), box(26), None),  # it is too high as well: where in that?
        ((20, 20, 36, 30), box(23), box(23), None),  # which end is whose?
        ((20, 20, 32, 30), box(22), box(20), None),  # one hides the other
        ((20, 20, 30, 30), box(20), box(27), None),  # which of them is it?
        ((20, 20, 42, 30), box(22), box(27), None),  # it is more than those two
    ],
)
def test_a_mask_of_two_says_where_each_is_by_its_edges(
    mask: tuple[float, ...], own: F32, other: F32, expected: F32 | None
) -> None:
    found = placed(np.array(mask, np.float32), own, WH, [Place(2, other)])
    if expected is None:
        assert found is None
    else:
        np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize("left", [20, 20.5])
@pytest.mark.parametrize("drift", [-0.5, 0.1, 0.5, 1.0])
def test_a_mask_at_rest_never_confirms_a_filter_that_drifts_off(drift: float, left: float) -> None:
    """What it says is about where it ends; or it says nothing."""
    mask, rival = np.array((10, 20, 30, 30), np.float32), Place(2, box(left))
    for step in range(1, 9):
        place = placed(mask, box(10 + drift * step), WH, [rival])
        away = drift * step
        assert (place is None) == (away > 1.01 or away < -2)
        assert place is None or 10 <= place[0] <= 11.01


def seen(where: F32, **more: Any) -> Answer:
    """Return an answer with a mask, of which only the box counts here."""
    empty = np.zeros((64, 64), np.float32)
    pointer = np.ones(4, np.float32)
    return Answer(True, False, empty, pointer, 5.0, 5.0, 0.9, None, where, Crop.whole(SIZE), **more)


def at_rest() -> ObjectTrack:
    track = ObjectTrack(1, preset("default"))
    for _ in range(8):
        track.predict(1 / 30)
        track.observe(seen(box(20)), 1 / 30)
    return track


@pytest.mark.parametrize(
    ("answer", "expected", "moved"),
    [
        (seen(box(23), shared=True), box(20), False),
        (seen(box(23)), box(21.5), True),
        (seen(box(30), shared=True, place=box(23)), box(21.5), True),
        (seen(box(23), guide_iou=0.9), box(21.5), True),
        (seen(box(23), shared=True, guide_iou=0.9), box(20), False),  # or has it the other one?
        (seen(box(23), shared=True, guide_iou=0.1, place=box(23)), box(20), False),  # elsewhere
        (replace(seen(box(40), shared=True), prompted=True), box(40), True),
    ],
)
def test_a_shared_mask_moves_the_filter_only_by_what_it_says(
    answer: Answer, expected: F32, moved: bool
) -> None:
    track = at_rest()
    assert track.gate is not None
    track.predict(1 / 30)
    track.observe(answer, 1 / 30)
    assert track.gate.moved == moved
    np.testing.assert_allclose(track.gate.box, expected, atol=0.8)


def test_a_shared_mask_that_says_nothing_starts_and_holds_no_filter() -> None:
    new = ObjectTrack(1, preset("default"))
    assert new.gate is not None
    new.observe(seen(box(20), shared=True), 1 / 30)
    assert (new.gate.box, new.crop_state) == (None, None)
    track, held = at_rest(), 0
    assert track.gate is not None
    while track.gate.box is not None:
        assert track.crop_state is not None
        looked_at = track.crop_state.crop(SIZE, 64, CropSettings())
        assert looked_at.size_wh == (300, 225), "it is in sight: no wider crop is needed"
        track.predict(1 / 30)
        if held:
            assert track.expected_box is None, "what only coasts is no judge of a mask's parts"
            assert track.place(0.0).coasts
        track.observe(seen(box(20), shared=True), 1 / 30)
        held += 1
    gate = preset("default").gate
    assert gate is not None
    assert held == round(gate.hold_s * 30) + 1


def test_where_shared_masks_say_nothing_a_guide_steers() -> None:
    track = at_rest()
    for _ in range(3):
        track.predict(1 / 30)
        track.steer(box(40))
        assert track.crop_state is not None
        middle = track.crop_state.x
        track.observe(seen(box(20), shared=True), 1 / 30)
    assert middle == 45


@pytest.mark.parametrize("unsure", [9, 100])
def test_what_is_found_again_is_looked_for_there_but_is_no_judge_before_it_moves_the_filter(
    unsure: int,
) -> None:
    """And if it is not there then, it is looked for all over the picture again."""
    track = at_rest()
    while not track.is_lost:
        track.predict(1 / 30)
        track.observe(seen(NOWHERE), 1 / 30)
    track.crop_state = CropState(25, 25, 10, unsure=unsure)
    assert track.gate is not None
    track.gate.observe(box(20), 0.9)
    track.predict(1 / 30)
    track.observe(replace(seen(box(24)), predicted_iou=0.1), 1 / 30)
    assert not track.gate.moved
    assert (track.crop_state.x, track.crop_state.unsure) == (29, IDLE_STEPS)
    assert track.crop_state.crop(SIZE, 64, CropSettings()).size_wh == (300, 225)
    track.predict(1 / 30)
    assert track.expected_box is None
    for _ in range(60):
        track.observe(seen(NOWHERE), 1 / 30)
        track.predict(1 / 30)
    assert track.crop_state.crop(SIZE, 64, CropSettings()).is_whole


def test_the_size_of_an_object_alone_grows_with_the_picture() -> None:
    track, affine = at_rest(), np.array(((1.5, 0, 0), (0, 1.5, 0)))
    track.predict(1 / 30, CameraMotion(affine, side=64))
    assert track.gate is not None
    assert track.gate.box is not None
    assert track.alone_wh is not None
    np.testing.assert_allclose(track.alone_wh, (15, 15), atol=0.5)
    np.testing.assert_allclose(track.alone_wh, track.gate.box[2:] - track.gate.box[:2], atol=0.1)
