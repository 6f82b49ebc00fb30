"""The list of keys over the picture."""

from __future__ import annotations

from dataclasses import dataclass

from samcam.live.frames import U8
from samcam.live.window.drawing.text import AMBER, LINE_PX, PAD_PX, WHITE, shade, text_width, write
from samcam.live.window.keys import HELP_LINES

_SCALES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)


@dataclass(frozen=True, slots=True)
class _Layout:
    """How large the list is: lengths in canvas pixels."""

    scale: float
    columns: int

    @property
    def rows(self) -> int:
        return -(-len(HELP_LINES) // self.columns)

    @property
    def line(self) -> int:
        return round(LINE_PX * self.scale)

    @property
    def pad(self) -> int:
        return round(PAD_PX * self.scale)

    @property
    def key_width(self) -> int:
        return max(text_width(key, self.scale) for key, _ in HELP_LINES) + 2 * PAD_PX

    @property
    def column_width(self) -> int:
        texts = max(text_width(text, self.scale) for _, text in HELP_LINES)
        return self.key_width + texts + 2 * PAD_PX

    @property
    def size_wh(self) -> tuple[int, int]:
        return self.column_width * self.columns, self.line * self.rows + 2 * self.pad


def draw_help(canvas: U8, top: int = 0, bottom: int | None = None) -> None:
    """Draw the list in the middle, as large as fits, in one column or two.

    Args:
        canvas: (H, W, 3) uint8.
        top: Rows above this one are not covered,
        bottom: nor this one and those below; None: nor the status line.
    """
    height, width = canvas.shape[:2]
    room = _room(height, top, bottom)
    layout = _choose_layout(width, room)
    panel_width, panel_height = layout.size_wh
    left = max(0, (width - panel_width) // 2)
    top += max(0, (room - panel_height) // 2)
    shade(canvas, (left, top), (left + panel_width, top + panel_height))
    for index, (key, text) in enumerate(HELP_LINES):
        column, row = divmod(index, layout.rows)
        x = left + column * layout.column_width + PAD_PX
        y = top + layout.pad + layout.line * (row + 1) - round(6 * layout.scale)
        write(canvas, key, (x, y), AMBER, layout.scale)
        write(canvas, text, (x + layout.key_width, y), WHITE, layout.scale)


def help_fits(canvas_wh: tuple[int, int], top: int, bottom: int | None = None) -> bool:
    """Whether the whole list has room between two rows, as `draw_help` has them."""
    room = _room(canvas_wh[1], top, bottom)
    width, height = _choose_layout(canvas_wh[0], room).size_wh
    return width <= canvas_wh[0] and height <= room


def _room(height: int, top: int, bottom: int | None) -> int:
    """Return the rows between `top` and `bottom`, else the status line."""
    return (height - LINE_PX - PAD_PX if bottom is None else bottom) - top


def _choose_layout(width: int, height: int) -> _Layout:
    """Return the largest layout that fits; the smallest one where none does."""
    layouts = [_Layout(scale, columns) for scale in _SCALES for columns in (1, 2)]
    for layout in layouts:
        panel_width, panel_height = layout.size_wh
        if panel_width <= width and panel_height <= height:
            return layout
    return layouts[-1]
