"""Writers of small labelled data trees."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray


def write_jpegs(folder: Path, count: int, size_wh: tuple[int, int] = (6, 4)) -> None:
    """Write `count` grey pictures 0.jpg, 1.jpg, ..."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        picture = np.full((size_wh[1], size_wh[0], 3), 40 + index, np.uint8)
        cv2.imwrite(str(folder / f"{index}.jpg"), picture)


def write_ids(path: Path, ids: NDArray[np.uint8]) -> None:
    """Write object ids as a grey PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), ids)


def write_palette_png(path: Path, ids: NDArray[np.uint8]) -> None:
    """Write object ids as a palette PNG with arbitrary colours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    palette = np.random.default_rng(0).integers(0, 255, (256, 4), dtype=np.uint8)
    planes: Any = (ids, palette)  # PyAV takes the pair for pal8, its stub knows arrays only
    frame = av.VideoFrame.from_ndarray(planes, format="pal8")
    encoder = av.CodecContext.create("png", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = ids.shape[1], ids.shape[0], "pal8"
    encoder.time_base = Fraction(1, 25)
    path.write_bytes(b"".join(bytes(p) for p in [*encoder.encode(frame), *encoder.encode(None)]))


def write_disc_clip(folder: Path, count: int, radius: int = 22) -> None:
    """Write a clip with masks of 160 x 120 pixels: a red disc that goes right over noise."""
    noise = np.random.default_rng(5).integers(60, 120, (120, 160, 3), dtype=np.uint8)
    (folder / "frames").mkdir(parents=True, exist_ok=True)
    for index in range(count):
        picture, ids = noise.copy(), np.zeros((120, 160), np.uint8)
        centre = (50 + 3 * index, 60)
        cv2.circle(picture, centre, radius, (40, 60, 230), -1)
        cv2.circle(ids, centre, radius, 1, -1)
        cv2.imwrite(str(folder / "frames" / f"{index:05d}.jpg"), picture)
        write_ids(folder / "masks" / f"{index:05d}.png", ids)
