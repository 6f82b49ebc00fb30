"""A click counts on the picture that the user saw: the real networks, an object that crosses.

The object moves 40 px a frame and the user is 6 frames late, so that nothing of it is left where
it was seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
import pytest

from samcam.engines.model_folder import load_model
from samcam.engines.options import EngineOptions
from samcam.engines.sam2_graphs import Sam2Networks
from samcam.live.commands import CycleCandidate, HoverRequest
from samcam.live.frames import NS_PER_S, U8, Frame, FrameResult, Mask, Prompt
from samcam.live.masks import upsample_logits
from samcam.live.tracker.presets import TrackerSettings, preset
from samcam.live.tracker.tracker import Tracker
from tests.helpers.tracker_networks import click

SIZE_WH = (640, 360)
SPEED_PX, DELAY, SEEN = 40, 6, 3
Y, RADIUS = 180, 44


class Kept(Sam2Networks):
    """Networks that several trackers use in turn."""

    def close(self) -> None:
        """Stay open."""


@pytest.fixture(scope="module")
def networks() -> Iterator[Sam2Networks]:
    inner = load_model("nano", "onnxruntime", EngineOptions())
    yield Kept(inner.manifest, inner.backends)
    inner.close()


def place(index: int) -> tuple[int, int]:
    return 70 + SPEED_PX * index, Y


def truth(index: int) -> Mask:
    mask = np.zeros(SIZE_WH[::-1], np.uint8)
    cv2.circle(mask, place(index), RADIUS, 1, -1)
    return mask.astype(np.bool_)


def picture(index: int) -> U8:
    """Return a striped red ball on a grey-green wall with a grain."""
    width, height = SIZE_WH
    rng = np.random.default_rng(4)
    ys, xs = np.mgrid[:height, :width]
    wall = np.stack((90 + xs / 16, 110 + ys / 12, 95 + xs / 20), axis=2)
    wall = wall + cv2.resize(rng.normal(0, 9, (45, 80, 3)), SIZE_WH)
    image = np.asarray(np.clip(wall, 0, 255), np.uint8)
    x, y = place(index)
    cv2.circle(image, (x, y), RADIUS, (40, 40, 205), -1, cv2.LINE_AA)
    cv2.ellipse(image, (x, y), (RADIUS, 12), 20.0, 0.0, 360.0, (60, 150, 230), -1, cv2.LINE_AA)
    return image


PICTURES = [picture(index) for index in range(SEEN + DELAY + 3)]


def frame(index: int) -> Frame:
    return Frame(index, index * NS_PER_S // 30, 0, PICTURES[index])


def iou(result: FrameResult, mask: Mask) -> float:
    (found,) = result.objects
    if found.mask_logits is None:
        return 0.0
    shown = upsample_logits(found.mask_logits, SIZE_WH) > 0
    return float((shown & mask).sum() / (shown | mask).sum())


def settings_of(catch_up: str) -> TrackerSettings:
    return replace(preset("default"), catch_up=catch_up)


def test_a_click_selects_what_was_seen_there(networks: Sam2Networks) -> None:
    now = SEEN + DELAY
    for step, selects in ((SEEN, True), (None, False)):
        tracker = Tracker(networks, settings_of("retrack"))
        for index in range(now):
            assert tracker.step(frame(index)).objects == ()
        tracker.prompt(replace(click(*place(SEEN)), step=step))
        found = [iou(tracker.step(frame(index)), truth(index)) for index in (now, now + 1)]
        assert all(value > 0.7 for value in found) if selects else max(found) < 0.1, found


@pytest.mark.parametrize("catch_up", ["retrack", "none"])
def test_a_late_correction_keeps_the_object_and_its_id(
    networks: Sam2Networks, catch_up: str
) -> None:
    tracker = Tracker(networks, settings_of(catch_up))
    tracker.prompt(click(*place(0), object_id=7))
    now = SEEN + DELAY
    for index in range(now):
        tracker.step(frame(index))
    x, y = place(SEEN)
    tracker.prompt(replace(click(x, y + 20, object_id=7), step=SEEN))
    tracker.prompt(replace(click(x, y - RADIUS - 30, 0, object_id=7), step=SEEN))
    result = tracker.step(frame(now))
    assert [answer.object_id for answer in result.objects] == [7]
    assert SEEN in result.objects[0].memory_steps
    assert iou(result, truth(now)) > 0.7


def test_a_click_where_an_object_came_from_another_picture_adds_to_it(
    networks: Sam2Networks,
) -> None:
    """A profile's object, corrected on the first picture: what it was learnt from still counts."""
    learnt = Prompt(object_id=7, mask=truth(1), reference_bgr=PICTURES[1])
    wall = replace(click(20, 20, 0, object_id=7), step=0)
    hovered = HoverRequest(7, 0, *map(float, place(0)))
    tracker = Tracker(networks, settings_of("retrack"))
    tracker.prompt(learnt)
    assert iou(tracker.step(frame(0)), truth(0)) > 0.7
    tracker.prompt(wall)
    assert iou(tracker.step(frame(1)), truth(1)) > 0.7
    answer = tracker.hover(hovered)
    assert answer is not None
    shown = upsample_logits(answer.mask_logits, SIZE_WH) > 0
    assert (shown & truth(0)).sum() > 0.7 * (shown | truth(0)).sum()
    in_time = Tracker(networks, settings_of("retrack"))
    in_time.prompt(learnt)
    in_time.prompt(replace(wall, step=None))
    in_time.step(frame(0))
    in_time.step(frame(1))
    (late,), (early,) = tracker.step(frame(2)).objects, in_time.step(frame(2)).objects
    assert np.array_equal(late.mask_logits, early.mask_logits)  # type: ignore[arg-type]


def test_hovering_shows_the_ball_where_it_was_seen(networks: Sam2Networks) -> None:
    tracker = Tracker(networks, settings_of("retrack"))
    for index in range(SEEN + DELAY):
        tracker.step(frame(index))
    x, y = place(SEEN)
    answer = tracker.hover(HoverRequest(1, SEEN, x, y))
    assert answer is not None
    shown = upsample_logits(answer.mask_logits, SIZE_WH) > 0
    ball = truth(SEEN)
    assert (shown & ball).sum() / (shown | ball).sum() > 0.7
    assert tracker.step(frame(SEEN + DELAY)).objects == ()


def test_the_model_that_answers_with_one_token_has_candidates_too(
    networks: Sam2Networks,
) -> None:
    tracker = Tracker(networks, settings_of("retrack"))
    tracker.prompt(click(*place(0)))
    tracker.step(frame(0))
    first = tracker._timeline._history.since(0)[0].objects[1]
    assert first.token == networks.manifest.token_rule.single_mask_token
    tokens = [first.token]
    for _ in first.candidates:
        said = tracker.apply(CycleCandidate(1))
        assert said is not None
        tokens.append(first.token)
    assert tokens[0] == tokens[-1]
    assert sorted(tokens[1:]) == sorted(first.candidates)
