"""Blur: a picture out of focus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import cv2

from samcam.live.effects.blend import LENGTH_UNIT, length_px
from samcam.live.effects.cells import blurred_cells, enlarge_cells
from samcam.live.frames import U8
from samcam.live.masks import MaskLayer
from samcam.system import Section, Setting

_SMALL_SIGMA_PX = 2.0  # blur left to do at reduced size: enough that up-scaling shows no grid
_MAX_REDUCTION = 32


@dataclass(frozen=True, slots=True)
class BlurOptions(Section):
    """The effect `blur`."""

    sigma_px: Annotated[float, Setting("Strength of the blur.", LENGTH_UNIT, 1, 200)] = 18.0


def blurred(image_bgr: U8, without: Sequence[MaskLayer], options: BlurOptions) -> U8:
    """Return the whole picture blurred.

    Args:
        image_bgr: (H, W, 3) uint8; left as it is.
        without: Objects whose colours must not shine around them.
        options: How strong.

    Returns:
        (H, W, 3) uint8.
    """
    height, width = image_bgr.shape[:2]
    sigma_px = length_px(options.sigma_px, height)
    reduction = _reduction(sigma_px, min(height, width))
    cells = blurred_cells(image_bgr, without, reduction, sigma_px / reduction)
    return enlarge_cells(cells, reduction, (width, height), cv2.INTER_LINEAR)


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
