"""Text on panels that reads on any picture beneath."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import cv2

from samcam.live.effects import Bgr
from samcam.live.frames import U8

LINE_PX: Final = 22
PAD_PX: Final = 8
WHITE: Final = Bgr(240, 240, 240)
GREY: Final = Bgr(185, 185, 185)
AMBER: Final = Bgr(60, 190, 255)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_SCALE = 0.5
_SHADE = 0.2  # what stays of the picture under a panel: white becomes 51, noise a faint grain


@lru_cache(maxsize=512)
def text_width(text: str, scale: float = 1.0) -> int:
    """Return the width of a line in canvas pixels; `scale` 1 is the usual size."""
    return int(cv2.getTextSize(text, _FONT, _SCALE * scale, 1)[0][0])


@lru_cache(maxsize=128)
def wrap(text: str, width: int) -> tuple[str, ...]:
    """Return a text in lines of at most `width` canvas pixels, broken between words."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else ""
        if lines and text_width(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return tuple(lines)


def write(canvas: U8, text: str, origin: tuple[int, int], colour: Bgr, scale: float = 1.0) -> None:
    """Write a line on a panel; `origin` is the left end of its base line.

    No outline: in OpenCV 5 a thicker line is another weight of the font, with wider letters.
    """
    cv2.putText(canvas, text, origin, _FONT, _SCALE * scale, colour, 1, cv2.LINE_AA)


def shade(canvas: U8, corner: tuple[int, int], opposite: tuple[int, int]) -> None:
    """Darken a rectangle, cut at the canvas, so that text reads on it."""
    x1, y1 = (max(0, value) for value in corner)
    part = canvas[y1 : max(0, opposite[1]), x1 : max(0, opposite[0])]
    if part.size:
        cv2.convertScaleAbs(part, dst=part, alpha=_SHADE)


def fill(canvas: U8, corner: tuple[int, int], opposite: tuple[int, int], colour: Bgr) -> None:
    """Paint a rectangle; both corners belong to it."""
    cv2.rectangle(canvas, corner, opposite, colour, cv2.FILLED)
