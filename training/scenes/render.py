"""Draws textured, shaded, posed shapes into a picture, with exact labels."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from training.scenes.figures import Part
from training.scenes.geometry import Matrix, Points, transform
from training.scenes.shapes import Shape

Image = NDArray[np.uint8]
Plane = NDArray[np.float32]

_CROSS = np.ones((3, 3), np.uint8)


@dataclass(frozen=True)
class Sprite:
    """A shape with its looks.

    Attributes:
        shape: its parts.
        textures: one square picture over the unit square for each texture group.
        labels: (groups + 1,) object id of the pixels of group g at index g + 1;
            0 for things that are not objects.
        shading: strength of the pseudo-3D shading, 0..1.
        light: direction of the light in radians.
        softness: standard deviation of the edge's blur in pixels.
        waves: (4,) wave numbers and phases of the elastic deformation.
    """

    shape: Shape
    textures: tuple[Image, ...]
    labels: Image
    shading: float
    light: float
    softness: float
    waves: Plane


@dataclass(frozen=True)
class Layer:
    """A drawn sprite: a window of the picture with its upper left corner at (x, y).

    Attributes:
        colour: (H, W, 3) uint8.
        alpha: (H, W) float32 coverage, 0..1.
        group: (H, W) uint8, texture group + 1 of every covered pixel.
        solid: (H, W) float32, the alpha that it would have if one could not see through it; None
            where that is alpha itself.
    """

    x: int
    y: int
    colour: Image
    alpha: Plane
    group: Image
    solid: Plane | None = None


def _bend(points: Points, sprite: Sprite, cycle: float) -> Points:
    """Deforms outline points by two slow waves of the shape's elastic amplitude."""
    kx, ky, px, py = sprite.waves
    turn = 2 * np.pi * cycle
    bent = points.copy()
    bent[:, 0] += sprite.shape.elastic * np.sin(ky * points[:, 1] + px + turn)
    bent[:, 1] += sprite.shape.elastic * np.sin(kx * points[:, 0] + py + turn)
    return bent


def _coverage(outlines: list[Points], x: int, y: int, width: int, height: int) -> Image:
    """Rasterises outlines (pixels) in a window, 2x supersampled, to 0..255."""
    canvas = np.zeros((height * 2, width * 2), np.uint8)
    fixed = [np.round((o - (x, y)) * 32 - 8).astype(np.int32) for o in outlines]
    cv2.fillPoly(canvas, fixed, 255, shift=4)
    return cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA).astype(
        np.uint8, copy=False
    )


