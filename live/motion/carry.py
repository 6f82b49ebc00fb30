"""Carries the newest masks to the present picture, so that every camera frame can be shown.

Inference answers for a frame that is some frames old. The motion between all frames since then is
known, one small flow field per pair, so an answer can be carried to the present picture at once
when it comes, and from there on frame by frame: the picture never jumps back.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np

from samcam.live.frames import F32, NS_PER_MS, Frame, FrameResult, ObjectResult, ObjectState
from samcam.live.masks import logits_box
from samcam.live.motion.flow import (
    FlowEngine,
    Grey,
    chain,
    object_motion,
    sample,
    shrink,
    warp_logits,
)

CARRY: Final = "carry"  # the stage's name
_MAX_LINKS: Final = 32  # frames whose motion is kept, one MB each: a second of 30 fps
_MAX_AHEAD: Final = 8  # answers for frames that are still to be shown


@dataclass(frozen=True, slots=True, eq=False)
class _Link:
    """One shown frame.

    Attributes:
        index: Source frame index.
        grey: The small picture.
        motion: Since the frame shown before it; None where that had another size, or is none.
    """

    index: int
    grey: Grey
    motion: _Motion | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Motion:
    """What moved between two frames, in small pixels; `since` is the index of the earlier one.

    Attributes:
        backward: (h, w, 2) displacement from the later frame to the earlier one.
        forward: The other way round.
    """

    since: int
    backward: F32
    forward: F32


class _Trail:
    def __init__(self, answer: FrameResult, shape: tuple[int, int]) -> None:
        """Begin at the answer's own frame; (h, w) is the shape of the small pictures."""
        # displacement dx, dy from the frame reached back to the answer's
        self.scene: F32 = np.zeros((*shape, 2), np.float32)
        self._own: dict[int, F32] = {}
        self._small: dict[int, F32] = {}
        for item in answer.objects:
            if item.mask_logits is not None and item.state is not ObjectState.LOST:
                self._own[item.object_id] = self.scene
                self._small[item.object_id] = np.asarray(
                    cv2.resize(item.mask_logits, shape[::-1]), np.float32
                )

    def follow(self, motion: _Motion) -> None:
        """Go on to the next frame."""
        self.scene = chain(motion.backward, self.scene)
        for object_id, own in self._own.items():
            inside = sample(self._small[object_id], own) > 0
            self._own[object_id] = chain(object_motion(motion.forward, inside), own)

    def carried(self, item: ObjectResult) -> F32 | None:
        """Return an object's logits on the frame reached; None where it has no mask.

        The mean of two ways, which fail apart: by the picture's own motion, which knows what
        comes in front of the object, and by the object's, which leaves nothing behind it.
        """
        own = self._own.get(item.object_id)
        if own is None or item.mask_logits is None:
            return None
        by_scene = warp_logits(item.mask_logits, self.scene)
        return (by_scene + warp_logits(item.mask_logits, own)) / np.float32(2)


class Carrier:
    """Makes the result of every frame; one thread only."""

    def __init__(self, max_age_ms: float) -> None:
        """A mask is carried `max_age_ms` in media time, then the object has none."""
        self._max_age_ns = int(max_age_ms * NS_PER_MS)
        self._flow = FlowEngine()
        self._links: deque[_Link] = deque(maxlen=_MAX_LINKS)
        self._ahead: deque[FrameResult] = deque(maxlen=_MAX_AHEAD)
        self._from: FrameResult | None = None
        self._trail: _Trail | None = None  # of `_from`; None after a change of the picture's size
        self.newest_index = -1  # of the frames that inference answered, in the source

    def answer(self, result: FrameResult) -> None:
        """Take an answer of inference; answers come in order."""
        self.newest_index = result.frame.index
        self._ahead.append(result)

    def show(self, frame: Frame) -> FrameResult | None:
        """Return what is known about a frame; frames come in order, each once.

        Returns:
            The answer itself where inference has answered for this frame. Else the newest answer
            for an earlier one, with its step and its objects' masks carried to this frame. None
            before the first answer.
        """
        begun_ns = time.perf_counter_ns()
        self._append(frame)
        changed = False
        while self._ahead and self._ahead[0].frame.index <= frame.index:
            self._from, changed = self._ahead.popleft(), True
        if self._from is None:
            return None
        if changed:
            self._trail = self._trail_since(self._from)
        elif self._trail is not None:
            self._trail = self._follow(self._trail, self._links[-1])
        if self._from.frame.index == frame.index:
            return self._from
        objects = tuple(self._carry(item, frame) for item in self._from.objects)
        passed_ms = (time.perf_counter_ns() - begun_ns) / NS_PER_MS
        scene = None if self._trail is None else self._trail.scene
        return FrameResult(frame, self._from.step, objects, {CARRY: passed_ms}, scene)

    def _append(self, frame: Frame) -> None:
        grey = shrink(frame.image_bgr)
        last = self._links[-1] if self._links else None
        if last is not None and last.grey.shape == grey.shape:
            motion = self._measure(last.index, last.grey, grey)
            self._links.append(_Link(frame.index, grey, motion))
        else:
            self._links.clear()
            self._links.append(_Link(frame.index, grey))

    def _measure(self, since: int, earlier: Grey, later: Grey) -> _Motion:
        return _Motion(
            since, self._flow.measure(later, earlier), self._flow.measure(earlier, later)
        )

    @staticmethod
    def _follow(trail: _Trail, link: _Link) -> _Trail | None:
        if link.motion is None:
            return None
        trail.follow(link.motion)
        return trail

    def _trail_since(self, answer: FrameResult) -> _Trail | None:
        """Follow an answer's objects through all frames after its own."""
        frame, present = answer.frame, self._links[-1].grey
        trail: _Trail | None = _Trail(answer, (present.shape[0], present.shape[1]))
        later = [link for link in self._links if link.index > frame.index]
        if later and (later[0].motion is None or later[0].motion.since != frame.index):
            # its frame was not shown, or is older than what is kept
            grey = shrink(frame.image_bgr)
            same = grey.shape == present.shape
            gap = self._measure(frame.index, grey, later[0].grey) if same else None
            later[0] = replace(later[0], motion=gap)
        for link in later:
            if trail is not None:
                trail = self._follow(trail, link)
        return trail

    def _carry(self, item: ObjectResult, frame: Frame) -> ObjectResult:
        """Return one object as it is expected on a frame."""
        assert self._from is not None
        moved = replace(
            item,
            mask_logits=None,
            box_xyxy_px=None,
            motion_iou=None,
            admitted=False,
            memory_steps=(),
            memory_tiers=(),
            memory_pictures=(),
            guide_iou=None,
            appearance=None,
            size_wh=frame.size_wh,
            predicted=True,
        )
        if item.mask_logits is None or item.state is ObjectState.LOST:
            return moved
        age_ns = frame.time_ns - self._from.frame.time_ns
        if not 0 <= age_ns <= self._max_age_ns:
            return replace(moved, reason=f"no answer for {abs(age_ns) // NS_PER_MS} ms")
        if self._trail is None:
            return replace(moved, reason="the picture changed its size")
        logits = self._trail.carried(item)
        if logits is None or not (logits > 0).any():
            return replace(moved, reason="moved out of the picture")
        x_scale = frame.size_wh[0] / logits.shape[1]
        y_scale = frame.size_wh[1] / logits.shape[0]
        x1, y1, x2, y2 = (float(value) for value in logits_box(logits))
        box = (x1 * x_scale, y1 * y_scale, x2 * x_scale, y2 * y_scale)
        return replace(moved, mask_logits=logits, box_xyxy_px=box)
