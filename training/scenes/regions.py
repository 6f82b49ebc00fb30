"""Regions of real pictures as objects in place: real borders, with nothing pasted.

A picture is cut into small regions, which are merged, the most alike first. A region that came
to be at small differences and lasted until large ones is taken for a thing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from training.scenes.footage import HEIGHT, WIDTH, Footage
from training.scenes.textures import scaled

Image = NDArray[np.uint8]
Plane = NDArray[np.float32]
Values = NDArray[np.float64]
Labels = NDArray[np.int32]

GRID = 144  # side in pixels at which regions are sought
STEP = 9  # side of the squares that the first regions grow from
COMPACTNESS = 12.0
"""Difference of colour, in Lab units, that weighs as much as STEP pixels of distance."""
ROUNDS = 3
AREAS = (0.012, 0.4)  # smallest and largest region, as shares of the picture
MIN_CONTRAST = 36.0
"""Difference to its surroundings at which a region must still be one, in Lab units."""
MIN_LASTING = 1.7  # ratio of that difference to the largest one inside the region
MAX_AT_EDGE = 0.25  # share of its outline that may lie on the picture's edge
MIN_FULLNESS = 0.5  # share of its convex hull that a region must fill
MAX_ROUGHNESS = 55.0  # largest square of the outline's length over the area; a disc has 12.6


def draw_regions(
    rng: np.random.Generator, size: int, footage: Footage
) -> tuple[Image, Image] | None:
    """Draws a piece of footage and its regions: (S, S, 3) and ids (S, S); None without any."""
    frame = footage.frame(rng)
    squeeze = float(rng.uniform(0.52, 1.0))
    height = int(rng.uniform(0.4, 1.0) * HEIGHT)
    width = min(int(height / squeeze), WIDTH)
    x, y = rng.integers(WIDTH - width + 1), rng.integers(HEIGHT - height + 1)
    cut = frame[y : y + height, x : x + width]
    picture = scaled(np.ascontiguousarray(cut[:, ::-1]) if rng.random() < 0.5 else cut, size)
    masks = find_regions(picture)
    if not masks:
        return None
    ids = np.zeros((size, size), np.uint8)
    for number, mask in enumerate(masks[:3], 1):
        soft = cv2.resize(mask.astype(np.float32), (size, size), interpolation=cv2.INTER_LINEAR)
        ids[(soft >= 0.5) & (ids == 0)] = number
    return picture, ids


def find_regions(picture: Image) -> list[NDArray[np.bool_]]:
    """Returns the lasting regions of a (S, S, 3) picture, the best first, (GRID, GRID) each."""
    small = cv2.medianBlur(scaled(picture, GRID), 3)
    lab = cv2.cvtColor(small, cv2.COLOR_BGR2LAB).astype(np.float32)
    labels = _cells(lab)
    tree = _merge(labels, lab.astype(np.float64))
    count = int(labels.max()) + 1
    total = GRID * GRID
    found: list[tuple[float, NDArray[np.bool_]]] = []
    for node in tree:
        if not AREAS[0] * total <= node.area <= AREAS[1] * total:
            continue
        lasting = node.death / max(node.birth, 3.0)
        if node.death < MIN_CONTRAST or lasting < MIN_LASTING:
            continue
        chosen = np.zeros(count, np.bool_)
        chosen[list(node.members)] = True
        mask = chosen[labels]
        if _is_compact(mask):
            found.append((node.death * lasting**0.5, mask))
    kept: list[NDArray[np.bool_]] = []
    for _, mask in sorted(found, key=lambda item: -item[0]):
        if not any((mask & other).any() for other in kept):
            kept.append(mask)
    return kept


def _cells(lab: NDArray[np.float32]) -> Labels:
    """Returns the small regions that a picture falls into, (GRID, GRID), numbered from 0.

    Means of colour and place, one for each square of a grid, take turns with giving every pixel
    to the nearest of the nine means about it.
    """
    cells = GRID // STEP
    line = np.arange(GRID, dtype=np.float32) * np.float32(COMPACTNESS / STEP)
    place = np.broadcast_arrays(line[None, :], line[:, None])
    planes = np.concatenate([lab, np.stack(place, 2)], 2)
    own = np.arange(GRID) // STEP
    home = own[:, None] * cells + own[None, :]
    labels = home
    for _ in range(ROUNDS):
        means = _means(labels, planes, cells * cells)
        best = np.full((GRID, GRID), np.inf, np.float32)
        for down in (-1, 0, 1):
            for right in (-1, 0, 1):
                near = np.clip(own + down, 0, cells - 1)[:, None] * cells
                index = near + np.clip(own + right, 0, cells - 1)[None, :]
                away = planes - means[index]
                distance = np.einsum("hwc,hwc->hw", away, away)
                closer = distance < best
                best = np.where(closer, distance, best)
                labels = np.where(closer, index, labels)
    return labels.astype(np.int32)


def _means(
    labels: NDArray[np.signedinteger[Any]], planes: NDArray[np.float32], count: int
) -> Plane:
    flat = labels.ravel()
    areas = np.maximum(np.bincount(flat, minlength=count), 1)
    sums = [np.bincount(flat, planes[..., c].ravel(), count) for c in range(planes.shape[2])]
    return np.asarray(np.stack(sums, 1) / areas[:, None], np.float32)


@dataclass
class _Node:
    """A region on its way: the cells in it, and the differences between which it exists."""

    members: list[int]
    area: float
    birth: float
    death: float = np.inf


def _merge(labels: Labels, lab: Values) -> list[_Node]:
    """Merges neighbours, the most alike first, and returns every region there ever was."""
    count = int(labels.max()) + 1
    flat = labels.ravel()
    areas = np.bincount(flat, minlength=count).astype(np.float64)
    means = _means(labels, lab.astype(np.float32), count).astype(np.float64)
    lengths, steps = _borders(labels, lab, count)
    nodes = [_Node([i], float(areas[i]), 0.0) for i in range(count)]
    current, done = list(nodes), []
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = np.linalg.norm(means[:, None] - means[None], axis=2)
        cost = np.where(lengths > 0, 0.5 * apart + 0.5 * steps / lengths, np.inf)
    for _ in range(count - 1):
        a, b = divmod(int(cost.argmin()), count)
        price = float(cost[a, b])
        if not np.isfinite(price):
            break
        first, second = current[a], current[b]
        for node in (first, second):
            node.death = max(price, node.birth)
            done.append(node)
        birth = max(price, first.birth, second.birth)
        current[a] = _Node(first.members + second.members, first.area + second.area, birth)
        share = areas[a] / (areas[a] + areas[b])
        means[a] = means[a] * share + means[b] * (1 - share)
        areas[a] += areas[b]
        for plane in (lengths, steps):
            plane[a] += plane[b]
            plane[:, a] = plane[a]
            plane[b], plane[:, b] = 0, 0
            plane[a, a] = 0
        near = np.flatnonzero(lengths[a])
        cost[a], cost[:, a], cost[b], cost[:, b] = np.inf, np.inf, np.inf, np.inf
        apart_now = np.linalg.norm(means[near] - means[a], axis=1)
        size = np.minimum(1.0, np.minimum(areas[near], areas[a]) / (0.004 * GRID * GRID))
        cost[a, near] = (0.5 * apart_now + 0.5 * steps[a, near] / lengths[a, near]) * size
        cost[near, a] = cost[a, near]
    return done


def _borders(labels: Labels, lab: Values, count: int) -> tuple[Values, Values]:
    """Returns the length of each two cells' border and the sum of colour steps on it."""
    lengths, steps = np.zeros(count * count), np.zeros(count * count)
    # colours two pixels apart: a border is seldom sharp
    for axis in (0, 1):
        ahead = np.roll(lab, -2, axis)
        behind = np.roll(lab, 1, axis)
        step = np.linalg.norm(ahead - behind, axis=2)
        other = np.roll(labels, -1, axis)
        inside = np.ones(labels.shape, np.bool_)
        cut = np.s_[-2:] if axis == 0 else np.s_[:, -2:]
        inside[cut] = False
        inside[np.s_[:1] if axis == 0 else np.s_[:, :1]] = False
        at = inside & (labels != other)
        pairs = labels[at].astype(np.intp) * count + other[at]
        lengths += np.bincount(pairs, minlength=count * count)
        steps += np.bincount(pairs, step[at], count * count)
    square = (count, count)
    a, b = lengths.reshape(square), steps.reshape(square)
    return a + a.T, b + b.T


def _is_compact(mask: NDArray[np.bool_]) -> bool:
    """Tells whether a region is smooth, fills its hull and lies inside the picture."""
    found, _ = cv2.findContours(mask.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = max(found, key=len)
    area, length = float(mask.sum()), cv2.arcLength(outline, closed=True)
    full = area >= MIN_FULLNESS * cv2.contourArea(cv2.convexHull(outline))
    at_edge = ((outline == 0) | (outline == GRID - 1)).any(axis=(1, 2)).mean()
    return bool(full and at_edge <= MAX_AT_EDGE and length**2 <= MAX_ROUGHNESS * area)
