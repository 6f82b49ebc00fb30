"""The key `m`: what the model remembers of the chosen object, in small pictures over the feed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from samcam.live.control import object_name
from samcam.live.effects import Bgr, object_colour
from samcam.live.frames import NS_PER_S, U8, FrameResult, ObjectResult
from samcam.live.window.drawing.text import GREY, LINE_PX, PAD_PX, WHITE, shade, text_width, write
from samcam.memory import THUMBNAIL_PX, MemoryPicture, Tier

TIER_COLOURS: Final[Mapping[Tier, Bgr]] = {
    Tier.CONDITIONING: Bgr(60, 190, 255),
    Tier.SENSORY: Bgr(230, 210, 90),
    Tier.WORKING: Bgr(120, 220, 120),
    Tier.LONG_TERM: Bgr(240, 130, 220),
}
TIER_WORDS: Final[Mapping[Tier, str]] = {
    Tier.CONDITIONING: "given",
    Tier.SENSORY: "last",
    Tier.WORKING: "recent",
    Tier.LONG_TERM: "long-term",
}
_SMALL: Final = 0.75  # scale of the text under a picture
_TEXT_PX: Final = 15  # height of such a line
_GAP_PX: Final = 6
_FRAME_PX: Final = 3
_MOST: Final = 0.5  # of the canvas's height that the strip may cover
_SIDES: Final = (72, 64, 56, 48, 40, 32, 24, 20)


@dataclass(frozen=True, slots=True)
class Remembered:
    """One memory as it is shown.

    Attributes:
        age_steps, age_s: Since its picture, in steps and in media time; None: not known.
    """

    tier: Tier
    age_steps: int
    age_s: float | None
    picture: MemoryPicture | None

    def lines(self) -> tuple[str, ...]:
        """What is written under its picture, the most important line first."""
        seen = self.picture
        return (
            "" if self.age_s is None else age_text(self.age_s),
            "" if seen is None else f"IoU {seen.predicted_iou:.2f}",
            f"{self.age_steps} steps" if self.age_steps != 1 else "1 step",
        )


@dataclass(frozen=True, slots=True)
class _Layout:
    """Lengths in canvas pixels."""

    side: int
    lines: int
    columns: int
    rows: int

    @property
    def cell_wh(self) -> tuple[int, int]:
        return _cell_width(self.side, self.lines), self.side + self.lines * _TEXT_PX + _GAP_PX

    @property
    def height(self) -> int:
        return LINE_PX + self.rows * self.cell_wh[1] + PAD_PX


def memories_of(result: FrameResult, item: ObjectResult) -> tuple[Remembered, ...]:
    """Return what an object's step attended to: given ones, anchors, then the newest first."""
    found = []
    pictures = item.memory_pictures or (None,) * len(item.memory_steps)
    for step, tier, picture in zip(item.memory_steps, item.memory_tiers, pictures, strict=True):
        age_s = None
        if picture is not None:
            age_s = max(0, result.frame.time_ns - picture.time_ns) / NS_PER_S
        found.append(Remembered(tier, result.step - step, age_s, picture))
    return tuple(found)


def draw_memory(
    canvas: U8, result: FrameResult | None, object_id: int, names: Sequence[str] = ()
) -> int:
    """Draw the memory of an object along the lower edge, above the status line.

    Returns the uppermost row that it takes.

    Args:
        result: The newest one of the model; None before there is one.
        names: Of the objects 1, 2 and so on.
    """
    objects = () if result is None else result.objects
    item = next((one for one in objects if one.object_id == object_id), None)
    known = () if item is None or result is None else memories_of(result, item)
    height, width = canvas.shape[:2]
    bottom = height - LINE_PX - PAD_PX
    layout = _choose_layout(len(known), width, bottom)
    top: int = max(0, bottom - layout.height)
    cell_w, cell_h = layout.cell_wh
    words = _title(f"memory of {object_name(object_id, names)}", known)
    across = max(
        min(len(known), layout.columns) * cell_w, sum(_word_width(word) for word, _ in words)
    )
    shade(canvas, (0, top), (min(width, across + 2 * PAD_PX), bottom))
    _draw_title(canvas, words, top)
    for index, memory in enumerate(known[: layout.columns * layout.rows]):
        row, column = divmod(index, layout.columns)
        corner = PAD_PX + column * cell_w, top + LINE_PX + row * cell_h
        _draw_memory(canvas, memory, object_colour(object_id), corner, layout)
    return top


