"""Prompts of clicks and boxes in the window."""

from __future__ import annotations

from samcam.live.frames import F32, Prompt
from samcam.live.motion import where_it_was
from samcam.live.window.letterbox import Point

MIN_DRAG_PX = 6  # canvas pixels; below it, a shaky click stays a click
_MIN_SIDE_PX = 1  # source pixels


def is_drag(start: Point, end: Point) -> bool:
    """Whether the pointer went far enough, in canvas pixels, to mean a box."""
    return max(abs(end.x - start.x), abs(end.y - start.y)) >= MIN_DRAG_PX


def on_step_picture(at: Point, motion: F32 | None, size_wh: tuple[int, int]) -> Point:
    """Return where that which the user sees at a source position was on the step's own picture.

    Args:
        at: Source pixels.
        motion: `FrameResult.motion` of the picture on screen; None: it is the step's own.
        size_wh: Of the source.
    """
    return at if motion is None else Point(*where_it_was(motion, at.x, at.y, size_wh))


def box_prompt(object_id: int, a: Point, b: Point, step: int | None) -> Prompt | None:
    """Return the prompt of a box with these corners, in any order; None where it is too thin."""
    if min(abs(a.x - b.x), abs(a.y - b.y)) < _MIN_SIDE_PX:
        return None
    (x1, x2), (y1, y2) = sorted((a.x, b.x)), sorted((a.y, b.y))
    return Prompt.box(x1, y1, x2, y2, object_id, step)
