"""Shapes: one or several parts that hang together and may swing about joints.

No gear, no star and no dotted card is drawn here: those belong to the demo scenes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from training.scenes import figures
from training.scenes.figures import Part
from training.scenes.footage import Footage
from training.scenes.geometry import (
    Matrix,
    Points,
    capsule,
    ellipse,
    fourier_blob,
    irregular_polygon,
    outlines,
    ribbon,
    rotation,
    rounded_box,
    transform,
)
from training.scenes.textures import octaves, smooth_noise

SHAPE_KINDS: tuple[str, ...] = (
    "blob",
    "concave_blob",
    "polygon",
    "box",
    "ball",
    "noise_blob",
    "segment",
    "union",
    "ring",
    "thin",
    "snake",
    "person",
    "rider",
    "quadruped",
    "bird",
    "fish",
    "vehicle",
)

_WEIGHTS = np.array([7, 6, 5, 4, 6, 5, 14, 6, 3, 3, 3, 12, 8, 12, 4, 3, 7], dtype=np.float64)


@dataclass(frozen=True)
class Shape:
    """A drawable shape.

    Attributes:
        kind: one of SHAPE_KINDS.
        parts: in an order where parents come before their children.
        elastic: amplitude of the elastic deformation in unit coordinates.
        texture: (H, W, 3) uint8 picture over the unit square, for shapes cut from
            footage; otherwise None.
    """

    kind: str
    parts: tuple[Part, ...]
    elastic: float
    texture: NDArray[np.uint8] | None = None

    @property
    def groups(self) -> int:
        return 1 + max(part.group for part in self.parts)

    def poses(self, cycle: float) -> list[Matrix]:
        """Returns every part's (3, 3) transform at a moment of the motion cycle."""
        found: list[Matrix] = []
        for part in self.parts:
            angle = part.rest + part.swing * np.sin(2 * np.pi * (cycle + part.phase))
            own = rotation(float(angle), part.pivot)
            found.append(found[part.parent] @ own if part.parent >= 0 else own)
        return found

    def area(self) -> float:
        """Returns the area at rest, in square units (the unit square has 4)."""
        canvas = np.zeros((96, 96), np.uint8)
        for part, pose in zip(self.parts, self.poses(0.0), strict=True):
            pixels = [
                np.round((transform(c, pose) + 1.5) * 32).astype(np.int32) for c in part.contours
            ]
            layer = np.zeros_like(canvas)
            cv2.fillPoly(layer, pixels, 255)
            canvas |= layer
        return max(cv2.countNonZero(canvas) / 32.0**2, 0.02)


def random_kind(rng: np.random.Generator) -> str:
    return str(rng.choice(SHAPE_KINDS, p=_WEIGHTS / _WEIGHTS.sum()))


def build_shape(rng: np.random.Generator, kind: str, footage: Footage | None) -> Shape:
    """Builds a random shape of a kind; "segment" becomes "noise_blob" without footage."""
    if kind == "segment":
        cut = _segment(rng, footage) if footage is not None else None
        if cut is not None:
            return cut
        kind = "noise_blob"
    parts = _BUILDERS[kind](rng)
    soft = kind in ("blob", "concave_blob", "noise_blob", "union", "snake", "fish", "thin")
    elastic = rng.uniform(0.0, 0.14) if soft and rng.random() < 0.7 else 0.0
    return Shape(kind, tuple(parts), float(elastic))


def _stretch(rng: np.random.Generator, outline: Points, low: float) -> Points:
    """Scales an outline to radius 1 and squashes it along a random axis."""
    outline = outline - outline.mean(0)
    outline = outline / np.float32(np.abs(outline).max())
    factor = np.array([1.0, rng.uniform(low, 1.0)], np.float32)
    return (outline * (factor if rng.random() < 0.5 else factor[::-1])).astype(np.float32)


def _blob(rng: np.random.Generator) -> list[Part]:
    return [Part((_stretch(rng, fourier_blob(rng, 0.18, 5), 0.4),), 0)]


def _concave_blob(rng: np.random.Generator) -> list[Part]:
    body = Part((_stretch(rng, fourier_blob(rng, 0.5, 8), 0.5),), 0)
    if rng.random() < 0.4:
        inner = fourier_blob(rng, 0.2, 4) * np.float32(rng.uniform(0.15, 0.35))
        return [body, Part((inner,), 1, depth=1)]
    return [body]


