"""Pictures that set the scales of an INT8 graph; drawn, so that nothing need be at hand."""

from __future__ import annotations

from typing import Final

import numpy as np

from samcam.engines import U8
from training.evaluate import HELD_OUT_SEED
from training.generator import generate_clip

CALIBRATION_PICTURES: Final = 32


def calibration_pictures(size: int, count: int = CALIBRATION_PICTURES) -> list[U8]:
    """Draw (S, S, 3) uint8 BGR pictures from seeds that no training draws."""
    return [
        generate_clip(np.random.default_rng((HELD_OUT_SEED, i)), 1, size, None).images_bgr[0]
        for i in range(count)
    ]
