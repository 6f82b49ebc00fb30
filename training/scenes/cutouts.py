"""Real things as sprites: cut-outs relit, bent and softened, drawn with exact alpha."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from training.scenes.geometry import Matrix
from training.scenes.render import Image, Layer, Plane, finish, window_of

_CROSS = np.ones((3, 3), np.uint8)
MIN_LEFT = 0.6  # share of a cut-out that must be left where its edge is eroded


@dataclass(frozen=True)
class CutoutSprite:
    """A picture with alpha on its way through a clip.

    Attributes:
        picture: (H, W, 4) uint8, not much finer than it is drawn.
        labels: (2,) object id at index 1, as `render.Sprite` has them.
        softness: standard deviation of the edge's blur in pixels.
        elastic: amplitude of its bending in unit coordinates.
        waves: (4,) wave numbers and phases of the bending.
        family: what it is one of; "" where nobody knows.
        grain: standard deviation of the grain that is added, in grey levels.
        seam: standard deviation, in pixels, of the blur that hides its seam; 0 for none.
    """

    picture: Image
    labels: Image
    softness: float
    elastic: float
    waves: Plane
    family: str
    grain: float
    seam: float

    @property
    def extent(self) -> tuple[float, float]:
        """Half its width and height in unit coordinates: the longer one is 1."""
        height, width = self.picture.shape[:2]
        longest = max(height, width)
        return width / longest, height / longest

    def area(self) -> float:
        """Covered area in square units."""
        x, y = self.extent
        covered = float((self.picture[..., 3] > 127).mean())
        return max(covered, 0.02) * 4 * x * y  # of a hair, a pixel or two


def prepare_cutout(
    rng: np.random.Generator, picture: Image, family: str, side: float, size: int
) -> CutoutSprite:
    """A cut-out, from (H, W, 4), as one clip shows it; `side` (its longer one) and `size` (the
    clip's) in pixels on the screen."""
    factor = min(1.0, 1.5 * side / max(picture.shape[:2]))
    shape = (max(4, round(picture.shape[1] * factor)), max(4, round(picture.shape[0] * factor)))
    small = cv2.resize(picture, shape, interpolation=cv2.INTER_AREA).astype(np.uint8)
    alpha = small[..., 3]
    if rng.random() < 0.5:  # the ground that it was cut from is often seen along its edge
        eroded = cv2.erode(alpha, _CROSS).astype(np.uint8)
        if (eroded > 127).sum() > MIN_LEFT * (alpha > 127).sum():  # what is thin stays as it is
            alpha = eroded
    shown = relit(rng, np.ascontiguousarray(small[..., :3]))
    waves = np.append(rng.uniform(0.8, 3.0, 2), rng.uniform(0, 6.28, 2)).astype(np.float32)
    unit = size / 256
    return CutoutSprite(
        np.dstack([shown, alpha]).astype(np.uint8),
        np.array([0, 1], np.uint8),
        float(rng.choice([0.0, rng.uniform(0.3, 1.3)])) * unit,
        float(rng.choice([0.0, rng.uniform(0.01, 0.06)], p=[0.5, 0.5])),
        waves,
        family,
        float(rng.exponential(2.0)) if rng.random() < 0.5 else 0.0,
        float(rng.uniform(0.5, 1.3)) * unit if rng.random() < 0.5 else 0.0,
    )


def relit(rng: np.random.Generator, picture: Image) -> Image:
    """The picture (H, W, 3) in other light: from another side, brighter, of another tint."""
    height, width = picture.shape[:2]
    table = np.linspace(0, 1, 256)[:, None] ** np.exp(rng.normal(0, 0.22))
    gain = np.exp(rng.normal(0, 0.15) + rng.normal(0, 0.06, 3))
    shown = cv2.LUT(picture, np.clip(table * 255 * gain, 0, 255).astype(np.uint8)[None])
    if rng.random() < 0.3:
        grey = cv2.cvtColor(shown, cv2.COLOR_BGR2GRAY)[..., None]
        share = rng.uniform(0.2, 0.9)
        shown = np.clip(shown * (1 - share) + grey * share, 0, 255)
    if rng.random() < 0.6:
        angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.45)
        x, y = np.linspace(-1, 1, width)[None], np.linspace(-1, 1, height)[:, None]
        slope = 1 + strength * (np.cos(angle) * x + np.sin(angle) * y)
        shown = np.clip(shown * slope[..., None], 0, 255)
    return np.asarray(shown).astype(np.uint8)


