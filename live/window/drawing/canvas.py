"""What the window shows around the feed: status, help, notes, hover, the box being drawn.

Pure functions that draw on a canvas of the window's own; nothing here reaches a sink.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from samcam.live.commands import HoverAnswer
from samcam.live.control import LiveStatus
from samcam.live.effects import Bgr, object_colour, over_checkerboard, text_colour, tinted
from samcam.live.frames import F32, U8, Composite, FrameResult, PinnedAnswers, StandIn
from samcam.live.masks import mask_layer
from samcam.live.motion import warp_logits
from samcam.live.window.drawing.help import draw_help, help_fits
from samcam.live.window.drawing.memory_strip import draw_memory
from samcam.live.window.drawing.outlines import draw_lines, draw_proposals
from samcam.live.window.drawing.status_line import RED, draw_status, status_parts
from samcam.live.window.drawing.text import (
    AMBER,
    LINE_PX,
    PAD_PX,
    WHITE,
    fill,
    shade,
    text_width,
    wrap,
    write,
)
from samcam.live.window.letterbox import Letterbox, Point
from samcam.live.window.marks import Mark
from samcam.live.window.state import InputState

_BACKGROUND = 24
_TINT = 0.25
_FRAME_PX = 4  # border that marks a frozen or a hidden picture
_MARK_PX = 5
_DARK = Bgr(0, 0, 0)
HIDDEN_TEXT: Final = "HIDDEN: nothing leaves; p shows again"
FROZEN_TEXT: Final = "FROZEN to click in: the stream goes on; space lets go"


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """All the window shows at one moment.

    Attributes:
        composite: The picture; None before the first one.
        state: What the user is doing.
        status: State of the run; None before the first picture.
        note: What is wrong with the stream just now, or "".
        notice: What the program says, or "".
        refusal: Whether that is that a command was refused.
        hover: What a click would give, or None.
        pinned: What prompts on the frozen picture came to, or None.
        names: Of the objects 1, 2 and so on.
        inferred: The newest result of the model, for what is in memory; None before the first one.
        left: The newest pictures that left, one for outputs that show them at once and one for
            those with a delay; the one on screen may be older.
    """

    composite: Composite | None
    state: InputState
    status: LiveStatus | None = None
    note: str = ""
    notice: str = ""
    refusal: bool = False
    hover: HoverAnswer | None = None
    pinned: PinnedAnswers | None = None
    names: tuple[str, ...] = ()
    left: tuple[Composite, ...] = ()
    inferred: FrameResult | None = None

    @property
    def hidden_note(self) -> str:
        """What to write where all that was sent out is hidden, else ""."""
        left = self.left or (() if self.composite is None else (self.composite,))
        if not left or not all(_is_private(one) for one in left):
            return ""
        why = "the object is lost" if left[0].result.objects else "click the object"
        return f"only you see this, the output is hidden: {why}"

    @property
    def answered(self) -> Composite | None:
        """The frozen picture, where prompts on it were answered since."""
        frozen = self.composite if self.state.frozen else None
        if frozen is None or self.pinned is None or not self.pinned.masks:
            return None
        return frozen if frozen.result.step == self.pinned.step else None

    @property
    def hidden(self) -> bool:
        """Whether the panic key hides what is sent."""
        if self.left:
            return all(picture.panic for picture in self.left)
        return self.status is not None and self.status.hidden


def draw_canvas(view: View, canvas_wh: tuple[int, int]) -> U8:
    """Return the (H, W, 3) uint8 canvas of the window."""
    canvas = np.full((canvas_wh[1], canvas_wh[0], 3), _BACKGROUND, np.uint8)
    composite = view.composite
    if composite is not None:
        box = letterbox_of(composite, canvas_wh)
        if view.answered is not None and view.pinned is not None:
            _draw_answered(canvas, view.answered, view.pinned, box)
        else:
            _draw_picture(canvas, composite, box)
        if view.state.proposals is not None:
            draw_proposals(canvas, view.state.proposals, box)
        if view.hover is not None:
            draw_mask(canvas, view.hover.request.object_id, view.hover.mask_logits, box)
        for mark in view.state.marks:
            _draw_mark(canvas, mark, box)
    if view.state.drag is not None:
        draw_frame(canvas, *view.state.drag, object_colour(view.state.object_id))
    top = _draw_banners(canvas, view)
    frozen = view.state.frozen
    strip = None
    if view.state.memory_visible:
        strip = draw_memory(canvas, view.inferred, view.state.object_id, view.names)
    draw_status(canvas, status_parts(view.status, view.state.object_id, frozen, view.names))
    below = _draw_notes(canvas, view, top)
    if view.state.help_visible and help_fits(canvas_wh, below, strip):
        draw_help(canvas, below, strip)
    elif view.state.help_visible and help_fits(canvas_wh, below):  # over what is in memory
        draw_help(canvas, below)
    elif view.state.help_visible:  # over notes that go, under what nobody may overlook
        draw_help(canvas, top)
        _draw_notes(canvas, view, top, urgent=True)
    return canvas


def letterbox_of(composite: Composite, canvas_wh: tuple[int, int]) -> Letterbox:
    """Return where `draw_canvas` puts the picture."""
    height, width = composite.feed_bgr.shape[:2]
    return Letterbox((width, height), canvas_wh)


def _is_private(composite: Composite) -> bool:
    """Whether there is a picture that only the user may see."""
    return composite.hidden and not isinstance(composite, StandIn)


def _draw_picture(canvas: U8, composite: Composite, box: Letterbox) -> None:
    """Put the feed on the canvas; where the feed is hidden, the source: one must see to click."""
    private = _is_private(composite)
    image = composite.result.frame.image_bgr if private else composite.feed_bgr
    image = _fitted(image, box.drawn_wh)
    if composite.alpha is not None and not private:
        alpha = _fitted(composite.alpha, box.drawn_wh)
        image = over_checkerboard(image, alpha, composite.backdrop_rgb)
    _inside(canvas, box)[:] = image


def _inside(canvas: U8, box: Letterbox) -> U8:
    """Return the part of the canvas where the picture lies, to draw in."""
    (left, top), (width, height) = box.offset_xy, box.drawn_wh
    return canvas[top : top + height, left : left + width]


def _fitted(image: U8, size_wh: tuple[int, int]) -> U8:
    if image.shape[1::-1] == size_wh:
        return image
    return np.asarray(cv2.resize(image, size_wh, interpolation=cv2.INTER_LINEAR), np.uint8)


def _draw_answered(canvas: U8, frozen: Composite, pinned: PinnedAnswers, box: Letterbox) -> None:
    """Draw the frozen picture, bare, with every object as it now is there.

    The effect in the composite shows the masks of before; two of one object would say nothing.
    """
    _inside(canvas, box)[:] = _fitted(frozen.result.frame.image_bgr, box.drawn_wh)
    before = {item.object_id: item.mask_logits for item in frozen.result.objects}
    motion = frozen.result.motion
    for object_id, logits in sorted((before | dict(pinned.masks)).items()):
        if logits is None:
            continue
        if motion is not None and object_id in pinned.masks:  # answered on the step's own picture
            logits = warp_logits(logits, motion)
        draw_mask(canvas, object_id, logits, box)


def draw_mask(canvas: U8, object_id: int, logits: F32, box: Letterbox) -> None:
    """Tint and outline a mask, (L, L) float32 of the whole picture, in the object's colour."""
    layer = mask_layer(object_id, logits, box.drawn_wh)
    if layer is None:
        return
    left, top = box.offset_xy
    colour = object_colour(object_id)
    part = _inside(canvas, box)[layer.box.slices]
    inside = (layer.logits > 0).astype(np.uint8)
    cv2.copyTo(tinted(part, colour, _TINT), inside, part)
    contours, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    draw_lines(canvas, contours, (left + layer.box.x1, top + layer.box.y1), colour)


