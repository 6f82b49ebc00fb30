"""Parts of a mask away from the predicted box are dropped, as long as enough is left."""

from __future__ import annotations

import numpy as np
import pytest

from samcam.kalman.mask_parts import CUT_LOGIT, drop_far_parts
from samcam.kalman.motion_score import F32

Place = tuple[int, int, int, int]  # x1, y1, x2, y2
HERE: Place = (10, 10, 20, 30)
EXPECTED = np.array(HERE, np.float32)


def mask_of(*places: Place) -> F32:
    logits = np.full((64, 64), -1.0, np.float32)
    for x1, y1, x2, y2 in places:
        logits[y1:y2, x1:x2] = 4.0
    return logits


@pytest.mark.parametrize(
    ("places", "kept"),
    [
        ([HERE], [HERE]),
        ([HERE, (40, 10, 50, 30)], [HERE]),  # a twin
        ([HERE, (40, 10, 50, 30), (60, 0, 62, 2)], [HERE]),  # and a speck
        ([(10, 10, 14, 30), (17, 10, 22, 30)], [(10, 10, 14, 30), (17, 10, 22, 30)]),  # a pole
        ([HERE, (22, 10, 30, 30)], [HERE, (22, 10, 30, 30)]),  # within the margin
        ([HERE, (23, 10, 30, 30)], [HERE]),  # beyond it
        ([HERE, (10, 35, 20, 40)], [HERE]),
        ([HERE, (10, 34, 20, 40)], [HERE, (10, 34, 20, 40)]),  # the margin is one of each side
        ([HERE, (19, 28, 50, 30)], [HERE, (19, 28, 50, 30)]),  # one part that reaches far
        ([(10, 10, 12, 12), (40, 10, 50, 30)], [(10, 10, 12, 12), (40, 10, 50, 30)]),  # too little
        ([(40, 10, 50, 30)], [(40, 10, 50, 30)]),  # the prediction is wrong
        ([], []),
    ],
)
def test_parts_are_kept_by_where_they_are(places: list[Place], kept: list[Place]) -> None:
    before = mask_of(*places)
    given = before.copy()
    after = drop_far_parts(before, EXPECTED)
    np.testing.assert_array_equal(before, given)  # candidates are shared: nothing is written there
    expected = mask_of(*places)
    expected[(expected > 0) & ~(mask_of(*kept) > 0)] = CUT_LOGIT
    np.testing.assert_array_equal(after, expected)
    assert (after is before) == (places == kept)


@pytest.mark.parametrize(
    "box", [(-9, -9, 5, 5), (60, 60, 90, 90), (-30, 5, -20, 9), (70, 5, 80, 9)]
)
def test_a_box_may_reach_beyond_the_mask(box: Place) -> None:
    """What a crop shows of the object may be a corner of it, or nothing."""
    corner = (0, 0, 5, 5) if box[0] < 0 else (58, 58, 64, 64)
    before = mask_of(corner, (30, 30, 34, 34))
    after = drop_far_parts(before, np.array(box, np.float32)) > 0
    touches = box[2] > 0 and box[0] < 64
    np.testing.assert_array_equal(after, (mask_of(corner) if touches else before) > 0)
