"""Writes held-out generated clips as a data folder that `python -m bench.accuracy` reads.

    python -m training.held_out out/held_out [--clips 16] [--frames 40] [--footage FOLDER_OF_MP4]

Models and presets are compared and tuned on these clips, never on labelled real ones: their seeds
are drawn by nothing else. Only the largest object of a clip's first frame is kept as truth. Where
`training.free_data` has run, the photographs that training never sees are written as stills.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import cv2
import numpy as np

from samcam.system import prepare_streams
from training.evaluate import HELD_OUT_SEED
from training.scenes.footage import Footage, open_footage
from training.scenes.generator import generate_clip
from training.scenes.real import RealPictures, open_real

FIRST_CLIP_SEED = HELD_OUT_SEED + 100_000
MIN_AREA = 0.01  # share of the first picture that the followed object covers at least


def write_clip(folder: Path, seed: int, frames: int, size: int, footage: Footage | None) -> bool:
    """Write one clip into `folder`/frames and `folder`/masks; False where no object is large."""
    clip = generate_clip(np.random.default_rng(seed), frames, size, footage)
    areas = np.bincount(clip.ids[0].ravel(), minlength=2)[1:] / (size * size)
    if areas.max() < MIN_AREA:
        return False
    target = int(areas.argmax()) + 1
    for name in ("frames", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for index in range(frames):
        cv2.imwrite(str(folder / f"frames/{index:05d}.jpg"), clip.images_bgr[index])
        mask = (clip.ids[index] == target).astype(np.uint8) * 255
        cv2.imwrite(str(folder / f"masks/{index:05d}.png"), mask)
    return True


def copy_photographs(folder: Path, real: RealPictures) -> int:
    """Copy the photographs of `real` into `folder`/images and `folder`/masks; returns how many."""
    for name, suffix in (("images", ".jpg"), ("masks", ".png")):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for photograph in real.names:
            shutil.copyfile(
                real.folder / "photographs" / f"{photograph}{suffix}",
                folder / name / f"{photograph}{suffix}",
            )
    return len(real.names)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--clips", type=int, default=16)
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--footage", type=Path)
    parser.add_argument("--cache", type=Path, default=Path(__file__).parent / "cache")
    options = parser.parse_args()
    footage = open_footage(options.footage, options.cache) if options.footage else None
    written, seed = 0, FIRST_CLIP_SEED
    while written < options.clips:
        folder = options.out / "masks" / f"seed_{seed}"
        written += write_clip(folder, seed, options.frames, options.size, footage)
        seed += 1
    print(f"{options.out}: {written} clips of {options.frames} frames")
    real = open_real(options.cache, held_out=True)
    if real is not None and real.has_photographs:
        count = copy_photographs(options.out / "stills" / "photographs", real)
        print(f"{options.out}: {count} photographs")


if __name__ == "__main__":
    prepare_streams()
    main()