def _polygon(rng: np.random.Generator) -> list[Part]:
    outline = irregular_polygon(rng, int(rng.integers(3, 9)))
    return [Part((_stretch(rng, outline, 0.4),), 0)]


def _box(rng: np.random.Generator) -> list[Part]:
    height = rng.uniform(0.2, 1.0)
    radius = rng.uniform(0.02, 0.3) * height
    parts = [Part((rounded_box(-1, -height, 1, height, radius),), 0)]
    if rng.random() < 0.5:  # a lid, a label or a screen
        x0, y0 = rng.uniform(-0.9, 0), rng.uniform(-0.9, 0) * height
        inner = rounded_box(x0, y0, rng.uniform(0.1, 0.9), height * rng.uniform(0.1, 0.9), 0.03)
        parts.append(Part((inner,), 1, depth=1))
    return parts


def _ball(rng: np.random.Generator) -> list[Part]:
    squash = rng.choice([1.0, rng.uniform(0.4, 1.0)])
    return [Part((ellipse(0, 0, 1, squash),), 0)]


def _noise_blob(rng: np.random.Generator) -> list[Part]:
    size = 64
    plane = octaves(rng, size, rng.uniform(2, 5), rng.uniform(0.3, 0.8))
    line = np.linspace(-1, 1, size, dtype=np.float32)
    plane -= 0.9 * (line[None, :] ** 2 + line[:, None] ** 2)
    level = np.quantile(plane, rng.uniform(0.6, 0.85))
    mask = (plane > level).astype(np.uint8)
    mask[[0, -1]] = mask[:, [0, -1]] = 0
    found = outlines(mask, int(rng.integers(1, 5)))
    if not found:
        return _blob(rng)
    return [Part(tuple((c / 32 - 1).astype(np.float32) for c in found), 0)]


def _union(rng: np.random.Generator) -> list[Part]:
    parts: list[Part] = []
    one_texture = rng.random() < 0.4
    for index in range(int(rng.integers(2, 5))):
        x, y = rng.uniform(-0.5, 0.5, 2) if index else (0.0, 0.0)
        kind = rng.integers(3)
        angle = rng.uniform(0, np.pi)
        if kind == 0:
            outline = ellipse(0, 0, rng.uniform(0.2, 0.6), rng.uniform(0.2, 0.6), angle)
        elif kind == 1:
            outline = rounded_box(-rng.uniform(0.2, 0.6), -0.3, 0.4, rng.uniform(0.1, 0.5), 0.05)
        else:
            outline = capsule((0, 0), (np.cos(angle) * 0.6, np.sin(angle) * 0.6), 0.22, 0.15)
        outline = (outline + np.array([x, y])).astype(np.float32)
        swing = rng.uniform(0, 0.3) if index else 0.0
        group = 0 if one_texture else index
        parent = 0 if index else -1
        parts.append(
            Part((outline,), group, parent, (float(x), float(y)), 0, swing, rng.random(), index)
        )
    return parts


def _ring(rng: np.random.Generator) -> list[Part]:
    outer = _stretch(rng, fourier_blob(rng, rng.choice([0.0, 0.15]), 4), 0.5)
    inner = outer * np.float32(rng.uniform(0.4, 0.85))
    if rng.random() < 0.4:  # a handle beside a body, as on a cup
        body = rounded_box(-0.9, -0.8, 0.4, 0.8, 0.1)
        loop = ellipse(0.5, 0, 0.4, 0.5)
        hole = ellipse(0.5, 0, 0.25, 0.35)
        return [Part((loop, hole), 0), Part((body,), 0, depth=1)]
    return [Part((outer, inner), 0)]


def _thin(rng: np.random.Generator) -> list[Part]:
    bend = rng.normal(0, 0.2)
    x = np.linspace(-1, 1, 16, dtype=np.float32)
    spine = np.stack([x, bend * (x**2 - 0.5)], 1).astype(np.float32)
    widths = np.full(16, rng.uniform(0.025, 0.1), np.float32)
    parts = [Part((ribbon(spine, widths),), 0)]
    if rng.random() < 0.5:  # a racket, a lamp, a sign or a brush at one end
        outline = ellipse(0.9, bend * 0.4, rng.uniform(0.12, 0.4), rng.uniform(0.1, 0.3))
        parts.append(Part((outline,), int(rng.integers(2)), depth=1))
    return parts


