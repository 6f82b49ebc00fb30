"""What makes a clip hard, by number: from its truth, or from a file that says so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import numpy as np

from bench.scores.datasets import (
    VOID_OR_BINARY,
    BoxClip,
    DatasetError,
    MaskClip,
    read_object_ids,
)
from bench.scores.metrics import F64, mask_box_xywh, valid_boxes

ATTRIBUTES_NAME: Final = "attributes.txt"
# OTB is Wu et al., TPAMI 2015, table 2; LaSOT is Fan et al., CVPR 2019, table 2.
FAST_PX: Final = 20.0  # OTB, fast motion: t_m
SCALE_RATIO: Final = 2.0  # OTB, scale variation: t_s; of areas against the first box
ASPECT_RATIO: Final = 2.0  # LaSOT, aspect ratio change
LOW_RESOLUTION_PX: Final = 1000.0  # LaSOT, low resolution: area of the box (OTB: 400)

FAST: Final = "fast motion"
SCALE: Final = "scale change"
ASPECT: Final = "aspect change"
SMALL: Final = "low resolution"
ABSENT: Final = "absent"  # LaSOT's full occlusion and out of view, where the truth says so


def attributes_of_boxes(boxes_xywh: F64, known: F64) -> set[str]:
    """What the boxes of one object say, (N, 4) in pixels, from its first one on.

    Args:
        boxes_xywh: NaN where it is not seen.
        known: (N,) 1 where somebody looked; a gap in it says nothing about motion.
    """
    seen = valid_boxes(boxes_xywh)
    if not seen.any():
        return set()
    first = int(np.flatnonzero(seen)[0])
    found: set[str] = set()
    if (~seen & (known > 0))[first:].any():
        found.add(ABSENT)
    boxes = boxes_xywh[seen]
    areas, aspects = boxes[:, 2:].prod(axis=1), boxes[:, 2] / boxes[:, 3]
    if _leaves(areas / areas[0], SCALE_RATIO):
        found.add(SCALE)
    if _leaves(aspects / aspects[0], ASPECT_RATIO):
        found.add(ASPECT)
    if areas.min() < LOW_RESOLUTION_PX:
        found.add(SMALL)
    centres = boxes_xywh[:, :2] + boxes_xywh[:, 2:] / 2
    both = seen[1:] & seen[:-1]
    moved = np.hypot(*np.diff(centres, axis=0).T)[both]
    if len(moved) and moved.max() > FAST_PX:
        found.add(FAST)
    return found


def _leaves(ratios: F64, most: float) -> bool:
    return bool((ratios > most).any() or (ratios < 1 / most).any())


def clip_attributes(clip: MaskClip | BoxClip) -> frozenset[str]:
    """Return what is hard about a clip: what is for any of its objects.

    Raises:
        DatasetError: An annotation cannot be read.
    """
    count = len(clip.frame_paths)
    if isinstance(clip, BoxClip):
        return frozenset(attributes_of_boxes(clip.boxes_xywh, np.ones(count)))
    boxes: dict[int, F64] = {}
    known = np.zeros(count)
    for index, path in clip.mask_paths.items():
        known[index] = 1
        ids = read_object_ids(path)
        for object_id in np.flatnonzero(np.bincount(ids.ravel())).tolist():
            if object_id in (0, VOID_OR_BINARY):
                continue
            box = mask_box_xywh(ids == object_id)
            assert box is not None  # the id was seen in it
            boxes.setdefault(object_id, np.full((count, 4), np.nan))[index] = box
    return frozenset().union(*(attributes_of_boxes(found, known) for found in boxes.values()))


def read_attributes(root: Path) -> dict[str, frozenset[str]]:
    """Read `attributes.txt` of a data folder: "CLIP: name, name" lines; nothing without a file.

    Raises:
        DatasetError: A line is something else.
    """
    path = root / ATTRIBUTES_NAME
    if not path.is_file():
        return {}
    found: dict[str, frozenset[str]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        match = re.fullmatch(r"([^:]+):(.+)", line.strip())
        if match is None:
            raise DatasetError(f"{path}:{number}: expected CLIP: name, name; got {line[:60]!r}")
        names = (name.strip() for name in match[2].split(","))
        found[match[1].strip()] = frozenset(name for name in names if name)
    return found
