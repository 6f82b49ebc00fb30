"""Endless batches of generated clips with prompts, made in worker processes."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from training.network.sizes import MASK_STRIDE
from training.scenes.crops import ClipPool, varied
from training.scenes.footage import Footage, open_footage
from training.scenes.generator import Clip, generate_clip
from training.scenes.ingredients import EVERYTHING
from training.scenes.real import RealPictures, open_real

MAX_POINTS = 3
MIN_FIRST_AREA = 0.002  # share of the picture an object must cover in frame 0 to be prompted
DRAWN_LARGER = 1.5  # side of a clip drawn for several uses, relative to the network's picture
POOL_FRAMES = 800  # drawn pictures that a worker keeps, 0.75 MB each
CLICK_SHARE = 0.48  # of prompts that are one click
PART_SHARE = 0.06  # of one-click prompts answered by a part of the object


@dataclass(frozen=True)
class BatchSpec:
    """What a batch holds.

    Attributes:
        clips: Clips per batch C.
        frames: Frames per clip T.
        size: Picture side S in pixels.
        objects: Prompted objects per clip R (an object may repeat with another prompt).
        reuse: How often a drawn clip is used on the average, each time through another crop
            (training/scenes/crops.py); 1 for clips as they are drawn.
        without: Names of `training.scenes.ingredients` that are left out.
    """

    clips: int
    frames: int
    size: int
    objects: int
    reuse: int = 1
    without: tuple[str, ...] = ()


@dataclass(frozen=True)
class Batch:
    """Tensors of one batch; B = clips * objects, ordered by clip.

    Attributes:
        images: (C, T, S, S, 3) uint8 BGR.
        targets: (B, T, L, L) uint8, share of each low-resolution cell that is object, 0..255.
        points: (B, MAX_POINTS, 2) float32 pixels; labels: (B, MAX_POINTS) int32, -1 for none.
        mask_prompt: (B,) bool, prompted by the true mask instead of points.
    """

    images: Tensor
    targets: Tensor
    points: Tensor
    labels: Tensor
    mask_prompt: Tensor

    def to(self, device: torch.device) -> Batch:
        return replace(self, **{f.name: getattr(self, f.name).to(device) for f in fields(self)})


def centre_pixel(mask: NDArray[np.bool_]) -> tuple[int, int]:
    """The pixel (x, y) farthest from the mask's border; the picture's edge counts as border."""
    padded = np.pad(mask.astype(np.uint8), 1)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1]
    y, x = np.unravel_index(int(distance.argmax()), distance.shape)
    return int(x), int(y)


def random_pixel(rng: np.random.Generator, mask: NDArray[np.bool_]) -> tuple[int, int]:
    """A random pixel (x, y) of the mask, away from its border where the mask is thick enough."""
    inner = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8), iterations=2) > 0
    ys, xs = np.nonzero(inner if inner.any() else mask)
    i = int(rng.integers(len(xs)))
    return int(xs[i]), int(ys[i])


def _click(rng: np.random.Generator, mask: NDArray[np.bool_]) -> tuple[int, int]:
    return centre_pixel(mask) if rng.random() < 0.5 else random_pixel(rng, mask)


def _box(rng: np.random.Generator, mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    ys, xs = np.nonzero(mask)
    x1, y1, x2, y2 = xs.min(), ys.min(), xs.max() + 1, ys.max() + 1
    jitter = rng.normal(0, 0.04, 4) * np.array([x2 - x1, y2 - y1, x2 - x1, y2 - y1])
    box = np.array([x1, y1, x2, y2]) + jitter * (rng.random() < 0.7)
    return np.asarray(np.clip(box, 0, mask.shape[1]), np.float32)


@dataclass(frozen=True)
class _Sampled:
    points: NDArray[np.float32]
    labels: NDArray[np.int32]
    mask_prompt: bool


def sample_prompt(
    rng: np.random.Generator, mask: NDArray[np.bool_], with_mask: bool, with_click: bool = True
) -> _Sampled:
    """Draw a prompt for (S, S) `mask`: one click, a box, several clicks, or the mask itself."""
    points = np.zeros((MAX_POINTS, 2), np.float32)
    labels = np.full(MAX_POINTS, -1, np.int32)
    kind = rng.uniform(0.0 if with_click else CLICK_SHARE, 1.0)
    if with_mask and kind > 0.9:
        return _Sampled(points, labels, True)
    if kind < CLICK_SHARE:
        points[0], labels[0] = _click(rng, mask), 1
    elif kind < 0.78:
        points[:2] = _box(rng, mask).reshape(2, 2)
        labels[:2] = 2, 3
    else:
        points[0], labels[0] = _click(rng, mask), 1
        ring = cv2.dilate(mask.astype(np.uint8), np.ones((25, 25), np.uint8)) > 0
        outside = (ring & ~mask) if rng.random() < 0.6 else ~mask
        if outside.any():
            points[1], labels[1] = random_pixel(rng, outside), 0
        if rng.random() < 0.5:
            points[2], labels[2] = random_pixel(rng, mask), 1
    return _Sampled(points, labels, False)


def low_resolution(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """(S, S) to the share of each L x L cell that is object, 0..255."""
    side = mask.shape[0] // MASK_STRIDE
    return np.asarray(
        cv2.resize(mask.astype(np.uint8) * 255, (side, side), interpolation=cv2.INTER_AREA),
        np.uint8,
    )


class PromptedClips(IterableDataset[dict[str, NDArray[np.generic]]]):
    """Endless clips with prompts; every worker draws its own stream from the seed."""

    def __init__(self, spec: BatchSpec, seed: int, clips: Path | None, cache: Path) -> None:
        self.spec, self.seed, self.clips, self.cache = spec, seed, clips, cache
        self.ingredients = EVERYTHING
        for name in spec.without:
            self.ingredients = self.ingredients.without(name)

    def __iter__(self) -> Iterator[dict[str, NDArray[np.generic]]]:
        cv2.setNumThreads(0)
        info = get_worker_info()
        rng = np.random.default_rng((self.seed, info.id if info else 0))
        footage = open_footage(self.clips, self.cache) if self.clips else None
        real = open_real(self.cache)
        pool = ClipPool(self.spec.reuse, max(16, POOL_FRAMES // self.spec.frames))
        while True:
            clip = self._clip(rng, pool, footage, real)
            areas = np.bincount(clip.ids[0].ravel(), minlength=256)[1:] / clip.ids[0].size
            present = np.flatnonzero(areas >= MIN_FIRST_AREA) + 1
            if len(present):
                yield self._sample(rng, clip, present)

    def _clip(
        self,
        rng: np.random.Generator,
        pool: ClipPool,
        footage: Footage | None,
        real: RealPictures | None,
    ) -> Clip:
        spec, given = self.spec, self.ingredients
        if spec.reuse == 1:
            return generate_clip(rng, spec.frames, spec.size, footage, given, real)
        if pool.wants_another(rng):
            side = int(spec.size * DRAWN_LARGER)
            drawn = generate_clip(rng, spec.frames, side, footage, given, real)
            return varied(rng, pool.add(rng, drawn), spec.size)
        return varied(rng, pool.again(rng), spec.size)

    def _sample(
        self,
        rng: np.random.Generator,
        clip: Clip,
        present: NDArray[np.intp],
    ) -> dict[str, NDArray[np.generic]]:
        ids, parts = clip.ids, clip.parts
        frames, objects = self.spec.frames, self.spec.objects
        chosen = rng.permutation(np.resize(rng.permutation(present), objects))
        targets, prompts = [], []
        for object_id in chosen:
            masks = ids == object_id
            prompt = sample_prompt(rng, masks[0], frames > 1, with_click=not clip.regions)
            one_click = (prompt.labels >= 0).sum() == 1
            if frames == 1 and one_click and parts is not None and rng.random() < PART_SHARE:
                x, y = prompt.points[0].astype(int)
                part = masks & (parts == parts[0, y, x])
                masks = part if part.mean() > MIN_FIRST_AREA else masks
            targets.append(np.stack([low_resolution(m) for m in masks]))
            prompts.append(prompt)
        return {
            "images": clip.images_bgr,
            "targets": np.stack(targets),
            "points": np.stack([p.points for p in prompts]),
            "labels": np.stack([p.labels for p in prompts]),
            "mask_prompt": np.array([p.mask_prompt for p in prompts]),
        }


def _collate(items: list[dict[str, NDArray[np.generic]]]) -> Batch:
    joined = {k: torch.from_numpy(np.stack([item[k] for item in items])) for k in items[0]}
    flat = {k: v.flatten(0, 1) for k, v in joined.items() if k != "images"}
    return Batch(images=joined["images"], **flat)


def _leave_ctrl_c_to_the_trainer(_: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def batches(
    spec: BatchSpec, seed: int, clips: Path | None, cache: Path, workers: int
) -> Iterator[Batch]:
    """Endless batches; `workers` processes draw them (0: in this process)."""
    loader: DataLoader[dict[str, NDArray[np.generic]]] = DataLoader(
        PromptedClips(spec, seed, clips, cache),
        batch_size=spec.clips,
        num_workers=workers,
        collate_fn=_collate,
        prefetch_factor=3 if workers else None,
        worker_init_fn=_leave_ctrl_c_to_the_trainer if workers else None,
    )
    yield from iter(loader)
