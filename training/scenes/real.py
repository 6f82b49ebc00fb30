"""Reads the free pictures that `training.free_data` prepared."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

FREE_FOLDER = "free"
INDEX_NAME = "index.json"
UNKNOWN = 255  # value of a photograph's mask where nobody knows what is there
MAX_UNKNOWN = 0.01  # share of such pixels above which a photograph is not used
MIN_CUT = 0.015  # share of its photograph that an instance must cover to be cut out
ALIKE = 0.25
"""Exponent of the number of photographs of one maker by which each of them is drawn less often."""
FROM_PHOTOGRAPHS = 0.35  # share of the cut-outs that come from labelled photographs


@dataclass(frozen=True)
class Photograph:
    """A labelled photograph: picture (H, W, 3) and instance ids (H, W), 0 for none of them."""

    picture: Image
    ids: Image


class RealPictures:
    """Cut-outs, backgrounds and labelled photographs of a prepared folder; read when asked for.

    Photographs are drawn by picture, not by instance, those of one maker less often each, and
    cut-outs by family first: what comes in great numbers does not swamp the rest.
    """

    def __init__(self, folder: Path, held_out: bool = False) -> None:
        """Reads the index of `folder`; of the photographs those held out, or all others."""
        self.folder, self.held_out = folder, held_out

    def __reduce__(self) -> tuple[type[RealPictures], tuple[Path, bool]]:
        """Pickles the path only."""
        return RealPictures, (self.folder, self.held_out)

    @cached_property
    def _index(self) -> dict[str, list[dict[str, Any]]]:
        text = (self.folder / INDEX_NAME).read_text(encoding="utf-8")
        index: dict[str, list[dict[str, Any]]] = json.loads(text)
        return index

    @cached_property
    def _families(self) -> dict[str, list[str]]:
        families: dict[str, list[str]] = defaultdict(list)
        for row in self._index["sprites"]:
            families[row["family"]].append(row["file"])
        return dict(families)

    @cached_property
    def names(self) -> list[str]:
        return [
            str(row["name"])
            for row in self._index["photographs"]
            if row["held_out"] == self.held_out and row["unknown"] <= MAX_UNKNOWN
        ]

    @cached_property
    def _chances(self) -> NDArray[np.float64]:
        """Chance of each photograph: those of one maker look alike, so each of many counts less."""
        makers = {str(row["name"]): str(row["attribution"]) for row in self._index["photographs"]}
        count = Counter(makers[name] for name in self.names)
        weights = np.array([count[makers[name]] ** -ALIKE for name in self.names])
        return np.asarray(weights / weights.sum(), np.float64)

    @property
    def has_cutouts(self) -> bool:
        return bool(self._families) or bool(self.names)

    @property
    def has_backgrounds(self) -> bool:
        return bool(self._index["backgrounds"]) or bool(self.names)

    @property
    def has_photographs(self) -> bool:
        return bool(self.names)

    def read_photograph(self, name: str) -> Photograph:
        path = self.folder / "photographs" / name
        picture = cv2.imread(f"{path}.jpg", cv2.IMREAD_COLOR)
        ids = cv2.imread(f"{path}.png", cv2.IMREAD_UNCHANGED)
        if picture is None or ids is None:
            raise OSError(f"{path}: expected a .jpg and a .png; run python -m training.free_data")
        known = np.where(ids == UNKNOWN, 0, ids)
        return Photograph(np.asarray(picture, np.uint8), known.astype(np.uint8))

    def photograph(self, rng: np.random.Generator) -> Photograph:
        return self.read_photograph(self.names[int(rng.choice(len(self.names), p=self._chances))])

    def background(self, rng: np.random.Generator) -> Image:
        """A random picture (H, W, 3) to stand behind things."""
        rows = self._index["backgrounds"]
        if rows and not (self.names and rng.random() < 0.5):
            path = self.folder / rows[int(rng.integers(len(rows)))]["file"]
            return np.asarray(cv2.imread(str(path), cv2.IMREAD_COLOR), np.uint8)
        return self.photograph(rng).picture

    def cutout(self, rng: np.random.Generator, family: str | None = None) -> tuple[Image, str]:
        """A random cut-out, (H, W, 4), and its family, which may be asked for; "" for none."""
        if not family and self.names and rng.random() < (FROM_PHOTOGRAPHS if self._families else 1):
            for _ in range(4):
                found = cut_instance(rng, self.photograph(rng))
                if found is not None:
                    return found, ""
        if not self._families:
            return np.full((64, 64, 4), 255, np.uint8), ""
        families = self._families
        if not family or family not in families:
            weights = np.sqrt([len(files) for files in families.values()])
            family = list(families)[int(rng.choice(len(weights), p=weights / weights.sum()))]
        file = families[family][int(rng.integers(len(families[family])))]
        picture = cv2.imread(str(self.folder / file), cv2.IMREAD_UNCHANGED)
        return np.asarray(picture, np.uint8), family


def cut_instance(rng: np.random.Generator, photograph: Photograph) -> Image | None:
    """One of the largest instances that lie inside their photograph, (H, W, 4), or None.

    Its border is eroded and feathered by a random pixel or two: the label's own border shows
    some of the ground that it was taken from.
    """
    ids = photograph.ids
    areas = np.bincount(ids.ravel(), minlength=2)
    at_edge = np.concatenate([ids[0], ids[-1], ids[:, 0], ids[:, -1]])
    fit = [i for i in np.flatnonzero(areas >= MIN_CUT * ids.size) if i and i not in at_edge]
    if not fit:
        return None
    largest = sorted(fit, key=lambda i: -int(areas[i]))[:4]
    mask = (ids == largest[int(rng.integers(len(largest)))]).astype(np.uint8)
    mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)).astype(np.uint8)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    place = np.s_[max(rows[0] - 3, 0) : rows[-1] + 4, max(columns[0] - 3, 0) : columns[-1] + 4]
    alpha = cv2.erode(mask[place] * 255, np.ones((3, 3), np.uint8), iterations=1)
    alpha = cv2.GaussianBlur(alpha, (0, 0), float(rng.uniform(0.5, 1.1)))
    return np.dstack([photograph.picture[place], alpha]).astype(np.uint8)


def open_real(cache: Path, held_out: bool = False) -> RealPictures | None:
    """The prepared pictures below a cache folder, or None where there are none."""
    folder = cache / FREE_FOLDER
    return RealPictures(folder, held_out) if (folder / INDEX_NAME).exists() else None
