"""The status line: what matters most stays when the window is narrow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from samcam.live.control import LiveStatus, ObjectStatus, object_name
from samcam.live.effects import Bgr, object_colour
from samcam.live.frames import U8
from samcam.live.window.drawing.text import (
    AMBER,
    GREY,
    LINE_PX,
    PAD_PX,
    WHITE,
    fill,
    shade,
    text_width,
    write,
)

RED: Final = Bgr(60, 60, 255)
_CHIP_PX = 12
_GAP_PX = 14
_NEVER = 0  # importance of what is never dropped
_STATES = {"lost": AMBER, "uncertain": AMBER}


@dataclass(frozen=True, slots=True)
class Part:
    """One piece of the line.

    Attributes:
        text: What it says.
        rank: 0 always stays; the highest goes first.
        colour: Of the text.
        chip: Colour of the square before it, or None.
    """

    text: str
    rank: int
    colour: Bgr = WHITE
    chip: Bgr | None = None

    @property
    def width(self) -> int:
        """Canvas pixels, with the gap after it."""
        return text_width(self.text) + _GAP_PX + (_CHIP_PX + 6 if self.chip is not None else 0)


def status_parts(
    status: LiveStatus | None, object_id: int, frozen: bool, names: Sequence[str]
) -> list[Part]:
    """Return the line's pieces from left to right.

    Args:
        status: None before the first picture.
        object_id: Which object the next click is for.
    """
    chosen = object_name(object_id, names)
    parts = [Part(f"next click: {chosen}", _NEVER, WHITE, object_colour(object_id))]
    if status is None:
        return [*parts, Part("waiting for the first picture", 2), Part("h: help", 5, GREY)]
    if status.hidden:
        parts.append(Part("HIDDEN", 1, RED))
    if frozen:
        parts.append(Part("FROZEN", 1, AMBER))
    if status.trouble:
        parts.append(Part(status.trouble.partition(": ")[0], 1, AMBER))
    if status.recording:
        parts.append(Part("REC", 1, RED))
    parts += [
        _object_part(item, names, rank) for rank, item in enumerate(status.objects, start=100)
    ]
    if status.waiting:
        parts.append(Part("WAITING: click an object, or space to play", 1, AMBER))
    elif not status.objects:
        parts.append(Part("click an object", 2))
    parts += [
        Part(f"effect {status.effect}", 4),
        Part(_rates(status), 3),
        Part(f"age {status.source_age_ms:.0f} ms", 6),
        Part(f"dropped {status.dropped}", 8),
        Part(f"CPU {status.cpu_percent:.0f} %", 7),
        Part("h: help", 5, GREY),
    ]
    return parts


def _rates(status: LiveStatus) -> str:
    """Return how fast pictures come and are answered; only a camera is called one."""
    source = "camera" if status.source_kind == "camera" else "source"
    return f"{source} {status.source_fps:.0f} fps, inference {status.inference_fps:.1f}"


def _object_part(item: ObjectStatus, names: Sequence[str], rank: int) -> Part:
    """Return an object's piece; the chosen one's name stands at the left as well."""
    own = f" {item.effect}" if item.effect is not None else ""
    text = f"{object_name(item.object_id, names)} {item.state}{own}"
    return Part(text, rank, _STATES.get(item.state, WHITE), object_colour(item.object_id))


def fit_parts(parts: Sequence[Part], width: int) -> list[Part]:
    """Leave out the least important pieces until the rest is at most `width` pixels wide.

    Objects are dropped from the last one on, down to three, before the figures are; then the
    figures by rank, then the rest of the objects. A piece says how many objects are left out.
    """
    kept = list(parts)
    dropped = 0
    while True:
        more = [Part(f"+{dropped} more", _NEVER)] if dropped else []
        if sum(part.width for part in (*kept, *more)) <= width:
            return [*kept, *more]
        objects = [part for part in kept if part.rank >= 100]
        figures = [part for part in kept if 1 < part.rank < 100]
        marks = [part for part in kept if part.rank == 1]
        if len(objects) > 3 or (objects and not figures):
            kept.remove(objects[-1])
            dropped += 1
        elif figures:
            kept.remove(max(figures, key=lambda part: part.rank))
        elif marks:
            kept.remove(marks[-1])
        else:
            return [*kept, *more]


def draw_status(canvas: U8, parts: Sequence[Part]) -> None:
    """Write the pieces on the lowest line, as many as fit."""
    height, width = canvas.shape[:2]
    top = height - LINE_PX - PAD_PX
    if top < 0:
        return
    shade(canvas, (0, top), (width, height))
    x, y = PAD_PX, height - PAD_PX - 4
    for part in fit_parts(parts, width - PAD_PX):
        start = x
        if part.chip is not None:
            fill(canvas, (x, y - _CHIP_PX + 2), (x + _CHIP_PX - 1, y + 1), part.chip)
            start += _CHIP_PX + 6
        write(canvas, part.text, (start, y), part.colour)
        x += part.width
