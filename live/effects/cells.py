"""Colours of the surroundings alone, in cells: what blur and pixelate are made of.

A convolution normalised by the share of background under its kernel takes no colour from an
object. Source: Knutsson and Westin, "Normalized and differential convolution" (CVPR 1993), eq. 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import cv2
import numpy as np

from samcam.live.effects.blend import length_px
from samcam.live.effects.edges import layer_mask
from samcam.live.frames import F32, U8
from samcam.live.masks import MaskLayer

Picture = TypeVar("Picture", U8, F32)

_KEEP_OUT_PX = 3.0  # the mask is rarely exact: this much around it counts as object too
_EMPTY = np.float32(1e-3)  # share of background below which something else takes over
_NEIGHBOURS = 1.5  # standard deviation, in cells, of what fills a cell without background


def blurred_cells(
    image_bgr: U8, layers: Sequence[MaskLayer], cell_px: int, sigma_cells: float
) -> U8:
    """Return the surroundings in cells and through a Gaussian, without the objects' colours.

    Args:
        image_bgr: (H, W, 3) uint8.
        layers: Objects to leave out; none: the plain picture.
        cell_px: Side of a cell in source pixels, at most the picture's shorter side.
        sigma_cells: Standard deviation in cells.

    Returns:
        (H // cell_px, W // cell_px, 3) uint8. Deep inside an object it is the mean of all
        background.
    """
    small = reduced(image_bgr, cell_px)
    if not layers:
        return _smooth(small, sigma_cells)
    background = _background_cells(small.shape[:2], cell_px, layers)
    share = _smooth(background.astype(np.float32) / np.float32(255), sigma_cells)
    total = _smooth(cv2.copyTo(small, background).astype(np.float32), sigma_cells)
    return _divided(total, share, _mean_of(small, background))


def flat_cells(image_bgr: U8, layers: Sequence[MaskLayer], cell_px: int, parts: int) -> U8:
    """Return the mean colour of the surroundings in each cell, without the objects' colours.

    Args:
        image_bgr: (H, W, 3) uint8.
        layers: Objects to leave out; none: the plain picture.
        cell_px: Side of a cell in source pixels, at most the picture's shorter side.
        parts: Each cell is looked at in parts x parts pieces, of which those without object
            count; divides `cell_px`.

    Returns:
        (H // cell_px, W // cell_px, 3) uint8. A cell full of object is made of its neighbours.
    """
    rows, columns = image_bgr.shape[0] // cell_px, image_bgr.shape[1] // cell_px
    if not layers:
        return reduced(image_bgr, cell_px)
    whole = image_bgr[: rows * cell_px, : columns * cell_px]
    small = reduced(whole, cell_px // parts)
    background = _background_cells(small.shape[:2], cell_px // parts, layers)
    size_wh, way = (columns, rows), cv2.INTER_AREA
    part = background.astype(np.float32) / np.float32(255)
    share = np.asarray(cv2.resize(part, size_wh, interpolation=way), np.float32)
    kept = cv2.copyTo(small, background).astype(np.float32)
    total = np.asarray(cv2.resize(kept, size_wh, interpolation=way), np.float32)
    around = _divided(
        _smooth(total, _NEIGHBOURS), _smooth(share, _NEIGHBOURS), _mean_of(small, background)
    )
    return _divided(total, share, around)


def reduced(image_bgr: U8, cell_px: int) -> U8:
    """Return the mean colour of each whole cell: (H // cell_px, W // cell_px, 3) uint8."""
    rows, columns = image_bgr.shape[0] // cell_px, image_bgr.shape[1] // cell_px
    # Whole cells only: INTER_AREA is four times faster where the ratio is an integer.
    covered = image_bgr[: rows * cell_px, : columns * cell_px]
    while cell_px % 2 == 0:  # halves are the one ratio that OpenCV has vector code for
        cell_px //= 2
        size_wh = columns * cell_px, rows * cell_px
        covered = np.asarray(cv2.resize(covered, size_wh, interpolation=cv2.INTER_AREA), np.uint8)
    if cell_px == 1:
        return covered
    small = cv2.resize(covered, (columns, rows), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def _mean_of(small: U8, background: U8) -> F32:
    return np.array(cv2.mean(small, background)[:3], np.float32)


def _divided(total: F32, share: F32, otherwise: F32 | U8) -> U8:
    """Return total / share, and `otherwise` (a colour or a picture) where there is no share."""
    total = total + _EMPTY * otherwise
    share = share + _EMPTY
    # cv2 works on three equal channels faster than numpy broadcasts one over an axis of three.
    return np.asarray(cv2.divide(total, cv2.merge((share,) * 3), dtype=cv2.CV_8U), np.uint8)


def enlarge_cells(small: U8, cell_px: int, size_wh: tuple[int, int], interpolation: int) -> U8:
    """Enlarge whole cells to the picture; the few pixels beyond them repeat the last ones."""
    width, height = size_wh
    out = np.empty((height, width, 3), np.uint8)
    inner_height, inner_width = small.shape[0] * cell_px, small.shape[1] * cell_px
    inner = out[:inner_height, :inner_width]
    if interpolation == cv2.INTER_NEAREST:  # cv2.resize takes ten times as long for it
        wide = np.repeat(small, cell_px, axis=1)
        for row in range(len(small)):
            inner[row * cell_px : (row + 1) * cell_px] = wide[row]
    else:
        cv2.resize(small, (inner_width, inner_height), dst=inner, interpolation=interpolation)
    out[:inner_height, inner_width:] = inner[:, -1:]
    out[inner_height:] = out[inner_height - 1]
    return out


def _smooth(image: Picture, sigma: float) -> Picture:
    """Return the picture through a Gaussian."""
    if sigma <= 0:
        return image
    blurred = cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(blurred, image.dtype)


def _background_cells(shape: tuple[int, int], cell_px: int, layers: Sequence[MaskLayer]) -> U8:
    """Return 255 for the cells without any pixel of an object or its nearest surroundings."""
    subject = np.zeros(shape, np.uint8)
    for layer in layers:
        top, left = layer.box.y1 // cell_px, layer.box.x1 // cell_px
        pad_y, pad_x = layer.box.y1 - top * cell_px, layer.box.x1 - left * cell_px
        h, w = layer.logits.shape
        cell_rows, cell_columns = -(-(h + pad_y) // cell_px), -(-(w + pad_x) // cell_px)
        touched = np.zeros((cell_rows * cell_px, cell_columns * cell_px), np.uint8)
        touched[pad_y : pad_y + h, pad_x : pad_x + w] = layer_mask(layer)
        cells = cv2.resize(touched, (cell_columns, cell_rows), interpolation=cv2.INTER_AREA)
        target = subject[top : top + cell_rows, left : left + cell_columns]
        np.maximum(target, cells[: target.shape[0], : target.shape[1]], out=target)
    # INTER_AREA rounds a cell with very few object pixels down to 0: at least one cell more on
    # each side covers those too.
    ring = max(1, math.ceil(length_px(_KEEP_OUT_PX, shape[0])))
    grown = cv2.dilate(subject, np.ones((2 * ring + 1, 2 * ring + 1), np.uint8))
    return np.asarray(cv2.inRange(grown, 0, 0), np.uint8)
