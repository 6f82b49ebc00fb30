"""The accuracy measures against cases worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench.scores.metrics import (
    SUCCESS_THRESHOLDS,
    Mask,
    boundary_map,
    box_iou,
    centre_errors,
    compute_f,
    compute_j,
    disk,
    mask_box_xywh,
    quarter_means,
    score_boxes,
)


def rectangle(shape: tuple[int, int], x1: int, y1: int, x2: int, y2: int) -> Mask:
    mask = np.zeros(shape, np.bool_)
    mask[y1:y2, x1:x2] = True
    return mask


EMPTY = np.zeros((10, 10), np.bool_)


def test_j_of_two_overlapping_squares() -> None:
    """4x4 and 4x4 share 2x4: 8 / (16 + 16 - 8) = 1/3."""
    a, b = rectangle((10, 10), 1, 1, 5, 5), rectangle((10, 10), 3, 1, 7, 5)
    assert compute_j(a, b) == pytest.approx(1 / 3)
    assert compute_j(a, a) == 1.0


@pytest.mark.parametrize("measure", [compute_j, compute_f])
def test_empty_masks_follow_davis(measure: object) -> None:
    """Both empty is right (1); finding nothing, or something where nothing is, is wrong (0)."""
    square = rectangle((10, 10), 2, 2, 6, 6)
    assert callable(measure)
    assert measure(EMPTY, EMPTY) == 1.0
    assert measure(EMPTY, square) == 0.0
    assert measure(square, EMPTY) == 0.0


def test_sizes_must_agree() -> None:
    with pytest.raises(ValueError, match=r"\(10, 10\) and \(9, 10\)"):
        compute_j(EMPTY, np.zeros((9, 10), np.bool_))


def test_boundary_map_of_one_pixel() -> None:
    """A pixel differs from itself, its left, its upper and its upper left neighbour's view."""
    edge = boundary_map(rectangle((5, 5), 2, 2, 3, 3))
    assert {(int(y), int(x)) for y, x in np.argwhere(edge)} == {(1, 1), (1, 2), (2, 1), (2, 2)}


def test_boundary_map_at_the_picture_border() -> None:
    """The left half: one column of boundary, also in the last row, none at the border itself."""
    edge = boundary_map(rectangle((4, 6), 0, 0, 3, 4))
    assert edge[:, 2].all()
    assert edge.sum() == 4
    assert not boundary_map(np.ones((4, 6), np.bool_)).any()


def test_boundary_map_in_the_last_column() -> None:
    """DAVIS compares the last column downwards only, and leaves the last pixel out."""
    edge = boundary_map(rectangle((4, 4), 3, 2, 4, 4))
    assert {(int(y), int(x)) for y, x in np.argwhere(edge)} == {(1, 2), (1, 3), (2, 2), (3, 2)}


def test_disk_is_euclidean() -> None:
    assert disk(1).tolist() == [[0, 1, 0], [1, 1, 1], [0, 1, 0]]
    assert disk(2).sum() == 13


def test_f_counts_matched_boundary_both_ways() -> None:
    """Vertical borders at columns 20 and 22 plus, in the answer only, a far speck.

    Pictures of 60x80 have a diagonal of 100, so the tolerance is ceil(0.8) = 1 pixel.
    """
    truth = rectangle((60, 80), 0, 0, 21, 60)
    assert compute_f(rectangle((60, 80), 0, 0, 22, 60), truth) == 1.0  # one pixel off: matched
    assert compute_f(rectangle((60, 80), 0, 0, 23, 60), truth) == 0.0  # two pixels off: not
    speck = truth | rectangle((60, 80), 60, 30, 61, 31)
    # 60 boundary pixels found, 4 more of the speck: precision 60/64, recall 1.
    precision = 60 / 64
    assert compute_f(speck, truth) == pytest.approx(2 * precision / (precision + 1))
    half = rectangle((60, 80), 0, 0, 21, 30)
    # Its boundary: column 20 in rows 0..29 and row 29 in columns 0..20, (29, 20) once: 50 pixels.
    # Row 29 matches at column 20 and, within one pixel, column 19: 30 + 1 pixels are right.
    # Of the truth's 60, rows 0..29 are found, and row 30 is one pixel away: 31.
    precision, recall = 31 / 50, 31 / 60
    expected = 2 * precision * recall / (precision + recall)
    assert compute_f(half, truth) == pytest.approx(expected)


