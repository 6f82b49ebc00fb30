"""Procedural and footage textures for objects and backgrounds.

No texture here is a lattice of dots, a set of radial stripes or a brick wall: those
are reserved for the product's own demo scenes.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from training.scenes.footage import Footage

Image = NDArray[np.uint8]
Plane = NDArray[np.float32]
Colour = NDArray[np.float32]

TEXTURE_KINDS: tuple[str, ...] = (
    "flat",
    "gradient",
    "noise",
    "fur",
    "stripes",
    "waves",
    "spots",
    "patches",
    "checks",
    "cells",
    "panels",
    "clutter",
    "glyphs",
    "footage",
    "footage_warped",
)


def random_colour(rng: np.random.Generator, footage: Footage | None) -> Colour:
    """Returns a BGR colour, (3,) float32 in 0..255: from footage, muted or vivid."""
    if footage is not None and rng.random() < 0.5:
        index = int(rng.integers(len(footage.frames)))
        y, x = rng.integers(footage.frames.shape[1]), rng.integers(footage.frames.shape[2])
        pixel = footage.frames[index, y, x] + rng.normal(0, 12, 3)
        return np.asarray(np.clip(pixel, 0, 255), np.float32)
    vivid = rng.random() < 0.35
    saturation = rng.uniform(120, 255) if vivid else rng.uniform(0, 110)
    value = 255 * rng.uniform(0.05, 1.0)
    hsv = np.array([[[rng.uniform(0, 179), saturation, value]]], np.uint8)
    colour: Colour = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)[0, 0].astype(np.float32)
    return colour


def smooth_noise(rng: np.random.Generator, size: int, cells: float, stretch: float = 1) -> Plane:
    """Returns one octave of smooth noise, (size, size) float32, about 0..1.

    Args:
        cells: number of independent values along the picture's width.
        stretch: above 1, the noise has that many times more values along its height.
    """
    shape = (max(2, min(size, round(cells * stretch))), max(2, min(size, round(cells))))
    grid = rng.random(shape, dtype=np.float32)
    kind = cv2.INTER_CUBIC if cells * 3 < size else cv2.INTER_LINEAR
    return cv2.resize(grid, (size, size), interpolation=kind).astype(np.float32, copy=False)


def octaves(rng: np.random.Generator, size: int, cells: float, roughness: float) -> Plane:
    """Returns several octaves of noise, (size, size) float32 stretched to 0..1."""
    total = smooth_noise(rng, size, cells)
    weight = 1.0
    for _ in range(3):
        cells, weight = cells * 2.1, weight * roughness
        if cells > size / 2:
            break
        total += np.float32(weight) * smooth_noise(rng, size, cells)
    low, high = float(total.min()), float(total.max())
    out: Plane = (total - low) / np.float32(max(high - low, 1e-6))
    return out


def _ramp(rng: np.random.Generator, size: int, turns: float = 1.0) -> Plane:
    """Returns a linear coordinate in a random direction, 0..`turns` over the picture."""
    angle = rng.uniform(0, 2 * np.pi)
    line = np.linspace(-0.5, 0.5, size, dtype=np.float32) * np.float32(turns)
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    out: Plane = line[None, :] * c + line[:, None] * s
    return out


def _mix(weight: Plane, first: Colour, second: Colour) -> Image:
    """Blends two colours by a (H, W) weight through a table, to (H, W, 3) uint8."""
    steps = np.linspace(0, 1, 256, dtype=np.float32)[:, None]
    table = np.clip(first + (second - first) * steps, 0, 255).astype(np.uint8)
    index = cv2.convertScaleAbs(np.clip(weight, 0, 1), alpha=255.0)
    return cv2.LUT(cv2.merge([index] * 3), table[:, None, :]).astype(np.uint8, copy=False)


def _near(rng: np.random.Generator, base: Colour, spread: float) -> Colour:
    """Returns a colour near `base`; the spread is a standard deviation in 0..255."""
    shift = rng.normal(0, spread) + rng.normal(0, spread / 3, 3)
    return np.clip(base + shift, 0, 255).astype(np.float32)


def _flat(rng: np.random.Generator, size: int, a: Colour, b: Colour) -> Image:
    return _mix(smooth_noise(rng, size, 3), a, _near(rng, a, 8))


def _gradient(rng: np.random.Generator, size: int, a: Colour, b: Colour) -> Image:
    ramp = _ramp(rng, size, 1.3) + 0.5
    return _mix(ramp + 0.15 * smooth_noise(rng, size, 4), a, b)


def _noise(rng: np.random.Generator, size: int, a: Colour, b: Colour) -> Image:
    plane = octaves(rng, size, rng.uniform(2, 20), rng.uniform(0.4, 0.9))
    return _mix((plane - 0.5) * np.float32(rng.uniform(1, 2)) + 0.5, a, b)


def _fur(rng: np.random.Generator, size: int, a: Colour, b: Colour) -> Image:
    plane = smooth_noise(rng, size, rng.uniform(3, 10), rng.uniform(4, 10))
    plane = 0.6 * plane + 0.4 * smooth_noise(rng, size, 12, 4)
    matrix = cv2.getRotationMatrix2D((size / 2, size / 2), rng.uniform(0, 180), 1.0)
    turned = cv2.warpAffine(plane, matrix, (size, size), borderMode=cv2.BORDER_REFLECT_101)
    return _mix(turned.astype(np.float32), a, _near(rng, a, 45))


def _stripes(rng: np.random.Generator, size: int, a: Colour, b: Colour) -> Image:
    phase = _ramp(rng, size, rng.uniform(2, 12))
    wave = np.sin(phase * np.float32(2 * np.pi)) * np.float32(rng.uniform(1, 8))
    return _mix(wave + np.float32(rng.uniform(0.1, 0.9)), a, b)


def _waves(rng: np.random.Generator, size: int, a: Colour, b: Colour) -> Image:
    bend = smooth_noise(rng, size, rng.uniform(2, 6)) * np.float32(rng.uniform(0.5, 2.5))
    wave = np.sin((_ramp(rng, size, rng.uniform(2, 8)) + bend) * np.float32(2 * np.pi))
    return _mix(wave * np.float32(rng.uniform(1, 6)) + 0.5, a, b)


def _spots(rng: np.random.Generator, size: int, a: Colour, b: Colour) -> Image:
    out = _mix(smooth_noise(rng, size, 4), a, _near(rng, a, 15))
    colour = b.tolist()
    for _ in range(int(rng.integers(5, 40))):
        x, y = (int(v) for v in rng.integers(0, size, 2))
        axes = [max(1, int(v * size)) for v in rng.uniform(0.015, 0.09, 2)]
        cv2.ellipse(out, (x, y), axes, rng.uniform(0, 180), 0, 360, colour, -1, cv2.LINE_AA)
    return out


def _patches(rng: np.random.Generator, size: int, a: Colour, b: Colour) -> Image:
    plane = octaves(rng, size, rng.uniform(2, 5), 0.4)
    edge = np.float32(rng.uniform(8, 40))
    return _mix((plane - np.float32(rng.uniform(0.35, 0.65))) * edge + 0.5, a, b)


def _checks(rng: np.random.Generator, size: int, a: Colour, b: Colour) -> Image:
    count = rng.uniform(2, 9)
    x, y = _ramp(rng, size, count), _ramp(rng, size, count)
    wave = np.sign(np.sin(x * np.float32(2 * np.pi)) * np.sin(y * np.float32(2 * np.pi)))
    return _mix(wave * np.float32(rng.uniform(0.2, 0.5)) + 0.5, a, b)


def _cells(rng: np.random.Generator, size: int, a: Colour, b: Colour) -> Image:
    seeds = np.full((size, size), 255, np.uint8)
    count = int(rng.integers(6, 60))
    seeds[rng.integers(0, size, count), rng.integers(0, size, count)] = 0
    _, labels = cv2.distanceTransformWithLabels(
        seeds, cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL
    )
    weights = rng.random((int(labels.max()) + 1, 1)).astype(np.float32)
    table = a + (b - a) * weights + rng.normal(0, 15, (len(weights), 3))
    out: Image = np.clip(table, 0, 255).astype(np.uint8)[labels]
    return out


def _panels(rng: np.random.Generator, size: int, a: Colour, b: Colour) -> Image:
    sign = np.ones((size, size), np.float32)
    for _ in range(int(rng.integers(1, 4))):
        bend = _ramp(rng, size, 1) ** 2 * np.float32(rng.uniform(-2, 2))
        sign *= np.tanh((_ramp(rng, size, 1) + bend + np.float32(rng.normal(0, 0.12))) * 60)
    return _mix(sign * 0.5 + 0.5, a, b)


def _clutter(rng: np.random.Generator, size: int, a: Colour, b: Colour) -> Image:
    out = _mix(_ramp(rng, size, 1) + 0.5, a, _near(rng, a, 30))
    scale = rng.uniform(0.03, 0.2)
    for _ in range(int(rng.integers(15, 70))):
        weight, jitter = rng.random(), rng.normal(0, 35, 3)
        colour = np.clip(a + (b - a) * weight + jitter, 0, 255).tolist()
        x, y = rng.integers(0, size, 2).tolist()
        w, h = np.maximum(rng.exponential(scale * size, 2), 1).astype(int).tolist()
        kind = rng.integers(3)
        if kind == 0:
            cv2.ellipse(out, (x, y), (w, h), rng.uniform(0, 180), 0, 360, colour, -1, cv2.LINE_AA)
        elif kind == 1:
            box = cv2.boxPoints(((x, y), (w, h), rng.choice([0.0, rng.uniform(0, 90)])))
            cv2.fillConvexPoly(out, box.astype(np.int32), colour, cv2.LINE_AA)
        else:
            end = (x + int(rng.normal(0, 2 * w)), y + int(rng.normal(0, 2 * h)))
            cv2.line(out, (x, y), end, colour, max(1, int(0.02 * size)), cv2.LINE_AA)
    return out


def _glyphs(rng: np.random.Generator, size: int, a: Colour, b: Colour) -> Image:
    out = _mix(_ramp(rng, size, 1) + 0.5, a, _near(rng, a, 12))
    scale = rng.uniform(0.1, 0.35) * size / 30
    step = int(scale * 30) + 3
    for y in range(step, size + step, step):
        letters = rng.integers(65, 91, int(rng.integers(2, 12)))
        text = "".join(chr(int(c)) if rng.random() < 0.8 else " " for c in letters)
        origin = (int(rng.uniform(-0.1, 0.4) * size), y)
        thickness = max(1, round(scale * rng.uniform(0.8, 3)))
        cv2.putText(out, text, origin, 0, scale, b.tolist(), thickness, cv2.LINE_AA)
    return out


_PAINTERS: dict[str, Callable[[np.random.Generator, int, Colour, Colour], Image]] = {
    "flat": _flat,
    "gradient": _gradient,
    "noise": _noise,
    "fur": _fur,
    "stripes": _stripes,
    "waves": _waves,
    "spots": _spots,
    "patches": _patches,
    "checks": _checks,
    "cells": _cells,
    "panels": _panels,
    "clutter": _clutter,
    "glyphs": _glyphs,
}

_OBJECT_WEIGHTS = np.array([18, 10, 8, 9, 5, 3, 4, 6, 2, 2, 4, 2, 2, 20, 8], np.float64)


def random_kind(rng: np.random.Generator) -> str:
    """Draws a texture kind for an object's part; plain and footage kinds are frequent."""
    return str(rng.choice(TEXTURE_KINDS, p=_OBJECT_WEIGHTS / _OBJECT_WEIGHTS.sum()))


