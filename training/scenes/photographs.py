"""Labelled photographs as scenes: as they are, or set in motion by smooth warps."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from training.scenes.real import Photograph, RealPictures

Image = NDArray[np.uint8]

MARGIN = 1.12  # side of the canvas relative to the picture where the camera moves; 1 for stills
MOST_LABELS = 200  # instances of a photograph with more are numbered no further
CELLS = 4  # cells along a side of the field that bends a photograph


def draw_photograph(
    rng: np.random.Generator, shape: tuple[int, int], real: RealPictures
) -> tuple[list[Image], list[Image]]:
    """Draws a labelled photograph, stretched to a square, for each frame of `shape` (frames, size).

    The whole picture or a part of it, perhaps mirrored; in a clip it bends smoothly, further in
    each frame.

    Returns:
        Pictures (C, C, 3) and instance ids (C, C): one each, or one for each frame.
    """
    frames, size = shape
    side = int(size * MARGIN) if frames > 1 else size
    cut = _cut(rng, real.photograph(rng))
    how = cv2.INTER_AREA if min(cut.ids.shape) > side else cv2.INTER_LINEAR
    picture = cv2.resize(cut.picture, (side, side), interpolation=how).astype(np.uint8)
    ids = cv2.resize(cut.ids, (side, side), interpolation=cv2.INTER_NEAREST).astype(np.uint8)
    if frames == 1:
        return [picture], [ids]
    return _bent(rng, picture, ids, frames)


def _cut(rng: np.random.Generator, photograph: Photograph) -> Photograph:
    """The whole photograph or a window of it, mirrored half of the time."""
    picture, ids = photograph.picture, np.minimum(photograph.ids, MOST_LABELS)
    ids = np.where(photograph.ids > MOST_LABELS, 0, ids).astype(np.uint8)
    if rng.random() < 0.5:
        height, width = ids.shape
        share = rng.uniform(0.5, 1.0, 2) if rng.random() < 0.5 else np.full(2, rng.uniform(0.5, 1))
        h, w = int(height * share[0]), int(width * share[1])
        y, x = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
        cut = np.s_[y : y + h, x : x + w]
        if ids[cut].any():
            picture, ids = picture[cut], ids[cut]
    if rng.random() < 0.5:
        picture, ids = picture[:, ::-1], ids[:, ::-1]
    return Photograph(np.ascontiguousarray(picture), np.ascontiguousarray(ids))


def _bent(
    rng: np.random.Generator, picture: Image, ids: Image, frames: int
) -> tuple[list[Image], list[Image]]:
    """The picture and its ids in each frame, bent by a smooth field that grows and sways."""
    side = len(ids)
    field = rng.normal(0, 1, (2, CELLS, CELLS)).astype(np.float32)
    smooth = [cv2.resize(plane, (side, side), interpolation=cv2.INTER_CUBIC) for plane in field]
    strength = float(rng.choice([0.0, rng.uniform(0.002, 0.012)], p=[0.2, 0.8])) * side
    sway, phase = float(rng.uniform(0.2, 0.9)), float(rng.uniform(0, 6.28))
    columns, rows = np.meshgrid(
        np.arange(side, dtype=np.float32), np.arange(side, dtype=np.float32)
    )
    pictures, planes = [], []
    for index in range(frames):
        amount = np.float32(strength * (0.5 * index + np.sin(sway * index + phase)))
        x, y = columns + amount * smooth[0], rows + amount * smooth[1]
        pictures.append(
            cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
            .astype(np.uint8)
        )  # fmt: skip
        planes.append(
            cv2.remap(ids, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT_101)
            .astype(np.uint8)
        )  # fmt: skip
    return pictures, planes