def _snake(rng: np.random.Generator) -> list[Part]:
    t = np.linspace(0, 1, 40, dtype=np.float32)
    wave = rng.uniform(0.1, 0.35) * np.sin(2 * np.pi * (rng.uniform(0.5, 2.2) * t + rng.random()))
    spine = np.stack([2 * t - 1, wave], 1).astype(np.float32)
    width = rng.uniform(0.06, 0.2) * np.sqrt(np.clip(1.05 - t ** rng.uniform(1, 4), 0.01, 1))
    return [Part((ribbon(spine, width.astype(np.float32)),), 0)]


def _segment(rng: np.random.Generator, footage: Footage | None) -> Shape | None:
    """Cuts a region of similar colour, with its own texture, out of footage."""
    if footage is None:
        return None
    picture = footage.crop(rng, 160)
    smooth = cv2.medianBlur(picture, 5)
    for _ in range(4):
        x, y = (int(v) for v in rng.integers(25, 135, 2))
        mask = np.zeros((162, 162), np.uint8)
        tolerance = (float(rng.uniform(2, 9)),) * 3
        cv2.floodFill(smooth, mask, (x, y), 0, tolerance, tolerance, 4 | cv2.FLOODFILL_MASK_ONLY)
        filled = cv2.morphologyEx(mask[1:-1, 1:-1], cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
        filled = cv2.morphologyEx(filled, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        border = filled[[0, -1]].sum() + filled[:, [0, -1]].sum()
        if 0.02 < filled.mean() < 0.5 and border < 60:
            found = outlines(filled.astype(np.uint8), 3)
            if found:
                return _cut(rng, picture, found)
    return None


def _cut(rng: np.random.Generator, picture: NDArray[np.uint8], found: list[Points]) -> Shape:
    """Makes a shape of pixel outlines and the picture that they were found in."""
    low, high = found[0].min(0), found[0].max(0)
    half = float((high - low).max()) / 2 + 1
    middle = (low + high) / 2
    matrix = np.array([[80 / half, 0, 80 - middle[0] * 80 / half],
                       [0, 80 / half, 80 - middle[1] * 80 / half]])  # fmt: skip
    texture = cv2.warpAffine(
        picture, matrix, (160, 160), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    ).astype(np.uint8, copy=False)
    contours = tuple(((c - middle) / half).astype(np.float32) for c in found)
    elastic = float(rng.uniform(0, 0.08))
    return Shape("segment", (Part(contours, 0),), elastic, texture)


def occluder_shape(rng: np.random.Generator, footage: Footage | None) -> Shape:
    """Builds a thing that passes in front: a bar, a trunk, a fence, leaves or a blob."""
    kind = rng.choice(5, p=[0.2, 0.2, 0.12, 0.2, 0.28])
    if kind == 0:
        return Shape("thin", (Part((capsule((0, -4), (0, 4), 0.3, 0.3),), 0),), 0.0)
    if kind == 1:
        y = np.linspace(-4, 4, 30, dtype=np.float32)
        width = 0.35 + 0.2 * smooth_noise(rng, 30, 6)[0]
        spine = np.stack([0.3 * smooth_noise(rng, 30, 4)[0], y], 1).astype(np.float32)
        return Shape("thin", (Part((ribbon(spine, width),), 0),), 0.0)
    if kind == 2:
        bars = tuple(capsule((x, -4), (x, 4), 0.05, 0.05) for x in np.linspace(-2, 2, 7))
        return Shape("thin", (Part(bars, 0),), 0.0)
    if kind == 3:
        plane = octaves(rng, 96, rng.uniform(8, 16), 0.6)
        found = outlines((plane > rng.uniform(0.5, 0.65)).astype(np.uint8), 40)
        if found:
            leaves = tuple((c / 48 - 1).astype(np.float32) for c in found)
            return Shape("noise_blob", (Part(leaves, 0),), 0.04)
    return build_shape(rng, str(rng.choice(["blob", "segment", "noise_blob", "box"])), footage)


def regroup(shape: Shape) -> Shape:
    """Returns the shape with one texture group for all its parts."""
    return replace(shape, parts=tuple(replace(p, group=0) for p in shape.parts))


_BUILDERS: dict[str, Callable[[np.random.Generator], list[Part]]] = {
    "blob": _blob,
    "concave_blob": _concave_blob,
    "polygon": _polygon,
    "box": _box,
    "ball": _ball,
    "noise_blob": _noise_blob,
    "union": _union,
    "ring": _ring,
    "thin": _thin,
    "snake": _snake,
    "person": figures.person,
    "rider": figures.rider,
    "quadruped": figures.quadruped,
    "bird": figures.bird,
    "fish": figures.fish,
    "vehicle": figures.vehicle,
}
