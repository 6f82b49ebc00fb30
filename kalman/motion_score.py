"""Overlap of boxes, and the choice that network and motion model agree on."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

F32: TypeAlias = NDArray[np.float32]


def box_ious(boxes_xyxy: F32, box_xyxy: F32) -> F32:
    """Return the (N,) overlaps of (N, 4) boxes with one box, (4,), or with one each, (N, 4); 0
    for an empty one."""
    x1, y1, x2, y2 = boxes_xyxy.T
    bx1, by1, bx2, by2 = box_xyxy.T
    width = np.maximum(np.minimum(x2, bx2) - np.maximum(x1, bx1), 0)
    height = np.maximum(np.minimum(y2, by2) - np.maximum(y1, by1), 0)
    shared = width * height
    union = (x2 - x1) * (y2 - y1) + (bx2 - bx1) * (by2 - by1) - shared
    return np.asarray(np.where(union > 0, shared / np.where(union > 0, union, 1), 0), np.float32)


def box_iou(box_xyxy: F32, other_xyxy: F32) -> float:
    """Return the IoU of two (4,) boxes in the same unit; 0 where one of them is empty."""
    return float(box_ious(box_xyxy[None], other_xyxy)[0])


def nearest_boxes(boxes_xyxy: F32, box_xyxy: F32, slack: F32) -> F32:
    """Return what each of (N, 4) boxes is nearest to among those that one box stands for.

    These are all whose cx, cy, w and h differ from its own by at most the (4,) `slack`.
    """
    known = _centre_size(box_xyxy)
    cx, cy, w, h = np.clip(_centre_size(boxes_xyxy), known - slack, known + slack).T
    half_w, half_h = np.maximum(w, 0) / 2, np.maximum(h, 0) / 2
    return np.stack((cx - half_w, cy - half_h, cx + half_w, cy + half_h), axis=1)


def _centre_size(boxes_xyxy: F32) -> F32:
    low, high = boxes_xyxy[..., :2], boxes_xyxy[..., 2:]
    return np.concatenate(((low + high) / 2, high - low), axis=-1)


def select_mask(ious: F32, mask_boxes_xyxy: F32, predicted_box_xyxy: F32, weight: float) -> int:
    """Pick the candidate that SAM 2 and the motion model agree on.

    Args:
        ious: (N,) predicted IoU per candidate, 0..1.
        mask_boxes_xyxy: (N, 4); an empty mask is all zeros and cannot win, unless all are empty:
            then the best predicted IoU wins.
        predicted_box_xyxy: (4,) from the filter, in the same unit; or (N, 4), one for each.
        weight: Share of the motion score, 0..1.

    Source: SAMURAI eq. 7; code sam2_base.py:472-475 @76ba195. Differs: empty masks excluded.
    """
    filled = mask_boxes_xyxy[:, 2] > mask_boxes_xyxy[:, 0]
    if not filled.any():
        return int(np.argmax(ious))
    motion = box_ious(mask_boxes_xyxy, predicted_box_xyxy)
    scores = weight * motion + (1 - weight) * ious
    return int(np.argmax(np.where(filled, scores, -np.inf)))