def recolour(rng: np.random.Generator, picture: Image, base: Colour, strength: float) -> Image:
    """Moves an (H, W, 3) picture's mean colour towards `base`, (3,), and its contrast, at random.

    `strength` is 0 (keep) .. 1 (the mean becomes `base`).
    """
    mean = np.array(cv2.mean(picture)[:3], np.float32)
    gain = np.float32(rng.uniform(0.6, 1.3))
    target = mean + (base - mean) * np.float32(strength)
    values = np.arange(256, dtype=np.float32)[:, None]
    table = np.clip((values - mean) * gain + target, 0, 255).astype(np.uint8)
    return cv2.LUT(picture, table[:, None, :]).astype(np.uint8, copy=False)


def make_texture(
    rng: np.random.Generator, kind: str, size: int, base: Colour, footage: Footage | None
) -> Image:
    """Paints one texture, (size, size, 3) uint8 BGR, of one of TEXTURE_KINDS around the colour
    `base`, (3,) 0..255.

    Footage kinds become "noise" without footage.
    """
    if kind.startswith("footage") and footage is not None:
        crop = footage.crop(rng, size)
        if kind == "footage_warped":
            crop = _warp(rng, crop)
        return recolour(rng, crop, base, rng.choice([0.0, rng.uniform(0, 1)]))
    other = random_colour(rng, footage) if rng.random() < 0.5 else _near(rng, base, 60)
    out = _PAINTERS.get(kind, _noise)(rng, size, base, other)
    if rng.random() < 0.4:
        grain = rng.integers(0, int(rng.integers(3, 26)), (size, size), np.uint8)
        out = cv2.add(out, cv2.merge([grain] * 3)).astype(np.uint8, copy=False)
    return out


