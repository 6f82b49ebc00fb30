"""Highlight: each object tinted in its colour, with a contour and its id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated

import cv2
import numpy as np

from samcam.live.effects.blend import (
    LENGTH_UNIT,
    SoftEdge,
    length_px,
    mix_border,
    mix_inside,
    soft_edge,
)
from samcam.live.effects.palette import Bgr, object_colour, text_colour, tinted
from samcam.live.frames import U8
from samcam.live.masks import MaskLayer, border_distance_u8, distance_px
from samcam.system import Section, Setting

_FONT = cv2.FONT_HERSHEY_SIMPLEX


@dataclass(frozen=True, slots=True)
class HighlightOptions(Section):
    """The effect `highlight`."""

    tint: Annotated[
        float, Setting("Share of the object's colour inside its mask.", low=0, high=1)
    ] = 0.4
    contour_px: Annotated[float, Setting("Width of the contour.", LENGTH_UNIT, 0, 50)] = 3.0
    label: Annotated[bool, Setting("Write the object's id beside it.")] = True


DEFAULT_HIGHLIGHT = HighlightOptions()


def highlight(
    image_bgr: U8, layers: Sequence[MaskLayer], options: HighlightOptions = DEFAULT_HIGHLIGHT
) -> U8:
    """Mark every layer on a copy of the picture.

    Args:
        image_bgr: (H, W, 3) uint8; left as it is.
        layers: From `separate_layers`: no two share a pixel. A held layer gets its contour only.
        options: How.

    Returns:
        (H, W, 3) uint8.
    """
    out = image_bgr.copy()
    height = image_bgr.shape[0]
    contour_px = max(1.0, length_px(options.contour_px, height))
    range_px = contour_px / 2 + 2.0
    for layer in layers:
        colour = object_colour(layer.object_id)
        tint = 0.0 if layer.held else options.tint
        edge = _edge(tint, contour_px, range_px)
        distance = border_distance_u8(layer, range_px)
        target = out[layer.box.slices]
        if tint > 0:
            mix_inside(target, tinted(target, colour, tint), distance, edge)
        mix_border(target, np.array(colour, np.uint8), distance, edge)
    if options.label:
        for layer in layers:
            _draw_label(out, layer)
    return out


@lru_cache(maxsize=16)
def _edge(tint: float, contour_px: float, range_px: float) -> SoftEdge:
    """Return the colour's weights: tint inside, full on the contour, one pixel of transition."""
    distance = distance_px(range_px)
    inside = tint * np.clip(distance + 0.5, 0, 1)
    contour = np.clip(contour_px / 2 + 0.5 - np.abs(distance), 0, 1)
    return soft_edge(np.maximum(inside, contour).astype(np.float32))


def _draw_label(out: U8, layer: MaskLayer) -> None:
    """Put the object's id on top of its mask, inside the picture."""
    inside = layer.logits > 0
    rows = np.flatnonzero(inside.any(axis=1))
    if not len(rows):
        return
    first_row = np.flatnonzero(inside[rows[0]])
    height, width = out.shape[:2]
    text = f"{layer.object_id} held" if layer.held else str(layer.object_id)
    sprite = _label_sprite(text, object_colour(layer.object_id), max(0.4, height / 900))
    sprite_height, sprite_width = sprite.shape[:2]
    if sprite_height > height or sprite_width > width:
        return
    middle, top = layer.box.x1 + int(first_row.mean()), layer.box.y1 + int(rows[0])
    x = min(max(0, middle - sprite_width // 2), width - sprite_width)
    y = min(max(0, top - sprite_height), height - sprite_height)
    out[y : y + sprite_height, x : x + sprite_width] = sprite


@lru_cache(maxsize=512)
def _label_sprite(text: str, colour: Bgr, scale: float) -> U8:
    """Return a small picture of the text on its colour; drawing text again costs more."""
    thickness = max(1, round(scale * 2))
    (text_width, text_height), baseline = cv2.getTextSize(text, _FONT, scale, thickness)
    pad = max(2, round(4 * scale))
    sprite = np.empty((text_height + baseline + 2 * pad, text_width + 2 * pad, 3), np.uint8)
    sprite[:] = colour
    cv2.putText(
        sprite,
        text,
        (pad, pad + text_height),
        _FONT,
        scale,
        text_colour(colour),
        thickness,
        cv2.LINE_AA,
    )
    sprite.flags.writeable = False
    return sprite
