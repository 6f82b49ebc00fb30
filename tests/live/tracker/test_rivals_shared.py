"""Masks that several objects share teach nothing: no memory, no next step, no guide."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from samcam.guides import Box
from samcam.live.frames import U8
from samcam.live.tracker.guidance import RESTART_STEPS
from samcam.live.tracker.identity import rivals
from samcam.live.tracker.identity.recogniser import _solid
from samcam.live.tracker.identity.rivals import Place, alike
from samcam.live.tracker.presets import preset
from samcam.memory import KeepPrevious
from tests.helpers.tracker_networks import click
from tests.live.tracker.test_guides import THERE, Play, Scripted, px
from tests.live.tracker.test_rivals import BLUE, NOWHERE, RED, A, B, Colours, Pair, box
from tests.live.tracker.test_rivals_places import seen

LONG = preset("long").memory


def together(pair: Pair) -> None:
    """Bring two objects that were seen apart to one place."""
    pair.show((A,) * 4, (B,) * 4, times=8)
    pair.tracker.prompt(click(250, 250, object_id=2))
    pair.show((A,) * 4, (A,) * 4)


def test_the_next_step_does_not_attend_to_a_shared_mask() -> None:
    pair = Pair((1, 2), memory=LONG)
    assert pair.tracker._settings.bank_policy.keep_previous is KeepPrevious.SEEN
    together(pair)
    shared = [pair.show((A,) * 4, (A,) * 4) for _ in range(6)]
    for before, now in pairwise(shared):
        for one in now.objects:
            assert one.visible
            assert before.step not in one.memory_steps


@pytest.mark.parametrize("name", ["long", "samurai"])
def test_the_next_step_does_not_attend_to_a_mask_that_the_guide_has_elsewhere(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Scripted, "made", ())
    play = Play(replace(preset(name), make_guide=Scripted))
    play.step(10)
    assert play.index - 1 in play.step().memory_steps
    Scripted.made[0].says = (px(THERE), 0.9)
    answers = [play.step() for _ in range(4)]
    for before, now in enumerate(answers[1:], play.index - 4):
        assert now.visible
        assert now.guide_iou == 0
        assert before not in now.memory_steps


class Objecting:
    """A guide that has the object where neither of two is; counts its starts."""

    starts = 0

    def start(self, picture: U8, box: Box) -> None:
        type(self).starts += 1

    def update(self, picture: U8) -> tuple[Box, float]:
        return (10.0, 400.0, 60.0, 470.0), 0.9


def test_no_guide_starts_anew_on_a_shared_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be the other one's, however sure the network is and for however long."""
    monkeypatch.setattr(Objecting, "starts", 0)
    gate = preset("default").gate
    assert gate is not None
    pair = Pair((1, 2), make_guide=Objecting, gate=replace(gate, hold_s=3.0))
    together(pair)
    started = Objecting.starts
    assert started >= 2
    pair.show((A,) * 4, (A,) * 4, times=40)
    assert Objecting.starts == started
    pair.tracker.remove(2)
    pair._ids, pair._scripts = (1,), {1: pair.first}  # type: ignore[assignment]
    pair.show((A,) * 4, (), times=RESTART_STEPS)
    assert Objecting.starts == started + 1, "alone it is sure of it"


@pytest.mark.parametrize(
    ("more", "expected"),
    [({}, True), ({"shared": True}, False), ({"doubt": "looks different"}, False)],
)
def test_a_guide_starts_from_a_mask_that_is_surely_its_own(
    more: dict[str, Any], expected: bool
) -> None:
    assert seen(box(20), **more).is_its_own == expected
    assert not seen(NOWHERE, **more).is_its_own


@pytest.mark.parametrize(
    ("theirs", "mine", "expected", "most"),
    [
        ((RED,) * 40, (RED,) * 40, True, 1),
        ((BLUE, RED, RED), (RED,) * 40, True, 2),
        ((BLUE,) * 3, (RED,) * 40, False, 3),
        ((), (RED,), True, 0),  # nobody knows
        ((RED,), (), True, 1),
    ],
)
def test_the_first_look_that_is_alike_will_do(
    theirs: tuple[Colours, ...],
    mine: tuple[Colours, ...],
    expected: bool,
    most: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked, compare = [], rivals.appearance

    def counted(look: Any, looks: Any) -> float | None:
        asked.append(look)
        return compare(look, looks)

    monkeypatch.setattr(rivals, "appearance", counted)
    assert alike(Place(2, box(20), theirs), mine) == expected
    assert len(asked) == most


def test_a_mask_without_a_pixel_has_no_place() -> None:
    assert not _solid(np.full((64, 64), -6, np.float32)).any()
