"""The border of a mask as the effects want it: grown, shrunk, softened, turned round."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from live.effects.blend import SoftEdge, length_px, soft_edge
from live.frames import U8
from live.masks import MaskLayer, border_distance_u8, distance_px

_LEAST_HALF_PX = 0.5  # a border without feather still has one pixel of transition
_NEAR_PX = 1.0  # up to here the logits' slope tells the distance, with parts of a pixel


@dataclass(frozen=True, slots=True)
class EdgeOptions:
    """Where an effect ends; lengths are for a picture 720 pixels high and grow with it.

    Attributes:
        feather_px: Moves the 50 % line outwards (inwards where negative) by this much; the border
            is twice as wide and begins at the mask's.
        grow_px: Moves the whole border outwards, inwards where negative.
        invert: Swap the object and its surroundings.
    """

    feather_px: float = 1.5
    grow_px: float = 0.0
    invert: bool = False

    def reach_px(self, height: int) -> float:
        """Return how far outside the mask a weight may lie, for a picture of this height."""
        middle, half = _ramp(self, height)
        return max(0.0, middle + half) + 1.0


DEFAULT_EDGE = EdgeOptions()


def object_edge(layer: MaskLayer, options: EdgeOptions, height: int) -> tuple[U8, SoftEdge]:
    """Return the object's soft border.

    Args:
        layer: One object's mask.
        options: How soft and where.
        height: Of the picture, in pixels.

    Returns:
        (h, w) uint8 distances to the mask's border inside `layer.box`, and by these bytes the
        object's weights: 1 inside, 0 outside.
    """
    middle, half = _ramp(options, height)
    range_px = abs(middle) + half + 1.0
    if abs(middle) + half <= _NEAR_PX:
        return border_distance_u8(layer, range_px), _weights(middle, half, range_px)
    return _far_distance_u8(layer, middle, half, range_px), _weights(middle, half, range_px)


def layer_mask(layer: MaskLayer) -> U8:
    """Return (h, w) uint8, 255 on the object."""
    return (layer.logits > 0).view(np.uint8) * np.uint8(255)


def _ramp(options: EdgeOptions, height: int) -> tuple[float, float]:
    """Return the 50 % line in pixels outside the mask, and half the width of the border."""
    feather, grow = length_px(options.feather_px, height), length_px(options.grow_px, height)
    return grow + feather, max(_LEAST_HALF_PX, abs(feather))


@lru_cache(maxsize=16)
def _weights(middle_px: float, half_px: float, range_px: float) -> SoftEdge:
    ramp = (distance_px(range_px) + middle_px) / (2 * half_px) + 0.5
    return soft_edge(np.clip(ramp, 0, 1).astype(np.float32))


def _far_distance_u8(layer: MaskLayer, middle_px: float, half_px: float, range_px: float) -> U8:
    """Return distances as `border_distance_u8` does, true ones also far from the border.

    Logits of a network level off a few pixels away, and their slope is another one along a
    stretched axis. Only the side on which the border lies is worked out.
    """
    mask = layer_mask(layer)
    scale = 127.0 / range_px
    outside = middle_px + half_px > _LEAST_HALF_PX
    inside = half_px - middle_px > _LEAST_HALF_PX
    # A pixel's distance is to the centre of the nearest one beyond the border, which is half a
    # pixel nearer.
    if outside and inside:
        signed = _distance(mask) - _distance(cv2.bitwise_not(mask))
        signed += np.float32(0.5) - mask.astype(np.float32) / np.float32(255)
        return _as_bytes(signed, scale, 128.0)
    if outside:
        return _as_bytes(_distance(cv2.bitwise_not(mask)), -scale, 128.0 + 0.5 * scale)
    return _as_bytes(_distance(mask), scale, 128.0 - 0.5 * scale)


def _distance(mask: cv2.typing.MatLike) -> cv2.typing.MatLike:
    """Return for each pixel of the mask the distance to the nearest pixel that is not."""
    return cv2.distanceTransform(mask, cv2.DIST_L2, 5)


def _as_bytes(values: cv2.typing.MatLike, scale: float, offset: float) -> U8:
    scaled = cv2.addWeighted(values, scale, values, 0.0, offset, dtype=cv2.CV_8U)
    return np.asarray(scaled, np.uint8)