def _shade(mask: Image, light: float, strength: float) -> Plane:
    """Returns a (H, W) brightness factor that makes a mask look like a round body."""
    height, width = mask.shape
    factor = min(1.0, 56 / max(height, width))
    small = (max(4, round(width * factor)), max(4, round(height * factor)))
    low = cv2.resize(mask, small, interpolation=cv2.INTER_AREA)
    low = cv2.copyMakeBorder(low, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    distance = cv2.distanceTransform((low > 127).astype(np.uint8), cv2.DIST_L2, 3)
    relief = distance / max(float(distance.max()), 1.0)
    relief = cv2.GaussianBlur(np.sqrt(relief * (2 - relief)), (0, 0), 1.5)
    dx = cv2.Sobel(relief, cv2.CV_32F, 1, 0, scale=0.125)
    dy = cv2.Sobel(relief, cv2.CV_32F, 0, 1, scale=0.125)
    slope = (np.cos(light) * dx + np.sin(light) * dy) * min(small) * 0.25
    shade = 1 + strength * (np.clip(slope, -0.6, 0.6) + 0.25 * (relief - 0.7))
    inner = np.asarray(shade[1:-1, 1:-1], np.float32)
    full = cv2.resize(inner, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(full, np.float32)


def _paint(
    sprite: Sprite, part: Part, matrix: Matrix, box: tuple[int, int, int, int], mask: Image
) -> Image:
    """Returns the part's texture, shaded, in a window (x, y, width, height)."""
    x, y, width, height = box
    texture = sprite.textures[part.group]
    side = len(texture)
    to_unit = np.array([[2 / side, 0, 1 / side - 1], [0, 2 / side, 1 / side - 1], [0, 0, 1]])
    place = np.array([[1, 0, -x], [0, 1, -y], [0, 0, 1]]) @ matrix @ to_unit
    colour = cv2.warpAffine(
        texture, place[:2], (width, height), flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT_101,
    )  # fmt: skip
    if sprite.shading > 0.02 and min(width, height) >= 8:
        shade = _shade(mask, sprite.light, sprite.shading)
        colour = cv2.multiply(colour, cv2.merge([shade] * 3), dtype=cv2.CV_8U)
    return colour.astype(np.uint8, copy=False)


def window_of(
    points: Points, margin: int, limits: tuple[int, int, int, int]
) -> tuple[int, int, int, int] | None:
    """Returns the (x, y, width, height) of points, clipped to (x0, y0, x1, y1)."""
    low = np.floor(points.min(0)).astype(int) - margin
    high = np.ceil(points.max(0)).astype(int) + margin + 1
    x0, y0 = max(int(low[0]), limits[0]), max(int(low[1]), limits[1])
    x1, y1 = min(int(high[0]), limits[2]), min(int(high[1]), limits[3])
    return (x0, y0, x1 - x0, y1 - y0) if x1 > x0 and y1 > y0 else None


def draw_sprite(
    sprite: Sprite, matrix: Matrix, cycle: float, size: int, velocity: tuple[float, float]
) -> Layer | None:
    """Draws a sprite at one moment; None when nothing of it lies in the picture.

    Args:
        matrix: (3, 3) affine from unit coordinates to pixels.
        cycle: moment of its motion cycle.
        size: side of the picture in pixels.
        velocity: blur vector (x, y) in pixels; (0, 0) for none.
    """
    poses = [matrix @ pose for pose in sprite.shape.poses(cycle)]
    reach = int(np.hypot(*velocity)) // 2 + 4
    elastic = sprite.shape.elastic > 0
    drawn = []
    for part, pose in zip(sprite.shape.parts, poses, strict=True):
        contours = part.contours
        if elastic:
            contours = tuple(_bend(c, sprite, cycle) for c in contours)
        drawn.append((part, pose, [transform(c, pose) for c in contours]))
    everything = np.concatenate([o for _, _, outlines in drawn for o in outlines])
    box = window_of(everything, reach, (-reach, -reach, size + reach, size + reach))
    if box is None:
        return None
    x, y, width, height = box
    colour = np.zeros((height, width, 3), np.uint8)
    alpha, group = np.zeros((height, width), np.uint8), np.zeros((height, width), np.uint8)
    limits = (x, y, x + width, y + height)
    for part, pose, outlines in sorted(drawn, key=lambda item: item[0].depth):
        inner = window_of(np.concatenate(outlines), 3, limits)
        if inner is None:
            continue
        mask = _coverage(outlines, *inner)
        left, top = inner[0] - x, inner[1] - y
        window = np.s_[top : top + inner[3], left : left + inner[2]]
        paint = _paint(sprite, part, pose, inner, mask)
        _over(paint, mask, colour[window], alpha[window])
        group[window][mask > 127] = part.group + 1
    cover = (alpha / np.float32(255)).astype(np.float32)
    return finish(Layer(x, y, colour, cover, group), sprite.softness, velocity)


def _over(paint: Image, mask: Image, colour: Image, alpha: Image) -> None:
    """Paints a part over a layer's window in place; bleeds outside to avoid fringes."""
    weight = mask.astype(np.float32) / 255
    bleed = cv2.dilate(mask, _CROSS, iterations=2) > 0
    weight[bleed & (alpha < 128)] = 1.0
    colour[:] = cv2.blendLinear(paint, colour, weight, 1 - weight)
    np.maximum(alpha, mask, out=alpha)


def finish(layer: Layer, softness: float, velocity: tuple[float, float]) -> Layer:
    """Softens a layer's edge and blurs it along its velocity."""
    colour, alpha = layer.colour, layer.alpha
    if softness > 0.25:
        alpha = cv2.GaussianBlur(alpha, (0, 0), softness).astype(np.float32)
    group = layer.group
    length = float(np.hypot(*velocity))
    if length > 1.5:
        kernel = line_kernel(velocity)
        weighted = colour.astype(np.float32) * alpha[..., None]
        weighted = cv2.filter2D(weighted, -1, kernel).astype(np.float32)
        alpha = cv2.filter2D(alpha, -1, kernel).astype(np.float32)
        colour = np.clip(weighted / np.maximum(alpha, 1e-3)[..., None], 0, 255).astype(np.uint8)
    reach = np.ones((2 * int(length / 2) + 3,) * 2, np.uint8)
    group = np.where(group == 0, cv2.dilate(group, reach), group).astype(np.uint8)
    return Layer(layer.x, layer.y, colour, alpha, group)


def line_kernel(velocity: tuple[float, float]) -> Plane:
    """Returns a normalised blur kernel along a vector in pixels."""
    half = int(np.ceil(np.hypot(*velocity) / 2))
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    dx, dy = velocity[0] * 8, velocity[1] * 8
    start = (round(half * 16 - dx), round(half * 16 - dy))
    end = (round(half * 16 + dx), round(half * 16 + dy))
    cv2.line(kernel, start, end, 1.0, 1, cv2.LINE_8, 4)
    return np.asarray(kernel / kernel.sum(), np.float32)


def composite(
    layer: Layer, frame: Image, planes: tuple[Image, Image], labels: Image, first_part: int = 0
) -> None:
    """Blends a layer into a frame and writes its labels, all (S, S) and in place.

    Args:
        planes: object ids and part ids.
        labels: object id of group g at index g + 1.
        first_part: the part id of group g is first_part + g + 1.

    A pixel belongs to the layer where the layer covers half of it, or half of its own largest
    coverage when it is thin or blurred.
    """
    size = len(frame)
    x0, y0 = max(layer.x, 0), max(layer.y, 0)
    x1, y1 = (min(o + n, size) for o, n in zip(
        (layer.x, layer.y), layer.alpha.shape[::-1], strict=True))  # fmt: skip
    if x1 <= x0 or y1 <= y0:
        return
    inner = np.s_[y0 - layer.y : y1 - layer.y, x0 - layer.x : x1 - layer.x]
    alpha, outer = layer.alpha[inner], np.s_[y0:y1, x0:x1]
    colour = np.ascontiguousarray(layer.colour[inner])
    below = np.ascontiguousarray(frame[outer])
    frame[outer] = cv2.blendLinear(colour, below, np.ascontiguousarray(alpha), 1 - alpha)
    solid = layer.alpha if layer.solid is None else layer.solid
    least = min(0.5, 0.5 * float(solid.max()) + 0.02)
    covered = (solid[inner] >= least) & (layer.group[inner] > 0)
    group = layer.group[inner][covered]
    ids, parts = planes
    ids[outer][covered] = labels[group]
    parts[outer][covered] = np.where(labels[group] > 0, group + first_part, 0)


def cast_shadow(layer: Layer, frame: Image, offset: tuple[float, float], strength: float) -> None:
    """Darkens a frame under a layer, in place: its flattened outline, moved and blurred."""
    size = len(frame)
    scale = 4
    flat = 0.5 if abs(offset[0]) > abs(offset[1]) else 1.0
    bottom = layer.y + len(layer.alpha)
    matrix = np.array([
        [1 / scale, -0.6 * (1 - flat) / scale, (layer.x + offset[0]) / scale],
        [0, flat / scale, (bottom - flat * len(layer.alpha) + offset[1]) / scale],
    ])  # fmt: skip
    side = size // scale
    dark = cv2.warpAffine(layer.alpha, matrix, (side, side), flags=cv2.INTER_LINEAR)
    dark = cv2.GaussianBlur(dark, (0, 0), max(0.8, size / 200))
    dark = cv2.resize(1 - strength * dark, (size, size), interpolation=cv2.INTER_LINEAR)
    frame[:] = cv2.multiply(frame, cv2.merge([dark] * 3), dtype=cv2.CV_8U)
