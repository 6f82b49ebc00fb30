"""Several objects through the tracker: what is noted of each for the others, on steps that are run
again too, and by their colours."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeAlias

import numpy as np
import pytest

from samcam.live.commands import PinStep, UndoPrompt
from samcam.live.masks import logits_box
from samcam.live.tracker.identity.rivals import KnownLook
from samcam.live.tracker.presets import CATCH_UP
from tests.helpers.tracker_networks import click
from tests.live.tracker.test_rivals import A, B, Pair

STEPS, PAST = 9, 4
RED, BLUE = (30, 40, 220), (220, 90, 20)
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


def settle(pair: Pair) -> None:
    pair._turn = [pair.first]  # object 1 alone is run again
    pair.tracker._timeline.settle()


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


def test_a_correction_on_a_pinned_step_where_both_lay_together() -> None:
    """It enters long after; the other object changes by no bit."""
    answers = []
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
        answers.append(pair.show((A,) * 4, (A,) * 4))
    assert together.step in answers[1].objects[0].memory_steps
    assert together.step not in answers[0].objects[0].memory_steps
    first, second = (one.objects[1] for one in answers)
    assert first.memory_steps == second.memory_steps
    assert first.reason == second.reason
    np.testing.assert_array_equal(first.mask(), second.mask())
