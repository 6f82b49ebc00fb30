"""One colour per object id, told apart also by colour-blind people."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import cv2
import numpy as np

from samcam.live.frames import MAX_OBJECT_ID, MIN_OBJECT_ID, U8

# Okabe and Ito, "Color Universal Design" (2008), without black; the order puts far ones first.
_BASE_RGB = (
    (230, 159, 0),  # orange
    (86, 180, 233),  # sky blue
    (0, 158, 115),  # bluish green
    (240, 228, 66),  # yellow
    (0, 114, 178),  # blue
    (213, 94, 0),  # vermilion
    (204, 121, 167),  # reddish purple
)


class Bgr(NamedTuple):
    """A colour in OpenCV's channel order, 0..255 each."""

    blue: int
    green: int
    red: int


@cache
def object_colour(object_id: int) -> Bgr:
    """Return the colour of an object id, different for every id of 1..254.

    The seven base colours repeat darker and darker, then lighter and lighter.
    """
    if not MIN_OBJECT_ID <= object_id <= MAX_OBJECT_ID:
        raise ValueError(f"object: expected {MIN_OBJECT_ID}..{MAX_OBJECT_ID}, got {object_id}")
    turn, index = divmod(object_id - 1, len(_BASE_RGB))
    steps = (turn + 1) // 2  # 0, 1, 1, 2, 2 and so on up to 18
    share = 0.04 * steps
    towards = 0 if turn % 2 else 255
    red, green, blue = (round(c + (towards - c) * share) for c in _BASE_RGB[index])
    return Bgr(blue, green, red)


def tinted(image_bgr: U8, colour: Bgr, share: float) -> U8:
    """Return a (H, W, 3) picture with so much of one colour mixed in."""
    flat = np.empty(image_bgr.shape, np.uint8)
    # cv2.rectangle fills 50 times faster than assigning a 3-vector.
    height, width = image_bgr.shape[:2]
    cv2.rectangle(flat, (0, 0), (width, height), colour, cv2.FILLED)
    return np.asarray(cv2.addWeighted(image_bgr, 1 - share, flat, share, 0.0), np.uint8)


def text_colour(background: Bgr) -> Bgr:
    """Return black or white, whichever reads better on `background` (ITU-R BT.601 luma)."""
    luma = 0.114 * background.blue + 0.587 * background.green + 0.299 * background.red
    return Bgr(0, 0, 0) if luma > 120 else Bgr(255, 255, 255)
