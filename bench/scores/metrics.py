"""Accuracy measures, as their benchmarks define them: DAVIS's J and F, and OTB's and LaSOT's boxes.

Everything here is a pure function of arrays, so every measure can be checked by hand.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from samcam.live.frames import Mask

F64: TypeAlias = NDArray[np.float64]

BOUNDARY_TOLERANCE = 0.008  # share of the diagonal: DAVIS davis2017/metrics.py f_measure(bound_th)
# Wu et al., "Online Object Tracking: A Benchmark", CVPR 2013: overlap thresholds 0:0.05:1.
SUCCESS_THRESHOLDS: F64 = np.arange(21, dtype=np.float64) / 20.0
PRECISION_PX = 20.0  # the same paper's representative centre error
# Müller et al., "TrackingNet", ECCV 2018, section 4.2, taken over by LaSOT (CVPR 2019).
P_NORM_THRESHOLDS: F64 = np.arange(51, dtype=np.float64) / 100.0
P_NORM_POINT = 0.2  # LaSOT's own toolkit and PyTracking rank by the curve's value here


@dataclass(frozen=True, slots=True)
class BoxScores:
    """One box sequence, each value 0..1 over the frames that have a true box.

    Attributes:
        auc: Area under OTB's success curve (mean of the success rate at 21 overlaps).
        p20: Share of frames whose centre error is at most 20 pixels.
        p_norm: Area under LaSOT's normalised precision curve over [0, 0.5].
        p_norm_at_02: The same curve's value at 0.2.
        frames: How many frames were judged.
    """

    auc: float
    p20: float
    p_norm: float
    p_norm_at_02: float
    frames: int


def _same_shape(a: Mask, b: Mask) -> None:
    if a.shape != b.shape or a.ndim != 2:
        raise ValueError(f"masks: expected two (H, W) of one size, got {a.shape} and {b.shape}")


def compute_j(mask: Mask, truth: Mask) -> float:
    """Region similarity: intersection over union of two (H, W) masks; 1 where both are empty.

    Source: davis2017-evaluation metrics.py db_eval_iou.
    """
    _same_shape(mask, truth)
    union = np.count_nonzero(mask | truth)
    return float(np.count_nonzero(mask & truth) / union) if union else 1.0


def boundary_map(mask: Mask) -> Mask:
    """Mark the pixels that differ from their right, lower or lower right neighbour.

    The map has the mask's size; the picture's border itself is not a boundary.

    Source: davis2017-evaluation metrics.py _seg2bmap (after Pablo Arbelaez's seg2bmap).
    """
    edge = np.zeros(mask.shape, np.bool_)
    edge[:, :-1] |= mask[:, :-1] ^ mask[:, 1:]
    edge[:-1, :] |= mask[:-1, :] ^ mask[1:, :]
    edge[:-1, :-1] |= mask[:-1, :-1] ^ mask[1:, 1:]
    return edge


def disk(radius: int) -> NDArray[np.uint8]:
    """A (2r+1, 2r+1) disk: 1 where x² + y² <= r² (skimage.morphology.disk)."""
    axis = np.arange(-radius, radius + 1)
    return (axis[:, None] ** 2 + axis[None, :] ** 2 <= radius**2).astype(np.uint8)


def compute_f(mask: Mask, truth: Mask, tolerance: float = BOUNDARY_TOLERANCE) -> float:
    """Contour accuracy: F-measure of the boundaries of two (H, W) masks; both empty is 1, one empty
    is 0.

    `tolerance` is a share of the picture's diagonal below 1, pixels from 1 on. Source:
    davis2017-evaluation metrics.py f_measure: the tolerance is rounded up to pixels and each
    boundary is dilated with a disk of that radius.
    """
    _same_shape(mask, truth)
    edge, edge_true = boundary_map(mask), boundary_map(truth)
    count, count_true = np.count_nonzero(edge), np.count_nonzero(edge_true)
    if not count or not count_true:
        return 1.0 if count == count_true else 0.0
    radius = tolerance if tolerance >= 1 else math.ceil(tolerance * math.hypot(*mask.shape))
    kernel = disk(int(radius))
    near = cv2.dilate(edge.view(np.uint8), kernel).astype(np.bool_)
    near_true = cv2.dilate(edge_true.view(np.uint8), kernel).astype(np.bool_)
    precision = np.count_nonzero(edge & near_true) / count
    recall = np.count_nonzero(edge_true & near) / count_true
    if precision + recall == 0:
        return 0.0
    return float(2 * precision * recall / (precision + recall))


def mask_box_xywh(mask: Mask) -> F64 | None:
    """The tight box (x, y, w, h) of an (H, W) mask in pixels; None where it is empty."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    if not len(columns):
        return None
    x, y = columns[0], rows[0]
    return np.array([x, y, columns[-1] + 1 - x, rows[-1] + 1 - y], np.float64)


def valid_boxes(boxes_xywh: F64) -> Mask:
    """(N,): which of (N, 4) boxes exist; NaN, zero or negative sizes mean "not there"."""
    return np.asarray(
        np.isfinite(boxes_xywh).all(axis=1) & (boxes_xywh[:, 2:] > 0).all(axis=1), np.bool_
    )


def box_iou(boxes_xywh: F64, truth_xywh: F64) -> F64:
    """(N,) intersection over union of (N, 4) box pairs; 0 where either is missing."""
    both = valid_boxes(boxes_xywh) & valid_boxes(truth_xywh)
    a, b = np.where(both[:, None], boxes_xywh, 0.0), np.where(both[:, None], truth_xywh, 0.0)
    low = np.maximum(a[:, :2], b[:, :2])
    high = np.minimum(a[:, :2] + a[:, 2:], b[:, :2] + b[:, 2:])
    inter = np.clip(high - low, 0, None).prod(axis=1)
    union = a[:, 2:].prod(axis=1) + b[:, 2:].prod(axis=1) - inter
    return np.asarray(np.divide(inter, union, out=np.zeros(len(a)), where=union > 0), np.float64)


def centre_errors(boxes_xywh: F64, truth_xywh: F64, normalised: bool = False) -> F64:
    """(N,) distance of the boxes' centres; infinite where the tracker gave no box.

    Boxes are (N, 4) pixels; `normalised` divides x by the true width and y by the true height.
    """
    found = valid_boxes(boxes_xywh)
    given = np.where(found[:, None], boxes_xywh, truth_xywh)
    offset = given[:, :2] + given[:, 2:] / 2 - truth_xywh[:, :2] - truth_xywh[:, 2:] / 2
    if normalised:
        offset = offset / truth_xywh[:, 2:]
    return np.where(found, np.hypot(offset[:, 0], offset[:, 1]), np.inf)


def score_boxes(boxes_xywh: F64, truth_xywh: F64) -> BoxScores:
    """Score one sequence of boxes, (N, 4) each, in pixels.

    A frame without a true box is left out; one where only the tracker's box is missing counts
    as overlap 0 and an infinite error. Overlaps must exceed a threshold (so the highest possible
    AUC is 20/21), errors may equal it.

    Raises:
        ValueError: The arrays do not fit, or no frame has a true box.
    Source: OTB's perfPlot.m and calcSeqErrRobust.m (overlap >, error <=); normalised precision
        as in TrackingNet section 4.2 and LaSOT.
    """
    if boxes_xywh.shape != truth_xywh.shape or truth_xywh.ndim != 2 or truth_xywh.shape[1] != 4:
        raise ValueError(f"boxes: expected two (N, 4), got {boxes_xywh.shape}, {truth_xywh.shape}")
    judged = valid_boxes(truth_xywh)
    if not judged.any():
        raise ValueError("boxes: no frame has a true box")
    boxes, truth = boxes_xywh[judged], truth_xywh[judged]
    overlaps = box_iou(boxes, truth)
    errors_norm = centre_errors(boxes, truth, normalised=True)
    return BoxScores(
        auc=float((overlaps[:, None] > SUCCESS_THRESHOLDS).mean()),
        p20=float((centre_errors(boxes, truth) <= PRECISION_PX).mean()),
        p_norm=float((errors_norm[:, None] <= P_NORM_THRESHOLDS).mean()),
        p_norm_at_02=float((errors_norm <= P_NORM_POINT).mean()),
        frames=int(judged.sum()),
    )


def quarter_means(values: F64, positions: F64) -> tuple[float | None, ...]:
    """Mean of `values`, (N,), in each quarter of the clip, to see drift; None where a quarter is
    empty.

    `positions`, (N,), are the frames' places in the clip, 0 <= position < 1.
    """
    quarter = np.clip((positions * 4).astype(np.int64), 0, 3)
    return tuple(
        float(values[quarter == q].mean()) if (quarter == q).any() else None for q in range(4)
    )
