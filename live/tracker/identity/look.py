"""The colours of a masked object, as shares of a few hundred bins of the Lab space."""

from __future__ import annotations

import math
from typing import Final

import cv2
import numpy as np

from samcam.live.frames import F32, U8
from samcam.live.tracker.crop import Crop, resampled

SIDE: Final = 64  # the object's box is looked at with so many samples a side

_L_BINS, _AB_BINS = 6, 10
_L_STEP: Final = math.ceil(256 / _L_BINS)
_AB_STEP: Final = 8  # of cv2's 8-bit a and b, which are 128 where there is no colour
_AB_FIRST: Final = 128 - _AB_STEP * _AB_BINS // 2
COLOURS: Final = _L_BINS * _AB_BINS * _AB_BINS


def colours_of(logits: F32, seen: Crop, box: F32, picture: U8, cells: int) -> F32 | None:
    """Return the square roots of the shares of an object's colours, (COLOURS,).

    Only the object's own box is looked at, so a small object counts as exactly as a large one,
    whatever the crop that it was found in.

    Args:
        logits: (L, L) of the crop `seen`; > 0 is the object.
        box: (4,) of the mask in cells of the whole picture.
        picture: (H, W, 3) BGR, the whole one.
        cells: Side of the network's mask, L.

    Returns:
        None where the mask has no pixel in the box.
    """
    part = _box_crop(box, seen.picture_wh, cells)
    if part is None:
        return None
    inside = resampled(logits, seen, part, SIDE) > 0
    if not inside.any():
        return None
    small = cv2.resize(part.cut(picture), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(small, cv2.COLOR_BGR2LAB)[inside].astype(np.int32)
    chroma = np.clip((lab[:, 1:] - _AB_FIRST) // _AB_STEP, 0, _AB_BINS - 1)
    bins = (lab[:, 0] // _L_STEP * _AB_BINS + chroma[:, 0]) * _AB_BINS + chroma[:, 1]
    counts = np.bincount(bins, minlength=COLOURS)
    return np.sqrt(counts / len(bins)).astype(np.float32)


def _box_crop(box: F32, picture_wh: tuple[int, int], cells: int) -> Crop | None:
    """Return the whole source pixels that a box in cells touches; None for an empty box."""
    width, height = picture_wh
    left, right = _round_out(box[0] * width / cells, box[2] * width / cells, width)
    top, bottom = _round_out(box[1] * height / cells, box[3] * height / cells, height)
    if left >= right or top >= bottom:
        return None
    return Crop(left, top, right - left, bottom - top, picture_wh)


def _round_out(low: float, high: float, limit: int) -> tuple[int, int]:
    """Return the whole numbers around an interval, cut to 0..`limit`."""
    return max(0, math.floor(low)), min(limit, math.ceil(high))
