"""What is done to an object's drawn picture before it enters the frame: hair, glass, reflection."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from training.scenes.ingredients import Ingredients
from training.scenes.render import Image, Layer, Plane


@dataclass(frozen=True)
class Fringe:
    """Hair along a part of an outline; every row of `strands` is one of it.

    Attributes:
        strands: (N, 4): the direction, from the middle, in which it grows, radians; its length as
            a share of the object's extent; its sideways bend; its darkness, -1..1.
        opacity: of one strand, 0..1.
    """

    strands: NDArray[np.float32]
    opacity: float


@dataclass(frozen=True)
class Extras:
    """An object's extras; the shares of colour are 0..1.

    Attributes:
        tone: how far its colours move towards those around it.
        fringe: its hair, or None.
        glass: the texture group that one sees through (-1: the whole object) and its opacity.
        mirror: strength of its reflection on the ground.
    """

    tone: float = 0.0
    fringe: Fringe | None = None
    glass: tuple[int, float] | None = None
    mirror: float = 0.0


PLAIN = Extras()


def random_extras(rng: np.random.Generator, shares: Ingredients, groups: int) -> Extras:
    """Draws the extras of an object of `groups` texture groups."""
    tone = float(rng.uniform(0.4, 0.85)) if rng.random() < shares.low_contrast else 0.0
    fringe = _random_fringe(rng) if rng.random() < shares.fringe else None
    glass = None
    if rng.random() < shares.glass:
        group = int(rng.integers(groups)) if groups > 1 else -1
        glass = group, float(rng.uniform(0.3, 0.7))
    mirror = float(rng.uniform(0.15, 0.5)) if rng.random() < shares.mirror else 0.0
    return Extras(tone, fringe, glass, mirror)


def _random_fringe(rng: np.random.Generator) -> Fringe:
    middle, width = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 3.0)
    count = int(width * rng.uniform(80, 250))
    length = rng.uniform(0.015, 0.08)
    strands = np.stack([
        middle + rng.uniform(-width, width, count),
        length * rng.uniform(0.4, 1.3, count),
        rng.normal(rng.normal(0, 0.8), 0.3, count),
        rng.uniform(-1, 1, count),
    ], 1)  # fmt: skip
    return Fringe(strands.astype(np.float32), float(rng.uniform(0.5, 1.0)))


def decorated(layer: Layer, extras: Extras, angle: float) -> Layer:
    """Returns a layer with its glass and its hair; `angle` is the object's, in radians."""
    if extras.glass is not None:
        layer = _glazed(layer, *extras.glass)
    if extras.fringe is not None:
        layer = _haired(layer, extras.fringe, angle)
    return layer


def _glazed(layer: Layer, group: int, opacity: float) -> Layer:
    here = layer.group > 0 if group < 0 else layer.group == group + 1
    factor = np.where(here, np.float32(opacity), np.float32(1)).astype(np.float32)
    return replace(layer, alpha=layer.alpha * factor, solid=layer.alpha)