def _draw_mark(canvas: U8, mark: Mark, box: Letterbox) -> None:
    """Show a box, or a click: a disc of the object's colour, a ring for what it is not."""
    at = box.to_canvas(mark.at.x, mark.at.y)
    if mark.to is not None:
        to = box.to_canvas(mark.to.x, mark.to.y)
        draw_frame(canvas, at, to, object_colour(mark.object_id))
        return
    centre = round(at.x), round(at.y)
    colour = object_colour(mark.object_id)
    cv2.circle(canvas, centre, _MARK_PX + 2, WHITE, cv2.FILLED, cv2.LINE_AA)
    cv2.circle(canvas, centre, _MARK_PX, colour, cv2.FILLED, cv2.LINE_AA)
    if not mark.positive:
        cv2.circle(canvas, centre, _MARK_PX - 2, WHITE, cv2.FILLED, cv2.LINE_AA)


def draw_frame(canvas: U8, start: Point, end: Point, colour: Bgr) -> None:
    """Draw a rectangle with these corners, in canvas pixels, that shows on any ground."""
    corners = (round(start.x), round(start.y)), (round(end.x), round(end.y))
    cv2.rectangle(canvas, *corners, _DARK, 4, cv2.LINE_AA)
    cv2.rectangle(canvas, *corners, colour, 2, cv2.LINE_AA)


def _draw_banners(canvas: U8, view: View) -> int:
    """Say across the whole width what nobody may overlook; return the row below."""
    row = 0
    if view.hidden:
        row = _draw_banner(canvas, HIDDEN_TEXT, row, RED)
    if view.state.frozen:
        row = _draw_banner(canvas, FROZEN_TEXT, row, AMBER)
    return row


def _draw_notes(canvas: U8, view: View, row: int, urgent: bool = False) -> int:
    """Write the messages from `row` down, in lines as long as fit; return the row below."""
    hidden_note = "" if view.hidden else view.hidden_note
    proposals = view.state.proposals
    found = "" if proposals is None else proposals.note
    texts = [hidden_note, view.note, found, view.notice, view.state.message]
    if urgent:  # alone, and on an opaque ground
        texts = [hidden_note, view.notice if view.refusal else ""]
    for text in texts:
        lines = wrap(text, canvas.shape[1] - 4 * PAD_PX)
        if not lines:
            continue
        top, right = PAD_PX + row, 3 * PAD_PX + max(map(text_width, lines))
        corners = (PAD_PX, top), (right, top + LINE_PX * len(lines) + PAD_PX)
        if urgent:
            fill(canvas, *corners, _DARK)
        else:
            shade(canvas, *corners)
        for number, line in enumerate(lines, start=1):
            write(canvas, line, (2 * PAD_PX, top + LINE_PX * number - 3), AMBER)
        row += LINE_PX * len(lines) + 2 * PAD_PX
    return row


def _draw_banner(canvas: U8, text: str, row: int, colour: Bgr) -> int:
    """Write across the whole width on a bar of the colour; return the row below it."""
    height, width = canvas.shape[:2]
    bar = LINE_PX + PAD_PX
    fill(canvas, (0, row), (width, row + bar), colour)
    scale = min(1.3, 1.0 * max(1, width - 2 * PAD_PX) / text_width(text))
    x = max(PAD_PX, (width - text_width(text, scale)) // 2)
    write(canvas, text, (x, row + LINE_PX), text_colour(colour), scale)
    cv2.rectangle(canvas, (0, row), (width - 1, height - 1), colour, _FRAME_PX)
    return row + bar
