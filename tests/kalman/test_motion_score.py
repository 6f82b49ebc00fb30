"""Boxes of masks, their overlaps, and the weighted choice."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from samcam.kalman.motion_score import F32, box_ious, select_mask
from samcam.live.masks import logits_box, logits_boxes


def box(*values: float) -> F32:
    return np.array(values, np.float32)


def disc(size: int, x: float, y: float, radius: float) -> F32:
    ys, xs = np.mgrid[:size, :size].astype(np.float32) + 0.5
    return np.asarray(radius - np.hypot(xs - x, ys - y), np.float32)


def test_an_empty_mask_has_no_box() -> None:
    np.testing.assert_array_equal(logits_box(np.full((8, 8), -1024, np.float32)), np.zeros(4))
    np.testing.assert_array_equal(logits_box(np.zeros((8, 8), np.float32)), np.zeros(4))


def test_a_full_mask_fills_the_picture() -> None:
    np.testing.assert_array_equal(logits_box(np.ones((6, 9), np.float32)), box(0, 0, 9, 6))


def test_a_hard_mask_ends_between_pixels() -> None:
    logits = np.full((10, 12), -10, np.float32)
    logits[3:5, 2:7] = 10
    np.testing.assert_allclose(logits_box(logits), box(2, 3, 7, 5))


def test_edges_lie_where_the_logits_cross_zero() -> None:
    np.testing.assert_allclose(
        logits_box(disc(64, 30.3, 20.8, 9.6)), box(20.7, 11.2, 39.9, 30.4), atol=0.05
    )


@pytest.mark.parametrize("seed", range(5))
def test_the_box_is_that_of_the_up_sampled_mask(seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits = cv2.GaussianBlur(rng.normal(size=(32, 32)).astype(np.float32), (0, 0), 4) - 0.03
    large = cv2.resize(logits, (512, 512), interpolation=cv2.INTER_LINEAR) > 0
    ys, xs = np.nonzero(large)
    expected = np.array((xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)) / 16
    np.testing.assert_allclose(logits_box(logits), expected, atol=0.15)


def test_many_masks_at_once() -> None:
    masks = np.stack([disc(16, 4, 5, 2), np.full((16, 16), -1, np.float32)])
    boxes = logits_boxes(masks)
    assert boxes.shape == (2, 4)
    np.testing.assert_array_equal(boxes[0], logits_box(masks[0]))
    np.testing.assert_array_equal(boxes[1], np.zeros(4))


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
