"""A classical segmenter and tracker to measure the networks against: GrabCut and optical flow.

It has no weights and knows no more than the pictures so far, which it takes at 480 pixels at most.

- A box: inside is probably the object, outside surely not (what `GC_INIT_WITH_RECT` does).
- A click: a small disc around it is surely the object, a larger one probably, everything else
  probably not. Of the answer the part that was clicked counts.
- Next frames: dense optical flow carries the mask along, then GrabCut draws its border anew. The
  carried mask is probably the object, a ring around it probably not, all beyond surely not.
- Where GrabCut answers with nothing, the box, the disc or the carried mask stays.

Sources: Rother et al. 2004, "GrabCut"; Kroeger et al. 2016, "Fast Optical Flow using Dense Inverse
Search"; both as in OpenCV.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from bench.scores.stills import Candidates
from samcam.live.frames import F32, U8, Frame, FrameResult, Mask, ObjectResult, ObjectState, Prompt
from samcam.live.masks import PixelBox, pixel_box, upsample_logits
from samcam.live.motion import sample

LONGEST_SIDE_PX: Final = 480
# Chosen on generated held-out clips (`training.held_out`), where the ring and the discs matter:
# a wide probable disc takes the background's colours for the object's.
FIRST_ROUNDS: Final = 5
NEXT_ROUNDS: Final = 1
SURE: Final = 0.04  # radius of a click's inner disc, as a share of the picture's shorter side
PROBABLE: Final = 0.1  # and of its outer disc
RING: Final = 0.05  # the ring's width, as a share of the root of the mask's area
NARROWEST_PX: Final = 2  # and at least
MARGIN: Final = 0.5  # sure background around the ring, as a share of its longer side
NARROWEST_MARGIN_PX: Final = 16
_SMALLEST_FLOW_PX: Final = 16  # DIS works on patches of 8 pixels and refuses less than two
_FAR_PX: Final = 32.0  # logits say no more than that
_NO_RECT: Final = (0, 0, 0, 0)  # the trimap says it all


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """A picture at working size.

    Attributes:
        image_bgr: (h, w, 3).
        scale: Width and height of its pixels in source pixels.
    """

    image_bgr: U8
    scale: F32

    @property
    def size_wh(self) -> tuple[int, int]:
        return self.image_bgr.shape[1], self.image_bgr.shape[0]


def look_at(image_bgr: U8) -> Look:
    """Shrink a picture to working size; a small one stays as it is."""
    height, width = image_bgr.shape[:2]
    share = min(1.0, LONGEST_SIDE_PX / max(height, width))
    size_wh = (max(1, round(width * share)), max(1, round(height * share)))
    small = cv2.resize(image_bgr, size_wh, interpolation=cv2.INTER_AREA)
    scale = np.array([width / size_wh[0], height / size_wh[1]], np.float32)
    return Look(np.asarray(small, np.uint8), scale)


def grab_cut(image_bgr: U8, trimap: U8, rounds: int, otherwise: Mask) -> Mask:
    """Cut the object out of (h, w, 3); an empty answer leaves `otherwise`, (h, w).

    `trimap`, (h, w) of GC_BGD, GC_FGD, GC_PR_BGD, GC_PR_FGD, stays as it is; in each round colours
    and border are estimated in turn.
    """
    given = trimap & 1  # GC_FGD is 1, GC_PR_FGD is 3
    if given.all() or not given.any():
        return otherwise  # OpenCV refuses to learn colours from nothing
    answer = trimap.copy()
    cv2.setRNGSeed(0)  # the colours' first clusters are drawn by chance
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(image_bgr, answer, _NO_RECT, *models, rounds, cv2.GC_INIT_WITH_MASK)
    found = (answer & 1).astype(np.bool_)
    return found if found.any() else otherwise


def _segment_box(look: Look, box_xyxy_px: F32) -> Mask:
    width, height = look.size_wh
    (x1, y1), (x2, y2) = np.rint(box_xyxy_px.reshape(2, 2) / look.scale).astype(int).tolist()
    x1, y1 = min(max(x1, 0), width - 1), min(max(y1, 0), height - 1)
    trimap = np.full((height, width), cv2.GC_BGD, np.uint8)
    trimap[y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)] = cv2.GC_PR_FGD
    return grab_cut(look.image_bgr, trimap, FIRST_ROUNDS, trimap == cv2.GC_PR_FGD)


def _segment_click(look: Look, point_xy_px: F32) -> Mask:
    width, height = look.size_wh
    x, y = np.rint((point_xy_px + 0.5) / look.scale - 0.5).astype(int).tolist()
    point = (min(max(x, 0), width - 1), min(max(y, 0), height - 1))
    trimap = np.full((height, width), cv2.GC_PR_BGD, np.uint8)
    for share, value in ((PROBABLE, cv2.GC_PR_FGD), (SURE, cv2.GC_FGD)):
        cv2.circle(trimap, point, round(share * min(width, height)), value, cv2.FILLED)
    found = grab_cut(look.image_bgr, trimap, FIRST_ROUNDS, trimap != cv2.GC_PR_BGD)
    _, parts = cv2.connectedComponents(found.astype(np.uint8))
    return np.asarray(parts == parts[point[1], point[0]], np.bool_)


def segment(look: Look, prompt: Prompt) -> Mask:
    """Answer a first prompt with a mask (h, w) at working size.

    Raises:
        ValueError: The prompt is neither a box nor one positive click.
    """
    if prompt.box_xyxy_px is not None and not len(prompt.labels):
        return _segment_box(look, prompt.box_xyxy_px)
    if prompt.box_xyxy_px is None and prompt.labels.tolist() == [1]:
        return _segment_click(look, prompt.points_xy_px[0])
    raise ValueError("prompt: GrabCut was given another than a box alone or one positive click")


def follow(image_bgr: U8, carried: Mask) -> Mask:
    """Draw the border of a mask anew that flow carried to this picture; both at working size."""
    wide = max(NARROWEST_PX, round(RING * math.sqrt(np.count_nonzero(carried))))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * wide + 1, 2 * wide + 1))
    near = cv2.dilate(carried.astype(np.uint8), disc) > 0
    box = pixel_box(near)
    if box is None:
        return carried
    longer = max(box.x2 - box.x1, box.y2 - box.y1)
    margin = max(NARROWEST_MARGIN_PX, round(MARGIN * longer))
    height, width = carried.shape
    part = PixelBox(
        max(0, box.x1 - margin),
        max(0, box.y1 - margin),
        min(width, box.x2 + margin),
        min(height, box.y2 + margin),
    ).slices
    trimap = np.where(near, cv2.GC_PR_BGD, cv2.GC_BGD).astype(np.uint8)
    # The mask's own rim, too: called background, it would teach the object's colours to it.
    trimap[carried] = cv2.GC_PR_FGD
    answer = np.zeros_like(carried)
    answer[part] = grab_cut(image_bgr[part], trimap[part], NEXT_ROUNDS, carried[part])
    return answer


def logits_of(mask: Mask) -> F32:
    """Return the distance to a mask's border in its own pixels, above 0 inside."""
    inside = mask.astype(np.uint8)
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, 3)
    away = cv2.distanceTransform(1 - inside, cv2.DIST_L2, 3)
    return np.asarray(np.clip(depth - away, -_FAR_PX, _FAR_PX), np.float32)