def draw_cutout(
    sprite: CutoutSprite, matrix: Matrix, cycle: float, size: int, velocity: tuple[float, float]
) -> Layer | None:
    """Draws a cut-out at one moment; arguments and result as `render.draw_sprite` has them."""
    ax, ay = sprite.extent
    bend = sprite.elastic
    corners = np.array([[-ax, -ay], [ax, -ay], [ax, ay], [-ax, ay]]) * (1 + bend)
    placed = corners @ matrix[:2, :2].T + matrix[:2, 2]
    reach = int(np.hypot(*velocity)) // 2 + 4
    box = window_of(placed.astype(np.float32), reach, (-reach, -reach, size + reach, size + reach))
    if box is None:
        return None
    x, y, width, height = box
    back = np.linalg.inv(matrix)
    columns = np.arange(x, x + width, dtype=np.float32) + np.float32(0.5)
    rows = (np.arange(y, y + height, dtype=np.float32) + np.float32(0.5))[:, None]
    u = (back[0, 0] * columns + back[0, 1] * rows + back[0, 2]).astype(np.float32)
    v = (back[1, 0] * columns + back[1, 1] * rows + back[1, 2]).astype(np.float32)
    if bend:
        kx, ky, px, py = (float(wave) for wave in sprite.waves)
        turn = 2 * np.pi * cycle
        bent = u - np.float32(bend) * np.sin(ky * v + np.float32(px + turn))
        v = v - np.float32(bend) * np.sin(kx * u + np.float32(py + turn))
        u = bent
    half = max(sprite.picture.shape[:2]) / 2
    at_x = ((u + ax) * half - 0.5).astype(np.float32)
    at_y = ((v + ay) * half - 0.5).astype(np.float32)
    colour = cv2.remap(
        np.ascontiguousarray(sprite.picture[..., :3]), at_x, at_y, cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    ).astype(np.uint8)  # fmt: skip
    cover = cv2.remap(np.ascontiguousarray(sprite.picture[..., 3]), at_x, at_y, cv2.INTER_LINEAR)
    group = (cover > 40).astype(np.uint8)
    if sprite.grain:
        rng = np.random.default_rng(int(abs(cycle) * 1e6))
        grain = rng.standard_normal((height, width, 1), dtype=np.float32) * sprite.grain
        colour = np.clip(colour + grain, 0, 255).astype(np.uint8)
    alpha = (cover / np.float32(255)).astype(np.float32)
    return finish(Layer(x, y, colour, alpha, group), sprite.softness, velocity)


def soften_seam(layer: Layer, frame: Image, sigma: float) -> None:
    """Blurs a frame, in place, along the edge of a layer that was put into it.

    The seam of a pasted thing is sharper than any edge that a lens draws; softened across, it
    does not tell which side was pasted.
    """
    size = len(frame)
    x0, y0 = max(layer.x, 0), max(layer.y, 0)
    x1 = min(layer.x + layer.alpha.shape[1], size)
    y1 = min(layer.y + layer.alpha.shape[0], size)
    if x1 <= x0 or y1 <= y0:
        return
    inner = np.s_[y0 - layer.y : y1 - layer.y, x0 - layer.x : x1 - layer.x]
    covered = (layer.alpha[inner] > 0.5).astype(np.uint8)
    edge = cv2.dilate(covered, _CROSS) - cv2.erode(covered, _CROSS)
    weight = cv2.GaussianBlur(edge.astype(np.float32), (0, 0), max(0.6, sigma))
    weight = np.ascontiguousarray(np.clip(weight * 1.5, 0, 1).astype(np.float32))
    place = np.s_[y0:y1, x0:x1]
    below = np.ascontiguousarray(frame[place])
    soft = cv2.GaussianBlur(below, (0, 0), sigma).astype(np.uint8)
    frame[place] = cv2.blendLinear(soft, below, weight, 1 - weight)


def relabelled(sprite: CutoutSprite, label: int) -> CutoutSprite:
    return replace(sprite, labels=np.array([0, label], np.uint8))
