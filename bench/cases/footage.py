"""A labelled clip as pictures with truth, one at a time; every hard case is made from that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from bench.scores.datasets import VOID_OR_BINARY, BoxClip, MaskClip, read_object_ids, read_picture
from bench.scores.metrics import F64, mask_box_xywh, valid_boxes
from samcam.live.frames import NOMINAL_STEP_S, U8, Mask

Target: TypeAlias = Mask | F64  # (H, W) bool, or (4,) x, y, w, h in pixels

ONLY_OBJECT: Final = 1  # id of the object of a clip with boxes


@dataclass(frozen=True, slots=True, eq=False)
class CaseFrame:
    """One picture of a case.

    Attributes:
        image_bgr: (H, W, 3).
        visible: Object id to where it is; an object that is not in it is absent. None: nobody
            knows, the picture is not judged.
        unsure: Objects of which too little is seen to judge an answer.
        decoy: (H, W), where something is that looks like the object and is not; or None.
        step_s: Seconds since the picture before.
        jump: Whether the view is another one than a picture ago.
    """

    image_bgr: U8
    visible: Mapping[int, Target] | None
    unsure: frozenset[int] = frozenset()
    decoy: Mask | None = None
    step_s: float = NOMINAL_STEP_S
    jump: bool = False

    @property
    def size_wh(self) -> tuple[int, int]:
        return self.image_bgr.shape[1], self.image_bgr.shape[0]


def is_box(target: Target) -> bool:
    return target.ndim == 1


def box_of(target: Target) -> F64:
    """The tight (x, y, w, h) of what is visible, in pixels."""
    if is_box(target):
        return np.asarray(target, np.float64)
    box = mask_box_xywh(np.asarray(target, np.bool_))
    assert box is not None  # what is visible has pixels
    return box


def region_of(target: Target, size_wh: tuple[int, int]) -> Mask:
    """The (H, W) pixels of a target; all of a box's."""
    if not is_box(target):
        return np.asarray(target, np.bool_)
    x, y, w, h = target
    region = np.zeros(size_wh[::-1], np.bool_)
    left, top = max(0, int(np.floor(x))), max(0, int(np.floor(y)))
    region[top : max(top, int(np.ceil(y + h))), left : max(left, int(np.ceil(x + w)))] = True
    return region


class Footage:
    """A labelled clip; pictures and truth are read when they are asked for, and not kept."""

    def __init__(self, clip: MaskClip | BoxClip) -> None:
        self.clip = clip
        self.name = clip.name
        self.count = len(clip.frame_paths)

    @property
    def has_masks(self) -> bool:
        return isinstance(self.clip, MaskClip)

    @property
    def is_dense(self) -> bool:
        """Whether every picture has its truth."""
        return not isinstance(self.clip, MaskClip) or len(self.clip.mask_paths) == self.count

    def at(self, index: int) -> CaseFrame:
        """Read one picture with its truth.

        Raises:
            DatasetError: A file cannot be read.
        """
        return CaseFrame(read_picture(self.clip.frame_paths[index]), self.visible(index))

    def all(self, indices: range) -> Iterator[CaseFrame]:
        return (self.at(index) for index in indices)

    def visible(self, index: int) -> dict[int, Target] | None:
        """Read where the objects are on one picture; None where nobody annotated it."""
        clip = self.clip
        if isinstance(clip, BoxClip):
            known = valid_boxes(clip.boxes_xywh[index][None])[0]
            return {ONLY_OBJECT: clip.boxes_xywh[index]} if known else {}
        if index not in clip.mask_paths:
            return None
        ids = read_object_ids(clip.mask_paths[index])
        found = {*np.flatnonzero(np.bincount(ids.ravel())).tolist()} - {0, VOID_OR_BINARY}
        return {object_id: ids == object_id for object_id in sorted(found)}

    def main_object(self) -> int:
        """The object that a case is about: the first that is seen.

        Raises:
            ValueError: No picture shows any.
        """
        for index in range(self.count):
            if seen := self.visible(index):
                return min(seen)
        raise ValueError(f"clip {self.name}: no picture shows an object")
