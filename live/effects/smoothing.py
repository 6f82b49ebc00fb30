"""Temporal smoothing of masks that does not lag: the last mask moves along before it is mixed in.

A mask of a network trembles by a pixel or two even where nothing moves. A plain mean over time
would trail behind a moving object; here the last mask is shifted by the object's motion first, and
where the two still differ by more than trembling explains, the new one counts alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from samcam.live.frames import F32, NS_PER_S, ObjectResult
from samcam.live.masks import pixel_box

_STEP_S = 1 / 30  # the setting is the share that is kept over this time
_LONGEST_GAP_S = 0.5
_TREMBLE = 1 / 240  # of the side, 3 px at 720: differences up to this are smoothed
_ROOM = 8  # low-resolution pixels around the masks that are smoothed, too
_FLATTEST = 1e-6
_SMALLEST_SHARE = 0.02  # below this the mix makes no difference that can be seen


@dataclass(frozen=True, slots=True, eq=False)
class _Past:
    """The last frame of an object.

    Attributes:
        raw: The tracker's logits.
        smooth: What was made of them.
        centre_xy: Of the mask, in low-resolution pixels.
        time_ns: Media time.
    """

    raw: F32
    smooth: F32
    centre_xy: tuple[float, float]
    time_ns: int


class MaskSmoother:
    """Keeps one mask per visible object; one thread only."""

    def __init__(self, share: float) -> None:
        """Make a smoother.

        Args:
            share: Share of the last mask that is kept over a thirtieth of a second, 0..1; 0: off.
        """
        self._share = share
        self._past: dict[int, _Past] = {}

    def smooth(self, objects: Sequence[ObjectResult], time_ns: int) -> dict[int, F32]:
        """Take the masks of one frame.

        Args:
            objects: All of the frame; others, and those not visible, are dropped.
            time_ns: Its media time. Of the same time again, the same masks give the same answer.

        Returns:
            (L, L) float32 logits of each visible object.
        """
        past, self._past = self._past, {}
        if self._share <= 0:
            return {o.object_id: o.mask_logits for o in objects if o.mask_logits is not None}
        for item in objects:
            if item.mask_logits is not None:
                last = past.get(item.object_id)
                self._past[item.object_id] = self._next(item.mask_logits, last, time_ns)
        return {object_id: kept.smooth for object_id, kept in self._past.items()}

    def _next(self, logits: F32, last: _Past | None, time_ns: int) -> _Past:
        centre_xy, slope = _centre_and_slope(logits)
        fresh = _Past(logits, logits, centre_xy, time_ns)
        if last is None or last.raw.shape != logits.shape:
            return fresh
        if last.time_ns == time_ns:
            return last if last.raw is logits else fresh
        passed_s = (time_ns - last.time_ns) / NS_PER_S
        if not 0 < passed_s <= _LONGEST_GAP_S:
            return fresh
        share = self._share ** (passed_s / _STEP_S)
        if share < _SMALLEST_SHARE:
            return fresh
        moved = _shifted(
            last.smooth, centre_xy[0] - last.centre_xy[0], centre_xy[1] - last.centre_xy[1]
        )
        tremble = slope * logits.shape[0] * _TREMBLE
        part = _around(moved, logits)
        change = np.subtract(moved[part], logits[part])
        # whole up to what trembling explains, nothing from twice that on
        weight = np.clip(2.0 - np.abs(change) / np.float32(tremble), 0.0, 1.0)
        smooth = logits.copy()
        smooth[part] += change * weight * np.float32(share)
        return _Past(logits, smooth, centre_xy, time_ns)


def _centre_and_slope(logits: F32) -> tuple[tuple[float, float], float]:
    """Return the mask's centre in pixels and the logits' change per pixel along its border."""
    box = pixel_box(logits > 0)
    if box is None:
        return (0.0, 0.0), 1.0
    x1, y1 = max(0, box.x1 - 1), max(0, box.y1 - 1)
    part = logits[y1 : box.y2 + 1, x1 : box.x2 + 1]
    inside = part > 0
    across = np.abs(np.diff(part, axis=1))[inside[:, 1:] != inside[:, :-1]]
    down = np.abs(np.diff(part, axis=0))[inside[1:] != inside[:-1]]
    slopes = np.concatenate((across, down))
    slope = max(float(np.median(slopes)), _FLATTEST) if len(slopes) else 1.0
    # Pixels on the border count in part, which makes the centre steady to a fraction of a pixel.
    weights = np.clip(part / np.float32(slope) + np.float32(0.5), 0.0, 1.0)
    moments = cv2.moments(weights.astype(np.float32, copy=False))
    area = moments["m00"]
    return (x1 + moments["m10"] / area, y1 + moments["m01"] / area), slope


def _around(one: F32, other: F32) -> tuple[slice, slice]:
    """Return where either mask is, with room for its border; further away nothing is seen."""
    box = pixel_box(np.maximum(one, other) > 0)
    if box is None:
        return slice(0, 0), slice(0, 0)
    rows, columns = (max(0, start - _ROOM) for start in (box.y1, box.x1))
    return slice(rows, box.y2 + _ROOM), slice(columns, box.x2 + _ROOM)


def _shifted(logits: F32, x: float, y: float) -> F32:
    """Return the logits moved by a fraction of pixels; the border repeats."""
    size_wh = (logits.shape[1], logits.shape[0])
    motion = np.array([[1.0, 0.0, x], [0.0, 1.0, y]])
    moved = cv2.warpAffine(
        logits, motion, size_wh, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(moved, np.float32)
