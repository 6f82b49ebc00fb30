"""Writes a contact sheet of generated clips: python -m training.preview OUT.png."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from samcam.system import prepare_streams
from training.scenes.footage import Footage, open_footage
from training.scenes.generator import Clip, generate_clip
from training.scenes.ingredients import EVERYTHING, NOTHING_EXTRA
from training.scenes.real import open_real

_COLOURS = np.array(
    [[80, 80, 255], [80, 255, 80], [255, 120, 60], [60, 255, 255], [255, 60, 255],
     [255, 255, 60], [200, 160, 255], [0, 140, 255]]
)  # fmt: skip


def draw_clip(clip: Clip, columns: int) -> NDArray[np.uint8]:
    """Returns `columns` frames of a clip side by side, (S, columns * S, 3), contoured."""
    tiles = []
    for index in np.linspace(0, len(clip.ids) - 1, columns).round().astype(int):
        tile = clip.images_bgr[index].copy()
        for label in np.unique(clip.ids[index]):
            if label:
                mask = (clip.ids[index] == label).astype(np.uint8)
                found, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
                cv2.drawContours(tile, found, -1, _COLOURS[(label - 1) % 8].tolist(), 1)
        tiles.append(tile)
    return np.concatenate(tiles, 1)


def measure(footage: Footage | None, frames: int, size: int, clips: int) -> float:
    """Returns the mean processor time per frame in milliseconds."""
    start = time.process_time()
    for seed in range(clips):
        generate_clip(np.random.default_rng(seed + 50_000), frames, size, footage)
    return (time.process_time() - start) * 1000 / (clips * frames)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--clips", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--columns", type=int, default=4)
    parser.add_argument("--footage", type=Path, help="folder of mp4 files used as textures")
    parser.add_argument("--cache", type=Path, default=Path(__file__).parent / "cache")
    parser.add_argument("--only", help="every clip has this ingredient, and no other")
    parser.add_argument("--timing", action="store_true", help="also measure the speed")
    options = parser.parse_args()
    cv2.setNumThreads(0)
    footage = open_footage(options.footage, options.cache) if options.footage else None
    real = open_real(options.cache)
    ingredients = NOTHING_EXTRA.always(options.only) if options.only else EVERYTHING
    rows = []
    for number in range(options.clips):
        rng = np.random.default_rng(options.seed + number)
        clip = generate_clip(rng, options.frames, options.size, footage, ingredients, real)
        rows.append(draw_clip(clip, options.columns))
    half = (len(rows) + 1) // 2
    rows += [np.zeros_like(rows[0])] * (2 * half - len(rows))
    sheet = np.concatenate([np.concatenate(rows[:half]), np.concatenate(rows[half:])], 1)
    cv2.imwrite(str(options.out), sheet)
    if options.timing:
        for frames in (1, 8):
            print(f"T={frames}: {measure(footage, frames, options.size, 60):.1f} ms per frame")


if __name__ == "__main__":
    prepare_streams()
    main()
