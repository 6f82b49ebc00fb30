"""Prompts of clicks and boxes in the window."""

from __future__ import annotations

import numpy as np

from samcam.live.frames import F32, Prompt
from samcam.live.motion import where_it_was
from samcam.live.window.letterbox import Point

MIN_DRAG_PX = 6  # canvas pixels; below it, a shaky click stays a click
_MIN_SIDE_PX = 1  # source pixels


def is_drag(start: Point, end: Point) -> bool:
    """Whether the pointer went far enough, in canvas pixels, to mean a box."""
    return max(abs(end.x - start.x), abs(end.y - start.y)) >= MIN_DRAG_PX


def meant(at: Point, motion: F32 | None, size_wh: tuple[int, int]) -> Point:
    """Return where that which the user sees at a source position was on the step's own picture.

    Args:
        at: Source pixels.
        motion: `FrameResult.motion` of the picture on screen; None: it is the step's own.
        size_wh: Of the source.
    """
    return at if motion is None else Point(*where_it_was(motion, at.x, at.y, size_wh))


def point_prompt(object_id: int, at: Point, positive: bool, step: int | None) -> Prompt:
    """Return the prompt of a click.

    Args:
        object_id: Which object it is for.
        at: Source pixels.
        positive: Whether it says "this" or "not this".
        step: Tracker step of the picture that the user saw.
    """
    return Prompt(
        object_id=object_id,
        points_xy_px=np.array([[at.x, at.y]], np.float32),
        labels=np.array([int(positive)], np.int32),
        step=step,
    )


def box_prompt(object_id: int, a: Point, b: Point, step: int | None) -> Prompt | None:
    """Return the prompt of a box with these corners, in any order; None where it is too thin."""
    box = np.array([min(a.x, b.x), min(a.y, b.y), max(a.x, b.x), max(a.y, b.y)], np.float32)
    if (box[2:] - box[:2]).min() < _MIN_SIDE_PX:
        return None
    return Prompt(object_id=object_id, box_xyxy_px=box, step=step)
