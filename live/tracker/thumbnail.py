"""Small pictures of what a memory saw, for people to look at: the tracker never does."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from samcam.live.frames import F32, U8
from samcam.live.tracker.crop import OUTSIDE_LOGIT, Crop
from samcam.live.tracker.judge import Answer
from samcam.memory import THUMBNAIL_PX, MemoryPicture

_ROOM: Final = 1.5  # side of what is shown, relative to the object's box
_LEAST_PX: Final = 24.0  # side in source pixels: less says nothing
_REDUCED_PX: Final = 640  # longer side of a picture that is kept only for these


def reduced(picture: U8) -> U8:
    """Return a copy of a picture, smaller where it is large."""
    height, width = picture.shape[:2]
    shrink = min(1.0, _REDUCED_PX / max(width, height))
    size_wh = max(1, round(width * shrink)), max(1, round(height * shrink))
    return np.array(cv2.resize(picture, size_wh, interpolation=cv2.INTER_AREA), np.uint8)


def memory_picture(picture: U8, answer: Answer, time_ns: int) -> MemoryPicture:
    """Return what a memory of this answer saw: the part of the picture around the object.

    Args:
        picture: (H, W, 3) uint8, whole, at any size.
        answer: Its box says where the object is; without one, all that the networks saw is shown.
        time_ns: Media time of the picture.
    """
    left, top, width, height = _part(answer)
    scale_x = picture.shape[1] / answer.crop.picture_wh[0]
    scale_y = picture.shape[0] / answer.crop.picture_wh[1]
    columns = _slice(left * scale_x, width * scale_x, picture.shape[1])
    rows = _slice(top * scale_y, height * scale_y, picture.shape[0])
    part = picture[rows, columns]
    stride = max(1, max(part.shape[:2]) // (2 * THUMBNAIL_PX))
    part = part[::stride, ::stride]
    shrink = THUMBNAIL_PX / max(part.shape[:2])
    size_wh = max(1, round(part.shape[1] * shrink)), max(1, round(part.shape[0] * shrink))
    how = cv2.INTER_AREA if shrink < 1 else cv2.INTER_LINEAR
    small = np.asarray(cv2.resize(part, size_wh, interpolation=how), np.uint8)
    # what was cut, in source pixels again: whole pixels, so not quite what was wanted
    cut = (columns.start / scale_x, rows.start / scale_y)
    cut_wh = ((columns.stop - columns.start) / scale_x, (rows.stop - rows.start) / scale_y)
    mask = _mask(answer, cut, cut_wh, size_wh)
    small.flags.writeable = mask.flags.writeable = False
    return MemoryPicture(small, mask, time_ns, answer.predicted_iou)


def _part(answer: Answer) -> tuple[float, float, float, float]:
    """Return left, top, width and height of what to show, in source pixels, in the picture."""
    crop = answer.crop
    if not answer.visible:
        return crop.x, crop.y, crop.width, crop.height
    cells = len(answer.low_res_mask)
    picture_w, picture_h = crop.picture_wh
    x1, y1, x2, y2 = (float(value) / cells for value in answer.box)
    side = max((x2 - x1) * picture_w, (y2 - y1) * picture_h) * _ROOM
    side = max(side, _LEAST_PX)
    width, height = min(side, picture_w), min(side, picture_h)
    left = (x1 + x2) / 2 * picture_w - width / 2
    top = (y1 + y2) / 2 * picture_h - height / 2
    return (
        min(max(left, 0.0), picture_w - width),
        min(max(top, 0.0), picture_h - height),
        width,
        height,
    )


def _slice(start: float, length: float, limit: int) -> slice:
    """Return whole pixels, at least one, inside 0..limit."""
    first = min(max(0, round(start)), limit - 1)
    return slice(first, min(limit, max(first + 1, round(start + length))))


def _mask(
    answer: Answer,
    start: tuple[float, float],
    part_wh: tuple[float, float],
    size_wh: tuple[int, int],
) -> np.ndarray:
    """Return the answer's mask on a part of the source picture, as (h, w) bool."""
    crop: Crop = answer.crop
    logits: F32 = answer.low_res_mask
    to_cells = np.zeros((2, 3))
    for axis, (first, extent, corner, side) in enumerate(
        zip(start, part_wh, (crop.x, crop.y), crop.size_wh, strict=True)
    ):
        per_cell = len(logits) / side
        pixel = extent / size_wh[axis]
        to_cells[axis, axis] = pixel * per_cell
        to_cells[axis, 2] = (first + pixel / 2 - corner) * per_cell - 0.5
    moved = cv2.warpAffine(
        logits,
        to_cells,
        size_wh,
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=OUTSIDE_LOGIT,
    )
    return np.asarray(moved > 0)
