"""Closed triangle meshes: turned, extruded and round bodies.

Coordinates: x to the right, y down, z away from the viewer, about -1..1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from training.scenes.geometry import Points

Array = NDArray[np.float32]
Faces = NDArray[np.int32]


@dataclass(frozen=True)
class Mesh:
    """A closed surface of triangles.

    Attributes:
        points: (V, 3).
        normals: (V, 3) of unit length, pointing outwards.
        uv: (V, 2) place in the texture, 0..1.
        faces: (F, 3) indices of points; all wound the same way round seen from outside.
    """

    points: Array
    normals: Array
    uv: Array
    faces: Faces


def _mesh(points: Array, uv: Array, faces: Faces) -> Mesh:
    """Adds normals, and turns the faces of a mesh that is inside out."""
    corners = points[faces]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    if float((corners[:, 0] * across).sum()) < 0:  # six times the enclosed volume
        faces, across = np.ascontiguousarray(faces[:, ::-1]), -across
    normals = np.zeros_like(points)
    for corner in range(3):
        np.add.at(normals, faces[:, corner], across)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    return Mesh(points.astype(np.float32), normals.astype(np.float32), uv, faces)


def _grid_faces(rows: int, columns: int) -> Faces:
    """Returns the triangles of a (rows, columns) grid of points."""
    index = np.arange(rows * columns, dtype=np.int32).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    first, second = np.stack([a, b, c], -1), np.stack([a, c, d], -1)
    return np.concatenate([first.reshape(-1, 3), second.reshape(-1, 3)])


def lathe(profile: Points, sides: int) -> Mesh:
    """Turns a profile of (radius, y) rows, (N, 2), about the y axis.

    The profile is closed: it begins and ends on the axis or at one and the same point. The
    texture is laid round it and back, so that it has no seam.
    """
    turn = np.linspace(0, 2 * np.pi, sides + 1)
    radius, y = profile[:, 0], profile[:, 1]
    x, z = radius[:, None] * np.cos(turn), radius[:, None] * np.sin(turn)
    points = np.stack([x, np.repeat(y[:, None], sides + 1, 1), z], -1).reshape(-1, 3)
    steps = np.linalg.norm(np.diff(profile, axis=0), axis=1)
    along = np.append(0, np.cumsum(steps)) / max(float(steps.sum()), 1e-6)
    around = 1 - np.abs(np.linspace(-1, 1, sides + 1))
    uv = np.stack(np.broadcast_arrays(around[None, :], along[:, None]), -1).reshape(-1, 2)
    mesh = _mesh(
        points.astype(np.float32), uv.astype(np.float32), _grid_faces(len(profile), sides + 1)
    )
    normals = mesh.normals.reshape(len(profile), sides + 1, 3).copy()
    seam = normals[:, 0] + normals[:, -1]
    seam /= np.maximum(np.linalg.norm(seam, axis=1, keepdims=True), 1e-9)
    normals[:, 0] = normals[:, -1] = seam
    return replace(mesh, normals=normals.reshape(-1, 3))


def extrude(outline: Points, depth: float) -> Mesh:
    """Gives an outline, (N, 2) and star-shaped about its middle, a thickness along z."""
    count = len(outline)
    low, high = outline.min(0), outline.max(0)
    flat_uv = ((outline - low) / np.maximum(high - low, 1e-6)).astype(np.float32)
    ring = np.arange(count, dtype=np.int32)
    after = (ring + 1) % count
    middle = outline.mean(0)
    points: list[Array] = []
    uv: list[Array] = []
    faces: list[Faces] = []
    for level, step in ((-depth / 2, 1), (depth / 2, -1)):
        first = sum(len(p) for p in points)
        cap = np.column_stack([np.vstack([outline, middle]), np.full(count + 1, level)])
        fan = np.column_stack([ring, after, np.full(count, count, np.int32)])[:, ::step]
        points.append(cap.astype(np.float32))
        uv.append(np.vstack([flat_uv, [[0.5, 0.5]]]).astype(np.float32))
        faces.append((fan + first).astype(np.int32))
    # each side has points of its own: its edges are sharp
    first = sum(len(p) for p in points)
    edge = np.stack([outline, outline[after], outline[after], outline], 1).reshape(-1, 2)
    z = np.tile([-depth / 2, -depth / 2, depth / 2, depth / 2], count)
    points.append(np.column_stack([edge, z]).astype(np.float32))
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    uv.append(np.tile(square, (count, 1)))
    quad = first + 4 * ring[:, None]
    sides = np.concatenate([quad + np.array([1, 0, 3]), quad + np.array([1, 3, 2])])
    faces.append(sides.astype(np.int32))
    return _mesh(np.concatenate(points), np.concatenate(uv), np.concatenate(faces))


def placed(mesh: Mesh, scale: tuple[float, float, float], turn: Array, to: Array) -> Mesh:
    """Returns the mesh scaled along its axes, turned by a (3, 3) rotation and moved."""
    factors = np.array(scale, np.float32)
    normals = (mesh.normals / factors) @ turn.T
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    points = (mesh.points * factors) @ turn.T + to
    return replace(mesh, points=points.astype(np.float32), normals=normals.astype(np.float32))


def rotation3(yaw: float, pitch: float, roll: float) -> Array:
    """Returns the (3, 3) rotation about y, then about x, then about z; radians."""
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    cr, sr = np.cos(roll), np.sin(roll)
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return np.asarray(about_z @ about_x @ about_y, np.float32)


def round_profile(r0: float, r1: float, length: float) -> Points:
    """Returns the profile of a tapered body of two round ends, `length` apart; y from 0."""
    turn = np.linspace(0, np.pi / 2, 4)
    top = np.stack([r0 * np.sin(turn), -r0 * np.cos(turn)], 1)
    bottom = np.stack([r1 * np.cos(turn), length + r1 * np.sin(turn)], 1)
    return np.concatenate([top, bottom]).astype(np.float32)


def limb(start: tuple[float, ...], end: tuple[float, ...], r0: float, r1: float) -> Mesh:
    """Returns a round limb between two places, of radius r0 and r1 there."""
    span = np.array(end, np.float32) - np.array(start, np.float32)
    length = max(float(np.linalg.norm(span)), 1e-4)
    down = span / length
    helper = np.array([0, 0, 1.0] if abs(down[2]) < 0.9 else [1.0, 0, 0])
    side = np.cross(down, helper)
    side /= np.linalg.norm(side)
    turn = np.stack([side, down, np.cross(side, down)], 1).astype(np.float32)
    points = _LIMB.points.copy()
    half = len(points) // 2
    points[half:, 1] -= 1
    points[:half] *= np.float32(r0)
    points[half:] *= np.float32(r1)
    points[half:, 1] += np.float32(length)
    mesh = replace(_LIMB, points=points)
    return placed(mesh, (1, 1, 1), turn, np.array(start, np.float32))


def ball(rows: int = 9, sides: int = 14) -> Mesh:
    """Returns a sphere of radius 1."""
    turn = np.linspace(0, np.pi, rows)
    return lathe(np.stack([np.sin(turn), -np.cos(turn)], 1).astype(np.float32), sides)


def lumpy(rng: np.random.Generator, roughness: float) -> Mesh:
    """Returns a ball with smooth random lumps, like a stone, a fruit or a cushion."""
    mesh = ball(13, 20)
    height = np.ones(len(mesh.points), np.float32)
    for _ in range(6):
        wave = rng.normal(0, 1.6, 3)
        height += np.float32(rng.normal(0, roughness)) * np.sin(
            (mesh.points @ wave + rng.uniform(0, 6.28)).astype(np.float32)
        )
    points = mesh.points * np.maximum(height, 0.3)[:, None]
    bumpy = _mesh(points.astype(np.float32), mesh.uv, mesh.faces)
    normals = bumpy.normals.reshape(13, 21, 3).copy()
    seam = normals[:, 0] + normals[:, -1]
    normals[:, 0] = normals[:, -1] = seam / np.maximum(
        np.linalg.norm(seam, axis=1, keepdims=True), 1e-9
    )
    return replace(bumpy, normals=normals.reshape(-1, 3))


_LIMB = lathe(round_profile(1, 1, 1), 8)
"""What every limb is stretched from: two round ends of radius 1."""
