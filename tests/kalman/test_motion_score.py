"""Boxes of masks, their overlaps, and the weighted choice."""

from __future__ import annotations

import numpy as np

from samcam.kalman.motion_score import F32, box_ious, select_mask


def box(*values: float) -> F32:
    return np.array(values, np.float32)


def test_overlaps_by_hand() -> None:
    boxes = np.stack([box(0, 0, 2, 2), box(1, 1, 3, 3), box(2, 2, 4, 4), box(0, 0, 0, 0)])
    np.testing.assert_allclose(box_ious(boxes, box(0, 0, 2, 2)), [1, 1 / 7, 0, 0])
    np.testing.assert_array_equal(box_ious(boxes, np.zeros(4, np.float32)), np.zeros(4))


TARGET, DISTRACTOR = box(10, 10, 20, 20), box(40, 10, 50, 20)


def test_motion_outweighs_a_slightly_better_distractor() -> None:
    ious, boxes = box(0.80, 0.84), np.stack([TARGET, DISTRACTOR])
    assert select_mask(ious, boxes, TARGET, 0.15) == 0
    assert select_mask(ious, boxes, TARGET, 0.0) == 1
    assert select_mask(box(0.60, 0.84), boxes, TARGET, 0.15) == 1


def test_an_empty_mask_never_wins_over_a_filled_one() -> None:
    boxes = np.stack([np.zeros(4, np.float32), DISTRACTOR])
    assert select_mask(box(0.99, 0.10), boxes, TARGET, 0.15) == 1


def test_among_empty_masks_the_predicted_iou_decides() -> None:
    assert select_mask(box(0.2, 0.7, 0.5), np.zeros((3, 4), np.float32), TARGET, 0.15) == 1
