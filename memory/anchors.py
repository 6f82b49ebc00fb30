"""Which memories become anchors, which of them stay, and which are attended to: pure functions.

Sources: DAM4SAM is arXiv 2411.17576 and jovanavidenovic/DAM4SAM @9c95450; XMem is arXiv 2207.07115
and hkchengrex/XMem @f3b841d. Masks are low-resolution ones, (L, L) bool of one crop.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median
from typing import Annotated, Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from samcam.system import Checked, Setting

F32: TypeAlias = NDArray[np.float32]
Mask: TypeAlias = NDArray[np.bool_]

MAX_ANCHORS: Final = 64  # kept; each is one memory of the model
AREAS_KEPT: Final = 10  # dam4sam_tracker.py:216-261
AREAS_WITHIN_STEPS: Final = 300  # likewise


class Anchoring(StrEnum):
    """Where a bank's anchors come from, which stay, and which are attended to."""

    NONE = "none"
    NEWEST = "newest"  # those promoted; the newest stay and are attended to; DAM4SAM
    DIVERSE = "diverse"  # what leaves the working memory; see `least_worth`, `most_alike`; XMem


@dataclass(frozen=True, slots=True)
class DistractorTest(Checked):
    """A sure mask becomes an anchor when the network could have meant something else.

    Such a memory shows the object beside what it must not be mistaken for. The defaults are
    DAM4SAM's: dam4sam_tracker.py:216-261 @9c95450.
    """

    predicted_iou: Annotated[
        float, Setting("A mask may become an anchor above this predicted IoU.", low=0, high=1)
    ] = 0.8
    area_change: Annotated[
        float,
        Setting(
            "Largest change of the area for an anchor, against the median of the last ten.",
            "share",
            0,
            10,
        ),
    ] = 0.2
    min_gap: Annotated[
        int, Setting("Steps that must lie between two anchors.", "steps", 0, 100_000)
    ] = 5
    distractor_iou: Annotated[
        float,
        Setting(
            "Something else was seen where the mask's box overlaps at most this much with the "
            "box around the mask and another candidate.",
            low=0,
            high=1,
        ),
    ] = 0.7


@dataclass(frozen=True, slots=True)
class Areas:
    """Areas of an object's last masks, as shares of the picture; bounded.

    Attributes:
        seen: (step, area) of masks with pixels, ascending; at most ten, of the last 300 steps.
    """

    seen: tuple[tuple[int, float], ...] = ()

    def noted(self, step: int, area: float) -> Areas:
        """Return these and one more, which replaces that of the same step."""
        kept = [one for one in self.seen if step - AREAS_WITHIN_STEPS < one[0] < step]
        return Areas((*kept, (step, area))[-AREAS_KEPT:]) if area > 0 else Areas(tuple(kept))

    def ratio(self, step: int, area: float) -> float | None:
        """Return an area over the median of the earlier ones; None without any."""
        earlier = [one for at, one in self.seen if step - AREAS_WITHIN_STEPS < at < step]
        return area / median(earlier) if earlier else None


def may_anchor(
    test: DistractorTest,
    predicted_iou: float,
    area_ratio: float | None,
    steps_since: int,
) -> bool:
    """Say whether a mask with pixels passes all of the test but the search for a distractor.

    `steps_since` counts from the last anchor or prompted memory. Differs from DAM4SAM: an area
    counts against the earlier ones only, so the first mask has nothing to be compared with.
    """
    return (
        predicted_iou > test.predicted_iou
        and area_ratio is not None
        and abs(area_ratio - 1) <= test.area_change
        and steps_since > test.min_gap
    )


def sees_distractor(chosen: Mask, others: Iterable[Mask], test: DistractorTest) -> bool:
    """Say whether another candidate shows something beside the chosen mask.

    Of each other mask: what the chosen one has not, its largest component, the box around that
    and the chosen mask. Where that box is much larger than the chosen mask's, the network saw a
    second thing. Source: dam4sam_tracker.py:216-261 @9c95450.
    """
    box = _box_of(chosen)
    if box is None:
        return False
    for other in others:
        rest = (other & ~chosen).astype(np.uint8)
        count, _, stats, _ = cv2.connectedComponentsWithStats(rest, connectivity=8)
        if count < 2:  # the background alone
            continue
        largest = stats[1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))]
        x, y = int(largest[cv2.CC_STAT_LEFT]), int(largest[cv2.CC_STAT_TOP])
        right, bottom = x + int(largest[cv2.CC_STAT_WIDTH]), y + int(largest[cv2.CC_STAT_HEIGHT])
        around = (min(x, box[0]), min(y, box[1]), max(right, box[2]), max(bottom, box[3]))
        # the chosen box lies inside of it: the overlap is the ratio of their areas
        if _area(box) <= test.distractor_iou * _area(around):
            return True
    return False


def least_worth(steps: Sequence[int], obj_ptrs: Sequence[F32], qualities: Sequence[float]) -> int:
    """Return the index of the most redundant of at least two anchors.

    Worth is quality times how much an anchor adds: by appearance, its distance to the most
    similar other pointer, and by time, the gap that it would leave open, each against the largest
    of all. A candidate that comes soon after the last anchor leaves the least and goes; the longer
    none was kept, the more the next one is worth, so anchors spread over all the time that passed.

    Args:
        steps: Ascending.
        obj_ptrs: (D,) each.
        qualities: 0..1 each.
    """
    alike = _cosines(np.stack(obj_ptrs), np.stack(obj_ptrs))
    np.fill_diagonal(alike, -1.0)
    apart = np.clip(1 - alike.max(axis=1), 0, 2)
    gaps = np.diff(np.asarray(steps, np.float64))
    left_open = np.append(gaps[0], gaps) + np.append(gaps, gaps[-1])  # mirrored at both ends
    adds = apart / max(float(apart.max()), 1e-6) + left_open / max(float(left_open.max()), 1.0)
    return int(np.argmin(np.asarray(qualities) * adds))


def most_alike(obj_ptrs: Sequence[F32], present: F32, count: int) -> list[int]:
    """Return the indices of the anchors whose pointers are most similar to one, ascending."""
    if not obj_ptrs or count < 1:
        return []
    alike = _cosines(np.stack(obj_ptrs), present[None])[:, 0]
    return sorted(int(index) for index in np.argsort(-alike, kind="stable")[:count])


def quality(predicted_iou: float, object_score: float) -> float:
    """Return what the network itself thinks of a mask, 0..1."""
    return predicted_iou / (1 + float(np.exp(-np.clip(object_score, -32, 32))))


def _cosines(ones: F32, others: F32) -> NDArray[np.float64]:
    """Return the (N, M) cosines of (N, D) with (M, D) vectors; 0 for a vector of zeros."""
    first, second = ones.astype(np.float64), others.astype(np.float64)
    lengths = np.linalg.norm(first, axis=1)[:, None] * np.linalg.norm(second, axis=1)[None]
    return np.asarray(first @ second.T / np.maximum(lengths, 1e-12))


def _box_of(mask: Mask) -> tuple[int, int, int, int] | None:
    """Return (x1, y1, x2, y2) of a mask; None without pixels."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    if not columns.size:
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _area(box: tuple[int, int, int, int]) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])
