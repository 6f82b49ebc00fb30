"""Pictures that set the scales of an INT8 graph; drawn, so that no photographs are needed."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

import numpy as np

from samcam.engines import U8
from samcam.export.errors import ExportError
from samcam.system import checkout

CALIBRATION_PICTURES: Final = 32
CALIBRATION_BY: Final = "--precision int8: its calibration pictures are drawn by"


def calibration_pictures(size: int, count: int = CALIBRATION_PICTURES) -> list[U8]:
    """Draw (S, S, 3) uint8 BGR pictures from seeds that no training draws.

    Raises:
        ExportError: See `require_training`.
    """
    require_training(CALIBRATION_BY)
    from training.evaluate import HELD_OUT_SEED
    from training.scenes.generator import generate_clip

    return [
        generate_clip(np.random.default_rng((HELD_OUT_SEED, i)), 1, size, None).images_bgr[0]
        for i in range(count)
    ]


def require_training(need: str) -> None:
    """Make sure that `training` can be imported, and is SamCam's; `need` begins the error's
    sentence.

    Raises:
        ExportError: This is an installed copy, or the current folder is not the checkout's.
    """
    folder = checkout()
    if folder is None:
        raise ExportError(f"{need} training/, which a checkout of SamCam has")
    found = find_spec("training")
    if found is None or found.origin != str(folder / "training" / "__init__.py"):
        raise ExportError(
            f"{need} training/, which a checkout of SamCam has; run it in the checkout's folder, "
            f"{folder}"
        )
