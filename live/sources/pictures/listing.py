"""Which files of a folder are its pictures: in natural order, without masks beside their frames."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np

from samcam.live.frames import U8
from samcam.live.sources.pictures.file import PictureError, PictureFile
from samcam.live.sources.pictures.kinds import PICTURE_SUFFIXES, REFUSED_SUFFIXES

_EXAMPLES: Final = 3  # pictures that are looked at to tell frames from masks
_SAMPLES: Final = 50_000  # pixels of each
_FEW_COLOURS: Final = 64
_EXTREME: Final = 16  # levels from black or white within which a lossy mask's values lie
_NAMED: Final = 3
_MASK_WORD: Final = r"(?:alphas?|annotations?|gt|labels?|masks?|mattes?|seg|segmentations?)"
_BEFORE: Final = re.compile(rf"(?i)({_MASK_WORD}[ ._-]+)(.+)")
_AFTER: Final = re.compile(rf"(?i)(.*?[^ ._-])([ ._-]+{_MASK_WORD})")


@dataclass(frozen=True, slots=True)
class Listing:
    """A folder's pictures, and what is left out of it, a line each."""

    paths: tuple[Path, ...]
    notes: tuple[str, ...] = ()


# How the files of one set are named around what they share, as in `frame_0001` + `_mask` + `.png`:
# the mask word with its separators, "" for none, and the suffix in small letters.
_Family: TypeAlias = tuple[str, str]


def natural_key(name: str) -> list[tuple[int, str]]:
    """Return a sort key that puts "2.png" before "10.png"."""
    parts = re.split(r"(\d+)", name.casefold())
    return [(int(p), "") if p.isdecimal() and len(p) < 1000 else (-1, p) for p in parts]


def list_pictures(folder: Path) -> Listing:
    """Return the pictures of a folder; sub-folders and hidden files are none.

    Raises:
        OSError: The folder cannot be listed.
    """
    found: list[Path] = []
    notes: list[str] = []
    other: list[str] = []
    foreign: Counter[str] = Counter()
    for path in folder.iterdir():
        suffix = path.suffix.lower()
        if path.name.startswith("."):  # ._x.jpg of macOS among them
            continue
        if suffix in REFUSED_SUFFIXES:
            foreign[suffix] += 1
        elif suffix in PICTURE_SUFFIXES:
            if path.is_file():
                found.append(path)
            else:
                other.append(path.name)
    found.sort(key=lambda p: (natural_key(p.name), p.name))
    if other:
        notes.append(f"left out, since they are no files: {_some(sorted(other, key=natural_key))}")
    if foreign:
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(foreign.items()))
        notes.append(f"left out, since these formats are not read: {kinds}; convert them to JPEG")
    return _without_masks(found, notes)


def _without_masks(paths: Sequence[Path], notes: list[str]) -> Listing:
    """Leave out the masks that stand beside the frames of the same names."""
    groups: dict[str, dict[_Family, Path]] = defaultdict(dict)
    names = {path.stem.casefold() for path in paths}
    for path in paths:
        shared, family = _split(path, names)
        groups[shared][family] = path
    together = [group for group in groups.values() if len(group) > 1]
    if not together:
        return Listing(tuple(paths), tuple(notes))
    masks = _mask_families(together)
    left_out = {
        path
        for group in together
        for family, path in group.items()
        if family in masks and not masks.issuperset(group)
    }
    if left_out:
        example = next(path.name for path in paths if path in left_out)
        notes.append(
            f"left out: {len(left_out)} masks beside pictures of the same names, such as "
            f"{example}; to read them, put them into a folder of their own"
        )
    twice = [g for g in together if sum(path not in left_out for path in g.values()) > 1]
    if twice:
        pair = " and ".join(path.name for path in list(twice[0].values())[:2])
        notes.append(f"{len(twice)} names stand twice, such as {pair}: both are shown")
    return Listing(tuple(path for path in paths if path not in left_out), tuple(notes))


def _split(path: Path, names: set[str]) -> tuple[str, _Family]:
    """Return what a file's name shares with others, and its family.

    Args:
        names: All stems of the folder in small letters; a mask word counts only beside one.
    """
    stem, suffix = path.stem.casefold(), path.suffix.lower()
    if (match := _AFTER.fullmatch(stem)) and match[1] in names:
        return match[1], (match[2], suffix)
    if (match := _BEFORE.fullmatch(stem)) and match[2] in names:
        return match[2], (match[1], suffix)
    return stem, ("", suffix)


def _mask_families(together: Sequence[dict[_Family, Path]]) -> set[_Family]:
    """Return the families that hold masks of another one's frames."""
    examples: dict[_Family, list[Path]] = defaultdict(list)
    for group in together:
        for family, path in group.items():
            if len(examples[family]) < _EXAMPLES:
                examples[family].append(path)
    looks = {family: _look(paths) for family, paths in examples.items()}
    # The clearest sign that tells them apart counts: how they are stored, else what they show.
    for sign in range(2):
        masks = {family for family, look in looks.items() if look[sign]}
        if masks and len(masks) < len(looks):
            return masks
    return set()


def _look(paths: Sequence[Path]) -> tuple[bool, bool]:
    """Say whether pictures are stored as masks are (one channel), and show few values as they do.

    One that cannot be read says nothing.
    """
    stored, shown = [], []
    for path in paths:
        with suppress(PictureError, OSError), closing(PictureFile(path)) as file:
            stored.append(len(file.read_raw().getbands()) == 1)
            shown.append(_shows_few_values(file.read().image_bgr))
    return bool(stored) and all(stored), bool(shown) and all(shown)


def _shows_few_values(image_bgr: U8) -> bool:
    pixels = image_bgr.reshape(-1, 3)
    pixels = pixels[:: max(1, len(pixels) // _SAMPLES)]
    if len(np.unique(pixels, axis=0)) <= _FEW_COLOURS:
        return True
    low = (pixels < _EXTREME).all(axis=1)
    high = (pixels > 255 - _EXTREME).all(axis=1)
    return bool((low | high).mean() > 0.9)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
