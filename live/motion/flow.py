"""Where the pixels of a picture were in an earlier one: optical flow, chained picture by picture.

Everything here works on small grey pictures: flow at full size would cost tens of milliseconds.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from samcam.live.frames import F32, U8, Mask

Grey: TypeAlias = NDArray[np.uint8]
Point: TypeAlias = tuple[float, float]

LONGEST_SIDE_PX: Final = 320  # a quarter of 720p

_COARSE: Final = 4  # small pixels per cell in which an object's own motion is averaged
_BOX: Final = (5, 5)  # cells
_CORE: Final = np.ones((7, 7), np.uint8)
_SMALLEST_CORE: Final = 0.2  # of the object
_FAR_WEIGHT: Final = 1e-3  # far from the object its mean motion counts


def shrink(image_bgr: U8) -> Grey:
    """Return the (h, w) uint8 grey picture in which motion is measured.

    It has the shape of (H, W, 3) `image_bgr`, no side longer than `LONGEST_SIDE_PX`.
    """
    height, width = image_bgr.shape[:2]
    scale = min(1.0, LONGEST_SIDE_PX / max(height, width))
    size_wh = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(image_bgr, size_wh, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), np.uint8)


class FlowEngine:
    """Measures motion between two small pictures; one thread only, for it keeps its buffers.

    Source: Kroeger et al. 2016, "Fast Optical Flow using Dense Inverse Search", as in OpenCV.
    """

    _SMALLEST_PX: Final = 16  # DIS works on patches of 8 pixels and refuses less than two

    def __init__(self) -> None:
        # Measured on real clips and on moving ellipses: the presets search on an even smaller
        # picture, or smooth the motion across the object's border, and both lose the border.
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._dis.setFinestScale(1)
        self._dis.setPatchStride(5)
        self._dis.setVariationalRefinementIterations(0)

    def measure(self, at: Grey, other: Grey) -> F32:
        """Return the (h, w, 2) displacement dx, dy: what is at p in `at` is at p + d in `other`.

        Pictures too small for flow count as standing still.
        """
        still = np.zeros((*at.shape, 2), np.float32)  # also what flow starts from
        if min(at.shape) < self._SMALLEST_PX:
            return still
        return np.asarray(self._dis.calc(at, other, still), np.float32)


def object_motion(forward: F32, inside: Mask) -> F32:
    """Return the motion of one object, continued around it, from the picture after it.

    Flow from the later picture back cannot say where ground was that the object has just
    uncovered, and takes it for the object. Flow from the earlier one is measured on the object
    itself; averaged over some pixels, its own motion moves its border, too.

    Args:
        forward: (h, w, 2) displacement from the earlier picture to the later one.
        inside: (h, w), the object in the earlier picture.

    Returns:
        (h, w, 2) displacement from the later picture to the earlier one.
    """
    height, width = inside.shape
    core = cv2.erode(inside.astype(np.float32), _CORE)  # its border has both motions
    if core.sum() < _SMALLEST_CORE * np.count_nonzero(inside):
        core = inside.astype(np.float32)
    coarse_wh = (max(1, width // _COARSE), max(1, height // _COARSE))
    weight = np.asarray(cv2.resize(core, coarse_wh, interpolation=cv2.INTER_AREA), np.float32)
    weighted = forward * core[..., None]
    total = np.asarray(cv2.resize(weighted, coarse_wh, interpolation=cv2.INTER_AREA), np.float32)
    mean = total.sum(axis=(0, 1)) / max(float(weight.sum()), _FAR_WEIGHT)
    share = _spread(weight) + _FAR_WEIGHT
    motion = (_spread(total) + _FAR_WEIGHT * mean) / share[..., None]
    # Known at the earlier picture's pixels, wanted at the later one's: one step of a fixed point.
    motion = sample(motion, -motion / _COARSE)
    return np.asarray(cv2.resize(-motion, (width, height)), np.float32)


def _spread(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Average over neighbours: twice a box of five is about a Gaussian of two."""
    return np.asarray(cv2.blur(cv2.blur(values, _BOX), _BOX), np.float32)


def chain(newer: F32, older: F32) -> F32:
    """Join two (h, w, 2) displacements, from now to between and from between to before, to one."""
    return newer + sample(older, newer)


def sample(values: F32, displacement: F32) -> F32:
    """Return at each p what `values`, (h, w) or (h, w, 2), has at p + displacement; beyond its
    border, the border's."""
    height, width = displacement.shape[:2]
    grid_x, grid_y = _grid(width, height)
    there = cv2.remap(
        values,
        grid_x + displacement[..., 0],
        grid_y + displacement[..., 1],
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(there, np.float32)


def warp_logits(logits: F32, displacement: F32) -> F32:
    """Carry (L, L) mask logits of an earlier picture, stretched to a square, to the present one.

    `displacement`, (h, w, 2), goes from the present picture to the logits' own.
    """
    rows, columns = logits.shape
    height, width = displacement.shape[:2]
    moved = np.asarray(cv2.resize(displacement, (columns, rows)), np.float32)
    return sample(logits, moved * np.array((columns / width, rows / height), np.float32))


def where_it_was(motion: F32 | None, x: float, y: float, size_wh: tuple[int, int]) -> Point:
    """Return what is at (x, y) on the shown picture as a place on the picture that the result's
    step answered.

    A click on a predicted picture is meant for what the user saw there; the step that it belongs
    to saw the same thing elsewhere. `motion` is `FrameResult.motion`; positions are source
    pixels, the answer is inside the picture.
    """
    if motion is None:
        return x, y
    (width, height), (rows, columns) = size_wh, motion.shape[:2]
    row = min(rows - 1, max(0, int(y * rows / height)))
    column = min(columns - 1, max(0, int(x * columns / width)))
    dx, dy = (float(value) for value in motion[row, column])
    return (
        min(width - 1.0, max(0.0, x + dx * width / columns)),
        min(height - 1.0, max(0.0, y + dy * height / rows)),
    )


def _grid(width: int, height: int) -> tuple[F32, F32]:
    """Return x as a row and y as a column: they broadcast to the (height, width) pixel grid."""
    return np.arange(width, dtype=np.float32)[None], np.arange(height, dtype=np.float32)[:, None]
