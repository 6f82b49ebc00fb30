"""Several objects through the tracker: what is noted of each for the others, on steps that are run
again too, and by their colours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeAlias

import numpy as np
import pytest

from samcam.engines.base import Array
from samcam.engines.fake_backend import fake_networks
from samcam.engines.sam2_graphs import DecoderOutput
from samcam.live.commands import PinStep, UndoPrompt
from samcam.live.frames import ObjectResult
from samcam.live.masks import logits_box
from samcam.live.tracker.history import PastStep
from samcam.live.tracker.identity.rivals import KnownLook
from samcam.live.tracker.presets import CATCH_UP, preset
from samcam.live.tracker.step import StageClock
from samcam.live.tracker.track import ObjectTrack
from samcam.live.tracker.tracker import Tracker
from tests.helpers.tracker_networks import SIZE, Script, click, frame
from tests.live.tracker.test_rivals import A, B, Pair

STEPS, PAST = 9, 4
RED, BLUE = (30, 40, 220), (220, 90, 20)
Squares: TypeAlias = tuple[tuple[int, int, int], ...]
Colours: TypeAlias = tuple[tuple[int, int, int], tuple[int, int, int]]


def looks(pair: Pair) -> list[list[tuple[bytes, float]]]:
    """What the others compare with of object 1, on every kept step; it is what it knew there."""
    noted = []
    for step in range(1, STEPS):
        past = pair.tracker._timeline.find(step)
        assert past is not None
        (place,) = [one for one in past.places if one.object_id == 1]
        noted.append([(look.obj_ptr.tobytes(), look.appearance) for look in place.looks])
        before = past.of(1).before
        assert before is not None
        assert [id(look.obj_ptr) for look in place.looks] == [
            id(memory.obj_ptr) for memory in before.bank.looks
        ]
    return noted


class Networks:
    """Networks that answer each of two objects with masks of its own, and clicks with the last."""

    def __init__(self, masks: dict[int, Squares]) -> None:
        self.masks, self._asked = masks, 0
        self.tracker = Tracker(fake_networks(decoder=self._decode), preset("default"))
        self._inner = self.tracker._stepper.step
        self.tracker._stepper.step = self._step  # type: ignore[method-assign]

    def _step(self, past: PastStep, track: ObjectTrack, clock: StageClock) -> ObjectResult:
        self._asked = track.object_id
        return self._inner(past, track, clock)

    def _decode(self, feeds: Mapping[str, Array]) -> DecoderOutput:
        masks = self.masks[self._asked]
        clicked = bool((np.asarray(feeds["point_labels"]) >= 0).any())
        ious = (0.1, 0.9, 0.5, 0.3)
        return Script(masks=(masks[-1],) * 4 if clicked else masks, ious=ious).decode(feeds)


def settle(pair: Pair) -> None:
    pair._turn = [pair.first]  # object 1 alone is run again
    pair.tracker._timeline.settle()
    pair.tracker._timeline.expect_foreseen()  # as the next new step does


@pytest.mark.parametrize("catch_up", CATCH_UP)
def test_what_is_taken_back_is_taken_back_in_what_others_compare_with(catch_up: str) -> None:
    pair = Pair((1, 2), catch_up=catch_up)
    pair.show((A,) * 4, (B,) * 4, times=STEPS - 1)
    as_was = looks(pair)
    pair.tracker.prompt(replace(click(250, 250), step=PAST))
    settle(pair)
    taught = looks(pair)
    assert taught[:PAST] == as_was[:PAST]
    assert taught[PAST:] != as_was[PAST:]
    pair._turn = [pair.first]
    pair.tracker.apply(UndoPrompt(1))
    settle(pair)
    again = looks(pair)
    assert again != taught
    if catch_up == CATCH_UP[0]:
        assert again == as_was


def test_what_is_noted_holds_nothing_of_the_device() -> None:
    pair = Pair((1, 2))
    pair.show((A,) * 4, (B,) * 4, times=STEPS - 1)
    past = pair.tracker._timeline.find(STEPS - 1)
    assert past is not None
    kept = [look for place in past.places for look in place.looks]
    assert len(kept) >= 2
    for look in kept:
        assert isinstance(look, KnownLook)
        assert isinstance(look.obj_ptr, np.ndarray)
        assert isinstance(look.colours, np.ndarray)


@pytest.mark.parametrize(("colours", "cut"), [((RED, RED), True), ((RED, BLUE), False)])
def test_only_what_looks_alike_is_parted(colours: Colours, cut: bool) -> None:
    pair = Pair((1, 2), colours=colours)
    pair.show((A,) * 4, (B,) * 4, times=8)
    result = pair.show(((20, 20, 26),) * 4, (B,) * 4)
    logits = result.objects[0].mask_logits
    assert logits is not None
    assert (logits_box(logits)[2] < B[0]) == cut


def held(pair: Pair, object_id: int) -> list[object]:
    """Return what an object's next answer follows from."""
    track = pair.tracker._timeline.tracks[object_id]
    assert track.gate is not None
    kept: list[object] = [dict(track.rivals), track.crop_state, track.status]
    kept += [None if track.gate.box is None else track.gate.box.tobytes()]
    kept += [one.numpy().tobytes() for one in track.bank.view(STEPS * 9).maskmem_features]
    for look in track.bank.looks:
        kept += [look.obj_ptr.tobytes(), look.appearance]
    return kept


