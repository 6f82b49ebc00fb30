"""Draws solids: painter's order, textures, light, and the exact outline."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from training.scenes.geometry import Matrix, transform
from training.scenes.meshes import Array, Faces, rotation3
from training.scenes.render import Image, Layer, finish, window_of
from training.scenes.solids import Solid, posed


@dataclass(frozen=True)
class Material:
    """How a solid reflects light.

    Attributes:
        light: (3,) unit vector towards the light.
        ambient: brightness of what the light does not reach, 0..1.
        gloss, shine: strength of the highlight, 0..1, and its exponent.
    """

    light: Array
    ambient: float
    gloss: float
    shine: float


@dataclass(frozen=True)
class SolidSprite:
    """A solid with its looks.

    Attributes:
        solid: its pieces.
        textures: one square picture for each texture group, all of one size.
        labels: as for `training.scenes.render.Sprite`.
        softness: standard deviation of the edge's blur in pixels.
        material: how it answers to light.
        turn: yaw at the start, its change per motion cycle, and pitch; radians.
        perspective: how much nearer parts are larger, 0..0.4.
    """

    solid: Solid
    textures: tuple[Image, ...]
    labels: Image
    softness: float
    material: Material
    turn: tuple[float, float, float]
    perspective: float
    faces: Faces = field(init=False)
    groups: NDArray[np.uint8] = field(init=False)
    uv: Array = field(init=False)
    atlas: Image = field(init=False)

    def __post_init__(self) -> None:
        """Joins the pieces' surfaces and textures, once for all frames."""
        meshes = [piece.mesh for piece in self.solid.pieces]
        starts = np.cumsum([0, *(len(mesh.points) for mesh in meshes)])
        faces = [m.faces + first for m, first in zip(meshes, starts[:-1].tolist(), strict=True)]
        groups = [np.full(len(p.mesh.faces), p.group, np.uint8) for p in self.solid.pieces]
        side = len(self.textures[0])
        # half a pixel stays free, so that no texture shows at the edge of its neighbour
        uv = [
            p.mesh.uv * np.float32(side - 2) + np.array([1, 1 + p.group * side], np.float32)
            for p in self.solid.pieces
        ]
        for name, value in (
            ("faces", np.concatenate(faces)), ("groups", np.concatenate(groups)),
            ("uv", np.concatenate(uv)), ("atlas", np.concatenate(self.textures)),
        ):  # fmt: skip
            object.__setattr__(self, name, value)

    def area(self) -> float:
        """Returns the area of its first view, in square units."""
        scale = 32.0
        matrix = np.array([[scale, 0, 48], [0, scale, 48], [0, 0, 1]])
        view = _view(self, matrix, 0.0)
        canvas = np.zeros((96, 96), np.uint8)
        for corners in np.round(view.pixels[view.faces]).astype(np.int32):
            cv2.fillConvexPoly(canvas, corners, 255)
        return max(cv2.countNonZero(canvas) / scale**2, 0.02)


@dataclass(frozen=True)
class _View:
    """A solid as seen: pixels (V, 2), light (V, 2) diffuse and highlight, visible faces.

    The faces come from back to front; groups (F,) are theirs.
    """

    pixels: Array
    light: Array
    faces: Faces
    groups: NDArray[np.uint8]


def _view(sprite: SolidSprite, matrix: Matrix, cycle: float) -> _View:
    points, normals = posed(sprite.solid, cycle)
    yaw, spin, pitch = sprite.turn
    turn = rotation3(yaw + spin * cycle, pitch, 0.0).T
    points, normals = points @ turn, normals @ turn
    flat = points[:, :2] / (1 + sprite.perspective * points[:, 2:])
    corners = flat[sprite.faces]
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    facing = np.flatnonzero(first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0] < -1e-7)
    depth = points[:, 2][sprite.faces[facing]].sum(1)
    order = facing[np.argsort(-depth, kind="stable")]
    material = sprite.material
    lit = np.clip(normals @ material.light, 0, None)
    diffuse = material.ambient + (1.25 - material.ambient) * lit
    half = material.light - np.array([0, 0, 1], np.float32)
    half /= max(float(np.linalg.norm(half)), 1e-6)
    glance = material.gloss * np.clip(normals @ half, 0, None) ** material.shine
    light = np.stack([diffuse, glance * 255], 1).astype(np.float32)
    return _View(transform(flat, matrix), light, sprite.faces[order], sprite.groups[order])


