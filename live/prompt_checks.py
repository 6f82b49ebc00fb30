"""What points, box and mask of a prompt must be: one check for every way in."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any, SupportsInt, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from samcam.system import check_type, shown

F32: TypeAlias = NDArray[np.float32]
Size: TypeAlias = tuple[int, int]


def whole_number(name: str, value: object, low: int = 0, high: int | None = None) -> int:
    """Return a whole number of Python's or numpy's; truth values and texts are none.

    Raises:
        ValueError: It is none, or outside of low..high.
    """
    is_whole = isinstance(value, Integral) and not isinstance(value, bool)
    number = int(cast(SupportsInt, value)) if is_whole else low - 1
    if number < low or (high is not None and number > high):
        end = f"of at least {low}" if high is None else f"{low}..{high}"
        raise ValueError(f"{name}: expected a whole number {end}, got {shown(value)}")
    return number


def numbers(**given: float) -> list[float]:
    """Return named numbers as float; ValueError names the first that is none."""
    found: list[float] = []
    for name, value in given.items():
        if not isinstance(value, Real) or isinstance(value, bool):
            raise ValueError(f"{name}: expected a number, got {shown(value)}")
        try:
            found.append(float(value))
        except OverflowError:  # Python's whole numbers have no end
            found.append(math.inf)
    return found


def as_array(values: object) -> NDArray[Any]:
    """Return values as an array; what cannot be one, as one without numbers."""
    try:
        return np.asarray(values)
    except ValueError:  # lists of several lengths
        return np.array(None)


def float_array(name: str, values: object, form: str) -> F32:
    """Return numbers as float32, those that it cannot hold as infinite; ValueError where they are
    none."""
    array = as_array(values)
    if array.dtype.kind not in "iuf":
        raise ValueError(f"{name}: expected {form}, got {shown(values)}")
    with np.errstate(over="ignore"):
        return array.astype(np.float32, copy=False)


def as_mask(mask: object) -> NDArray[np.bool_]:
    """Return a mask as (H, W) bool.

    Raises:
        ValueError: It has another shape, or is neither bool nor whole numbers 0 and 1 or 255.
    """
    array = as_array(mask)
    kind = array.dtype.kind
    fits = kind == "b" or (kind in "iu" and bool(np.isin(array, (0, 1, 255)).all()))
    if array.ndim != 2 or not fits:
        other = "" if fits or kind not in "iu" else " with other values"
        raise ValueError(
            "mask: expected (H, W) bool, or whole numbers 0 and 1 or 255, "
            f"got {array.shape} {array.dtype}{other}"
        )
    return array.astype(np.bool_, copy=False)


def check_picture(name: str, image: object) -> None:
    """Check that it is (H, W, 3) uint8.

    Raises:
        TypeError: It is no array.
        ValueError: It has another shape or type.
    """
    check_type(name, image, np.ndarray, "an array (H, W, 3) uint8")
    image = cast(NDArray[Any], image)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise ValueError(f"{name}: expected (H, W, 3) uint8, got {image.shape} {image.dtype}")


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
    if not mask.any():
        raise ValueError("mask: expected at least one pixel set")
    if image is not None:
        check_picture("image", image)
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