def test_f_tolerance_is_the_diagonal_rounded_up() -> None:
    """At 854x480 the tolerance is ceil(0.008 x 979.7) = 8 pixels."""
    truth = rectangle((480, 854), 0, 0, 400, 480)
    assert compute_f(rectangle((480, 854), 0, 0, 408, 480), truth) == 1.0
    assert compute_f(rectangle((480, 854), 0, 0, 409, 480), truth) == 0.0
    assert compute_f(rectangle((480, 854), 0, 0, 409, 480), truth, tolerance=9) == 1.0


def test_box_of_a_mask_is_tight() -> None:
    box = mask_box_xywh(rectangle((10, 10), 2, 3, 5, 9))
    assert box is not None
    assert box.tolist() == [2, 3, 3, 6]
    assert mask_box_xywh(EMPTY) is None


def test_box_iou_and_centre_errors() -> None:
    truth = np.array([[0, 0, 10, 10], [0, 0, 10, 20], [0, 0, 4, 4]], np.float64)
    boxes = np.array([[5, 0, 10, 10], [3, 4, 10, 20], [np.nan] * 4], np.float64)
    assert box_iou(boxes, truth).tolist() == pytest.approx([50 / 150, 7 * 16 / (400 - 112), 0])
    assert centre_errors(boxes, truth).tolist() == [5.0, 5.0, math.inf]
    normalised = centre_errors(boxes, truth, normalised=True).tolist()
    assert normalised == pytest.approx([0.5, math.hypot(0.3, 0.2), math.inf])


def test_perfect_boxes_reach_twenty_of_twentyone() -> None:
    """An overlap of 1 does not exceed the last threshold, as in OTB's own plots."""
    boxes = np.array([[1, 2, 30, 40], [5, 5, 10, 10]], np.float64)
    scores = score_boxes(boxes, boxes)
    assert scores.auc == pytest.approx(20 / 21)
    assert (scores.p20, scores.p_norm, scores.p_norm_at_02, scores.frames) == (1, 1, 1, 2)


def test_overlap_on_a_threshold_does_not_count() -> None:
    """Overlap 1/2 exceeds 0, 0.05 ... 0.45: ten of the 21 thresholds, not 0.5 itself."""
    assert len(SUCCESS_THRESHOLDS) == 21
    truth, box = np.array([[0.0, 0, 10, 10]]), np.array([[0.0, 0, 10, 5]])
    assert box_iou(box, truth).tolist() == [0.5]
    assert score_boxes(box, truth).auc == pytest.approx(10 / 21)


def test_scores_of_a_short_sequence() -> None:
    """Four frames: exact, 20 px off, not found, and one without truth (left out)."""
    truth = np.array([[0, 0, 100, 100]] * 3 + [[0, 0, 0, 0]], np.float64)
    boxes = np.array([[0, 0, 100, 100], [20, 0, 100, 100], [np.nan] * 4, [0, 0, 9, 9]])
    scores = score_boxes(boxes, truth)
    # Frame 2 overlaps 80/120 = 0.667: 14 thresholds (0 ... 0.65). Frame 1: 20. Frame 3: 0.
    assert scores.auc == pytest.approx((20 + 14 + 0) / 21 / 3)
    assert scores.p20 == pytest.approx(2 / 3)  # 20 px counts: errors may equal the threshold
    # Normalised error 0.2: thresholds 0.20 ... 0.50 are 31 of 51.
    assert scores.p_norm == pytest.approx((51 + 31 + 0) / 51 / 3)
    assert scores.p_norm_at_02 == pytest.approx(2 / 3)
    assert scores.frames == 3


def test_sequences_without_truth_are_refused() -> None:
    nothing = np.full((2, 4), np.nan)
    with pytest.raises(ValueError, match="no frame has a true box"):
        score_boxes(nothing, nothing)
    with pytest.raises(ValueError, match="expected two"):
        score_boxes(nothing, nothing[:1])


def test_quarters_show_drift() -> None:
    values = np.array([1.0, 0.8, 0.5, 0.1])
    positions = np.array([0.0, 0.2, 0.25, 0.99])
    first, *rest = quarter_means(values, positions)
    assert first == pytest.approx(0.9)
    assert rest == [0.5, None, 0.1]