def draw_solid(
    sprite: SolidSprite, matrix: Matrix, cycle: float, size: int, velocity: tuple[float, float]
) -> Layer | None:
    """Draws a solid at one moment; arguments and result as `render.draw_sprite`'s."""
    view = _view(sprite, matrix, cycle)
    reach = int(np.hypot(*velocity)) // 2 + 4
    box = window_of(view.pixels, reach, (-reach, -reach, size + reach, size + reach))
    if box is None or not len(view.faces):
        return None
    x, y, width, height = box
    corners = view.pixels[view.faces] - np.array([x, y], np.float32)
    # twice the resolution: the share of covered cells is the edge's coverage
    raster = np.zeros((height * 2, width * 2), np.uint16)
    for number, corner in enumerate(np.round(corners * 32 - 8).astype(np.int32), 1):
        cv2.fillConvexPoly(raster, corner, number, shift=4)
    covered = (raster > 0).view(np.uint8) * np.uint8(255)
    alpha = cv2.resize(covered, (width, height), interpolation=cv2.INTER_AREA)
    upper, lower = raster[::2], raster[1::2]
    numbers = np.maximum(
        np.maximum(upper[:, ::2], upper[:, 1::2]), np.maximum(lower[:, ::2], lower[:, 1::2])
    )
    spread = cv2.dilate(numbers, np.ones((5, 5), np.uint8))
    numbers = np.where(numbers > 0, numbers, spread).astype(np.uint16)
    colour = _shaded(sprite, view, corners, numbers)
    table = np.append(0, view.groups + 1).astype(np.uint8)
    group = np.where(alpha > 0, table[numbers], 0).astype(np.uint8)
    cover = (alpha / np.float32(255)).astype(np.float32)
    return finish(Layer(x, y, colour, cover, group), sprite.softness, velocity)


def _shaded(sprite: SolidSprite, view: _View, corners: Array, numbers: NDArray[np.uint16]) -> Image:
    """Returns the picture of the faces whose numbers, from 1, stand in (H, W)."""
    place = np.concatenate([corners, np.ones((*corners.shape[:2], 1), np.float32)], 2)
    place = place.astype(np.float64)
    thin = np.abs(np.linalg.det(place)) < 1e-3
    place[thin] = np.eye(3)
    values = np.concatenate([sprite.uv, view.light], 1)[view.faces].astype(np.float64)
    ramps = np.linalg.solve(place, values)
    # a thin face is flat: what its equations say is far from what stands at its corners
    ramps[thin, :2], ramps[thin, 2] = 0, values[thin].mean(1)
    low, high = values.min(1), values.max(1)
    rows, columns = np.nonzero(numbers)
    index = numbers[rows, columns].astype(np.intp) - 1
    chosen = ramps.astype(np.float32)[index]
    x, y = columns[:, None] + np.float32(0.5), rows[:, None] + np.float32(0.5)
    at = chosen[:, 0] * x + chosen[:, 1] * y + chosen[:, 2]
    at = np.clip(at, low.astype(np.float32)[index], high.astype(np.float32)[index])
    maps = np.zeros((*numbers.shape, 4), np.float32)
    maps[rows, columns] = at
    u, v, diffuse, glance = cv2.split(maps)
    colour = cv2.remap(sprite.atlas, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    bright = cv2.multiply(colour, cv2.merge([diffuse] * 3), dtype=cv2.CV_32F)
    shaded = bright.astype(np.float32, copy=False)
    if sprite.material.gloss > 0:
        shaded += glance[..., None]
    return np.clip(shaded, 0, 255).astype(np.uint8)


def random_material(rng: np.random.Generator) -> Material:
    """Draws a light from above and how much of it is thrown back."""
    light = np.array([rng.normal(0, 0.7), -rng.uniform(0.2, 1.2), -rng.uniform(0.3, 1.2)])
    light /= np.linalg.norm(light)
    gloss = float(rng.uniform(0.1, 0.8)) if rng.random() < 0.4 else 0.0
    ambient = float(rng.uniform(0.35, 0.85))
    return Material(light.astype(np.float32), ambient, gloss, float(rng.uniform(6, 40)))
