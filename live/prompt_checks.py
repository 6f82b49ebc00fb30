"""What a prompt must be for a picture, wherever it comes from: one check of points and masks."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from samcam.live.frames import Prompt

MAX_PENDING_PROMPTS: Final = 4096


def points_at_something(prompt: Prompt) -> bool:
    """Whether a prompt says where the object is: a positive click, a box or a mask."""
    return (
        prompt.mask is not None
        or prompt.box_xyxy_px is not None
        or bool((prompt.labels == 1).any())
    )


def fit_prompt(prompt: Prompt, size_wh: tuple[int, int] | None) -> Prompt:
    """Check what `Prompt` itself cannot know, and cut a box at the picture's edges.

    Args:
        prompt: In source pixels.
        size_wh: Size of the source picture; None while unknown.

    Raises:
        ValueError: Names the object, the value and what was expected.
    """
    who = f"object {prompt.object_id}"
    mask, reference = prompt.mask, prompt.reference_bgr
    if mask is not None:
        if mask.ndim != 2 or not mask.any():
            raise ValueError(f"{who}: mask: expected (H, W) with at least one pixel set")
        if reference is not None:
            if reference.ndim != 3 or reference.shape[2] != 3 or reference.dtype != np.uint8:
                raise ValueError(
                    f"{who}: image: expected (H, W, 3) uint8, "
                    f"got {reference.shape} {reference.dtype}"
                )
            if mask.shape != reference.shape[:2]:
                raise ValueError(
                    f"{who}: mask: expected the size of its image "
                    f"{_size(reference.shape)}, got {_size(mask.shape)}"
                )
        elif size_wh is not None and mask.shape != size_wh[::-1]:
            raise ValueError(
                f"{who}: mask: expected the size of the picture {size_wh[0]}x{size_wh[1]}, "
                f"got {_size(mask.shape)}; give its own picture with image=FILE"
            )
        return prompt
    if reference is not None:
        raise ValueError(f"{who}: image: a picture of its own needs a mask, got points or a box")
    return _fit_points(prompt, size_wh, who)


def _fit_points(prompt: Prompt, size_wh: tuple[int, int] | None, who: str) -> Prompt:
    points, box = prompt.points_xy_px, prompt.box_xyxy_px
    if not np.isfinite(points).all() or (box is not None and not np.isfinite(box).all()):
        raise ValueError(f"{who}: coordinates: expected finite numbers, got inf or nan")
    if size_wh is None:
        return prompt
    width, height = size_wh
    picture = f"the picture {width}x{height}"
    outside = ((points < 0) | (points >= np.array(size_wh, np.float32))).any(axis=1)
    if outside.any():
        x, y = points[int(np.argmax(outside))]
        raise ValueError(
            f"{who}: point {x:g},{y:g} lies outside {picture}; expected 0 <= X < {width} and "
            f"0 <= Y < {height}"
        )
    if box is None:
        return prompt
    inside = np.clip(box, 0, np.array((width, height, width, height), np.float32))
    if not (inside[0] < inside[2] and inside[1] < inside[3]):
        raise ValueError(
            f"{who}: box {','.join(f'{value:g}' for value in box)} lies outside {picture}; "
            f"expected a part of it within 0 <= X <= {width} and 0 <= Y <= {height}"
        )
    return prompt if (inside == box).all() else replace(prompt, box_xyxy_px=inside)


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"
