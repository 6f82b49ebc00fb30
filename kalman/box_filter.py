"""Constant-velocity box filter on filterpy's functions, without a state of its own.

A `BoxForm` says what the four numbers of a box are and how uncertain each is; `XYWH` is ours and
the SAMURAI paper's, `XYAH` is that of SAMURAI's code. Time is in seconds, so a dropped frame is a
longer step and not a slower object. Any unit of length will do: every noise scales with the box.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

import numpy as np
from filterpy.kalman import predict as kalman_predict
from filterpy.kalman import update as kalman_update
from numpy.typing import NDArray

from samcam.kalman.camera_motion import CameraMotion

F32: TypeAlias = NDArray[np.float32]
F64: TypeAlias = NDArray[np.float64]

STD_POSITION: Final = 1 / 20  # of the box size, per frame; SAMURAI kalman_filter.py:51 @76ba195
STD_VELOCITY: Final = 1 / 160  # of the box size per frame, per frame; kalman_filter.py:52
STD_ASPECT: Final = 1e-2  # at the start and per frame; kalman_filter.py:78, 109
STD_ASPECT_VELOCITY: Final = 1e-5  # per frame, at the start and per frame; kalman_filter.py:82, 113
STD_MEASURED_ASPECT: Final = 1e-1  # kalman_filter.py:145
REFERENCE_FPS: Final = 30.0  # frame rate at which those are meant; SAMURAI counts frames
INITIAL_POSITION_FACTOR: Final = 2.0  # kalman_filter.py:75-83
INITIAL_VELOCITY_FACTOR: Final = 10.0  # kalman_filter.py:75-83
MAX_COAST_S: Final = 2.0  # ours: a velocity says nothing about a later time

_MEASURE: Final = np.eye(4, 8)


class BoxForm(Protocol):
    """Which four numbers stand for a box, and how uncertain they are; velocities are per second."""

    def measured(self, cx: float, cy: float, w: float, h: float) -> F64:
        """Return the (4,) numbers of a box of positive size."""

    def size(self, mean: F64) -> tuple[float, float]:
        """Return width and height of a state; below zero where they were extrapolated so far."""

    def size_std(self, mean: F64, std: F64) -> tuple[float, float]:
        """Return the standard deviations of width and height, from those of the numbers."""

    def zoomed(self, zoom: float) -> tuple[float, float]:
        """Return the factors of the last two numbers when all lengths grow `zoom` times."""

    def initial_std(self, mean: F64) -> F64:
        """Return the (8,) standard deviations of a box that was just measured, at rest."""

    def process_std(self, mean: F64) -> F64:
        """Return the (8,) standard deviations that one reference frame adds."""

    def measured_std(self, mean: F64) -> F64:
        """Return the (4,) standard deviations of a measured box."""


class _Xywh:
    """Centre, width and height: the SAMURAI paper's state (arXiv 2411.11922, eq. 4).

    Horizontal noise scales with the width and vertical noise with the height, so stretching the
    axes stretches the answer and nothing else.
    """

    def measured(self, cx: float, cy: float, w: float, h: float) -> F64:
        return np.array((cx, cy, w, h))

    def size(self, mean: F64) -> tuple[float, float]:
        return float(mean[2]), float(mean[3])

    def size_std(self, mean: F64, std: F64) -> tuple[float, float]:
        return float(std[2]), float(std[3])

    def zoomed(self, zoom: float) -> tuple[float, float]:
        return zoom, zoom

    def initial_std(self, mean: F64) -> F64:
        size = self._scale(mean)
        return np.concatenate(
            (
                INITIAL_POSITION_FACTOR * STD_POSITION * size,
                INITIAL_VELOCITY_FACTOR * STD_VELOCITY * REFERENCE_FPS * size,
            )
        )

    def process_std(self, mean: F64) -> F64:
        size = self._scale(mean)
        return np.concatenate((STD_POSITION * size, STD_VELOCITY * REFERENCE_FPS * size))

    def measured_std(self, mean: F64) -> F64:
        return STD_POSITION * self._scale(mean)

    def _scale(self, mean: F64) -> F64:
        """Return (w, h, w, h), at least 1 each: a size near zero must not freeze the filter."""
        w, h = max(float(mean[2]), 1.0), max(float(mean[3]), 1.0)
        return np.array((w, h, w, h))


class _Xyah:
    """Centre, aspect ratio w / h and height: the state of SAMURAI's code.

    All lengths are as uncertain as the height is large, the horizontal ones too; the aspect ratio
    has a noise of its own. Source: kalman_filter.py:22-37, 75-83, 106-115, 142-146 @76ba195.
    """

    def measured(self, cx: float, cy: float, w: float, h: float) -> F64:
        return np.array((cx, cy, w / h, h))

    def size(self, mean: F64) -> tuple[float, float]:
        return float(mean[2] * mean[3]), float(mean[3])

    def size_std(self, mean: F64, std: F64) -> tuple[float, float]:
        return float(np.hypot(mean[3] * std[2], mean[2] * std[3])), float(std[3])

    def zoomed(self, zoom: float) -> tuple[float, float]:
        return 1.0, zoom

    def initial_std(self, mean: F64) -> F64:
        position = INITIAL_POSITION_FACTOR * STD_POSITION * self._height(mean)
        velocity = INITIAL_VELOCITY_FACTOR * STD_VELOCITY * self._height(mean)
        return self._std(position, velocity)

    def process_std(self, mean: F64) -> F64:
        return self._std(STD_POSITION * self._height(mean), STD_VELOCITY * self._height(mean))

    def measured_std(self, mean: F64) -> F64:
        position = STD_POSITION * self._height(mean)
        return np.array((position, position, STD_MEASURED_ASPECT, position))

    def _std(self, position: float, velocity: float) -> F64:
        per_frame = np.array((velocity, velocity, STD_ASPECT_VELOCITY, velocity))
        return np.concatenate(
            ((position, position, STD_ASPECT, position), per_frame * REFERENCE_FPS)
        )

    def _height(self, mean: F64) -> float:
        return max(float(mean[3]), 1.0)  # as above


XYWH: Final[BoxForm] = _Xywh()
XYAH: Final[BoxForm] = _Xyah()


@dataclass(frozen=True, slots=True, eq=False)
class BoxState:
    """A box and its velocity, with their uncertainty.

    Attributes:
        mean: (8,) float64: the four numbers of the form, for `XYWH` cx, cy, w, h, and their
            velocities per second; read-only.
        cov: (8, 8) float64, symmetric positive definite; read-only.
        form: What the numbers are.
    """

    mean: F64
    cov: F64
    form: BoxForm = XYWH

    def __post_init__(self) -> None:
        self.mean.flags.writeable = False
        self.cov.flags.writeable = False

    @property
    def box_xyxy(self) -> F32:
        """(x1, y1, x2, y2); a size that was extrapolated below zero is zero."""
        cx, cy = self.mean[:2]
        w, h = self.form.size(self.mean)
        half_w, half_h = max(w, 0.0) / 2, max(h, 0.0) / 2
        return np.array((cx - half_w, cy - half_h, cx + half_w, cy + half_h), np.float32)

    @property
    def doubt(self) -> F32:
        """(4,) by how much cx, cy, w and h are less certain than those of a box just measured:
        the difference of the standard deviations, 0 or more."""
        std = np.sqrt(np.diag(self.cov))
        sides = self.form.size(self.mean)
        usual = INITIAL_POSITION_FACTOR * STD_POSITION * np.tile(np.maximum(sides, 1.0), 2)
        spread = np.array((*std[:2], *self.form.size_std(self.mean, std)))
        return np.maximum(spread - usual, 0).astype(np.float32)


def initiate(box_xyxy: F32, form: BoxForm = XYWH) -> BoxState:
    """Start at rest on a measured box, (4,) with x1 < x2 and y1 < y2.

    Raises:
        ValueError: The box is degenerate or not finite.
    """
    mean = np.concatenate((_measurement(box_xyxy, form), np.zeros(4)))
    std = form.initial_std(mean)
    return BoxState(mean, np.diag(std * std), form)


def predict(state: BoxState, dt_s: float) -> BoxState:
    """Move the box on by `dt_s` seconds and widen its covariance.

    The noise is what SAMURAI's per-frame noise adds up to over the reference frames in `dt_s`,
    however the time is cut into steps: so many dropped frames, so much more uncertainty. After
    `MAX_COAST_S` only that grows; the box goes no further.

    Raises:
        ValueError: `dt_s` is negative or not finite.
    """
    if not (np.isfinite(dt_s) and dt_s >= 0):
        raise ValueError(f"dt_s: expected a time of 0 s or more, got {dt_s}")
    mean, cov = kalman_predict(
        state.mean, state.cov, F=_transition(dt_s), Q=_process_noise(state, dt_s)
    )
    if dt_s > MAX_COAST_S:
        mean = _transition(MAX_COAST_S) @ state.mean
    return BoxState(np.asarray(mean, np.float64), _symmetric(cov), state.form)


def move_camera(state: BoxState, camera: CameraMotion) -> BoxState:
    """Take the camera's motion out: return the state as the picture after the motion has it.

    The centre and its velocity turn and shift with the picture, sizes grow with it. (A box that
    turns keeps its sides: what fills it is not known.) After a cut the box may be anywhere, about
    as large as it was, and has no velocity. `camera` is in the box's unit.
    """
    if camera.is_cut:
        mean = np.concatenate((state.mean[:4], np.zeros(4)))
        anywhere = np.concatenate(((camera.side, camera.side), state.mean[2:4], np.zeros(4)))
        std = state.form.initial_std(mean)
        return BoxState(mean, np.diag(std * std + anywhere * anywhere), state.form)
    turn = np.eye(4)
    turn[:2, :2] = camera.affine[:, :2]
    turn[2, 2], turn[3, 3] = state.form.zoomed(camera.zoom)
    both = np.kron(np.eye(2), turn)
    mean = both @ state.mean
    mean[:2] += camera.affine[:, 2]
    return BoxState(mean, _symmetric(both @ state.cov @ both.T), state.form)


def update(state: BoxState, box_xyxy: F32) -> BoxState:
    """Correct the prediction for a measurement's time with the measured box, (4,) with x1 < x2
    and y1 < y2.

    Raises:
        ValueError: The box is degenerate or not finite.
    """
    measured = _measurement(box_xyxy, state.form)
    std = state.form.measured_std(state.mean)
    mean, cov = kalman_update(state.mean, state.cov, measured, np.diag(std * std), _MEASURE)
    return BoxState(np.asarray(mean, np.float64), _symmetric(cov), state.form)


def _measurement(box_xyxy: F32, form: BoxForm) -> F64:
    x1, y1, x2, y2 = (float(value) for value in box_xyxy)
    if not (np.isfinite((x1, y1, x2, y2)).all() and x1 < x2 and y1 < y2):
        raise ValueError(f"box: expected finite x1 < x2 and y1 < y2, got {[x1, y1, x2, y2]}")
    return form.measured((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1)


def _transition(dt_s: float) -> F64:
    transition = np.eye(8)
    transition[:4, 4:] = np.eye(4) * dt_s
    return transition


def _process_noise(state: BoxState, dt_s: float) -> F64:
    """Return the noise of n = dt_s * REFERENCE_FPS frames: of n steps of one frame, each of which
    adds p² to a place and v² to a velocity.

    A velocity's noise of k frames ago has moved the place k times by then, so n steps add up to
    n p² + v² (0² + ... + (n - 1)²) for the place, n v² for the velocity and v² (0 + ... + (n - 1))
    for both together. The sums are polynomials, which hold for any n.
    """
    n = dt_s * REFERENCE_FPS
    std = state.form.process_std(state.mean)
    variance = std * std
    drift = variance[4:] / REFERENCE_FPS**2
    noise = np.diag(variance * n)
    together = drift * REFERENCE_FPS * (n * (n - 1) / 2)
    noise[:4, :4] += np.diag(drift * (n * (n - 1) * (2 * n - 1) / 6))
    noise[:4, 4:] = noise[4:, :4] = np.diag(together)
    return noise


def _symmetric(cov: NDArray[np.float64]) -> F64:
    """Remove the rounding that would let the two halves drift apart over hours."""
    return np.asarray((cov + cov.T) / 2, np.float64)
