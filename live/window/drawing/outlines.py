"""Draws suggested objects over the frozen picture."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import cv2
import numpy as np

from samcam.live.effects import Bgr, object_colour, tinted
from samcam.live.frames import U8
from samcam.live.window.letterbox import Letterbox
from samcam.live.window.proposals import Outline, ProposalView

_DARK: Final = Bgr(0, 0, 0)
_TINT: Final = 0.45


def draw_proposals(canvas: U8, view: ProposalView, letterbox: Letterbox) -> None:
    """Draw outlines, the smallest on top; tint what was taken and what the pointer means.

    Holes are outlined too: a click there takes nothing.
    """
    for outline, object_id in view.taken:
        _fill(canvas, outline, letterbox, object_colour(object_id))
    if view.outlines:
        layer, drawn = _lines(view.outlines, letterbox)
        cv2.copyTo(layer, drawn, canvas)
    for outline, object_id in view.taken:
        draw_lines(canvas, *_contours(outline, letterbox), object_colour(object_id))
    pointed = view.pointed
    if pointed is not None and pointed in view.outlines:
        _fill(canvas, pointed, letterbox, pointed.colour)
        draw_lines(canvas, *_contours(pointed, letterbox), pointed.colour)


@lru_cache(maxsize=1)  # the picture behind may change often, they seldom do
def _lines(outlines: Sequence[Outline], letterbox: Letterbox) -> tuple[U8, U8]:
    """Return (H, W, 3) lines on black and (H, W) where they are; nobody writes into them."""
    width, height = letterbox.canvas_wh
    layer = np.zeros((height, width, 3), np.uint8)
    drawn = np.zeros((height, width), np.uint8)
    for outline in outlines:
        contours, corner = _contours(outline, letterbox)
        for target, colour, thickness in (
            (layer, _DARK, 4),
            (layer, outline.colour, 2),
            (drawn, (255,), 4),
        ):
            cv2.drawContours(target, contours, -1, colour, thickness, cv2.LINE_8, offset=corner)
    return layer, drawn


def _contours(
    outline: Outline, letterbox: Letterbox
) -> tuple[Sequence[cv2.typing.MatLike], tuple[int, int]]:
    shape, corner = _on_canvas(outline, letterbox)
    contours, _ = cv2.findContours(shape, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    return contours, corner


def draw_lines(
    canvas: U8, contours: Sequence[cv2.typing.MatLike], corner: tuple[int, int], colour: Bgr
) -> None:
    """Draw contours, from a corner on, in a colour with a dark rim that shows on any ground."""
    for line_colour, width in ((_DARK, 4), (colour, 2)):
        cv2.drawContours(canvas, contours, -1, line_colour, width, cv2.LINE_AA, offset=corner)


def _fill(canvas: U8, outline: Outline, letterbox: Letterbox, colour: Bgr) -> None:
    shape, (x, y) = _on_canvas(outline, letterbox)
    part = canvas[y : y + shape.shape[0], x : x + shape.shape[1]]
    cv2.copyTo(tinted(part, colour, _TINT), shape, part)


def _on_canvas(outline: Outline, letterbox: Letterbox) -> tuple[U8, tuple[int, int]]:
    """Return the mask in canvas pixels, 0 or 1, and where its upper left corner lies."""
    box = outline.box
    (left, top), (width, height) = letterbox.offset_xy, letterbox.drawn_wh
    scale_x, scale_y = width / letterbox.source_wh[0], height / letterbox.source_wh[1]
    x1, x2 = (round(x * scale_x) for x in (box.x1, box.x2))
    y1, y2 = (round(y * scale_y) for y in (box.y1, box.y2))
    size_wh = max(1, x2 - x1), max(1, y2 - y1)
    grey = outline.inside.astype(np.uint8) * np.uint8(255)
    shape = cv2.resize(grey, size_wh, interpolation=cv2.INTER_LINEAR)
    return (shape > 127).astype(np.uint8), (left + x1, top + y1)
