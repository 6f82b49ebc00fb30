"""Two equal cards that cross, tracked by `nano`: each keeps its id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from samcam.engines import EngineOptions, load_model
from samcam.live.commands import CycleCandidate, UndoPrompt
from samcam.live.frames import Frame, Mask, Prompt
from samcam.live.tracker.crop import CropSettings
from samcam.live.tracker.presets import preset
from samcam.live.tracker.tracker import Tracker
from tests.helpers.twin_cards import FRAMES, LEFT, RIGHT, TwinCards

BOX, CLICK = "box", "click"
CARD = 0.75  # overlap at which a user takes a mask for the card's
STAYS_S = 2  # where they meet
LOOKS = 3  # pictures on which the user asks for a smaller mask, if it is not


def prompt(kind: str, card: Mask, object_id: int) -> Prompt:
    ys, xs = np.nonzero(card)
    if kind == BOX:
        edges = xs.min(), ys.min(), xs.max() + 1, ys.max() + 1
        return Prompt.box(*map(float, edges), object_id)
    return Prompt.click(float(xs.mean()), float(ys.mean()), object_id)


def overlap(mask: Mask, card: Mask) -> float:
    return float((mask & card).sum() / (mask | card).sum())


def overlaps(
    seed: int, kind: str, crop: bool, meets_fps: int | None = None
) -> Sequence[Sequence[float]]:
    """Follow one crossing; return the overlaps of both masks with their cards, (FRAMES, 2).

    With `meets_fps` the cards come to rest for two seconds where they meet, and go back.

    A click on a card before a window may take both. Where a click's mask is not the card's, the
    user asks for a smaller one on the next pictures, as with the window's key.
    """
    scene, found = TwinCards(seed), []
    fps = 30 if meets_fps is None else meets_fps
    way = [index / (FRAMES - 1) for index in range(FRAMES)]
    if meets_fps is not None:
        way = scene.meets(STAYS_S * fps, 30 // fps)
    networks = load_model("nano", "onnxruntime", EngineOptions(threads=1))
    settings = replace(preset("default"), crop=CropSettings() if crop else None)
    with Tracker(networks, settings) as tracker:
        for index, share in enumerate(way):
            picture, truth = scene.render(index, share)
            for card in (LEFT, RIGHT):
                if index == 0:
                    tracker.prompt(prompt(kind, truth == card, card))
                elif kind == CLICK and index <= LOOKS and found[-1][card - 1] < CARD:
                    tracker.apply(CycleCandidate(card, -1))
            result = tracker.step(Frame(index, round(index * 1e9 / fps), 0, picture))
            found.append([overlap(one.mask(), truth == one.object_id) for one in result.objects])
    return found


def kept(seed: int, kind: str, crop: bool, meets_fps: int | None = None) -> bool:
    """Whether both cards have their ids over the last five pictures."""
    return bool((np.mean(overlaps(seed, kind, crop, meets_fps)[-5:], axis=0) > 0.5).all())


@pytest.mark.parametrize(("kind", "crop"), [(BOX, False), (CLICK, True)])
def test_equal_cards_that_cross_keep_their_ids(kind: str, crop: bool) -> None:
    assert kept(0, kind, crop)


def test_equal_cards_that_meet_and_part_again_keep_their_ids() -> None:
    """They rest over each other for four times as long as motion holds, and turn back."""
    assert kept(0, BOX, crop=False, meets_fps=15)


def meeting(ids: tuple[int, int], meddle: bool = False) -> list[object]:
    """Follow the first half of a crossing; return what is said of each card, left one first."""
    scene, said = TwinCards(0), []
    networks = load_model("nano", "onnxruntime", EngineOptions(threads=1))
    with Tracker(networks, preset("default")) as tracker:
        for index in range(36):
            picture, truth = scene.render(index)
            for card, object_id in zip((LEFT, RIGHT), ids, strict=True):
                if index == 0:
                    tracker.prompt(prompt(BOX, truth == card, object_id))
                elif meddle and index in (26, 33):
                    wrong = Prompt.click(5, 5, object_id)
                    tracker.prompt(replace(wrong, step=index - 4))
                    tracker.apply(UndoPrompt(object_id))
            result = tracker.step(Frame(index, round(index * 1e9 / 30), 0, picture))
            answers = {one.object_id: one for one in result.objects}
            said.append([(answers[one].mask().tobytes(), answers[one].memory_steps) for one in ids])
            if index in (24, 26):
                assert all(track.rivals for track in tracker._timeline.tracks.values())
    return said


def test_neither_order_nor_steps_that_are_run_again_change_a_meeting() -> None:
    """A prompt on a past picture and its undo leave no bit behind, in this object or its rival."""
    as_was = meeting((1, 2))
    assert meeting((1, 2), meddle=True) == as_was
    assert meeting((2, 1)) == as_was


@pytest.mark.long
@pytest.mark.parametrize("crop", [False, True])
@pytest.mark.parametrize("kind", [BOX, CLICK])
def test_nine_of_ten_crossings_keep_their_ids(kind: str, crop: bool) -> None:
    assert sum(kept(seed, kind, crop) for seed in range(20)) >= (20 if kind == BOX else 18)


@pytest.mark.long
@pytest.mark.parametrize("fps", [15, 30])
def test_most_that_meet_and_part_again_keep_their_ids(fps: int) -> None:
    assert sum(kept(seed, BOX, bool(seed % 2), fps) for seed in range(10)) >= 8
