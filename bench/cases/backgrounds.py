"""Takes an object out of a picture: what stands behind it is made up from what is around it."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from samcam.live.frames import F32, U8, Mask

MARGIN: Final = 0.012  # of the diagonal around the object: its blur and the edge of its shadow
SHRINK: Final = 8  # the hole's colours are made up at an eighth of the size
FEATHER_PX: Final = 3.0


def erase(image_bgr: U8, region: Mask) -> U8:
    """Return the picture without what stands in `region`, (H, W).

    Colours run into the hole from its rim (A. Telea, "An Image Inpainting Technique Based on the
    Fast Marching Method", 2004, at a small size); on top lies the fine texture of the picture
    beside it, so that the place is not told by its smoothness.
    """
    if not region.any():
        return image_bgr
    hole = _grown(region, max(3, round(MARGIN * float(np.hypot(*region.shape)))))
    filled = _colours(image_bgr, hole) + _texture(image_bgr, hole)
    soft = cv2.GaussianBlur(_grown(hole, round(2 * FEATHER_PX)).astype(np.float32), (0, 0), 3)
    weight = np.maximum(soft, hole)[..., None]
    mixed = image_bgr * (1 - weight) + filled * weight
    return np.asarray(mixed.clip(0, 255).round(), np.uint8)


def _grown(region: Mask, radius: int) -> Mask:
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return np.asarray(cv2.dilate(region.astype(np.uint8), kernel), np.bool_)


def _colours(image_bgr: U8, hole: Mask) -> F32:
    """The picture at a small size with the hole filled, brought back to its size."""
    size = hole.shape[1], hole.shape[0]
    small_size = max(4, size[0] // SHRINK), max(4, size[1] // SHRINK)
    small = cv2.resize(image_bgr, small_size, interpolation=cv2.INTER_AREA)
    share = cv2.resize(hole.astype(np.float32), small_size, interpolation=cv2.INTER_AREA)
    whole = cv2.inpaint(small, (share > 0).astype(np.uint8), 3, cv2.INPAINT_TELEA)
    back = cv2.resize(whole.astype(np.float32), size, interpolation=cv2.INTER_CUBIC)
    return np.asarray(back, np.float32)


def _texture(image_bgr: U8, hole: Mask) -> F32:
    """The fine texture of the best place beside the hole, moved onto it; 0 without any."""
    columns, rows = np.flatnonzero(hole.any(axis=0)), np.flatnonzero(hole.any(axis=1))
    width, height = columns[-1] + 2 - columns[0], rows[-1] + 2 - rows[0]
    moves = ((width, 0), (-width, 0), (0, height), (0, -height))
    usable = [_moved((~hole).astype(np.float32), move) > 0 for move in moves]
    best = max(range(len(moves)), key=lambda i: np.count_nonzero(usable[i] & hole))
    picture = image_bgr.astype(np.float32)
    fine = picture - cv2.GaussianBlur(picture, (0, 0), SHRINK / 2)
    near_hole = _grown(hole, SHRINK)  # there the blur has seen the object
    fine[near_hole] = 0
    return _moved(fine, moves[best])


def _moved(values: F32, move_xy: tuple[int, int]) -> F32:
    """`values`, (H, W) or (H, W, 3), with what stood `move_xy` away; 0 from outside."""
    x, y = move_xy
    affine = np.array([[1, 0, -x], [0, 1, -y]], np.float32)
    size = values.shape[1], values.shape[0]
    return np.asarray(cv2.warpAffine(values, affine, size, flags=cv2.INTER_NEAREST), np.float32)
