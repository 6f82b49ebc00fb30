"""Tracker results made by hand, for everything behind the tracker."""

from __future__ import annotations

import numpy as np

from samcam.live.effects.effects import Effect
from samcam.live.feed.compositor import Compositor
from samcam.live.feed.cover import NO_SIGNAL
from samcam.live.frames import (
    F32,
    U8,
    Composite,
    Frame,
    FrameResult,
    ObjectResult,
    ObjectState,
    StandIn,
)
from samcam.live.masks import logits_box
from samcam.memory import Tier

MS = 1_000_000


def disc_logits(size: int, x: float, y: float, radius: float, slope: float = 2.0) -> F32:
    """Return (size, size) logits of a disc, falling by `slope` per low-resolution pixel."""
    rows, columns = np.mgrid[:size, :size]
    distance = np.hypot(columns + 0.5 - x, rows + 0.5 - y)
    return np.asarray(slope * (radius - distance), np.float32)


def textured(size_wh: tuple[int, int], seed: int = 0) -> U8:
    """Return a picture with something in every pixel."""
    width, height = size_wh
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3))
    return values.astype(np.uint8)


def tracked(
    object_id: int,
    logits: F32 | None,
    predicted_iou: float = 0.9,
    size_wh: tuple[int, int] = (64, 64),
) -> ObjectResult:
    """Return a visible object, or a lost one where there are no logits."""
    return ObjectResult(
        object_id=object_id,
        state=ObjectState.LOST if logits is None else ObjectState.TRACKING,
        reason="made by hand",
        mask_logits=logits,
        predicted_iou=predicted_iou,
        object_score=4.0,
        motion_iou=None,
        box_xyxy_px=None if logits is None else _box(logits, size_wh),
        admitted=logits is not None,
        memory_steps=(0, 3),
        appearance=0.75,
        memory_tiers=(Tier.CONDITIONING, Tier.WORKING),
        size_wh=size_wh,
    )


def _box(logits: F32, size_wh: tuple[int, int]) -> tuple[float, float, float, float]:
    """Return the box of low-resolution logits in source pixels."""
    across, down = size_wh[0] / logits.shape[1], size_wh[1] / logits.shape[0]
    x1, y1, x2, y2 = map(float, logits_box(logits))
    return x1 * across, y1 * down, x2 * across, y2 * down


def result_of(
    image_bgr: U8, objects: tuple[ObjectResult, ...] = (), index: int = 0, time_ns: int = 0
) -> FrameResult:
    """Return the result of one frame; step and index are the same."""
    return FrameResult(Frame(index, time_ns, 0, image_bgr), index, objects)


def stand_in(last: Composite, time_ns: int, text: str = NO_SIGNAL) -> StandIn:
    """Return what stands in after a picture, on a flat card."""
    return Compositor(Effect()).stand_in(last.result, time_ns, text)
