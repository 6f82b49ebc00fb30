"""What the effects share: mixing one picture into another along a mask's soft border."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from samcam.live.frames import F32, U8

Indices = NDArray[np.intp]

_FEW = 8  # picking border pixels out pays up to one in so many of the box
SIZE_UNIT_PX = 720  # lengths in the options are for a picture this high and grow with it
LENGTH_UNIT = f"px at {SIZE_UNIT_PX} px height"


@dataclass(frozen=True, slots=True, eq=False)
class SoftEdge:
    """Weights of a soft border, by the bytes of `live.masks.border_distance_u8`.

    Attributes:
        weights: (256,) float32, 0..1, not falling and constant from `plateau` on.
        first: Lowest byte with a weight above 0.
        plateau: Lowest byte of the constant upper end, the inside of the mask.
    """

    weights: F32
    first: int
    plateau: int


def soft_edge(weights: F32) -> SoftEdge:
    """Find where a table of (256,) weights begins and becomes constant."""
    above = np.flatnonzero(weights > 0)
    differing = np.flatnonzero(weights != weights[-1])
    first = int(above[0]) if len(above) else 255
    return SoftEdge(weights, first, int(differing[-1]) + 1 if len(differing) else 0)


def length_px(length_at_720: float, height: int) -> float:
    """Scale a length given for a picture 720 pixels high to one of `height` pixels."""
    return length_at_720 * height / SIZE_UNIT_PX


def scaled_to_cover(picture_bgr: U8, size_wh: tuple[int, int]) -> U8:
    """Return a picture scaled to cover `size_wh` pixels, its middle kept."""
    width, height = size_wh
    high, wide = picture_bgr.shape[:2]
    scale = max(width / wide, height / high)
    full_wh = max(width, round(wide * scale)), max(height, round(high * scale))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    scaled = np.asarray(cv2.resize(picture_bgr, full_wh, interpolation=way), np.uint8)
    x, y = (full_wh[0] - width) // 2, (full_wh[1] - height) // 2
    return np.ascontiguousarray(scaled[y : y + height, x : x + width])


def mix_object(target: U8, over: U8, distance: U8, edge: SoftEdge) -> None:
    """Mix `over` into `target` where the object is, its border included, in place.

    Args:
        target, over: (h, w, 3) uint8, the part of the pictures that `distance` covers.
        distance: (h, w) uint8.
        edge: The object's weights by these bytes.
    """
    border = cv2.inRange(distance, edge.first, edge.plateau - 1)
    if edge.first < edge.plateau and cv2.countNonZero(border) * _FEW > border.size:
        weight = cv2.LUT(distance, edge.weights)
        target[:] = cv2.blendLinear(over, target, weight, 1.0 - weight)
        return
    mix_inside(target, over, distance, edge)
    mix_border(target, over, distance, edge)


def mix_inside(target: U8, inside: U8, distance: U8, edge: SoftEdge) -> None:
    """Copy `inside` over `target` where the mask's inside begins; (h, w, 3) each, in place."""
    cv2.copyTo(inside, cv2.inRange(distance, edge.plateau, 255), target)


def mix_border(target: U8, over: U8, distance: U8, edge: SoftEdge) -> None:
    """Mix `over` into `target` along the border only, in place.

    Few pixels lie there, so picking them out costs less than a weighted sum of whole pictures.

    Args:
        target: (h, w, 3) uint8.
        over: (h, w, 3) uint8, or (3,) for one colour.
        distance: (h, w) uint8 of `border_distance_u8`.
        edge: The weights of `over`.
    """
    if edge.first >= edge.plateau:
        return
    border = cv2.inRange(distance, edge.first, edge.plateau - 1)
    # Three times as fast as cv2.findNonZero, which numpy's own search of bytes is slower than.
    found = np.flatnonzero(np.not_equal(border, 0))
    if not len(found):
        return
    rows = found // border.shape[1]  # np.divmod takes ten times as long
    pixels, at = _in_one_row(target, found, rows)
    below = pixels.take(at, axis=0).astype(np.float32)
    above = over
    if over.ndim > 1:
        forwards = over.strides[0] > 0 and over.strides[1:] == (3, 1)
        plain = over if forwards else np.ascontiguousarray(over)
        others, there = _in_one_row(plain, found, rows)
        above = others.take(there, axis=0)
    weight = edge.weights[distance.ravel()[found]][:, None]
    mixed = below + (above.astype(np.float32) - below) * weight
    pixels[at] = np.rint(mixed).astype(np.uint8)


def _in_one_row(part: U8, found: Indices, rows: Indices) -> tuple[U8, Indices]:
    """Return the pixels of (h, w, 3) in one row (N, 3), a view, and where `found` lies in it.

    Picking single pixels from one row takes a quarter of the time that two indices take.

    Args:
        part: A part of a picture, whose rows may lie apart but not backwards.
        found: Pixels of it, counted row by row.
        rows: The row of each.
    """
    height, width = part.shape[:2]
    apart = part.strides[0] // part.strides[1]
    pixels = as_strided(part, ((height - 1) * apart + width, 3), part.strides[1:])
    return pixels, found + rows * (apart - width)
