"""Transparency: the alpha of each pixel, and how it is shown and sent."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np

from samcam.live.effects.blend import SoftEdge
from samcam.live.frames import U8
from samcam.live.masks import MaskLayer

_SQUARE_PX = 12  # of the checkerboard
_LIGHT, _DARK = 150, 105


def object_alpha(
    layers: Sequence[MaskLayer], edges: Sequence[tuple[U8, SoftEdge]], shape: tuple[int, int]
) -> U8:
    """Return (H, W) uint8: 255 on the objects, 0 around them, between on their soft borders.

    Args:
        layers: The objects, which may overlap.
        edges: Of each, as `object_edge` gives it.
        shape: Height and width in pixels.
    """
    alpha = np.zeros(shape, np.uint8)
    for layer, (distance, border) in zip(layers, edges, strict=True):
        weights = cv2.LUT(distance, np.rint(border.weights * 255).astype(np.uint8))
        target = alpha[layer.box.slices]
        np.maximum(target, weights, out=target)
    return alpha


def to_rgba(feed_bgr: U8, alpha: U8, backdrop_rgb: tuple[int, int, int]) -> U8:
    """Return the picture with its own colours, not mixed with what stands behind it.

    Args:
        feed_bgr: (H, W, 3) uint8, mixed over the backdrop by `alpha`.
        alpha: (H, W) uint8.
        backdrop_rgb: 0..255 each.

    Returns:
        (H, W, 4) uint8, red, green, blue and alpha, not premultiplied; black where alpha is 0:
        nothing is to be found under what cannot be seen.
    """
    rgba = cv2.cvtColor(feed_bgr, cv2.COLOR_BGR2RGBA)
    rgba[..., 3] = alpha
    rgba[alpha == 0] = 0
    found = cv2.findNonZero(cv2.inRange(alpha, 1, 254))
    if found is not None:
        columns, rows = np.asarray(found).reshape(-1, 2).T
        share = (alpha[rows, columns].astype(np.float32) / np.float32(255))[:, None]
        mixed = rgba[rows, columns, :3].astype(np.float32)
        own = (mixed - np.array(backdrop_rgb, np.float32) * (1 - share)) / share
        rgba[rows, columns, :3] = np.clip(np.rint(own), 0, 255).astype(np.uint8)
    return np.asarray(rgba, np.uint8)


def over_checkerboard(feed_bgr: U8, alpha: U8, backdrop_rgb: tuple[int, int, int]) -> U8:
    """Return the picture over the squares that stand for transparency.

    Args:
        feed_bgr: (H, W, 3) uint8, mixed over the backdrop by `alpha`.
        alpha: (H, W) uint8.
        backdrop_rgb: 0..255 each.
    """
    rest = cv2.merge((255 - alpha,) * 3)
    squares = cv2.multiply(_checkerboard(*alpha.shape[:2]), rest, scale=1 / 255)
    own: cv2.typing.MatLike = feed_bgr
    if any(backdrop_rgb):
        backdrop = np.empty(feed_bgr.shape, np.uint8)
        height, width = alpha.shape[:2]
        cv2.rectangle(backdrop, (0, 0), (width, height), backdrop_rgb[::-1], cv2.FILLED)
        own = cv2.subtract(feed_bgr, cv2.multiply(backdrop, rest, scale=1 / 255))
    return np.asarray(cv2.add(own, squares), np.uint8)


@lru_cache(maxsize=2)
def _checkerboard(height: int, width: int) -> U8:
    """Return (H, W, 3) uint8 squares; not to be written to."""
    rows, columns = (np.arange(length) // _SQUARE_PX % 2 for length in (height, width))
    board = np.where(rows[:, None] ^ columns[None], _DARK, _LIGHT).astype(np.uint8)
    return np.asarray(cv2.merge((board,) * 3), np.uint8)
