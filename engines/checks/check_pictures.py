"""Painted pictures to compare networks on: two objects of known outline, for the prompts.

The program carries no photographs. These have what a network's answer depends on (texture, edges,
shading, noise) and are the same on every machine; they say little about real frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from samcam.engines.host_rules import F32
from samcam.engines.sam2_graphs import U8

BODY_ID, HEAD_ID = 1, 2
# Both objects together, as a share of the picture: the two corners of a box.
FIGURE_BOX: Final = (0.2, 0.1, 0.8, 0.9)
# The objects as corners in shares of the figure's box, the body's then the head's; rounded by a
# blur. Each holds one of the self-check's points well inside: (0.5, 0.25) and (0.5, 0.81) here.
_OUTLINES: Final = (
    (
        ((0.0, 1.0), (0.12, 0.55), (0.4, 0.4), (0.6, 0.4), (0.88, 0.55), (1.0, 1.0)),
        ((0.28, 0.25), (0.36, 0.05), (0.5, 0.0), (0.64, 0.05), (0.72, 0.25), (0.5, 0.48)),
    ),
    (
        ((0.0, 0.6), (0.5, 0.42), (1.0, 0.6), (0.8, 1.0), (0.2, 1.0)),
        ((0.2, 0.0), (0.8, 0.0), (0.7, 0.45), (0.3, 0.45)),
    ),
    (
        ((0.1, 0.5), (0.9, 0.5), (1.0, 0.75), (0.7, 1.0), (0.3, 1.0), (0.0, 0.75)),
        ((0.1, 0.3), (0.5, 0.0), (0.9, 0.3), (0.65, 0.55), (0.35, 0.55)),
    ),
)
_SIZES_WH: Final = ((640, 480), (480, 640), (560, 560))
_LEVELS: Final = ((50, 165, 95), (100, 175, 55), (165, 75, 200))  # mean grey: wall, body, head
_SEED: Final = 20
_GRAIN: Final = 4.0  # standard deviation of the noise, in grey levels


@dataclass(frozen=True, slots=True)
class CheckPicture:
    """A painted picture and its truth.

    Attributes:
        image: (H, W, 3) uint8 BGR.
        ids: (H, W) uint8: `BODY_ID`, `HEAD_ID` or 0.
    """

    image: U8
    ids: U8


def paint_check_pictures() -> list[CheckPicture]:
    """Paint the pictures: other outlines, textures, colours and aspects, always the same."""
    return [_paint(np.random.default_rng(_SEED + i), i) for i in range(len(_OUTLINES))]


def _paint(rng: np.random.Generator, index: int) -> CheckPicture:
    width, height = _SIZES_WH[index]
    corner = np.array(FIGURE_BOX[:2]) * (width, height)
    extent = np.array(FIGURE_BOX[2:]) * (width, height) - corner
    image = _texture(rng, (width, height), 24.0, _LEVELS[index][0])
    ids = np.zeros((height, width), np.uint8)
    for object_id, outline in zip((BODY_ID, HEAD_ID), _OUTLINES[index], strict=True):
        mask = np.zeros((height, width), np.uint8)
        cv2.fillPoly(mask, [np.rint(corner + np.array(outline) * extent).astype(np.int32)], 255)
        soft = cv2.GaussianBlur(mask, (0, 0), 2.5)
        shadow = cv2.GaussianBlur(np.roll(mask, (8, 10), (0, 1)), (0, 0), 9.0) / 255.0
        image *= 1.0 - 0.4 * shadow[..., None].astype(np.float32)
        alpha = (soft / 255.0).astype(np.float32)[..., None]
        painted = _texture(rng, (width, height), 3.0 + 4.0 * object_id, _LEVELS[index][object_id])
        image += alpha * (painted - image)
        ids[soft >= 128] = object_id
    image += rng.normal(0.0, _GRAIN, image.shape).astype(np.float32)
    return CheckPicture(np.clip(image, 0, 255).astype(np.uint8), ids)


def _texture(
    rng: np.random.Generator, size_wh: tuple[int, int], spread: float, level: float
) -> F32:
    """Return (H, W, 3) float32: blotches of two colours, `spread` pixels wide, with stripes and a
    gradient of light around a mean grey `level`."""
    width, height = size_wh
    blotches = cv2.GaussianBlur(rng.random((height, width), np.float32), (0, 0), spread)
    blotches = (blotches - blotches.mean()) / (4.0 * blotches.std())
    x, y = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    turn, pitch = rng.uniform(0, np.pi), rng.uniform(20, 60)
    along = np.cos(turn) * x + np.sin(turn) * y
    weight = np.clip(0.5 + blotches + 0.2 * np.sin(pitch * along), 0, 1)[..., None]
    first, second = rng.uniform(-40, 40, (2, 3)) + level
    light = 1.0 - 0.15 * along[..., None]
    painted: F32 = ((first + (second - first) * weight) * light).astype(np.float32)
    return painted
