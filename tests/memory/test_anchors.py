"""Policies of anchors, as tables: one case for each rule."""

from __future__ import annotations

import numpy as np
import pytest

from samcam.memory import Areas, DistractorTest, may_anchor, sees_distractor
from samcam.memory.anchors import AREAS_KEPT, F32, Mask, least_worth, most_alike

DAM4SAM = DistractorTest()


@pytest.mark.parametrize(
    ("iou", "ratio", "since", "expected"),
    [
        (0.81, 1.0, 6, True),
        (0.8, 1.0, 6, False),  # not above 0.8
        (0.9, 0.8, 6, True),
        (0.9, 0.79, 6, False),  # shrinks: hidden in part, perhaps
        (0.9, 1.2, 6, True),
        (0.9, 1.21, 6, False),  # grows: the distractor with it, perhaps
        (0.9, None, 6, False),  # nothing to compare with
        (0.9, 1.0, 5, False),  # not more than 5 steps since the last one
    ],
)
def test_what_may_become_an_anchor(
    iou: float, ratio: float | None, since: int, expected: bool
) -> None:
    assert may_anchor(DAM4SAM, iou, ratio, since) is expected


def test_areas_are_compared_with_the_median_of_the_last_ten() -> None:
    areas = Areas()
    assert areas.ratio(0, 0.5) is None
    for step in range(20):
        areas = areas.noted(step, 0.1 if step < 10 else 0.2)
    assert len(areas.seen) == AREAS_KEPT
    assert areas.ratio(20, 0.2) == pytest.approx(1.0)
    assert areas.noted(20, 0.0) == areas, "an empty mask has no area"
    assert areas.noted(19, 0.4).seen[-1] == (19, 0.4), "a step that is run again counts once"


def test_areas_of_300_steps_ago_no_longer_count() -> None:
    areas = Areas().noted(0, 0.1)
    assert areas.ratio(299, 0.1) == pytest.approx(1.0)
    assert areas.ratio(300, 0.1) is None
    assert areas.noted(300, 0.1).seen == ((300, 0.1),)


def square(x: int, y: int, edge: int) -> Mask:
    mask = np.zeros((64, 64), np.bool_)
    mask[y : y + edge, x : x + edge] = True
    return mask


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([square(40, 20, 10)], True),  # a second thing beside it
        ([square(20, 20, 10)], False),  # the same thing
        ([square(22, 22, 6)], False),  # a part of it
        ([square(20, 20, 11)], False),  # its border: 100 of 121 is above 0.7
        ([square(20, 20, 12)], True),  # the whole that it is a part of: 100 of 144 is not
        ([square(0, 0, 0)], False),  # nothing
        ([], False),
        ([square(20, 20, 10), square(0, 0, 5)], True),  # one is enough
    ],
)
def test_a_distractor_is_what_another_candidate_shows_beside_the_mask(
    others: list[Mask], expected: bool
) -> None:
    assert sees_distractor(square(20, 20, 10), others, DAM4SAM) is expected


def test_only_the_largest_component_beside_the_mask_counts() -> None:
    other = square(30, 20, 2) | square(60, 60, 1)  # a crumb far away
    assert not sees_distractor(square(20, 20, 10), [other], DAM4SAM)


def test_an_empty_mask_sees_no_distractor() -> None:
    assert not sees_distractor(square(0, 0, 0), [square(5, 5, 5)], DAM4SAM)


def look(angle: float) -> F32:
    return np.array((np.cos(angle), np.sin(angle)), np.float32)


@pytest.mark.parametrize(
    ("steps", "angles", "qualities", "expected"),
    [
        ([0, 100, 200, 300], [0, 0.5, 1.0, 1.5], [0.9, 0.9, 0.2, 0.9], 2),  # the worst
        ([0, 100, 200, 300], [0, 0.7, 0.71, 1.5], [0.9, 0.9, 0.8, 0.9], 2),  # two alike
        ([0, 100, 101, 300], [0, 0.5, 1.0, 1.5], [0.9, 0.9, 0.9, 0.9], 1),  # two at one time
        ([0, 100, 200], [0.3, 0.3, 0.3], [0.9, 0.5, 0.9], 1),  # all alike
    ],
)
def test_the_most_redundant_anchor_goes(
    steps: list[int], angles: list[float], qualities: list[float], expected: int
) -> None:
    assert least_worth(steps, [look(angle) for angle in angles], qualities) == expected


def test_the_most_similar_looks_are_attended_to() -> None:
    looks = [look(angle) for angle in (0.0, 1.5, 0.2, 3.0)]
    assert most_alike(looks, look(0.1), 2) == [0, 2]
    assert most_alike(looks, look(3.0), 1) == [3]
    assert most_alike(looks, np.zeros(2, np.float32), 2) == [0, 1], "no look to compare with"
    assert most_alike([], look(0), 3) == most_alike(looks, look(0), 0) == []
