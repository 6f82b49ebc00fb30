"""Paths of the camera and of the objects through a clip.

World units: the picture is one unit high, `1 / squeeze` wide, with its middle at the
origin; the picture is squeezed horizontally into a square.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Track = NDArray[np.float64]


@dataclass(frozen=True)
class Path:
    """An object's motion; all arrays have one entry per frame.

    Attributes:
        position: (T, 2) in world units.
        angle: (T,) radians.
        scale: (T,) factor of its size.
        cycle: (T,) moment of its motion cycle.
        fixed_to_camera: it does not move with the background.
    """

    position: Track
    angle: Track
    scale: Track
    cycle: Track
    fixed_to_camera: bool


def projection(size: float, squeeze: float, margin: float = 1.0) -> Matrix:
    """Returns the (3, 3) map from world units to a `size` picture of a wider view."""
    zoom = size / margin
    return np.array([[zoom * squeeze, 0, size / 2], [0, zoom, size / 2], [0, 0, 1.0]])


def similarity(x: float, y: float, angle: float, sx: float, sy: float) -> Matrix:
    """Returns scaling by (sx, sy), then rotation, then a shift, as a (3, 3) matrix."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c * sx, -s * sy, x], [s * sx, c * sy, y], [0, 0, 1.0]])


def camera_path(rng: np.random.Generator, frames: int) -> list[Matrix]:
    """Returns the camera's (3, 3) world transform of each frame: pan, zoom, roll, shake."""
    time = np.arange(frames)
    if rng.random() < 0.25:
        return [np.eye(3)] * frames
    speed = rng.normal(0, 1, 2) * rng.choice([0.004, 0.012, 0.03])
    zoom = rng.normal(0, 0.012) * (rng.random() < 0.5)
    roll = rng.normal(0, 0.012) * (rng.random() < 0.4)
    shake = rng.choice([0.0, 0.002, 0.008])
    wobble = rng.normal(0, shake, (frames, 2))
    phase = time - frames * rng.uniform(0, 0.6)
    shift = speed * phase[:, None] + wobble
    return [
        similarity(
            float(shift[i, 0]), float(shift[i, 1]), roll * p, np.exp(zoom * p), np.exp(zoom * p)
        )
        for i, p in enumerate(phase.tolist())
    ]


def object_path(
    rng: np.random.Generator,
    frames: int,
    squeeze: float,
    upright: bool,
    meet: NDArray[np.float64] | None,
) -> Path:
    """Draws one object's motion.

    Args:
        squeeze: horizontal squeeze of the picture.
        upright: it rotates little (figures and vehicles).
        meet: (2,) world position that it crosses in mid-clip, or None.
    """
    time = np.arange(frames, dtype=np.float64)
    spread = np.array([0.36 / squeeze, 0.34])
    start = rng.uniform(-spread, spread)
    pace = float(rng.choice([0.0, 0.008, 0.02, 0.05, 0.11], p=[0.1, 0.3, 0.3, 0.2, 0.1]))
    heading = rng.uniform(0, 2 * np.pi)
    velocity = np.array([np.cos(heading) / squeeze, 0.6 * np.sin(heading)]) * pace
    if meet is not None:
        velocity *= 1.5
        start = meet - velocity * frames / 2 + rng.normal(0, 0.03, 2)
    acceleration = rng.normal(0, 0.15, 2) * pace
    position = start + velocity * time[:, None] + acceleration * time[:, None] ** 2 / 2
    if rng.random() < 0.5:
        bounce = rng.uniform(0, 0.04) * np.abs(np.sin(time * rng.uniform(0.3, 1.2)))
        position[:, 1] -= bounce
    style = rng.random()
    if style < 0.1:  # leaves the picture and comes back
        far = np.sign(rng.normal()) * rng.uniform(0.6, 0.9) / squeeze
        away = np.sin(np.pi * np.clip(time / max(frames - 1, 1) * 1.15, 0, 1))
        position[:, 0] = start[0] + (far - start[0]) * away
    elif style < 0.5:  # turns back at the picture's edge
        limit = 0.45 / squeeze
        position[:, 0] = limit - np.abs((position[:, 0] + limit) % (4 * limit) - 2 * limit)
    turn = rng.normal(0, 0.02 if upright else 0.09) * (rng.random() < 0.7)
    base = rng.normal(0, 0.12) if upright else rng.uniform(0, 2 * np.pi)
    growth = rng.normal(0, 0.02) if rng.random() < 0.75 else rng.choice([-0.09, 0.09])
    cadence = rng.uniform(0.02, 0.16)
    return Path(
        position,
        base + turn * time + rng.normal(0, 0.1) * np.sin(0.6 * time),
        np.exp(growth * time),
        rng.random() + cadence * time,
        bool(rng.random() < 0.35),
    )
