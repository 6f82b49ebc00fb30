"""Constant-velocity box filter on filterpy's functions, without a state of its own.

State: centre x, centre y, width, height and their velocities, as the SAMURAI paper has it
(arXiv 2411.11922, eq. 4; its code has aspect ratio instead of width). Time is in seconds, so a
dropped frame is a longer step and not a slower object. Any unit of length will do: every noise
scales with the box, horizontal ones with its width and vertical ones with its height, so
stretching the axes stretches the answer and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from filterpy.kalman import predict as kalman_predict
from filterpy.kalman import update as kalman_update
from numpy.typing import NDArray

F32: TypeAlias = NDArray[np.float32]
F64: TypeAlias = NDArray[np.float64]

STD_POSITION: Final = 1 / 20  # of the box size, per frame; SAMURAI kalman_filter.py:51 @76ba195
STD_VELOCITY: Final = 1 / 160  # of the box size per frame, per frame; kalman_filter.py:52
REFERENCE_FPS: Final = 30.0  # frame rate at which those two are meant; SAMURAI counts frames
INITIAL_POSITION_FACTOR: Final = 2.0  # kalman_filter.py:75-83
INITIAL_VELOCITY_FACTOR: Final = 10.0  # kalman_filter.py:75-83

_MEASURE: Final = np.eye(4, 8)


@dataclass(frozen=True, slots=True, eq=False)
class BoxState:
    """A box and its velocity, with their uncertainty.

    Attributes:
        mean: (8,) float64: cx, cy, w, h and their velocities per second; read-only.
        cov: (8, 8) float64, symmetric positive definite; read-only.
    """

    mean: F64
    cov: F64

    def __post_init__(self) -> None:
        self.mean.flags.writeable = False
        self.cov.flags.writeable = False

    @property
    def box_xyxy(self) -> F32:
        """(x1, y1, x2, y2); a size that was extrapolated below zero is zero."""
        cx, cy, w, h = self.mean[:4]
        half_w, half_h = max(w, 0.0) / 2, max(h, 0.0) / 2
        return np.array((cx - half_w, cy - half_h, cx + half_w, cy + half_h), np.float32)


def initiate(box_xyxy: F32) -> BoxState:
    """Start at rest on a measured box, (4,) with x1 < x2 and y1 < y2.

    Raises:
        ValueError: The box is degenerate or not finite.
    """
    measured = _measurement(box_xyxy)
    size = _noise_scale(measured)
    std = np.concatenate(
        (
            INITIAL_POSITION_FACTOR * STD_POSITION * size,
            INITIAL_VELOCITY_FACTOR * STD_VELOCITY * REFERENCE_FPS * size,
        )
    )
    return BoxState(np.concatenate((measured, np.zeros(4))), np.diag(std * std))


def predict(state: BoxState, dt_s: float) -> BoxState:
    """Move the box on by `dt_s` seconds and widen its covariance.

    Random steps add up in variance, so the process noise is SAMURAI's per-frame variance times
    the number of reference frames in `dt_s`.

    Raises:
        ValueError: `dt_s` is negative or not finite.
    """
    if not (np.isfinite(dt_s) and dt_s >= 0):
        raise ValueError(f"dt_s: expected a time of 0 s or more, got {dt_s}")
    transition = np.eye(8)
    transition[:4, 4:] = np.eye(4) * dt_s
    size = _noise_scale(state.mean)
    std = np.concatenate((STD_POSITION * size, STD_VELOCITY * REFERENCE_FPS * size))
    process_noise = np.diag(std * std * (dt_s * REFERENCE_FPS))
    mean, cov = kalman_predict(state.mean, state.cov, F=transition, Q=process_noise)
    return BoxState(np.asarray(mean, np.float64), _symmetric(cov))


def update(state: BoxState, box_xyxy: F32) -> BoxState:
    """Correct the prediction for a measurement's time with the measured box, (4,) with x1 < x2
    and y1 < y2.

    Raises:
        ValueError: The box is degenerate or not finite.
    """
    measured = _measurement(box_xyxy)
    std = STD_POSITION * _noise_scale(state.mean)
    mean, cov = kalman_update(state.mean, state.cov, measured, np.diag(std * std), _MEASURE)
    return BoxState(np.asarray(mean, np.float64), _symmetric(cov))


def _measurement(box_xyxy: F32) -> F64:
    x1, y1, x2, y2 = (float(value) for value in box_xyxy)
    if not (np.isfinite((x1, y1, x2, y2)).all() and x1 < x2 and y1 < y2):
        raise ValueError(f"box: expected finite x1 < x2 and y1 < y2, got {[x1, y1, x2, y2]}")
    return np.array(((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1))


def _noise_scale(mean: F64) -> F64:
    """Return (w, h, w, h), at least 1 each: a size near zero must not freeze the filter."""
    w, h = max(float(mean[2]), 1.0), max(float(mean[3]), 1.0)
    return np.array((w, h, w, h))


def _symmetric(cov: NDArray[np.float64]) -> F64:
    """Remove the rounding that would let the two halves drift apart over hours."""
    return np.asarray((cov + cov.T) / 2, np.float64)