def test_a_correction_on_a_pinned_step_where_both_lay_together() -> None:
    """It enters long after; the other object, which it shared a place with, changes by no bit."""
    answers, states = [], []
    for corrected in (False, True):
        pair = Pair((1, 2), prompt_history=3)
        pair.show((A,) * 4, (B,) * 4, times=8)
        pair.tracker.prompt(click(250, 250, object_id=2))
        pair.show((A,) * 4, (A,) * 4)
        together = pair.show((A,) * 4, (A,) * 4)
        assert not any(one.admitted for one in together.objects)
        pair.tracker.apply(PinStep(together.step))
        pair.show((A,) * 4, (A,) * 4, times=6)
        if corrected:
            pair.tracker.prompt(replace(click(250, 250), step=together.step))
            settle(pair)
        states.append([held(pair, object_id) for object_id in (1, 2)])
        answers.append(pair.show((A,) * 4, (A,) * 4))
    assert states[0][0] != states[1][0], "the corrected one learnt"
    assert states[0][1] == states[1][1]
    assert together.step in answers[1].objects[0].memory_steps
    assert together.step not in answers[0].objects[0].memory_steps
    first, second = (one.objects[1] for one in answers)
    assert first.memory_steps == second.memory_steps
    assert first.reason == second.reason
    np.testing.assert_array_equal(first.mask(), second.mask())


def corrected(order: tuple[int, int], between: bool) -> list[object]:
    """Correct both objects on a past step; return what is said of them then.

    `between`: something, as a pointer that hovers, has the first one answered before the second.
    """
    networks = Networks({1: ((20, 20, 10),) * 4, 2: ((40, 20, 10),) * 4})
    masks, tracker = networks.masks, networks.tracker
    tracker.prompt(click(250, 200))
    tracker.prompt(click(450, 200, object_id=2))
    picture = np.full((SIZE[1], SIZE[0], 3), 128, np.uint8)
    for index in range(10):
        tracker.step(frame(index, picture))
    masks[1] = ((30, 20, 10),) * 4
    masks[2] = ((0, 0, 0), (34, 20, 10), (40, 20, 10), (40, 20, 10))
    for object_id in order:
        x = {1: 350, 2: 450}[object_id]
        tracker.prompt(replace(click(x, 200, object_id=object_id), step=5))
        if between:
            tracker._timeline.settle()
    result = tracker.step(frame(10, picture))
    return [(one.reason, one.admitted, str(one.box_xyxy_px)) for one in result.objects]


def test_the_order_of_edits_between_two_steps_decides_nothing() -> None:
    said = [corrected(order, late) for order in ((1, 2), (2, 1)) for late in (False, True)]
    assert said == [said[0]] * 4