class GrabCutTracker:
    """Answers prompts and follows their objects, as `live.tracker.tracker.Tracker` does."""

    def __init__(self) -> None:
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._prompts: list[Prompt] = []
        self._masks: dict[int, Mask] = {}
        self._grey: U8 | None = None
        self._steps = 0

    def prompt(self, prompt: Prompt) -> None:
        """Take a prompt for the next frame; it replaces what is followed under its number."""
        self._prompts.append(prompt)

    def step(self, frame: Frame) -> FrameResult:
        """Follow every object to this frame, of the last one's size, and answer its prompts."""
        look = look_at(frame.image_bgr)
        grey = np.asarray(cv2.cvtColor(look.image_bgr, cv2.COLOR_BGR2GRAY), np.uint8)
        if self._masks and self._grey is not None:
            motion = self._motion(grey, self._grey)
            for object_id, mask in self._masks.items():
                carried = sample(mask.astype(np.float32), motion) > 0.5
                self._masks[object_id] = follow(look.image_bgr, carried)
        for prompt in self._prompts:
            self._masks[prompt.object_id] = segment(look, prompt)
        self._prompts.clear()
        self._grey = grey
        self._steps += 1
        objects = tuple(_result(object_id, mask) for object_id, mask in self._masks.items())
        return FrameResult(frame, self._steps - 1, objects)

    def _motion(self, at: U8, other: U8) -> F32:
        """(h, w, 2) from this picture to the other one; tiny ones count as standing still."""
        still = np.zeros((*at.shape, 2), np.float32)
        if min(at.shape) < _SMALLEST_FLOW_PX:
            return still
        return np.asarray(self._flow.calc(at, other, still), np.float32)


def _result(object_id: int, mask: Mask) -> ObjectResult:
    visible = bool(mask.any())
    return ObjectResult(
        object_id=object_id,
        state=ObjectState.TRACKING if visible else ObjectState.LOST,
        reason="carried by flow" if visible else "the mask shrank to nothing",
        mask_logits=logits_of(mask) if visible else None,
        predicted_iou=1.0,
        object_score=1.0 if visible else -1.0,
        motion_iou=None,
        box_xyxy_px=None,
        admitted=False,
        memory_steps=(),
        size_wh=(mask.shape[1], mask.shape[0]),
    )


class GrabCutStills:
    """The same on photographs: one prompt, one mask."""

    def __init__(self) -> None:
        self._look: Look | None = None
        self._size_wh = (0, 0)

    def look(self, image_bgr: U8) -> None:
        self._look = look_at(image_bgr)
        self._size_wh = (image_bgr.shape[1], image_bgr.shape[0])

    def candidates(self, prompt: Prompt) -> Candidates:
        assert self._look is not None  # `look` comes first
        logits = logits_of(segment(self._look, prompt))
        return Candidates([upsample_logits(logits, self._size_wh) > 0], 0)
