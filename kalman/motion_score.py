"""Box of a mask, overlap of boxes, and the choice that network and motion model agree on."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

F32: TypeAlias = NDArray[np.float32]


def mask_box(mask_logits: F32) -> F32:
    """Return the box around the positive logits, with sub-pixel edges.

    An edge lies where the straight line between the last logit outside and the first one inside
    crosses zero: there bilinear up-sampling puts the mask's border.

    Args:
        mask_logits: (H, W).

    Returns:
        (4,) x1, y1, x2, y2 in pixels of the mask (pixel i covers i..i+1); zeros if it is empty.
    """
    inside = mask_logits > 0
    columns = np.flatnonzero(inside.any(axis=0))
    if not len(columns):
        return np.zeros(4, np.float32)
    rows = np.flatnonzero(inside.any(axis=1))
    x1, x2, y1, y2 = columns[0], columns[-1], rows[0], rows[-1]
    height, width = mask_logits.shape
    box = (
        x1 + 0.5 - _reach(mask_logits[:, x1], mask_logits[:, x1 - 1]) if x1 > 0 else 0.0,
        y1 + 0.5 - _reach(mask_logits[y1], mask_logits[y1 - 1]) if y1 > 0 else 0.0,
        x2 + 0.5 + _reach(mask_logits[:, x2], mask_logits[:, x2 + 1])
        if x2 < width - 1
        else float(width),
        y2 + 0.5 + _reach(mask_logits[y2], mask_logits[y2 + 1])
        if y2 < height - 1
        else float(height),
    )
    return np.array(box, np.float32)


def mask_boxes(masks_logits: F32) -> F32:
    """Return the (K, 4) boxes of (K, H, W) mask logits; see `mask_box`."""
    return np.stack([mask_box(logits) for logits in masks_logits])


def box_ious(boxes_xyxy: F32, box_xyxy: F32) -> F32:
    """Return the (N,) overlaps of (N, 4) boxes with one box; 0 for an empty one."""
    x1, y1, x2, y2 = boxes_xyxy.T
    bx1, by1, bx2, by2 = box_xyxy
    width = np.maximum(np.minimum(x2, bx2) - np.maximum(x1, bx1), 0)
    height = np.maximum(np.minimum(y2, by2) - np.maximum(y1, by1), 0)
    shared = width * height
    union = (x2 - x1) * (y2 - y1) + (bx2 - bx1) * (by2 - by1) - shared
    return np.asarray(np.where(union > 0, shared / np.where(union > 0, union, 1), 0), np.float32)


def select_mask(ious: F32, mask_boxes_xyxy: F32, predicted_box_xyxy: F32, weight: float) -> int:
    """Pick the candidate that SAM 2 and the motion model agree on.

    Args:
        ious: (N,) predicted IoU per candidate, 0..1.
        mask_boxes_xyxy: (N, 4); an empty mask is all zeros and cannot win, unless all are empty:
            then the best predicted IoU wins.
        predicted_box_xyxy: (4,) from the filter, in the same unit.
        weight: Share of the motion score, 0..1.

    Source: SAMURAI eq. 7; code sam2_base.py:472-475 @76ba195. Differs: empty masks excluded.
    """
    filled = mask_boxes_xyxy[:, 2] > mask_boxes_xyxy[:, 0]
    if not filled.any():
        return int(np.argmax(ious))
    motion = box_ious(mask_boxes_xyxy, predicted_box_xyxy)
    scores = weight * motion + (1 - weight) * ious
    return int(np.argmax(np.where(filled, scores, -np.inf)))


def _reach(inside: F32, outside: F32) -> float:
    """Return how far the mask reaches from the centres of its outermost line to the next, 0..1."""
    positive = inside > 0
    edge = inside[positive]
    return float(np.max(edge / (edge - np.minimum(outside[positive], 0))))