def _warp(rng: np.random.Generator, picture: Image) -> Image:
    """Bends a square picture by smooth noise."""
    size = len(picture)
    line = np.arange(size, dtype=np.float32)
    amount = np.float32(rng.uniform(0.1, 0.5) * size)
    x = line[None, :] + (smooth_noise(rng, size, 4) - 0.5) * amount
    y = line[:, None] + (smooth_noise(rng, size, 4) - 0.5) * amount
    return cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101).astype(
        np.uint8, copy=False
    )


def make_background(rng: np.random.Generator, size: int, footage: Footage | None) -> Image:
    """Paints a procedural background, (size, size, 3) uint8: one or two layered kinds."""
    kinds = ("gradient", "noise", "stripes", "waves", "checks", "cells", "clutter", "fur", "spots")
    first = make_texture(rng, str(rng.choice(kinds)), size, random_colour(rng, footage), footage)
    if rng.random() < 0.6:
        second = make_texture(
            rng, str(rng.choice(kinds)), size, random_colour(rng, footage), footage
        )
        edge = octaves(rng, size, 3, 0.5) if rng.random() < 0.5 else _ramp(rng, size, 1) + 0.5
        weight = np.clip((edge - np.float32(rng.uniform(0.3, 0.7))) * 30 + 0.5, 0, 1)
        first = cv2.blendLinear(first, second, weight, 1 - weight).astype(np.uint8, copy=False)
    return first


def scaled(picture: Image, side: int) -> Image:
    """Returns a picture stretched to (side, side, 3)."""
    interpolation = cv2.INTER_AREA if len(picture) > side else cv2.INTER_LINEAR
    out = cv2.resize(picture, (side, side), interpolation=interpolation)
    return out.astype(np.uint8, copy=False)
