"""What the window shows around the feed: status, help, notes, the box being drawn.

Pure functions that draw on a canvas of the window's own; nothing here reaches a sink.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from live.effects.alpha import over_checkerboard, to_rgba
from live.effects.palette import Bgr, object_colour
from live.frames import U8
from live.sinks.base import Composite
from live.window_input import InputState, Letterbox

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_SCALE = 0.5
_LINE_PX = 22
_PAD_PX = 8
_WHITE = Bgr(235, 235, 235)
_GREY = Bgr(160, 160, 160)
_AMBER = Bgr(60, 190, 255)
_BACKGROUND = 24
_SHADE = 0.35  # what stays of the picture under a panel
_MAX_LISTED = 6  # objects in the status line

HELP_LINES = (
    "left click       this is the object",
    "right click      this is not",
    "drag             box around the object",
    "1 .. 9           which object the next click is for",
    "x                forget this object",
    "r                forget all objects",
    "h                this list",
    "q or Esc         quit",
)


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """All the window shows at one moment.

    Attributes:
        composite: Newest picture; None before the first one.
        state: What the user is doing.
        fps: Results per second.
        note: What is wrong with the stream just now, or "".
    """

    composite: Composite | None
    state: InputState
    fps: float
    note: str = ""


def draw_canvas(view: View, canvas_wh: tuple[int, int]) -> U8:
    """Return the (H, W, 3) uint8 canvas of the window."""
    canvas = np.full((canvas_wh[1], canvas_wh[0], 3), _BACKGROUND, np.uint8)
    composite = view.composite
    if composite is not None:
        _draw_picture(canvas, composite)
    if view.state.drag is not None:
        start, end = view.state.drag
        colour = object_colour(view.state.object_id)
        corners = (round(start.x), round(start.y)), (round(end.x), round(end.y))
        cv2.rectangle(canvas, *corners, colour, 2, cv2.LINE_AA)
    notes = [text for text in (_hidden_note(composite), view.note, view.state.message) if text]
    for row, text in enumerate(notes):
        _draw_panel(canvas, (text,), (_PAD_PX, _PAD_PX + row * (_LINE_PX + 2 * _PAD_PX)), _AMBER)
    _draw_status(canvas, view)
    if view.state.help_visible:
        _draw_help(canvas)
    return canvas


def letterbox_of(composite: Composite, canvas_wh: tuple[int, int]) -> Letterbox:
    """Return where `draw_canvas` puts the picture."""
    height, width = composite.feed_bgr.shape[:2]
    return Letterbox((width, height), canvas_wh)


def _draw_picture(canvas: U8, composite: Composite) -> None:
    """Put the feed on the canvas; where the feed is hidden, the source: one must see to click."""
    private = composite.hidden and composite.stand_in_time_ns is None
    image = composite.result.frame.image_bgr if private else composite.feed_bgr
    if composite.alpha is not None and not private:
        image = over_checkerboard(
            to_rgba(composite.feed_bgr, composite.alpha, composite.backdrop_rgb)
        )
    box = letterbox_of(composite, (canvas.shape[1], canvas.shape[0]))
    (left, top), (width, height) = box.offset_xy, box.drawn_wh
    target = canvas[top : top + height, left : left + width]
    if image.shape[:2] == (height, width):
        target[:] = image
    else:
        target[:] = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)


def _hidden_note(composite: Composite | None) -> str:
    if composite is None or not composite.hidden or composite.stand_in_time_ns is not None:
        return ""
    why = "the object is lost" if composite.result.objects else "click the object"
    return f"only you see this, the output is hidden: {why}"


def _draw_status(canvas: U8, view: View) -> None:
    """Write the bottom line: which object is next, rate, what each object does."""
    height, width = canvas.shape[:2]
    top = height - _LINE_PX - _PAD_PX
    if top < 0:
        return
    _shade(canvas, (0, top), (width, height))
    x, y = _PAD_PX, height - _PAD_PX - 4
    parts = [(f"object {view.state.object_id}", object_colour(view.state.object_id))]
    if view.composite is None:
        parts.append(("waiting for the first picture", _WHITE))
    else:
        parts.append((f"{view.fps:.1f} fps", _WHITE))
        objects = view.composite.result.objects
        parts += [
            (f"{o.object_id} {o.state}", object_colour(o.object_id)) for o in objects[:_MAX_LISTED]
        ]
        if len(objects) > _MAX_LISTED:
            parts.append((f"and {len(objects) - _MAX_LISTED} more", _WHITE))
        if not objects:
            parts.append(("click an object", _WHITE))
    parts.append(("h: help", _GREY))
    for text, colour in parts:
        _write(canvas, text, (x, y), colour)
        x += _text_width(text) + 2 * _PAD_PX


def _draw_help(canvas: U8) -> None:
    height, width = canvas.shape[:2]
    keys = [line.split("  ", 1)[0] for line in HELP_LINES]
    key_width = max(map(_text_width, keys)) + 2 * _PAD_PX
    texts = [line.split("  ", 1)[1].strip() for line in HELP_LINES]
    panel_width = key_width + max(map(_text_width, texts)) + 2 * _PAD_PX
    panel_height = _LINE_PX * len(HELP_LINES) + 2 * _PAD_PX
    left, top = max(0, (width - panel_width) // 2), max(0, (height - panel_height) // 2)
    _shade(canvas, (left, top), (left + panel_width, top + panel_height))
    for row, (key, text) in enumerate(zip(keys, texts, strict=True)):
        y = top + _PAD_PX + _LINE_PX * (row + 1) - 6
        _write(canvas, key, (left + _PAD_PX, y), _AMBER)
        _write(canvas, text, (left + _PAD_PX + key_width, y), _WHITE)


def _draw_panel(canvas: U8, lines: tuple[str, ...], corner: tuple[int, int], colour: Bgr) -> None:
    left, top = corner
    width = max(map(_text_width, lines)) + 2 * _PAD_PX
    _shade(canvas, corner, (left + width, top + _LINE_PX * len(lines) + _PAD_PX))
    for row, line in enumerate(lines):
        _write(canvas, line, (left + _PAD_PX, top + _LINE_PX * (row + 1) - 3), colour)


def _shade(canvas: U8, corner: tuple[int, int], opposite: tuple[int, int]) -> None:
    """Darken a rectangle so that text reads on it."""
    part = canvas[corner[1] : opposite[1], corner[0] : opposite[0]]
    if part.size:
        cv2.convertScaleAbs(part, dst=part, alpha=_SHADE)


def _write(canvas: U8, text: str, origin: tuple[int, int], colour: Bgr) -> None:
    cv2.putText(canvas, text, origin, _FONT, _SCALE, colour, 1, cv2.LINE_AA)


def _text_width(text: str) -> int:
    return int(cv2.getTextSize(text, _FONT, _SCALE, 1)[0][0])
