"""What is sent in place of the camera's picture: while it is hidden, and while there is none."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from samcam.live.effects import Effect, Picture
from samcam.live.frames import U8

NO_SIGNAL: Final = "no signal"
STARTING: Final = "starting"
_CARD_GREY: Final = 32
_TEXT_GREY: Final = 200
_TEXT_HEIGHT_PX: Final = 360  # of a picture in which the text has its font's own size


def cover(size_wh: tuple[int, int], effect: Effect | None, time_ns: int) -> Picture:
    """Return a picture that was made without the camera's pixels.

    `chroma` gives its key colour, `replace` its background at this media time, `transparent`
    nothing; None: a flat grey card.
    """
    blank = np.zeros((size_wh[1], size_wh[0], 3), np.uint8)
    if effect is None:
        blank[:] = _CARD_GREY
        return Picture(blank)
    feed = effect.changed(blank, (), time_ns)
    if effect.backdrop_rgb is None:
        return Picture(feed)
    return Picture(feed, np.zeros(blank.shape[:2], np.uint8), effect.backdrop_rgb)


def captioned(picture: Picture, text: str) -> Picture:
    """Write a few words in the middle, in place; readable on any colour and where all is
    transparent."""
    if not text:
        return picture
    height, width = picture.feed_bgr.shape[:2]
    scale = height / _TEXT_HEIGHT_PX
    thickness = max(1, round(scale * 2))
    (text_width, text_height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thickness)
    origin = ((width - text_width) // 2, (height + text_height) // 2)

    def write(target: U8, grey: int, width_px: int) -> None:
        where = (target, text, origin, cv2.FONT_HERSHEY_SIMPLEX, scale)
        cv2.putText(*where, (grey,) * 3, width_px, cv2.LINE_AA)

    write(picture.feed_bgr, _CARD_GREY, 3 * thickness)
    write(picture.feed_bgr, _TEXT_GREY, thickness)
    if picture.alpha is not None:
        write(picture.alpha, 255, 3 * thickness)
    return picture
