"""A compact cache of unlabelled real footage: colours, textures and backgrounds."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

WIDTH, HEIGHT = 640, 360  # size of a cached picture in pixels
BURST = 8  # number of consecutive cached pictures that come from one short moment
BURSTS_PER_VIDEO = 4
BURST_STRIDE = 2  # distance, in video frames, of two neighbouring pictures of a burst


class Footage:
    """Random access to cached pictures, shared between processes by memory mapping.

    Attributes:
        frames: (N, HEIGHT, WIDTH, 3) uint8, BGR; N is a multiple of BURST and every
            BURST consecutive pictures belong to one moment of one video.
    """

    def __init__(self, path: Path) -> None:
        """Maps the cache file at `path` (written by `open_footage`)."""
        self.path = path
        self.frames: Image = np.load(path, mmap_mode="r")

    def __reduce__(self) -> tuple[type[Footage], tuple[Path]]:
        """Pickles the path only, so that workers map the file again."""
        return Footage, (self.path,)

    def frame(self, rng: np.random.Generator) -> Image:
        """Returns one random picture, (HEIGHT, WIDTH, 3)."""
        return np.asarray(self.frames[rng.integers(len(self.frames))])

    def burst(self, rng: np.random.Generator, count: int) -> list[Image]:
        """Returns `count` consecutive pictures, running back and forth when needed."""
        start = int(rng.integers(len(self.frames) // BURST)) * BURST
        cycle = [*range(BURST), *range(BURST - 2, 0, -1)]
        first = int(rng.integers(len(cycle)))
        return [
            np.asarray(self.frames[start + cycle[(first + i) % len(cycle)]]) for i in range(count)
        ]

    def crop(self, rng: np.random.Generator, size: int) -> Image:
        """Returns a random (size, size, 3) crop, zoomed by a random factor."""
        frame = self.frame(rng)
        side = int(rng.uniform(0.2, 0.9) * HEIGHT)
        x, y = rng.integers(WIDTH - side), rng.integers(HEIGHT - side)
        interpolation = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
        patch = frame[y : y + side, x : x + side]
        out: Image = cv2.resize(patch, (size, size), interpolation=interpolation).astype(
            np.uint8, copy=False
        )
        return np.ascontiguousarray(out[:, ::-1]) if rng.random() < 0.5 else out


def open_footage(clips: Path, cache: Path) -> Footage | None:
    """Opens the cache of the *.mp4 files under `clips`, writing it when missing; None where neither
    a cache nor a video exists."""
    path = cache / f"footage_{WIDTH}x{HEIGHT}.npy"
    if not path.exists():
        videos = sorted(clips.glob("*.mp4"))
        if not videos:
            return None
        cache.mkdir(parents=True, exist_ok=True)
        frames = np.stack([frame for video in videos for frame in _read_bursts(video)])
        partial = path.with_suffix(".partial.npy")
        np.save(partial, frames)
        partial.rename(path)
    return Footage(path)


def _read_bursts(video: Path) -> list[Image]:
    """Reads BURSTS_PER_VIDEO evenly spread bursts of a video as BGR pictures."""
    with av.open(str(video)) as container:
        total = container.streams.video[0].frames
        length = BURST * BURST_STRIDE
        starts = np.linspace(0, max(total - length - 1, 0), BURSTS_PER_VIDEO).astype(int)
        wanted = [int(s) + i * BURST_STRIDE for s in starts for i in range(BURST)]
        kept: dict[int, Image] = {}
        for index, frame in enumerate(container.decode(video=0)):
            if index in wanted:
                picture = frame.to_ndarray(format="bgr24")
                kept[index] = cv2.resize(
                    picture, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA
                ).astype(np.uint8, copy=False)
    last = max(kept)
    return [kept[min(index, last)] for index in wanted]
