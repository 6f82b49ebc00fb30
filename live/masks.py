"""From low-resolution mask logits to masks in pixels of the source picture, and their boxes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

F32: TypeAlias = NDArray[np.float32]
U8: TypeAlias = NDArray[np.uint8]
Mask: TypeAlias = NDArray[np.bool_]

_FLATTEST = 1e-6  # logits per pixel; keeps a flat map from dividing by zero
_TIE = np.float32(1e-6)  # what is left of the winner's logit where two are equal


class Masked(Protocol):
    """What has a mask: `live.frames.ObjectResult`."""

    @property
    def object_id(self) -> int: ...

    @property
    def mask_logits(self) -> F32 | None: ...


@dataclass(frozen=True, slots=True)
class PixelBox:
    """A rectangle of whole source pixels; x2 and y2 exclusive."""

    x1: int
    y1: int
    x2: int
    y2: int

    @property
    def slices(self) -> tuple[slice, slice]:
        return slice(self.y1, self.y2), slice(self.x1, self.x2)

    def slices_in(self, outer: PixelBox) -> tuple[slice, slice]:
        """Index of this rectangle in an array that covers `outer`."""
        return (
            slice(self.y1 - outer.y1, self.y2 - outer.y1),
            slice(self.x1 - outer.x1, self.x2 - outer.x1),
        )


@dataclass(frozen=True, slots=True, eq=False)
class MaskLayer:
    """One object's logits in the part of the source picture that it needs.

    Attributes:
        object_id: 1..254.
        box: Where `logits` lies in the source picture: the mask and a margin around it.
        logits: (h, w) float32 in source pixels; > 0 is the object.
        logits_per_px: Slope of the logits across the mask's border, per source pixel, the median
            over the border: `logits / logits_per_px` is about the signed distance to the border.
        held: True for a mask of an earlier frame that is shown for want of a new one.
        grid_px: Side of a pixel of the network's mask in source pixels: how exact it can be.
        contested: Set by `separate_layers` where another object claims a pixel of this one: the
            logits then say less about distances, being small where both are as sure.
    """

    object_id: int
    box: PixelBox
    logits: F32
    logits_per_px: float
    held: bool = False
    grid_px: float = 1.0
    contested: bool = False


def upsample_logits(logits: F32, size_wh: tuple[int, int]) -> F32:
    """Stretch low-resolution logits to the source picture.

    Args:
        logits: (L, L) float32, the whole picture stretched to a square.
        size_wh: Width and height of the source picture in pixels.

    Returns:
        (H, W) float32 logits.

    Source: SAM 2 sam2_video_predictor.py `_get_orig_video_res_output`: bilinear with
    align_corners=False and no antialiasing, which is what INTER_LINEAR does.
    """
    return np.asarray(cv2.resize(logits, size_wh, interpolation=cv2.INTER_LINEAR), np.float32)


def mask_layer(
    object_id: int,
    logits: F32,
    size_wh: tuple[int, int],
    margin_px: int = 0,
    logits_per_px: float | None = None,
) -> MaskLayer | None:
    """Stretch one object's (L, L) logits and cut out the part that matters, with `margin_px`
    around it.

    The slope across the border is measured where `logits_per_px` is None.

    Returns:
        None when no low-resolution logit is above 0: the mask is empty, for interpolation never
        exceeds its neighbours.
    """
    box = _covering_box(logits, size_wh, margin_px)
    if box is None:
        return None
    return MaskLayer(
        object_id,
        box,
        _upsample_part(logits, size_wh, box),
        logits_per_px or _border_slope(logits, size_wh),
        grid_px=math.sqrt(size_wh[0] * size_wh[1] / logits.size),
    )


def object_layers(
    objects: Sequence[Masked], size_wh: tuple[int, int], margin_px: int = 0
) -> tuple[MaskLayer, ...]:
    """Return one layer per object that has a mask; layers may overlap."""
    layers = []
    for item in objects:
        if item.mask_logits is not None:
            layer = mask_layer(item.object_id, item.mask_logits, size_wh, margin_px)
            if layer is not None:
                layers.append(layer)
    return tuple(layers)


def grown_to(layer: MaskLayer, other: MaskLayer) -> MaskLayer:
    """Return the first layer grown to contain the mask of the second, of the same object and
    picture."""
    a, b = layer.box, other.box
    box = PixelBox(min(a.x1, b.x1), min(a.y1, b.y1), max(a.x2, b.x2), max(a.y2, b.y2))
    rival = other.logits * np.float32(layer.logits_per_px / other.logits_per_px)
    outside = min(float(layer.logits.min()), float(rival.min()), 0.0)
    logits = np.full((box.y2 - box.y1, box.x2 - box.x1), outside, np.float32)
    logits[a.slices_in(box)] = layer.logits
    target = logits[b.slices_in(box)]
    np.maximum(target, rival, out=target)
    return replace(layer, box=box, logits=logits)


def separate_layers(layers: Sequence[MaskLayer]) -> tuple[MaskLayer, ...]:
    """Give each contested pixel to the layer with the highest logit, on a tie to the first.

    A layer's logits become `own - max(others, 0)`, which is continuous, so soft borders stay soft.
    Where an earlier frame's mask (`held`) meets a live one, the live one keeps every pixel.
    """
    separated = []
    for index, layer in enumerate(layers):
        logits, contested = layer.logits, False
        for rank, other in enumerate(layers):
            common = _intersection(layer.box, other.box)
            if rank == index or common is None or (other.held and not layer.held):
                continue
            if logits is layer.logits:
                logits = layer.logits.copy()
            own = layer.logits[common.slices_in(layer.box)]
            rival = other.logits[common.slices_in(other.box)]
            contested = contested or bool(((own > 0) & (rival > 0)).any())
            if layer.held and not other.held:
                rest = np.where(rival > 0, -rival, own)
            else:
                rest = own - np.maximum(rival, 0)
                if index < rank:
                    np.copyto(rest, _TIE, where=(own == rival) & (own > 0))
            target = logits[common.slices_in(layer.box)]
            np.minimum(target, rest, out=target)
        if logits is not layer.logits:
            layer = replace(layer, logits=logits, contested=contested)
        separated.append(layer)
    return tuple(separated)


def merge_object_ids(layers: Sequence[MaskLayer], size_wh: tuple[int, int]) -> U8:
    """Draw layers that do not overlap (`separate_layers`) into one map of ids.

    Returns:
        (H, W) uint8: object id, 0 where there is none.
    """
    width, height = size_wh
    ids = np.zeros((height, width), np.uint8)
    for layer in layers:
        ids[layer.box.slices][layer.logits > 0] = layer.object_id
    return ids


def mask_area(layer: MaskLayer) -> int:
    return int(np.count_nonzero(layer.logits > 0))


def pixel_box(mask: Mask) -> PixelBox | None:
    """Return the smallest rectangle around the true pixels of (H, W) `mask`, None if none is."""
    rows = np.flatnonzero(mask.any(axis=1))
    if not len(rows):
        return None
    columns = np.flatnonzero(mask.any(axis=0))
    return PixelBox(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)


def logits_box(mask_logits: F32) -> F32:
    """Return the box around the positive logits, with sub-pixel edges.

    An edge lies where the straight line between the last logit outside and the first one inside
    crosses zero: there bilinear up-sampling puts the mask's border.

    Args:
        mask_logits: (H, W).

    Returns:
        (4,) x1, y1, x2, y2 in pixels of the mask (pixel i covers i..i+1); zeros if it is empty.
    """
    inside = mask_logits > 0
    columns = np.flatnonzero(inside.any(axis=0))
    if not len(columns):
        return np.zeros(4, np.float32)
    rows = np.flatnonzero(inside.any(axis=1))
    x1, x2, y1, y2 = columns[0], columns[-1], rows[0], rows[-1]
    height, width = mask_logits.shape
    box = (
        x1 + 0.5 - _reach(mask_logits[:, x1], mask_logits[:, x1 - 1]) if x1 > 0 else 0.0,
        y1 + 0.5 - _reach(mask_logits[y1], mask_logits[y1 - 1]) if y1 > 0 else 0.0,
        x2 + 0.5 + _reach(mask_logits[:, x2], mask_logits[:, x2 + 1])
        if x2 < width - 1
        else float(width),
        y2 + 0.5 + _reach(mask_logits[y2], mask_logits[y2 + 1])
        if y2 < height - 1
        else float(height),
    )
    return np.array(box, np.float32)


def logits_boxes(masks_logits: F32) -> F32:
    """Return the (K, 4) boxes of (K, H, W) mask logits; see `logits_box`."""
    return np.stack([logits_box(logits) for logits in masks_logits])


def border_distance_u8(layer: MaskLayer, range_px: float) -> U8:
    """Return the layer's approximate distance to the mask's border as bytes.

    A soft effect then needs one table look-up per pixel. 128 is the border, 1 is `range_px` or
    more outside, 255 `range_px` or more inside; `distance_px` lists what each byte means.
    """
    if layer.contested:
        return _measured_distance_u8(layer, range_px)
    scale = 127.0 / (range_px * layer.logits_per_px)
    # addWeighted with dtype is OpenCV's one pass of scale, shift, round and saturate to bytes.
    scaled = cv2.addWeighted(layer.logits, scale, layer.logits, 0.0, 128.0, dtype=cv2.CV_8U)
    return np.asarray(scaled, np.uint8)


def _measured_distance_u8(layer: MaskLayer, range_px: float) -> U8:
    """Return the same, measured from pixel to pixel."""
    inside = (layer.logits > 0).astype(np.uint8)
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, 3)
    away = cv2.distanceTransform(1 - inside, cv2.DIST_L2, 3)
    signed = np.clip(np.where(inside, depth - 0.5, 0.5 - away), -range_px, range_px)
    return np.asarray(np.rint(signed * (127.0 / range_px) + 128.0), np.uint8)


def distance_px(range_px: float) -> F32:
    """Return the (256,) distances in pixels that the bytes of `border_distance_u8` stand for."""
    return ((np.arange(256, dtype=np.float32) - 128) * (range_px / 127)).astype(np.float32)


def _upsample_part(logits: F32, size_wh: tuple[int, int], box: PixelBox) -> F32:
    """Return what `upsample_logits` gives inside `box`, without the rest.

    cv2.resize has no offset, so this is an affine warp with the same sampling points. Full-size
    maps would cost more in page faults than in arithmetic: 8 MB per object at full HD.
    """
    scale_x, scale_y = logits.shape[1] / size_wh[0], logits.shape[0] / size_wh[1]
    to_low = np.array(
        [
            [scale_x, 0.0, (box.x1 + 0.5) * scale_x - 0.5],
            [0.0, scale_y, (box.y1 + 0.5) * scale_y - 0.5],
        ]
    )
    part = cv2.warpAffine(
        logits,
        to_low,
        (box.x2 - box.x1, box.y2 - box.y1),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(part, np.float32)


def _covering_box(logits: F32, size_wh: tuple[int, int], margin_px: int) -> PixelBox | None:
    """Return a source-pixel box that contains every pixel above 0, and `margin_px` more."""
    low = pixel_box(logits > 0)
    if low is None:
        return None
    (width, height), (rows, columns) = size_wh, logits.shape
    # A source pixel is drawn from the low-resolution pixels whose centres are less than one low
    # pixel away, so one low pixel more on each side covers all of them.
    return PixelBox(
        max(0, int((low.x1 - 1) * width / columns) - margin_px),
        max(0, int((low.y1 - 1) * height / rows) - margin_px),
        min(width, int(np.ceil((low.x2 + 1) * width / columns)) + margin_px),
        min(height, int(np.ceil((low.y2 + 1) * height / rows)) + margin_px),
    )


def _border_slope(logits: F32, size_wh: tuple[int, int]) -> float:
    """Return the median change of the logits per source pixel where they change sign."""
    inside = logits > 0
    rows, columns = logits.shape
    across = np.abs(np.diff(logits, axis=1))[inside[:, 1:] != inside[:, :-1]] * columns / size_wh[0]
    down = np.abs(np.diff(logits, axis=0))[inside[1:] != inside[:-1]] * rows / size_wh[1]
    slopes = np.concatenate((across, down))
    if not len(slopes):
        return 1.0
    return max(float(np.median(slopes)), _FLATTEST)


def _intersection(a: PixelBox, b: PixelBox) -> PixelBox | None:
    x1, y1, x2, y2 = max(a.x1, b.x1), max(a.y1, b.y1), min(a.x2, b.x2), min(a.y2, b.y2)
    return PixelBox(x1, y1, x2, y2) if x1 < x2 and y1 < y2 else None


def _reach(inside: F32, outside: F32) -> float:
    """Return how far the mask reaches from the centres of its outermost line to the next, 0..1."""
    positive = inside > 0
    edge = inside[positive]
    return float(np.max(edge / (edge - np.minimum(outside[positive], 0))))
