"""Cases with something pasted into the clip: what hides the object, or a twin that crosses it."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

import cv2
import numpy as np

from bench.cases.footage import CaseFrame, Footage, Target, box_of, is_box, region_of
from bench.scores.metrics import F64
from samcam.live.frames import F32, U8, Mask

HIDDEN_FRAMES: Final = 15  # half a second
APPROACH_FRAMES: Final = 12  # from the first touch to hidden, and back
OCCLUDER_SIZE: Final = 1.2  # of the object's largest box while it is hidden
TWIN_REACH: Final = 2.0  # the twin starts and ends so many widths of the object away
TWIN_BELOW: Final = 0.12  # of its height: two that meet at one spot could not be told apart
LEAST_SEEN: Final = 0.1  # of an object's pixels: with less of it an answer is not judged


def occluder(footage: Footage) -> Iterator[CaseFrame]:
    """A patterned sheet comes from the left, hides the object for half a second, goes on.

    While it hides it, it moves with it.
    """
    object_id = footage.main_object()
    first = footage.count // 2 - HIDDEN_FRAMES // 2
    last = first + HIDDEN_FRAMES - 1
    boxes = _boxes(footage, object_id)
    hidden = [boxes[index] for index in range(max(0, first), min(last + 1, footage.count))]
    size = OCCLUDER_SIZE * np.max([box[2:] for box in hidden], axis=0)
    sheet = _sheet(footage.name, (max(2, round(size[0])), max(2, round(size[1]))))
    for index in range(footage.count):
        frame = footage.at(index)
        box = boxes[index]
        pace = (size[0] + box[2]) / 2 / APPROACH_FRAMES
        away = min(index - first, 0) + max(index - last, 0)
        centre = box[:2] + box[2:] / 2 + (away * pace, 0)
        yield _covered(frame, sheet, centre)


def _boxes(footage: Footage, object_id: int) -> list[F64]:
    """The object's box on every picture; where it is not seen, the last one before, or the
    first."""
    found: list[F64 | None] = []
    for index in range(footage.count):
        target = (footage.visible(index) or {}).get(object_id)
        before = found[-1] if found else None
        found.append(before if target is None else box_of(target))
    first = next(box for box in found if box is not None)
    return [first if box is None else box for box in found]


def _sheet(name: str, size_wh: tuple[int, int]) -> U8:
    """A patterned cloth, (h, w, 3), in colours that hang on the clip's name."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    patches = rng.integers(30, 225, (5, 5, 3), dtype=np.uint8)
    cloth = cv2.resize(patches, size_wh, interpolation=cv2.INTER_CUBIC)
    rows = np.arange(size_wh[1])[:, None, None]
    return np.asarray(np.where(rows // 6 % 3 == 0, cloth // 2, cloth), np.uint8)


def _covered(frame: CaseFrame, sheet: U8, centre_xy: F64) -> CaseFrame:
    """The frame with the sheet over it, and a truth without what it hides."""
    height, width = sheet.shape[:2]
    left, top = np.round(centre_xy - (width / 2, height / 2)).astype(int).tolist()
    x1, y1 = max(0, left), max(0, top)
    x2, y2 = min(frame.size_wh[0], left + width), min(frame.size_wh[1], top + height)
    if x2 <= x1 or y2 <= y1:
        return frame
    picture = frame.image_bgr.copy()
    picture[y1:y2, x1:x2] = sheet[y1 - top : y2 - top, x1 - left : x2 - left]
    hidden = np.zeros(picture.shape[:2], np.bool_)
    hidden[y1:y2, x1:x2] = True
    return less_hidden(replace(frame, image_bgr=picture), hidden)


def less_hidden(frame: CaseFrame, hidden: Mask) -> CaseFrame:
    """Take what is hidden, (H, W), from the truth; of a box nobody knows what is left.

    So an object with a box is absent where all of it is hidden, and else not judged unless
    nearly all of it is seen.
    """
    visible: dict[int, Target] = {}
    unsure = set(frame.unsure)
    for object_id, target in (frame.visible or {}).items():
        whole = region_of(target, frame.size_wh)
        left = whole & ~hidden
        before, after = np.count_nonzero(whole), np.count_nonzero(left)
        if not after:
            continue
        visible[object_id] = target if is_box(target) else left
        if after < (1 - LEAST_SEEN if is_box(target) else LEAST_SEEN) * before:
            unsure.add(object_id)
    known = frame.visible is not None
    return replace(frame, visible=visible if known else None, unsure=frozenset(unsure))


def twin(over: bool) -> Callable[[Footage], Iterator[CaseFrame]]:
    """Return the case in which a copy of the object crosses it, from right to left.

    The copy moves as the object does, and past it over the whole clip; in the middle they meet.

    Args:
        over: Whether it passes before the object, else behind it.
    """

    def case(footage: Footage) -> Iterator[CaseFrame]:
        object_id = footage.main_object()
        boxes = _boxes(footage, object_id)
        reach = TWIN_REACH * float(np.median([box[2] for box in boxes]))
        for index in range(footage.count):
            frame = footage.at(index)
            target = (frame.visible or {}).get(object_id)
            if target is None:
                yield frame
                continue
            along = reach * (1 - 2 * index / max(1, footage.count - 1))
            yield _with_twin(frame, target, (along, TWIN_BELOW * boxes[index][3]), over)

    return case


def _with_twin(
    frame: CaseFrame, target: Target, move_xy: tuple[float, float], over: bool
) -> CaseFrame:
    mask = region_of(target, frame.size_wh)
    picture = frame.image_bgr.astype(np.float32)
    edge = np.asarray(cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 1.0), np.float32)
    weight = _shifted(edge, move_xy)
    decoy = _shifted(mask.astype(np.float32), move_xy) > 0.5
    if not over:
        weight *= 1 - np.maximum(edge, mask)
        decoy &= ~mask
    mixed = picture * (1 - weight[..., None]) + _shifted(picture, move_xy) * weight[..., None]
    with_both = replace(
        frame, image_bgr=np.asarray(mixed.round(), np.uint8), decoy=decoy if decoy.any() else None
    )
    return less_hidden(with_both, decoy)


def _shifted(values: F32, move_xy: tuple[float, float]) -> F32:
    x, y = (round(value) for value in move_xy)
    affine = np.array([[1, 0, x], [0, 1, y]], np.float32)
    size = values.shape[1], values.shape[0]
    return np.asarray(cv2.warpAffine(values, affine, size, flags=cv2.INTER_NEAREST), np.float32)
