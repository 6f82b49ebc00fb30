"""Other views of a drawn clip: a crop that follows an object or stands, mirrored, in other light.

Drawing costs more than a training step; a clip that is drawn larger than the network's picture can
be used several times, each time otherwise. Crops that move and jump over time are also what a
tracker that steers its own crop gives the network.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from training.scenes.generator import Clip, Image

Crop = tuple[float, float, float]  # left, top, side in pixels of the drawn clip

SMALLEST = 0.45  # side of the smallest crop, as a share of the drawn picture's


@dataclass
class ClipPool:
    """The newest clips, for `reuse` uses each on the average; bounded by `capacity`."""

    reuse: int
    capacity: int
    kept: list[Clip] = field(default_factory=list)

    def wants_another(self, rng: np.random.Generator) -> bool:
        """Whether the next use should be of a new clip."""
        return len(self.kept) < min(16, self.capacity) or rng.random() * self.reuse < 1

    def add(self, rng: np.random.Generator, clip: Clip) -> Clip:
        """Keep a clip, in place of a random one when full, and return it."""
        if len(self.kept) < self.capacity:
            self.kept.append(clip)
        else:
            self.kept[int(rng.integers(self.capacity))] = clip
        return clip

    def again(self, rng: np.random.Generator) -> Clip:
        """A random clip of those kept."""
        return self.kept[int(rng.integers(len(self.kept)))]


def varied(rng: np.random.Generator, clip: Clip, size: int) -> Clip:
    """The clip through random crops, perhaps mirrored and backwards, at (size, size) pixels."""
    order = slice(None, None, -1 if len(clip.ids) > 1 and rng.random() < 0.3 else 1)
    images, ids = clip.images_bgr[order], clip.ids[order]
    parts = None if clip.parts is None else clip.parts[order]
    crops = _crops(rng, ids)
    mirrored = rng.random() < 0.5
    light = _light(rng)
    shown = [
        cv2.LUT(_cut(p, w, size, cv2.INTER_AREA, mirrored), light)
        for p, w in zip(images, crops, strict=True)
    ]

    def labels(planes: Image) -> Image:
        cut = [
            _cut(p, w, size, cv2.INTER_NEAREST, mirrored)
            for p, w in zip(planes, crops, strict=True)
        ]
        return np.stack(cut)

    seen, seen_parts = np.stack(shown).astype(np.uint8), None if parts is None else labels(parts)
    return replace(clip, images_bgr=seen, ids=labels(ids), parts=seen_parts)


def _cut(picture: Image, crop: Crop, size: int, smooth: int, mirrored: bool) -> Image:
    x, y, side = (round(v) for v in crop)
    piece = picture[y : y + side, x : x + side]
    if mirrored:
        piece = piece[:, ::-1]
    how = cv2.INTER_LINEAR if smooth == cv2.INTER_AREA and side < size else smooth
    return np.asarray(cv2.resize(piece, (size, size), interpolation=how), np.uint8)


def _light(rng: np.random.Generator) -> Image:
    """A random look-up table (1, 256, 3): gamma and gain of each channel."""
    gamma = np.exp(rng.normal(0, 0.2))
    gain = np.exp(rng.normal(0, 0.15) + rng.normal(0, 0.06, 3))
    ramp = (np.arange(256) / 255)[:, None] ** gamma * 255 * gain + rng.normal(0, 8)
    return np.asarray(np.clip(ramp, 0, 255)[None], np.uint8)


def _crops(rng: np.random.Generator, ids: Image) -> list[Crop]:
    """One crop per frame of (T, S, S) ids."""
    frames, size = len(ids), ids.shape[1]
    kind = rng.random()
    present = np.unique(ids[0])
    present = present[present > 0]
    if kind < 0.3 or (kind >= 0.6 and not len(present)):
        return [(0.0, 0.0, float(size))] * frames
    if kind < 0.6:
        side = float(rng.uniform(SMALLEST, 1.0)) * size
        x, y = rng.uniform(0, size - side, 2)
        return [(float(x), float(y), side)] * frames
    return _following(rng, ids == rng.choice(present), size)


def _following(rng: np.random.Generator, masks: NDArray[np.bool_], size: int) -> list[Crop]:
    """Crops about an object: they stand for some frames, then jump to where it is now."""
    zoom = float(rng.uniform(1.5, 4.0))
    crops: list[Crop] = []
    for mask in masks:
        if crops and rng.random() < 0.5:
            crops.append(crops[-1])
            continue
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if not len(rows):
            crops.append(crops[-1] if crops and rng.random() < 0.5 else (0, 0, float(size)))
            continue
        extent = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
        side = float(np.clip(extent * zoom * np.exp(rng.normal(0, 0.15)), SMALLEST * size, size))
        middle = np.array([columns[0] + columns[-1], rows[0] + rows[-1]]) / 2
        corner = middle - side / 2 + rng.normal(0, 0.08 * side, 2)
        x, y = np.clip(corner, 0, size - side)
        crops.append((float(x), float(y), side))
    return crops
