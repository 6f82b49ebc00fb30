"""What the effects share: mixing one picture into another along a mask's soft border."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from live.frames import F32, U8

_FEW = 8  # picking border pixels out pays up to one in so many of the box
SIZE_UNIT_PX = 720  # lengths in the options are for a picture this high and grow with it


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
    found = cv2.findNonZero(cv2.inRange(distance, edge.first, edge.plateau - 1))
    if found is None:
        return
    columns, rows = np.asarray(found).reshape(-1, 2).T  # (N, 1, 2) before OpenCV 5
    below = target[rows, columns].astype(np.float32)
    above = over if over.ndim == 1 else over[rows, columns]
    weight = edge.weights[distance[rows, columns]][:, None]
    mixed = below + (above.astype(np.float32) - below) * weight
    target[rows, columns] = np.rint(mixed).astype(np.uint8)
