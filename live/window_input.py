"""Turns mouse and keyboard into prompts and removals; knows no GUI toolkit."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np

from live.commands import Command, RemoveObject
from live.controls import Controls
from live.frames import Prompt

MIN_DRAG_PX = 6  # canvas pixels; below it, a shaky click stays a click
MESSAGE_S = 3.0
_ESCAPE = 27


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


@dataclass(frozen=True, slots=True)
class InputState:
    """What the window draws of the user's doing.

    Attributes:
        object_id: Which object the next click is for.
        help_visible: Whether the key list is shown.
        drag: Corners of the rectangle being drawn, in canvas pixels, or None.
        message: A short note on the last action, or "".
    """

    object_id: int
    help_visible: bool
    drag: tuple[Point, Point] | None
    message: str


class WindowInput:
    """Collects what the user does; main thread only.

    Attributes:
        quit_requested: Whether the user wants to leave.
        letterbox: How the canvas maps to the source; None before the first picture.
    """

    def __init__(self, controls: Controls, clock: Callable[[], float] = time.monotonic) -> None:
        self.quit_requested = False
        self.letterbox: Letterbox | None = None
        self._controls = controls
        self._clock = clock
        self._object_id = 1
        self._help_visible = False
        self._known: frozenset[int] = frozenset()
        self._pressed: Point | None = None
        self._cursor = Point(0.0, 0.0)
        self._message = ""
        self._message_end_s = 0.0

    @property
    def state(self) -> InputState:
        """What to draw now."""
        message = self._message if self._clock() < self._message_end_s else ""
        drag = None
        if self._pressed is not None and self._is_drag(self._pressed, self._cursor):
            drag = (self._pressed, self._cursor)
        return InputState(self._object_id, self._help_visible, drag, message)

    def set_known_objects(self, object_ids: Collection[int]) -> None:
        """Tell which objects the tracker knows as of the picture on screen."""
        self._known = frozenset(object_ids)

    def press_left(self, x: float, y: float) -> None:
        """Begin a click or a box, at a canvas position."""
        if self.letterbox is not None and self.letterbox.contains(x, y):
            self._pressed = self._cursor = Point(x, y)

    def move(self, x: float, y: float) -> None:
        """Follow the pointer."""
        self._cursor = Point(x, y)

    def release_left(self, x: float, y: float) -> None:
        """Send a positive point, or a box if the pointer was dragged."""
        start, self._pressed = self._pressed, None
        if start is None or self.letterbox is None:
            return
        end = Point(x, y)
        if self._is_drag(start, end):
            self._send_box(
                self.letterbox.to_source(start.x, start.y), self.letterbox.to_source(x, y)
            )
        else:
            self._send_point(self.letterbox.to_source(start.x, start.y), label=1)

    def press_right(self, x: float, y: float) -> None:
        """Send a negative point: this is not the object."""
        if self.letterbox is None or not self.letterbox.contains(x, y):
            return
        if self._object_id not in self._known:
            self._say(f"object {self._object_id}: click it with the left button first")
            return
        self._send_point(self.letterbox.to_source(x, y), label=0)

    def key(self, code: int) -> None:
        """Act on a key.

        Args:
            code: ASCII code; others are ignored.
        """
        character = chr(code).lower() if 0 <= code < 128 else ""
        if code == _ESCAPE or character == "q":
            self.quit_requested = True
        elif character == "h":
            self._help_visible = not self._help_visible
        elif character == "r":
            if self._send(RemoveObject(None)):
                self._say("all objects forgotten")
        elif character == "x":
            if self._send(RemoveObject(self._object_id)):
                self._say(f"object {self._object_id} forgotten")
        elif character and character in "123456789":
            self._object_id = int(character)
            self._say(f"the next click is for object {character}")

    @staticmethod
    def _is_drag(start: Point, end: Point) -> bool:
        return max(abs(end.x - start.x), abs(end.y - start.y)) >= MIN_DRAG_PX

    def _send_point(self, point: Point, label: int) -> None:
        sent = self._send(
            Prompt(
                object_id=self._object_id,
                points_xy_px=np.array([[point.x, point.y]], np.float32),
                labels=np.array([label], np.int32),
            )
        )
        if sent:
            self._say(f"object {self._object_id}: {'this' if label else 'not this'}")

    def _send_box(self, a: Point, b: Point) -> None:
        box = np.array([min(a.x, b.x), min(a.y, b.y), max(a.x, b.x), max(a.y, b.y)], np.float32)
        if box[2] - box[0] < 1 or box[3] - box[1] < 1:
            self._say("box too thin: drag across the object")
            return
        if self._send(Prompt(object_id=self._object_id, box_xyxy_px=box)):
            self._say(f"object {self._object_id}: box")

    def _send(self, command: Command) -> bool:
        if not self._controls.send(command):
            self._say("too many clicks are waiting: this one was not taken")
            return False
        return True

    def _say(self, message: str) -> None:
        self._message = message
        self._message_end_s = self._clock() + MESSAGE_S