def age_text(seconds: float) -> str:
    """Return an age in as few characters as say enough: 0.4 s, 34 s, 12 min, 3.2 h."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if seconds < 99.5 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def _cell_width(side: int, lines: int) -> int:
    text = text_width("0000 steps", _SMALL) if lines > 2 else text_width("IoU 0.00", _SMALL)
    return max(side, text if lines else 0) + _GAP_PX


def _choose_layout(count: int, width: int, height: int) -> _Layout:
    """Return the layout with the largest pictures that fits, with as many lines as then fit."""
    known = [(side, lines) for side in _SIDES for lines in (3, 2, 1)]
    for side, lines in (*known, *((side, 0) for side in _SIDES)):
        columns = max(1, (width - 2 * PAD_PX) // _cell_width(side, lines))
        layout = _Layout(side, lines, columns, -(-count // columns))
        if layout.height <= height * _MOST and (layout.rows < 2 or side <= THUMBNAIL_PX):
            return layout
    return _Layout(_SIDES[-1], 0, columns, 1 if count else 0)


def _title(title: str, known: Sequence[Remembered]) -> list[tuple[str, Bgr]]:
    """Return whose memory it is, and how much there is of each kind, in the kinds' colours."""
    counts = {tier: sum(one.tier is tier for one in known) for tier in Tier}
    words = [(f"{n} {TIER_WORDS[tier]}", TIER_COLOURS[tier]) for tier, n in counts.items() if n]
    return [(title, WHITE), *(words or [("nothing yet", GREY)])]


def _word_width(word: str) -> int:
    return text_width(word) + 2 * PAD_PX


def _draw_title(canvas: U8, words: Sequence[tuple[str, Bgr]], top: int) -> None:
    """Write the words in a line, smaller where the canvas is narrow."""
    x, y = PAD_PX, top + LINE_PX - 7
    total = sum(_word_width(word) for word, _ in words)
    scale = min(1.0, max(0.5, (canvas.shape[1] - PAD_PX) / total))
    for word, colour in words:
        write(canvas, word, (x, y), colour, scale)
        x += round(_word_width(word) * scale)


def _draw_memory(
    canvas: U8, memory: Remembered, colour: Bgr, corner: tuple[int, int], layout: _Layout
) -> None:
    """Draw one memory: its picture with the object's outline, framed by tier, and its figures."""
    side, (left, top) = layout.side, corner
    square = np.full((side, side, 3), 40, np.uint8)
    if memory.picture is not None:
        _put(square, memory.picture, colour)
    cv2.rectangle(square, (0, 0), (side - 1, side - 1), TIER_COLOURS[memory.tier], _FRAME_PX)
    place = canvas[top : top + side, left : left + side]
    place[:] = square[: place.shape[0], : place.shape[1]]
    for number, line in enumerate(memory.lines()[: layout.lines], start=1):
        at = left + 1, top + side + number * _TEXT_PX - 3
        write(canvas, line, at, WHITE if number == 1 else GREY, _SMALL)


def _put(square: U8, seen: MemoryPicture, colour: Bgr) -> None:
    """Put a memory's picture in the middle of a square, as large as fits."""
    side = len(square)
    scale = side / max(seen.image_bgr.shape[:2])
    height, width = (max(1, round(edge * scale)) for edge in seen.image_bgr.shape[:2])
    row, column = (side - height) // 2, (side - width) // 2
    part = square[row : row + height, column : column + width]
    part[:] = cv2.resize(seen.image_bgr, (width, height), interpolation=cv2.INTER_LINEAR)
    mask = seen.mask.astype(np.uint8)
    larger = cv2.resize(mask * 255, (width, height), interpolation=cv2.INTER_LINEAR)
    contours, _ = cv2.findContours(
        (larger > 127).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    cv2.drawContours(part, contours, -1, colour, 1, cv2.LINE_AA)
