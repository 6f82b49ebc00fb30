"""Edge-aware refinement: draws a mask's border towards the edges of the picture near by.

The guided filter (He, Sun and Tang, "Guided Image Filtering", TPAMI 2013, eq. 5, 6 and 8) of the
signed distance to the border, led by the picture's luma and computed at half size or less inside
the object's box (He and Sun, "Fast Guided Filter", 2015). Only its part that follows the guide is
added: its other part is a plain mean, which rounds off every corner that the mask has right.
"""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np

from samcam.live.effects.cells import reduced
from samcam.live.frames import F32, U8
from samcam.live.masks import MaskLayer

_EPSILON = 1e-3  # variance of luma (0..1) that counts as flat: a step of about 1/16
_WORKING_HEIGHT_PX = 240  # of the whole picture: borders need no more detail than this


def refine_layer(layer: MaskLayer, image_bgr: U8) -> MaskLayer:
    """Return the layer with its border drawn to the picture's edges.

    A mask is uncertain by about one pixel of the network's grid: so wide are the windows, and so
    far may the border move.

    Args:
        layer: One object's mask.
        image_bgr: (H, W, 3) uint8, the whole picture that it belongs to.
    """
    height, width = layer.logits.shape
    reduction = 2 ** max(1, round(math.log2(image_bgr.shape[0] / _WORKING_HEIGHT_PX)))
    if min(height, width) < 2 * reduction:
        return layer
    reach_px = max(1.0, layer.grid_px)
    small_wh = width // reduction, height // reduction
    small = reduced(image_bgr[layer.box.slices], reduction)
    guide = np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), np.float32)
    guide *= np.float32(1 / 255)
    distance = cv2.resize(layer.logits, small_wh, interpolation=cv2.INTER_LINEAR)
    limit = np.float32(reach_px * layer.logits_per_px)
    near = np.clip(np.asarray(distance, np.float32), -limit, limit)
    drift = guided_drift(guide, near, max(1, round(reach_px / reduction)), _EPSILON)
    np.clip(drift, -limit, limit, out=drift)
    full = cv2.resize(drift, (width, height), interpolation=cv2.INTER_LINEAR)
    full = cv2.add(layer.logits, full, dst=full)  # a new map costs more than the sum
    return replace(layer, logits=np.asarray(full, np.float32))


def guided_drift(guide: F32, values: F32, radius: int, epsilon: float) -> F32:
    """Return the part of a guided filter's answer that follows the guide.

    Args:
        guide: (h, w) float32.
        values: (h, w) float32, what is filtered.
        radius: Of the square windows, in pixels.
        epsilon: Variance of the guide that counts as flat.

    Returns:
        (h, w) float32, to be added to `values`; 0 where guide or values are flat.
    """
    size = (2 * radius + 1, 2 * radius + 1)
    mean_guide, mean_values = _box(guide, size), _box(values, size)
    covariance = _box(guide * values, size) - mean_guide * mean_values
    variance = _box(guide * guide, size) - mean_guide * mean_guide
    slope = np.divide(covariance, variance + np.float32(epsilon), dtype=np.float32)
    drift = _box(slope, size) * guide
    drift -= _box(np.multiply(slope, mean_guide, dtype=np.float32), size)
    return drift


def _box(values: F32, size: tuple[int, int]) -> F32:
    """Return the mean over a window."""
    mean = cv2.boxFilter(values, cv2.CV_32F, size, borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(mean, np.float32)
