"""Where the source picture lies on the window's canvas."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Point:
    """A position in pixels; a whole number is the centre of a pixel."""

    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Letterbox:
    """Where the source picture lies on the window's canvas: as large as fits, centred.

    Attributes:
        source_wh: Source picture size in pixels.
        canvas_wh: Canvas size in pixels.
    """

    source_wh: tuple[int, int]
    canvas_wh: tuple[int, int]

    @property
    def drawn_wh(self) -> tuple[int, int]:
        """Size of the picture on the canvas."""
        (width, height), (canvas_width, canvas_height) = self.source_wh, self.canvas_wh
        scale = min(canvas_width / width, canvas_height / height)
        return max(1, round(width * scale)), max(1, round(height * scale))

    @property
    def offset_xy(self) -> tuple[int, int]:
        """Canvas position of the picture's upper left pixel."""
        width, height = self.drawn_wh
        return (self.canvas_wh[0] - width) // 2, (self.canvas_wh[1] - height) // 2

    def contains(self, x: float, y: float) -> bool:
        """Whether a canvas position lies on the picture, not on the bars beside it."""
        (left, top), (width, height) = self.offset_xy, self.drawn_wh
        return left <= x < left + width and top <= y < top + height

    def to_source(self, x: float, y: float) -> Point:
        """Map a canvas position to the source picture, to its nearest pixel if outside."""
        (left, top), (width, height) = self.offset_xy, self.drawn_wh
        source_width, source_height = self.source_wh
        # Pixel centres lie half a pixel from the edge on both sides.
        source_x = (x - left + 0.5) * source_width / width - 0.5
        source_y = (y - top + 0.5) * source_height / height - 0.5
        return Point(
            min(max(source_x, 0.0), source_width - 1.0),
            min(max(source_y, 0.0), source_height - 1.0),
        )

    def to_canvas(self, x: float, y: float) -> Point:
        """Map a source position to the canvas; the inverse of `to_source`."""
        (left, top), (width, height) = self.offset_xy, self.drawn_wh
        source_width, source_height = self.source_wh
        return Point(
            (x + 0.5) * width / source_width - 0.5 + left,
            (y + 0.5) * height / source_height - 0.5 + top,
        )
