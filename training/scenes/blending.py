"""Makes objects belong to their picture: common light, contact, spill, sharpness and tone."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from training.scenes.extras import Extras
from training.scenes.render import Image, Layer, Plane

LIGHT_CELLS = 4  # cells along a side of the field of light


def _cut(layer: Layer, frame: Image) -> Image | None:
    """Returns the layer's window of the frame; what lies outside repeats the frame's edge."""
    size, (height, width) = len(frame), layer.alpha.shape
    x0, y0 = max(layer.x, 0), max(layer.y, 0)
    x1, y1 = min(layer.x + width, size), min(layer.y + height, size)
    if x1 <= x0 or y1 <= y0:
        return None
    beside = (y0 - layer.y, layer.y + height - y1, x0 - layer.x, layer.x + width - x1)
    inner = frame[y0:y1, x0:x1]
    return cv2.copyMakeBorder(inner, *beside, cv2.BORDER_REPLICATE).astype(np.uint8, copy=False)


def _sharpness(picture: Image, weight: Image | None) -> float:
    """Returns the size of the finest detail's contrast, in grey levels."""
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    _, deviation = cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_16S), mask=weight)
    return float(deviation[0, 0])


class Blending:
    """One clip's blending; what it takes from the surroundings stays as it was at first sight."""

    def __init__(self, rng: np.random.Generator, size: int) -> None:
        self._size = size
        self._spill = float(rng.uniform(0.1, 0.6)) if rng.random() < 0.6 else 0.0
        self._tone = float(rng.uniform(0.1, 0.5)) if rng.random() < 0.7 else 0.0
        self._contact = float(rng.uniform(0.2, 0.7)) if rng.random() < 0.6 else 0.0
        self._match_blur = bool(rng.random() < 0.7)
        self._field = _light_field(rng, size) if rng.random() < 0.6 else None
        self._tables: dict[int, Image] = {}
        self._blurs: dict[int, float] = {}

    def place(self, layer: Layer, frame: Image, number: int, extras: Extras) -> Layer:
        """Returns the layer of actor `number` as it looks in this frame, (S, S, 3)."""
        around = _cut(layer, frame)
        if around is None:
            return layer
        layer = toned(layer, around, max(self._tone, extras.tone), self._tables, number)
        if self._match_blur:
            layer = self._blurred(layer, around, number)
        if self._spill:
            layer = _spilled(layer, around, self._spill, self._size / 100)
        return layer

    def _blurred(self, layer: Layer, around: Image, number: int) -> Layer:
        """Makes an object that is sharper than its surroundings as soft as they are."""
        if number not in self._blurs:
            inside = cv2.erode((layer.alpha > 0.9).astype(np.uint8), np.ones((3, 3), np.uint8))
            own = _sharpness(layer.colour, inside.astype(np.uint8)) if inside.any() else 0.0
            ratio = own / max(_sharpness(around, None), 0.5)
            self._blurs[number] = float(np.clip(0.5 * np.log2(max(ratio, 1.0)), 0, 1.5))
        sigma = self._blurs[number] * self._size / 256
        if sigma < 0.3:
            return layer
        colour = layer.colour.astype(np.float32) * layer.alpha[..., None]
        colour = cv2.GaussianBlur(colour, (0, 0), sigma).astype(np.float32)
        alpha = cv2.GaussianBlur(layer.alpha, (0, 0), sigma).astype(np.float32)
        colour /= np.maximum(alpha, 1e-3)[..., None]
        solid = layer.solid
        if solid is not None:
            solid = cv2.GaussianBlur(solid, (0, 0), sigma).astype(np.float32)
        shown = np.clip(colour, 0, 255).astype(np.uint8)
        group = np.where(layer.group > 0, layer.group, cv2.dilate(layer.group, np.ones((5, 5))))
        return replace(layer, colour=shown, alpha=alpha, solid=solid, group=group.astype(np.uint8))

    def ground(self, layer: Layer, frame: Image) -> None:
        """Darkens the frame in place where the layer's lowest pixels touch the ground."""
        if not self._contact:
            return
        covered = layer.alpha > 0.5
        tall = np.flatnonzero(covered.any(1))
        if len(tall) < 8:
            return
        foot = covered[tall[-1] - max(2, len(tall) // 12) : tall[-1] + 1].any(0)
        columns = np.flatnonzero(foot)
        scale, half = 4, max(len(columns) / 2, 1.0)
        # the feet may stand apart: what lies between them is darkened as well
        half = max(half, float(np.ptp(columns)) / 2)
        middle = layer.x + float(columns.min() + columns.max()) / 2
        side = self._size // scale
        dark = np.zeros((side, side), np.float32)
        centre = (round(middle / scale * 16), round((layer.y + int(tall[-1])) / scale * 16))
        axes = (round(half * 1.1 / scale * 16), round(max(half * 0.2, 2) / scale * 16))
        cv2.ellipse(dark, centre, axes, 0, 0, 360, self._contact, -1, cv2.LINE_8, 4)
        soft = cv2.GaussianBlur(dark, (0, 0), max(0.8, half * 0.1 / scale))
        touched = np.flatnonzero(soft.max(1) > 0.002)
        if not len(touched):
            return
        band = slice(int(touched[0]), int(touched[-1]) + 1)
        rows = frame[band.start * scale : band.stop * scale]
        light = cv2.resize(
            1 - soft[band], (self._size, len(rows)), interpolation=cv2.INTER_LINEAR
        ).astype(np.float32, copy=False)
        rows[:] = cv2.multiply(rows, cv2.merge([light] * 3), dtype=cv2.CV_8U)

    def light(self, frame: Image) -> Image:
        """Returns the finished frame under the clip's light."""
        if self._field is None:
            return frame
        return cv2.multiply(frame, self._field, dtype=cv2.CV_8U).astype(np.uint8, copy=False)


def toned(
    layer: Layer, around: Image, strength: float, tables: dict[int, Image], number: int
) -> Layer:
    """Moves a layer's mean colour and contrast towards those of `around`, (H, W, 3).

    The table of each object is kept in `tables`, so that its colours are steady over a clip.
    """
    if not strength:
        return layer
    if number not in tables:
        inside = (layer.alpha > 0.5).astype(np.uint8)
        if not inside.any():
            return layer
        own, own_spread = cv2.meanStdDev(layer.colour, mask=inside)
        other, other_spread = cv2.meanStdDev(around)
        gain = float(np.clip(other_spread.mean() / max(own_spread.mean(), 4.0), 0.4, 2.0))
        gain = 1 + (gain - 1) * strength
        goal = own[:, 0] + (other[:, 0] - own[:, 0]) * strength
        values = np.arange(256)[:, None]
        table = np.clip((values - own[:, 0]) * gain + goal, 0, 255)
        tables[number] = table.astype(np.uint8)[:, None, :]
    colour = cv2.LUT(layer.colour, tables[number]).astype(np.uint8, copy=False)
    return replace(layer, colour=colour)


def low_contrast(layer: Layer, frame: Image, number: int, extras: Extras,
                 tables: dict[int, Image]) -> Layer:  # fmt: skip
    """Returns the layer with its extras' tone only, where a clip has no blending."""
    around = _cut(layer, frame)
    return layer if around is None else toned(layer, around, extras.tone, tables, number)


def _spilled(layer: Layer, around: Image, strength: float, reach: float) -> Layer:
    """Mixes the surroundings' colour into an object's edge."""
    height, width = layer.alpha.shape
    inner: Plane = cv2.GaussianBlur(layer.alpha, (0, 0), max(reach, 1.0)).astype(np.float32)
    weight = np.clip((1 - inner) * np.float32(1.6 * strength), 0, 1).astype(np.float32)
    small = (max(1, width // 8), max(1, height // 8))
    glow = cv2.resize(around, small, interpolation=cv2.INTER_AREA)
    glow = cv2.resize(glow, (width, height), interpolation=cv2.INTER_LINEAR)
    colour = cv2.blendLinear(glow, layer.colour, weight, 1 - weight)
    return replace(layer, colour=colour.astype(np.uint8, copy=False))


def _light_field(rng: np.random.Generator, size: int) -> NDArray[np.float32]:
    """Returns a smooth factor of light, (S, S, 3), with a faint tint."""
    amount = float(rng.uniform(0.05, 0.35))
    grid = rng.normal(0, amount, (LIGHT_CELLS, LIGHT_CELLS, 1))
    grid = np.exp(grid + rng.normal(0, amount * 0.15, (LIGHT_CELLS, LIGHT_CELLS, 3)))
    field = cv2.resize(
        grid.astype(np.float32), (size // 4, size // 4), interpolation=cv2.INTER_CUBIC
    )
    field = cv2.resize(field, (size, size), interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.3:  # a hard shadow over a part of the picture
        angle, edge = rng.uniform(0, 6.28), rng.uniform(-0.3, 0.3)
        line = np.linspace(-0.5, 0.5, size, dtype=np.float32)
        across = line[None] * np.float32(np.cos(angle)) + line[:, None] * np.float32(np.sin(angle))
        depth, width = np.float32(rng.uniform(0.2, 0.6)), np.float32(rng.uniform(0.005, 0.1))
        dark = depth * np.clip((across - np.float32(edge)) / width + np.float32(0.5), 0, 1)
        field = cv2.multiply(field, cv2.merge([np.float32(1) - dark] * 3))
    return np.asarray(field, np.float32)