def _haired(layer: Layer, fringe: Fringe, angle: float) -> Layer:
    """Adds strands that leave the outline; dense ones belong to the object, single ones do not."""
    mask = (layer.alpha > 0.5).astype(np.uint8)
    found, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not found:
        return layer
    outline = max(found, key=len)[:, 0].astype(np.float32)
    middle, extent = outline.mean(0), float(np.ptp(outline, axis=0).max())
    if extent < 16:
        return layer
    pad = int(extent * float(fringe.strands[:, 1].max())) + 3
    wide = [cv2.copyMakeBorder(p, pad, pad, pad, pad, cv2.BORDER_CONSTANT)
            for p in (layer.colour, layer.alpha, layer.group)]  # fmt: skip
    strands, opacity = _strands(outline, middle, extent, fringe, angle), fringe.opacity
    hair = np.zeros(wide[1].shape, np.uint8)
    points = np.round((strands + pad) * 16).astype(np.int32)
    for level in (0.5, 0.75, 1.0):  # of unlike opacity: a third each
        chosen = points[int((level - 0.5) * 4) :: 3]
        drawn = np.zeros_like(hair)
        cv2.polylines(drawn, list(chosen), False, 255 * level * opacity, 1, cv2.LINE_AA, 4)
        hair = np.maximum(hair, drawn)
    cover = (hair / np.float32(255)).astype(np.float32)
    alpha = np.maximum(wide[1], cover)
    spread = _spread(wide[0].astype(np.uint8), wide[1].astype(np.float32), pad)
    colour = np.where((wide[1] > 0.5)[..., None], wide[0], spread).astype(np.uint8)
    reach = np.ones((2 * pad + 1,) * 2, np.uint8)
    group = np.where((wide[2] == 0) & (cover > 0), cv2.dilate(wide[2], reach), wide[2])
    body = layer.alpha if layer.solid is None else layer.solid
    wider = cv2.copyMakeBorder(body, pad, pad, pad, pad, cv2.BORDER_CONSTANT)
    dense = cv2.GaussianBlur(cover, (0, 0), max(1.0, extent / 80))
    solid = np.maximum(wider, dense).astype(np.float32)
    return Layer(layer.x - pad, layer.y - pad, colour, alpha, group.astype(np.uint8), solid)


def _strands(
    outline: Plane, middle: Plane, extent: float, fringe: Fringe, angle: float
) -> NDArray[np.float32]:
    """Returns the strands' points, (N, 4, 2), in the layer's pixels."""
    away = outline - middle
    directions = np.arctan2(away[:, 1], away[:, 0])
    order = np.argsort(directions)
    wanted = (fringe.strands[:, 0] + angle + np.pi) % (2 * np.pi) - np.pi
    found = order[np.searchsorted(directions[order], wanted) % len(order)]
    root, out = outline[found], away[found]
    out = out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-6)
    side = np.stack([-out[:, 1], out[:, 0]], 1) * fringe.strands[:, 2:3]
    length = fringe.strands[:, 1:2] * extent
    steps = np.array([-0.3, 0.2, 0.6, 1.0], np.float32)[None, :, None]
    bent = out[:, None] * steps + side[:, None] * steps * np.abs(steps)
    return np.asarray(root[:, None] + bent * length[:, None], np.float32)


def _spread(colour: Image, alpha: Plane, reach: int) -> Image:
    """Returns the colours of the covered pixels, carried over the others nearby."""
    weighted = cv2.blendLinear(colour, colour, alpha, np.zeros_like(alpha)).astype(np.float32)
    side = (2 * reach + 1, 2 * reach + 1)
    total = cv2.boxFilter(weighted, -1, side)
    share = cv2.boxFilter(alpha, -1, side)
    return np.clip(total / np.maximum(share, 1e-3)[..., None], 0, 255).astype(np.uint8)


def reflect(layer: Layer, frame: Image, strength: float) -> None:
    """Draws a layer's reflection on the ground below it, blurred and fading, in place."""
    rows = np.flatnonzero(layer.alpha.max(1) > 0.5)
    if not len(rows):
        return
    size, height = len(frame), int(rows[-1]) + 1
    top, left = layer.y + height, max(layer.x, 0)
    bottom, right = min(top + height, size), min(layer.x + layer.alpha.shape[1], size)
    if bottom <= max(top, 0) or right <= left:
        return
    first = max(-top, 0)
    cut = np.s_[first : bottom - top, left - layer.x : right - layer.x]
    colour = cv2.GaussianBlur(layer.colour[:height][::-1][cut], (0, 0), max(1.0, size / 200))
    fade = np.linspace(strength, 0, height, dtype=np.float32)[:, None]
    weight = np.ascontiguousarray((layer.alpha[:height][::-1] * fade)[cut])
    weight = cv2.GaussianBlur(weight, (0, 0), max(0.8, size / 300)).astype(np.float32)
    place = np.s_[max(top, 0) : bottom, left:right]
    below = np.ascontiguousarray(frame[place])
    frame[place] = cv2.blendLinear(np.ascontiguousarray(colour), below, weight, 1 - weight)
