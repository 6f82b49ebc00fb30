"""The border of a mask as the effects want it: grown, shrunk, softened, turned round."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from samcam.live.effects.blend import SoftEdge, length_px, soft_edge
from samcam.live.frames import U8
from samcam.live.masks import MaskLayer, border_distance_u8, distance_px

_LEAST_HALF_PX = 0.5  # a border without feather still has one pixel of transition
_NEAR_PX = 1.0  # up to here the logits' slope tells the distance, with parts of a pixel
_DISC_PX = 8.0  # up to here growing by a disc and a mean cost a fraction of a distance transform
_LINEAR = soft_edge(np.linspace(0, 1, 256, dtype=np.float32))


@dataclass(frozen=True, slots=True)
class EdgeOptions:
    """Where an effect ends; lengths are for a picture 720 pixels high and grow with it.

    Attributes:
        feather_px: Moves the 50 % line outwards (inwards where negative) by this much; the border
            is twice as wide and begins at the mask's.
        grow_px: Moves the whole border outwards, inwards where negative.
        invert: Swap the object and its surroundings.
        decontaminate: Whether a new background shows none of the old one's colour in the border.
    """

    feather_px: float = 1.5
    grow_px: float = 0.0
    invert: bool = False
    decontaminate: bool = True

    def reach_px(self, height: int) -> float:
        """Return how far outside the mask a weight may lie, for a picture of this height."""
        middle, half = _ramp(self, height)
        return max(0.0, middle + half) + 1.0


DEFAULT_EDGE = EdgeOptions()
# For another background: outwards the old one would show. Half as wide a border keeps more of an
# exact mask, this one less of the background in a coarse one (docs/accuracy.md has the figures).
CUT_OUT_EDGE = EdgeOptions(feather_px=-1.0)


def object_edge(layer: MaskLayer, options: EdgeOptions, height: int) -> tuple[U8, SoftEdge]:
    """Return the object's soft border.

    Args:
        layer: One object's mask.
        options: How soft and where.
        height: Of the picture, in pixels.

    Returns:
        (h, w) uint8 inside `layer.box`, rising from outside to inside, and by these bytes the
        object's weights: 1 inside, 0 outside.
    """
    middle, half = _ramp(options, height)
    reach_px = abs(middle) + half
    range_px = reach_px + 1.0
    if reach_px <= _NEAR_PX:
        return border_distance_u8(layer, range_px), _weights(middle, half, range_px)
    if reach_px <= _DISC_PX and not layer.contested:
        return _soft_mask_u8(layer, middle, half), _LINEAR
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


def _soft_mask_u8(layer: MaskLayer, middle_px: float, half_px: float) -> U8:
    """Return 255 inside, 0 outside and a straight ramp along the moved border between them.

    The mask with parts of a pixel on its border, moved by less than a pixel along the logits'
    slope and by the rest with a disc, then a mean over the width of the ramp.
    """
    whole_px = round(middle_px)
    scale, offset = 255.0 / layer.logits_per_px, 255.0 * (middle_px - whole_px + 0.5)
    soft = cv2.addWeighted(layer.logits, scale, layer.logits, 0.0, offset, dtype=cv2.CV_8U)
    if whole_px > 0:
        soft = cv2.dilate(soft, _disc(whole_px))
    elif whole_px < 0:
        soft = cv2.erode(soft, _disc(-whole_px))
    width_px = 2 * round(half_px - 0.5) + 1
    if width_px > 1:
        soft = cv2.blur(soft, (width_px, width_px), borderType=cv2.BORDER_REPLICATE)
    return np.asarray(soft, np.uint8)


@lru_cache(maxsize=16)
def _disc(radius_px: int) -> U8:
    """Return (2r + 1, 2r + 1) uint8, 1 within the radius and a little more."""
    rows, columns = np.mgrid[-radius_px : radius_px + 1, -radius_px : radius_px + 1]
    return np.asarray(rows**2 + columns**2 <= radius_px**2 + radius_px // 2, np.uint8)


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
