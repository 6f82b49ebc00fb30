"""Blur: the background out of focus, the objects kept; and a picture that hides everything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from live.effects.blend import SoftEdge, length_px, mix_border, mix_inside, soft_edge
from live.frames import F32, U8
from live.masks import MaskLayer, border_distance_u8, distance_px

_SMALL_SIGMA_PX = 3.0  # blur left to do at reduced size: enough that up-scaling shows no grid
_MAX_REDUCTION = 32
_HIDDEN_CELLS = 12  # cells along the shorter side of a hidden picture
_EMPTY = np.float32(1e-3)  # share of background below which a blurred value means nothing


@dataclass(frozen=True, slots=True)
class BlurOptions:
    """How the background is blurred; lengths are for a picture 720 pixels high and grow with it.

    Attributes:
        sigma_px: Standard deviation of the Gaussian.
        feather_px: Width of the soft border, three quarters of it outside the mask.
    """

    sigma_px: float = 18.0
    feather_px: float = 4.0


DEFAULT_BLUR = BlurOptions()


def blur_background(
    image_bgr: U8, layers: Sequence[MaskLayer], options: BlurOptions = DEFAULT_BLUR
) -> U8:
    """Blur everything but the objects.

    The blur takes background pixels only (a convolution normalised by the share of background
    under the kernel), so no colour of an object shines around it.

    Args:
        image_bgr: (H, W, 3) uint8; left as it is.
        layers: From `object_layers`; they may overlap.
        options: How.

    Returns:
        (H, W, 3) uint8.

    Source: Knutsson and Westin, "Normalized and differential convolution" (CVPR 1993), eq. 1.
    """
    height = image_bgr.shape[0]
    feather_px = max(1.0, length_px(options.feather_px, height))
    range_px = feather_px + 1.0
    distances = [border_distance_u8(layer, range_px) for layer in layers]
    out = _blurred(image_bgr, layers, distances, length_px(options.sigma_px, height))
    edge = _edge(feather_px, range_px)
    for layer, distance in zip(layers, distances, strict=True):
        target, subject = out[layer.box.slices], image_bgr[layer.box.slices]
        mix_inside(target, subject, distance, edge)
        mix_border(target, subject, distance, edge)
    return out


def hide_picture(image_bgr: U8) -> U8:
    """Return the picture so strongly blurred that nothing in it can be made out.

    It is reduced to 12 cells along its shorter side, so what is gone cannot be computed back.
    """
    height, width = image_bgr.shape[:2]
    cell = max(1, min(height, width) / _HIDDEN_CELLS)
    size_wh = (max(1, round(width / cell)), max(1, round(height / cell)))
    cells = cv2.resize(image_bgr, size_wh, interpolation=cv2.INTER_AREA)
    smooth = cv2.GaussianBlur(cells, (0, 0), 1.0)
    return np.asarray(cv2.resize(smooth, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


@lru_cache(maxsize=16)
def _edge(feather_px: float, range_px: float) -> SoftEdge:
    """Return the object's weights across its border."""
    ramp = distance_px(range_px) / feather_px + 0.75
    return soft_edge(np.clip(ramp, 0, 1).astype(np.float32))


def _blurred(
    image_bgr: U8, layers: Sequence[MaskLayer], distances: Sequence[U8], sigma_px: float
) -> U8:
    """Return the blurred background; what lies deep inside an object is undefined."""
    height, width = image_bgr.shape[:2]
    reduction = _reduction(sigma_px, min(height, width))
    rows, columns = height // reduction, width // reduction
    # Whole cells only: INTER_AREA is four times faster where the ratio is an integer.
    covered = image_bgr[: rows * reduction, : columns * reduction]
    small = cv2.resize(covered, (columns, rows), interpolation=cv2.INTER_AREA)
    background = _background_cells((rows, columns), reduction, layers, distances)
    share = _gaussian(background.astype(np.float32) / np.float32(255), sigma_px / reduction)
    share = np.maximum(share, _EMPTY)
    total = _gaussian(cv2.copyTo(small, background).astype(np.float32), sigma_px / reduction)
    # cv2 works on three equal channels faster than numpy broadcasts one over an axis of three.
    mean = cv2.divide(total, cv2.merge((share, share, share)), dtype=cv2.CV_8U)
    return _enlarged(np.asarray(mean, np.uint8), reduction, (width, height))


def _reduction(sigma_px: float, shorter_px: int) -> int:
    """Return by how much to shrink before blurring: a power of 2."""
    reduction = 1
    while (
        reduction < _MAX_REDUCTION
        and sigma_px / (reduction * 2) >= _SMALL_SIGMA_PX
        and shorter_px // (reduction * 2) >= 2
    ):
        reduction *= 2
    return reduction


def _gaussian(image: F32, sigma_px: float) -> F32:
    blurred = cv2.GaussianBlur(image, (0, 0), sigma_px, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(blurred, np.float32)


def _background_cells(
    shape: tuple[int, int], reduction: int, layers: Sequence[MaskLayer], distances: Sequence[U8]
) -> U8:
    """Return 255 for the cells of the reduced picture without any pixel of an object or its border.

    Cells are `reduction` x `reduction` source pixels.
    """
    subject = np.zeros(shape, np.uint8)
    for layer, distance in zip(layers, distances, strict=True):
        top, left = layer.box.y1 // reduction, layer.box.x1 // reduction
        pad_y, pad_x = layer.box.y1 - top * reduction, layer.box.x1 - left * reduction
        h, w = distance.shape
        cell_rows, cell_columns = -(-(h + pad_y) // reduction), -(-(w + pad_x) // reduction)
        touched = np.zeros((cell_rows * reduction, cell_columns * reduction), np.uint8)
        touched[pad_y : pad_y + h, pad_x : pad_x + w] = distance
        cells = cv2.resize(
            cv2.inRange(touched, 2, 255),
            (cell_columns, cell_rows),
            interpolation=cv2.INTER_AREA,
        )
        target = subject[top : top + cell_rows, left : left + cell_columns]
        np.maximum(target, cells[: target.shape[0], : target.shape[1]], out=target)
    # INTER_AREA rounds a cell with very few object pixels down to 0: one cell more on each side
    # covers those too.
    grown = cv2.dilate(subject, np.ones((3, 3), np.uint8))
    return np.asarray(cv2.inRange(grown, 0, 0), np.uint8)


def _enlarged(small: U8, reduction: int, size_wh: tuple[int, int]) -> U8:
    """Enlarge whole cells to the picture; the few pixels beyond them repeat the last ones."""
    width, height = size_wh
    out = np.empty((height, width, 3), np.uint8)
    inner_height, inner_width = small.shape[0] * reduction, small.shape[1] * reduction
    inner = out[:inner_height, :inner_width]
    cv2.resize(small, (inner_width, inner_height), dst=inner, interpolation=cv2.INTER_LINEAR)
    out[:inner_height, inner_width:] = inner[:, -1:]
    out[inner_height:] = out[inner_height - 1]
    return out
