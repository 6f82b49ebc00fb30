"""What points, box and mask of a prompt must be: one check for every way in."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

F32: TypeAlias = NDArray[np.float32]
Size: TypeAlias = tuple[int, int]


def check_form(points: F32, box: F32 | None) -> None:
    """Check (T, 2) points and a (4,) box by themselves.

    Raises:
        ValueError: A number is not finite, or the box is empty or the wrong way round.
    """
    if not np.isfinite(points).all() or (box is not None and not np.isfinite(box).all()):
        raise ValueError("coordinates: expected finite numbers, got inf or nan")
    if box is not None and not (box[0] < box[2] and box[1] < box[3]):
        raise ValueError(f"box {_listed(box)}: empty box; expected X1 < X2 and Y1 < Y2")


def check_inside(points: F32, box: F32 | None, size_wh: Size) -> F32 | None:
    """Return the box, cut at the edges of a picture that it and the points must lie in.

    Raises:
        ValueError: A point, or all of the box, lies outside.
    """
    width, height = size_wh
    outside = ((points < 0) | (points >= np.array(size_wh, np.float32))).any(axis=1)
    if outside.any():
        raise ValueError(
            f"point {_listed(points[int(np.argmax(outside))])} lies outside the picture "
            f"{width}x{height}; expected 0 <= X < {width} and 0 <= Y < {height}"
        )
    if box is None:
        return None
    inside = np.clip(box, 0, np.array((*size_wh, *size_wh), np.float32))
    if not (inside[0] < inside[2] and inside[1] < inside[3]):
        raise ValueError(
            f"box {_listed(box)} lies outside the picture {width}x{height}; "
            f"expected a part of it within 0 <= X <= {width} and 0 <= Y <= {height}"
        )
    return box if (inside == box).all() else inside


def check_mask(mask: NDArray[np.bool_], image: NDArray[Any] | None, size_wh: Size | None) -> None:
    """Check a mask against its own picture, or that of the source where its size is known.

    Raises:
        ValueError: It is empty, or of another size; or its picture is none.
    """
    if mask.ndim != 2 or not mask.any():
        raise ValueError("mask: expected (H, W) with at least one pixel set")
    if image is not None:
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(f"image: expected (H, W, 3) uint8, got {image.shape} {image.dtype}")
        if mask.shape != image.shape[:2]:
            raise ValueError(
                f"mask: expected the size of its image {_size(image)}, got {_size(mask)}"
            )
    elif size_wh is not None and mask.shape != size_wh[::-1]:
        raise ValueError(
            f"mask: expected the size of the picture {size_wh[0]}x{size_wh[1]}, "
            f"got {_size(mask)}; give its own picture with image=FILE"
        )


def _listed(values: F32) -> str:
    return ",".join(f"{value:g}" for value in values)


def _size(picture: NDArray[Any]) -> str:
    return f"{picture.shape[1]}x{picture.shape[0]}"
