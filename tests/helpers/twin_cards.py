"""Two identical cards that cross before a wall, with known truth; every crossing is another one,
before another part of the wall."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from samcam.live.frames import U8
from samcam.live.sources.demo.paint import paint_card, paint_wall

SIZE_WH: Final = (320, 240)
FRAMES: Final = 60
LEFT, RIGHT = 1, 2  # by where they start
_SCALE: Final = 0.375
_HALF_PX: Final = 25  # of a card's width


@dataclass(frozen=True, slots=True)
class _Path:
    """Of one card's middle, in pixels."""

    x: float
    y: float
    dx: float
    dy: float
    sway: float
    turn: float


class TwinCards:
    """One crossing."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        width, height = SIZE_WH
        across, down = width / _SCALE, height / _SCALE
        left, top = rng.uniform(0, 4000), 200 - down / 2
        self._wall = paint_wall(rng, _SCALE, left, top, left + across, top + down)
        self._wall = cv2.resize(self._wall, SIZE_WH)
        self._card = paint_card(rng, _SCALE * 0.62)
        across = rng.uniform(180, 215)
        slope = rng.uniform(-25, 25)
        middle_y = height / 2 + rng.uniform(-20, 20)
        start = (width - across) / 2
        self._paths = (
            _Path(start, middle_y - slope, across, 2 * slope, *rng.uniform(-8, 8, 2)),
            _Path(width - start, middle_y + slope, -across, -2 * slope, *rng.uniform(-8, 8, 2)),
        )
        self._front = int(rng.integers(2))

    def meets(self, stays: int, each: int = 1) -> list[float]:
        """Return how far the cards are on each picture where they come, halfway over each other,
        to rest, and go back to where they came from.

        Args:
            stays: Pictures on which they rest.
            each: Steps of the crossing from one picture to the next.
        """
        meet = (1 - _HALF_PX / self._paths[0].dx) / 2
        come = [meet - each * step / (FRAMES - 1) for step in range(12 // each, 0, -1)]
        return come + [meet] * stays + come[::-1]

    def render(self, index: int, share: float | None = None) -> tuple[U8, U8]:
        """Return (H, W, 3) BGR, and (H, W) of what is seen where: 0, `LEFT` or `RIGHT`.

        Args:
            index: Of the picture; its noise is its own.
            share: Of the way that the cards have gone; None: as the index says.
        """
        share = index / (FRAMES - 1) if share is None else share
        image = self._wall.astype(np.float32)
        ids = np.zeros(SIZE_WH[::-1], np.uint8)
        for number in (1 - self._front, self._front):
            self._draw(image, ids, self._paths[number], share, number + 1)
        noise = np.random.default_rng(index).normal(0, 2, image.shape)
        return np.clip(image + noise, 0, 255).astype(np.uint8), ids

    def _draw(self, image: np.ndarray, ids: U8, path: _Path, share: float, card_id: int) -> None:
        """Draw a card where it is after a share of its way."""
        wave = math.sin(2 * math.pi * share)
        x = path.x + path.dx * share
        y = path.y + path.dy * share + path.sway * wave
        middle = (self._card.shape[1] / 2, self._card.shape[0] / 2)
        matrix = cv2.getRotationMatrix2D(middle, path.turn * wave, 1.0)
        matrix[:, 2] += (x - middle[0], y - middle[1])
        moved = cv2.warpAffine(self._card, matrix, SIZE_WH)
        alpha = moved[..., 3:].astype(np.float32) / 255
        image *= 1 - alpha
        image += moved[..., :3]
        ids[moved[..., 3] >= 128] = card_id
