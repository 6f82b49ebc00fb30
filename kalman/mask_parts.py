"""Parts of a mask that fit the motion: what lies apart from the predicted box is not the object."""

from __future__ import annotations

import math
from typing import Final

import cv2
import numpy as np

from samcam.kalman.motion_score import F32

CUT_LOGIT: Final = -10.0  # clearly not the object, as a mask prompt says it

# Ours.
MARGIN: Final = 0.25  # sides of the box: an object that a pole cuts in two keeps both parts
LEAST_KEPT: Final = 0.3  # of the mask: with less near the prediction the prediction is wrong


def drop_far_parts(logits: F32, expected_xyxy: F32) -> F32:
    """Drop the connected parts of a mask that lie wholly outside the box where it should be.

    Args:
        logits: (H, W); > 0 is the mask.
        expected_xyxy: (4,) in pixels of the mask, may reach beyond its edges; `MARGIN` is added.

    Returns:
        (H, W): the same array where nothing is dropped, or where less than `LEAST_KEPT` of the
        mask would be left; else a new one with `CUT_LOGIT` on what is dropped.
    """
    inside = logits > 0
    near = _near(expected_xyxy)
    total, close = np.count_nonzero(inside), np.count_nonzero(inside[near])
    if close in (0, total):
        return logits
    count, labels = cv2.connectedComponents(inside.astype(np.uint8))
    keep = np.zeros(count, np.bool_)
    keep[labels[near]] = True
    dropped = inside & ~keep[labels]
    lost = np.count_nonzero(dropped)
    if lost == 0 or total - lost < LEAST_KEPT * total:
        return logits
    return np.where(dropped, np.float32(CUT_LOGIT), logits)


def _near(box_xyxy: F32) -> tuple[slice, slice]:
    """Return the rows and columns that a box touches when it is widened by the margin."""
    x1, y1, x2, y2 = (float(value) for value in box_xyxy)
    beside, above = MARGIN * (x2 - x1), MARGIN * (y2 - y1)
    return _touched(y1 - above, y2 + above), _touched(x1 - beside, x2 + beside)


def _touched(low: float, high: float) -> slice:
    return slice(max(0, math.floor(low)), max(0, math.ceil(high)))
