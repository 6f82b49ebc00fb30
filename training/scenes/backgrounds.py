"""Draws what stands behind the objects: real footage, pieces of it, or procedural textures."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from training.scenes import textures
from training.scenes.footage import HEIGHT, WIDTH, Footage
from training.scenes.ingredients import Ingredients
from training.scenes.real import RealPictures

Image = NDArray[np.uint8]

MARGIN = 1.25  # size of the background's canvas relative to the picture


def make_backgrounds(
    rng: np.random.Generator,
    shape: tuple[int, int],
    squeeze: float,
    footage: Footage | None,
    ingredients: Ingredients,
    real: RealPictures | None = None,
) -> list[Image]:
    """Draws the backgrounds of a scene of `shape` (frames, size): one (C, C, 3) canvas, or one per
    frame where the footage itself moves."""
    frames, size = shape
    side = int(size * MARGIN)
    share = ingredients.real_backgrounds
    # nothing is drawn for an ingredient that is left out: the other clips stay as they were
    if share and real is not None and real.has_backgrounds and rng.random() < share:
        pictures = [_photographed(rng, side, squeeze, real)]
    elif footage is not None and rng.random() < ingredients.collage:
        pictures = [_collage(rng, side, footage)]
    elif footage is None or rng.random() < 0.25:
        pictures = [textures.make_background(rng, side, footage)]
    else:
        count = frames if frames > 1 and rng.random() < 0.4 else 1
        sources = footage.burst(rng, count)
        height = int(rng.uniform(0.45, 1.0) * HEIGHT)
        width = min(int(height / squeeze), WIDTH)
        x, y = rng.integers(WIDTH - width + 1), rng.integers(HEIGHT - height + 1)
        flip = rng.random() < 0.5
        colour = textures.random_colour(rng, footage)
        state, strength = int(rng.integers(2**31)), float(rng.choice([0.0, rng.uniform(0, 0.4)]))
        pictures = []
        for source in sources:
            cut = source[y : y + height, x : x + width]
            view = textures.scaled(cut[:, ::-1] if flip else cut, side)
            pictures.append(textures.recolour(np.random.default_rng(state), view, colour, strength))
    if rng.random() < 0.2:
        sigma = rng.uniform(0.5, 5) * size / 256
        pictures = [
            cv2.GaussianBlur(p, (0, 0), sigma).astype(np.uint8, copy=False) for p in pictures
        ]
    return pictures


def _photographed(rng: np.random.Generator, side: int, squeeze: float, real: RealPictures) -> Image:
    """A part of a free photograph, squeezed as the picture is, perhaps mirrored."""
    picture = real.background(rng)
    height, width = picture.shape[:2]
    share = float(rng.uniform(0.45, 1.0))
    h = min(height, width * squeeze) * share
    w = min(width, round(h / squeeze))
    x, y = rng.integers(width - w + 1), rng.integers(height - int(h) + 1)
    cut = picture[y : y + int(h), x : x + w]
    return textures.scaled(np.ascontiguousarray(cut[:, ::-1] if rng.random() < 0.5 else cut), side)


def _collage(rng: np.random.Generator, side: int, footage: Footage) -> Image:
    """Puts pieces of several pictures side by side: a ground, a wall, things that stand there."""
    out = footage.crop(rng, side)
    coarse = side // 4
    line = np.linspace(0, 1, coarse, dtype=np.float32)
    for index in range(int(rng.integers(1, 4))):
        other = textures.recolour(
            rng, footage.crop(rng, side), textures.random_colour(rng, footage),
            float(rng.choice([0.0, rng.uniform(0, 0.6)])),
        )  # fmt: skip
        noise = textures.octaves(rng, coarse, float(rng.uniform(2, 6)), 0.5)
        if index == 0:  # the ground, below a horizon
            slope, uneven = np.float32(rng.normal(0, 0.15)), np.float32(rng.choice([0, 0.02, 0.2]))
            height = line[:, None] + slope * line[None, :] + uneven * (noise - np.float32(0.5))
            edge = height - np.float32(rng.uniform(0.3, 0.85))
        else:  # a bush, a heap, a cloud
            edge = (noise - np.float32(rng.uniform(0.6, 0.8))) * np.float32(0.3)
        sharp = np.float32(side / rng.uniform(1, 12))
        edge = cv2.resize(edge, (side, side), interpolation=cv2.INTER_LINEAR).astype(np.float32)
        weight = np.clip(edge * sharp + np.float32(0.5), 0, 1).astype(np.float32)
        out = cv2.blendLinear(other, out, weight, 1 - weight).astype(np.uint8, copy=False)
    return out
