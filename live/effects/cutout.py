"""An object cut out for another background: none of the old one's colour along its border.

Pixels on an object's border hold some of what was behind it, by optics, by coding and because no
mask is exact. Beside a key colour or another picture that shows as a rim. There the object's own
colours, as they are a little further inside, take the place of the picture's (a convolution
normalised by the share of object under its kernel, as in `live.effects.cells`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Final

import cv2
import numpy as np

from samcam.live.effects.blend import SoftEdge, length_px
from samcam.live.effects.cells import reduced
from samcam.live.frames import F32, U8
from samcam.live.masks import MaskLayer, PixelBox, border_distance_u8, distance_px

_DEPTH: Final = 3.0  # from here on inside the mask, at 720 px height, colours are the object's own
_CELL_PX: Final = 4  # colours of the inside are looked at in cells of this side
_SIGMA_CELLS: Final = 1.5
_LEAST_SHARE: Final = 0.004  # of inside under the kernel: with less, a pixel keeps its colour
_GAP: Final = 3.0  # at 720 px height: two objects so near have nothing between them


def own_colours(image_bgr: U8, layer: MaskLayer, edge: tuple[U8, SoftEdge], height: int) -> U8:
    """Return the picture with the object's own colours along its border.

    Args:
        image_bgr: (h, w, 3) uint8, the part that `layer` covers; left as it is.
        layer: The object.
        edge: Its border, as `object_edge` gives it: only where it has weight is anything changed.
        height: Of the whole picture in pixels.
    """
    depth_px = length_px(_DEPTH, height)
    near = border_distance_u8(layer, depth_px + 1.0)
    share_kept, first_inside = _kept_by_depth(depth_px)
    inside = cv2.inRange(near, first_inside, 255)
    spread = _colours_inside(image_bgr, np.asarray(inside, np.uint8))
    if spread is None:  # too thin to have an inside
        return image_bgr
    colours, known = spread
    distance, border = edge
    wanted = cv2.bitwise_and(cv2.inRange(distance, border.first, 255), cv2.bitwise_not(inside))
    found = np.flatnonzero(np.asarray(wanted, np.uint8))
    if not len(found):
        return image_bgr
    out = np.ascontiguousarray(image_bgr).copy()
    pixels = out.reshape(-1, 3)
    own = colours.reshape(-1, 3)[found]
    replaced = (1.0 - share_kept[near.ravel()[found]]) * known.ravel()[found]
    before = pixels[found].astype(np.float32)
    pixels[found] = np.rint(before + (own - before) * replaced[:, None]).astype(np.uint8)
    return out


@lru_cache(maxsize=8)
def _kept_by_depth(depth_px: float) -> tuple[F32, int]:
    """Return by bytes of the distance how much of a pixel's colour stays, and the first whole."""
    kept = np.clip(distance_px(depth_px + 1.0) / depth_px, 0, 1).astype(np.float32)
    return kept, int(np.flatnonzero(kept >= 1)[0])


def _colours_inside(image_bgr: U8, inside: U8) -> tuple[F32, F32] | None:
    """Return (h, w, 3) colours of the inside, spread outwards, and (h, w): 1 where they reach."""
    rows, columns = (-(-length // _CELL_PX) * _CELL_PX for length in inside.shape)
    missing = (0, rows - inside.shape[0], 0, columns - inside.shape[1])
    kept = cv2.copyMakeBorder(cv2.copyTo(image_bgr, inside), *missing, cv2.BORDER_CONSTANT)
    whole = cv2.copyMakeBorder(inside, *missing, cv2.BORDER_CONSTANT)
    total = cv2.GaussianBlur(
        reduced(np.asarray(kept, np.uint8), _CELL_PX).astype(np.float32), (0, 0), _SIGMA_CELLS
    )
    share = cv2.GaussianBlur(
        reduced(np.asarray(whole, np.uint8), _CELL_PX).astype(np.float32) / np.float32(255),
        (0, 0),
        _SIGMA_CELLS,
    )
    if not (share > _LEAST_SHARE).any():
        return None
    safe = np.maximum(share, np.float32(_LEAST_SHARE))
    colours = cv2.divide(total, cv2.merge((safe,) * 3))
    known = (share > _LEAST_SHARE).astype(np.float32)
    height, width = inside.shape
    full = [cv2.resize(small, (columns, rows))[:height, :width] for small in (colours, known)]
    return np.ascontiguousarray(full[0], np.float32), np.ascontiguousarray(full[1], np.float32)


def joined(layers: Sequence[MaskLayer], height: int) -> tuple[MaskLayer, ...]:
    """Return one layer for all objects that touch: no border, and so no rim, lies between them.

    Args:
        layers: Of all objects that stay.
        height: Of the whole picture in pixels.
    """
    groups: list[list[MaskLayer]] = []
    for layer in layers:
        near = [group for group in groups if any(_touch(layer.box, other.box) for other in group)]
        groups = [group for group in groups if not any(group is one for one in near)]
        groups.append([layer, *(other for group in near for other in group)])
    gap_px = length_px(_GAP, height)
    return tuple(group[0] if len(group) == 1 else _union(group, gap_px) for group in groups)


def _touch(a: PixelBox, b: PixelBox) -> bool:
    return a.x1 < b.x2 and b.x1 < a.x2 and a.y1 < b.y2 and b.y1 < a.y2


def _union(layers: Sequence[MaskLayer], gap_px: float) -> MaskLayer:
    """Return one layer in pixels of distance; gaps up to `gap_px` between objects are closed."""
    box = PixelBox(
        min(layer.box.x1 for layer in layers),
        min(layer.box.y1 for layer in layers),
        max(layer.box.x2 for layer in layers),
        max(layer.box.y2 for layer in layers),
    )
    shape = box.y2 - box.y1, box.x2 - box.x1
    best = np.full(shape, -np.float32(sum(shape)), np.float32)
    second = best.copy()
    for layer in layers:
        part = layer.box.slices_in(box)
        pixels = layer.logits * np.float32(1 / layer.logits_per_px)
        np.maximum(second[part], np.minimum(best[part], pixels), out=second[part])
        np.maximum(best[part], pixels, out=best[part])
    # Between two borders the distances to both add up to the gap's width.
    best[(best <= 0) & (best + second > -gap_px)] = 0.5
    return replace(layers[0], box=box, logits=best, logits_per_px=1.0, contested=True)
