"""Cases that show the same clip otherwise: backwards, faster, cut, shaken."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import cv2
import numpy as np

from bench.cases.footage import CaseFrame, Footage, Target, is_box
from bench.scores.metrics import F64
from samcam.live.frames import NOMINAL_STEP_S, U8

FAST: Final = 3
SHAKE: Final = 0.04  # of the picture's sides, to each side
SHAKE_DEGREES: Final = 1.5
SHAKE_HZ: Final = (1.9, 1.3, 0.8)  # across, up and down, turning: an unsteady hand that walks


def plain(footage: Footage) -> Iterator[CaseFrame]:
    return footage.all(range(footage.count))


def backwards(footage: Footage) -> Iterator[CaseFrame]:
    return footage.all(range(footage.count - 1, -1, -1))


def fast(footage: Footage) -> Iterator[CaseFrame]:
    """Every third picture at the old rate."""
    return footage.all(range(0, footage.count, FAST))


def cut(footage: Footage) -> Iterator[CaseFrame]:
    """From the middle on the picture is mirrored, as if another camera had taken over."""
    middle = footage.count // 2
    for index, frame in enumerate(plain(footage)):
        yield frame if index < middle else replace(mirrored(frame), jump=index == middle)


def mirrored(frame: CaseFrame) -> CaseFrame:
    width = frame.size_wh[0]

    def flip(target: Target) -> Target:
        if not is_box(target):
            return np.asarray(target[:, ::-1], np.bool_)
        x, y, w, h = target
        return np.array([width - x - w, y, w, h])

    seen = frame.visible
    return replace(
        frame,
        image_bgr=np.ascontiguousarray(frame.image_bgr[:, ::-1]),
        visible=None if seen is None else {key: flip(value) for key, value in seen.items()},
    )


def shake(footage: Footage) -> Iterator[CaseFrame]:
    """The camera sways and turns a little, by a known affine; outside the picture is mirrored."""
    for index, frame in enumerate(plain(footage)):
        yield warped(frame, shake_affine(index * NOMINAL_STEP_S, frame.size_wh))


def shake_affine(time_s: float, size_wh: tuple[int, int]) -> F64:
    """(2, 3) from the clip's picture to the shaken one; none at the start."""
    across, down, turn = (math.sin(2 * math.pi * hz * time_s) for hz in SHAKE_HZ)
    centre = (size_wh[0] / 2, size_wh[1] / 2)
    affine = np.asarray(cv2.getRotationMatrix2D(centre, SHAKE_DEGREES * turn, 1.0), np.float64)
    affine[:, 2] += np.multiply(SHAKE, (across * size_wh[0], down * size_wh[1]))
    return affine


def warp_picture(image_bgr: U8, affine: F64) -> U8:
    size = image_bgr.shape[1], image_bgr.shape[0]
    moved = cv2.warpAffine(image_bgr, affine, size, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(moved, np.uint8)


def warped(frame: CaseFrame, affine: F64) -> CaseFrame:
    """A frame under an affine; what leaves the picture is not there any more.

    Boxes move with their centre and keep their size, for the turns are small, less what leaves.
    """
    width, height = frame.size_wh
    visible: dict[int, Target] | None = None if frame.visible is None else {}
    for object_id, target in (frame.visible or {}).items():
        assert visible is not None
        if is_box(target):
            x, y, w, h = target
            cx, cy = affine @ (x + w / 2, y + h / 2, 1.0)
            left, top = max(0.0, cx - w / 2), max(0.0, cy - h / 2)
            right, bottom = min(width, cx + w / 2), min(height, cy + h / 2)
            if left < right and top < bottom:
                visible[object_id] = np.array([left, top, right - left, bottom - top])
            continue
        size = (width, height)
        moved = np.asarray(cv2.warpAffine(target.astype(np.float32), affine, size) > 0.5, np.bool_)
        if moved.any():
            visible[object_id] = moved
    return replace(frame, image_bgr=warp_picture(frame.image_bgr, affine), visible=visible)
