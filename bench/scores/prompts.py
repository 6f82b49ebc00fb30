"""Prompts made from the truth, as the benchmarks give them: a tight box, or one click inside."""

from __future__ import annotations

from typing import Literal, TypeAlias

import cv2
import numpy as np

from bench.scores.metrics import F64, mask_box_xywh
from samcam.live.frames import F32, Mask, Prompt

PromptKind: TypeAlias = Literal["box", "click"]
PROMPT_KINDS: tuple[PromptKind, ...] = ("box", "click")


def click_point(mask: Mask) -> tuple[int, int]:
    """The pixel (x, y) of an (H, W) mask farthest from its border.

    The picture's border counts as border, so a mask cut off by it is clicked inside; of equally
    far pixels the first in reading order.

    Raises:
        ValueError: The mask is empty.
    """
    if not mask.any():
        raise ValueError("mask: expected an object to click on, got an empty mask")
    framed = np.pad(mask, 1).astype(np.uint8)
    distance = cv2.distanceTransform(framed, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    y, x = np.unravel_index(int(np.argmax(distance)), mask.shape)
    return int(x), int(y)


def corners(box_xywh: F64) -> F32:
    """(4,) x1, y1, x2, y2 of an (x, y, w, h) box; x2 and y2 exclusive."""
    return np.concatenate([box_xywh[:2], box_xywh[:2] + box_xywh[2:]]).astype(np.float32)


def prompt_from_mask(
    mask: Mask, kind: PromptKind, object_id: int = 1, frame_index: int = 0
) -> Prompt:
    """Make the prompt that points at an (H, W) mask; ValueError where it is empty."""
    x, y = click_point(mask)
    if kind == "click":
        point = np.array([[x, y]], np.float32)
        return Prompt(object_id, frame_index, point, np.ones(1, np.int32))
    box = mask_box_xywh(mask)
    assert box is not None  # click_point refused empty masks
    return Prompt(object_id, frame_index, box_xyxy_px=corners(box))


def prompt_from_box(
    box_xywh: F64, size_wh: tuple[int, int], kind: PromptKind, frame_index: int = 0
) -> Prompt:
    """Make the prompt that points at a true box, cut to the picture: itself, or its centre."""
    low, high = np.zeros(4), np.array([*size_wh, *size_wh], np.float64)
    box = np.clip(corners(box_xywh), low, high).astype(np.float32)
    if kind == "box":
        return Prompt(1, frame_index, box_xyxy_px=box)
    centre = (box[:2] + box[2:]) / np.float32(2)
    return Prompt(1, frame_index, centre, np.ones(1, np.int32))
