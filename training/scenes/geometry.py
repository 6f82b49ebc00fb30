"""Outlines in a shape's own unit coordinates (about -1..1, y pointing down)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float32]
Matrix = NDArray[np.float64]


def ellipse(x: float, y: float, rx: float, ry: float, angle: float = 0.0) -> Points:
    """Returns an ellipse's outline, (28, 2); `angle` in radians."""
    turn = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    px, py = rx * np.cos(turn), ry * np.sin(turn)
    c, s = np.cos(angle), np.sin(angle)
    return np.stack([x + c * px - s * py, y + s * px + c * py], 1).astype(np.float32)


def capsule(start: tuple[float, float], end: tuple[float, float], r0: float, r1: float) -> Points:
    """Returns a tapered limb's outline, (20, 2), with round ends of radius r0 and r1."""
    heading = np.arctan2(end[1] - start[1], end[0] - start[0])
    turn = np.linspace(-np.pi / 2, np.pi / 2, 10)
    far = np.stack([np.cos(heading + turn), np.sin(heading + turn)], 1) * r1 + np.array(end)
    near = np.stack([np.cos(heading + np.pi + turn), np.sin(heading + np.pi + turn)], 1)
    return np.concatenate([far, near * r0 + np.array(start)]).astype(np.float32)


def ribbon(spine: Points, widths: NDArray[np.float32]) -> Points:
    """Returns the outline, (2N, 2), of a band of (N,) half-widths along an (N, 2) spine."""
    along = np.gradient(spine, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-6)
    side = np.stack([-along[:, 1], along[:, 0]], 1) * widths[:, None]
    return np.concatenate([spine + side, (spine - side)[::-1]]).astype(np.float32)


def rounded_box(x0: float, y0: float, x1: float, y1: float, radius: float) -> Points:
    """Returns a box's outline with rounded corners, (24, 2)."""
    turn = np.linspace(0, np.pi / 2, 6)
    corners = [(x1, y1, 0.0), (x0, y1, 0.5), (x0, y0, 1.0), (x1, y0, 1.5)]
    pieces = []
    for x, y, quarter in corners:
        cx = x - radius * np.sign(x - (x0 + x1) / 2)
        cy = y - radius * np.sign(y - (y0 + y1) / 2)
        angle = turn + quarter * np.pi
        pieces.append(np.stack([cx + radius * np.cos(angle), cy + radius * np.sin(angle)], 1))
    return np.concatenate(pieces).astype(np.float32)


def fourier_blob(rng: np.random.Generator, roughness: float, harmonics: int) -> Points:
    """Returns a closed smooth random outline, (72, 2), of radius about 1."""
    turn = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    radius = np.ones(72)
    for k in range(1, harmonics + 1):
        amplitude = rng.normal(0, roughness / k**0.9)
        radius += amplitude * np.cos(k * turn + rng.uniform(0, 2 * np.pi))
    radius = np.maximum(radius, 0.15)
    return np.stack([radius * np.cos(turn), radius * np.sin(turn)], 1).astype(np.float32)


def irregular_polygon(rng: np.random.Generator, corners: int) -> Points:
    """Returns a polygon of unequal corner angles and radii, (corners, 2)."""
    turn = np.cumsum(rng.uniform(0.4, 1.6, corners))
    turn = turn / turn[-1] * 2 * np.pi
    radius = rng.uniform(0.55, 1.1, corners)
    return np.stack([radius * np.cos(turn), radius * np.sin(turn)], 1).astype(np.float32)


def outlines(mask: NDArray[np.uint8], keep: int) -> list[Points]:
    """Returns the `keep` largest outlines (holes included) of a mask, in pixels."""
    found, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_TC89_L1)
    ordered = sorted(found, key=cv2.contourArea, reverse=True)[:keep]
    return [c[:, 0].astype(np.float32) for c in ordered if len(c) >= 4]


def move(points: Points, scale: float, x: float, y: float) -> Points:
    """Returns the outline scaled about the origin, then shifted."""
    return (points * np.float32(scale) + np.array([x, y], np.float32)).astype(np.float32)


def transform(points: Points, matrix: Matrix) -> Points:
    """Returns the (N, 2) points under a (3, 3) affine matrix."""
    return (points @ matrix[:2, :2].T + matrix[:2, 2]).astype(np.float32)


def rotation(angle: float, pivot: tuple[float, float]) -> Matrix:
    """Returns the (3, 3) rotation by `angle` radians about a pivot."""
    c, s = np.cos(angle), np.sin(angle)
    x, y = pivot
    return np.array([[c, -s, x - c * x + s * y], [s, c, y - s * x - c * y], [0, 0, 1]])
