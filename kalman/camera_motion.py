"""How the camera moved between two pictures: sparse optical flow and one robust similarity.

Everything works on small grey pictures, a quarter of 720p; `python -m bench.camera` measures what
it costs. The caller keeps the small picture until the next one comes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Grey: TypeAlias = NDArray[np.uint8]
F32: TypeAlias = NDArray[np.float32]
F64: TypeAlias = NDArray[np.float64]

LONGEST_SIDE_PX: Final = 320  # a quarter of 720p

# Ours; measured on pictures that follow each other in twelve real clips, and on pairs of clips.
_CELLS: Final = 10  # along the longer side: the best corner of each, so no textured thing has all
_SMALLEST_CELL_PX: Final = 8
_CORNER_SIZE: Final = 3
_CORNER_FLOOR: Final = 2e-4  # smaller eigenvalue; below it is noise of two grey levels
_CORNER_SHARE: Final = 0.01  # of the picture's best corner, as in goodFeaturesToTrack
_LEAST_CORNERS: Final = 12  # a quarter of the cells: fewer may all lie on one object
_WINDOW: Final = (15, 15)
_LEVELS: Final = 3
_UNTIL: Final = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 10, 0.03)
_TOLERANCE_PX: Final = 1.0
_TRIES: Final = 200
_CONFIDENCE: Final = 0.99
_LEAST_SHARE: Final = 0.2  # of the corners; pairs across a cut reach 0.10, neighbours 0.26
_MOST_ZOOM: Final = 2.0
_MOST_GAIN: Final = 2.0
_CUT_CHANGE: Final = 20.0  # grey levels in the mean; pairs across a cut differ by 28 and more
_THUMBNAIL: Final = (20, 12)  # so coarse that noise and small things that move are averaged away


class CameraFinding(StrEnum):
    """What two pictures say about the camera."""

    MEASURED = "measured"
    CUT = "cut"  # no consistent motion, and another content: a cut, or a jump nobody can follow
    UNKNOWN = "unknown"  # too little to see, or too much that moves


@dataclass(frozen=True, slots=True, eq=False)
class CameraMotion:
    """Where what stands still moved to, from one picture to the next.

    Attributes:
        affine: (2, 3) float64, read-only: a place (x, y) of the earlier picture is at
            `affine @ (x, y, 1)` in the later one. Identity unless it was measured.
        finding: Whether it was.
        side: Length of both sides of a picture in the unit of places; 1: shares of its sides.
    """

    affine: F64
    finding: CameraFinding = CameraFinding.MEASURED
    side: float = 1.0

    def __post_init__(self) -> None:
        self.affine.flags.writeable = False

    @classmethod
    def still(cls, finding: CameraFinding) -> CameraMotion:
        """Return a motion that moves nothing."""
        return cls(np.eye(2, 3), finding)

    @property
    def is_cut(self) -> bool:
        return self.finding is CameraFinding.CUT

    @property
    def zoom(self) -> float:
        """By how much lengths grow."""
        return float(np.sqrt(abs(np.linalg.det(self.affine[:, :2]))))

    def scaled(self, side: float) -> CameraMotion:
        """Return the same motion in a unit in which both sides of the picture are `side` long."""
        affine = self.affine.copy()
        affine[:, 2] *= side / self.side
        return replace(self, affine=affine, side=side)

    def moved(self, x: float, y: float) -> tuple[float, float]:
        """Return where a place of the earlier picture is in the later one."""
        there = self.affine @ (x, y, 1.0)
        return float(there[0]), float(there[1])


def small_grey(image_bgr: NDArray[np.uint8], interpolation: int = cv2.INTER_LINEAR) -> Grey:
    """Return the (h, w) uint8 grey picture in which motion is measured.

    It has the shape of (H, W, 3) `image_bgr`, no side longer than `LONGEST_SIDE_PX`. Bilinear
    sampling reads a quarter of 720p's pixels, which is enough for corners and four times as fast
    as averaging all.
    """
    height, width = image_bgr.shape[:2]
    scale = min(1.0, LONGEST_SIDE_PX / max(height, width))
    size_wh = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(image_bgr, size_wh, interpolation=interpolation)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), np.uint8)


def measure_camera(before: Grey, now: Grey) -> CameraMotion:
    """Return how the camera moved from one small picture to a later one.

    Corners spread over the picture are followed (Lucas-Kanade in a pyramid, as in OpenCV), and
    RANSAC finds the similarity that most of them agree on: shift, roll and zoom. What moves by
    itself is outvoted, unless it fills most of the picture. The pictures may have different
    shapes: places are shares of their sides.
    """
    if before.shape != now.shape:
        before = np.asarray(cv2.resize(before, now.shape[::-1]), np.uint8)
    corners = _corners(before)
    count = len(corners)
    if count >= _LEAST_CORNERS:
        found, status, _ = cv2.calcOpticalFlowPyrLK(
            before,
            _as_bright_as(before, now),
            corners,
            np.zeros_like(corners),
            winSize=_WINDOW,
            maxLevel=_LEVELS,
            criteria=_UNTIL,
        )
        followed = status[:, 0] == 1
        affine = _similarity(corners[followed], found[followed], _LEAST_SHARE * count)
        if affine is not None:
            return CameraMotion(_in_shares(affine, (before.shape[1], before.shape[0])))
    changed = float(np.abs(_thumbnail(now) - _thumbnail(before)).mean())
    return CameraMotion.still(CameraFinding.CUT if changed > _CUT_CHANGE else CameraFinding.UNKNOWN)


def _corners(grey: Grey) -> F32:
    """Return (N, 2) pixels: the best corner of each cell, where it is one."""
    height, width = grey.shape
    cell = max(_SMALLEST_CELL_PX, max(height, width) // _CELLS)
    rows, columns = height // cell, width // cell
    if rows == 0 or columns == 0:
        return np.zeros((0, 2), np.float32)
    strength = cv2.cornerMinEigenVal(grey, _CORNER_SIZE)
    blocks = strength[: rows * cell, : columns * cell].reshape(rows, cell, columns, cell)
    cells = blocks.transpose(0, 2, 1, 3).reshape(rows * columns, cell * cell)
    best = cells.argmax(axis=1)
    quality = cells[np.arange(len(cells)), best]
    row, column = np.divmod(np.arange(len(cells)), columns)
    places = np.stack((column * cell + best % cell, row * cell + best // cell), axis=1)
    good = quality > max(_CORNER_FLOOR, _CORNER_SHARE * float(quality.max()))
    return np.asarray(places[good], np.float32)


def _similarity(before: F32, now: F32, least: float) -> F64 | None:
    """Return the (2, 3) similarity that at least so many points agree on; None: there is none."""
    if len(before) < least:
        return None
    affine, agreeing = cv2.estimateAffinePartial2D(
        before,
        now,
        method=cv2.RANSAC,
        ransacReprojThreshold=_TOLERANCE_PX,
        maxIters=_TRIES,
        confidence=_CONFIDENCE,
    )
    if affine is None or np.count_nonzero(agreeing) < least:
        return None
    zoom = float(np.hypot(affine[0, 0], affine[1, 0]))
    if not 1 / _MOST_ZOOM < zoom < _MOST_ZOOM:
        return None
    return np.asarray(affine, np.float64)


def _in_shares(affine: F64, size_wh: tuple[int, int]) -> F64:
    """Turn an affine on pixels, whose first has its middle at 0, into one on shares."""
    size = np.array(size_wh, np.float64)
    linear = affine[:, :2] * size[None] / size[:, None]
    middle = (affine[:, :2] @ (-0.5, -0.5) + affine[:, 2] + 0.5) / size
    return np.concatenate((linear, middle[:, None]), axis=1)


def _as_bright_as(before: Grey, now: Grey) -> Grey:
    """Return the later picture with the earlier one's brightness and contrast: a lamp, or a
    camera's exposure, is no motion and no cut."""
    (mean, spread), (mean_now, spread_now) = (_brightness(grey) for grey in (before, now))
    gain = min(max(spread / max(spread_now, 1.0), 1 / _MOST_GAIN), _MOST_GAIN)
    table = np.clip((np.arange(256) - mean_now) * gain + mean, 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(now, table), np.uint8)


def _brightness(grey: Grey) -> tuple[float, float]:
    mean, spread = cv2.meanStdDev(grey)
    return float(mean[0, 0]), float(spread[0, 0])


def _thumbnail(grey: Grey) -> F32:
    return np.asarray(cv2.resize(grey, _THUMBNAIL, interpolation=cv2.INTER_AREA), np.float32)
