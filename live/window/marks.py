"""What the user pointed at on the frozen picture; main thread only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from samcam.live.frames import Prompt
from samcam.live.window.letterbox import Point

_MAX_MARKS: Final = 32


@dataclass(frozen=True, slots=True)
class Mark:
    """A click or a box on the frozen picture.

    Attributes:
        object_id: Which object it is for.
        at: Source pixels; of a box its upper left corner.
        positive: Whether it says "this" or "not this".
        to: The box's other corner; None for a click.
    """

    object_id: int
    at: Point
    positive: bool = True
    to: Point | None = None


class Marks:
    """The newest ones, as many as can be told apart, in `all`, the oldest first."""

    def __init__(self) -> None:
        self.all: tuple[Mark, ...] = ()

    def add(self, prompt: Prompt) -> None:
        """Mark what a prompt of one click or box points at."""
        if prompt.box_xyxy_px is not None:
            x1, y1, x2, y2 = prompt.box_xyxy_px.tolist()
            mark = Mark(prompt.object_id, Point(x1, y1), to=Point(x2, y2))
        elif len(prompt.points_xy_px):
            x, y = prompt.points_xy_px[-1].tolist()
            mark = Mark(prompt.object_id, Point(x, y), bool(prompt.labels[-1]))
        else:
            return
        self.all = (*self.all, mark)[-_MAX_MARKS:]

    def take_back(self, object_id: int) -> None:
        """Remove an object's last one."""
        last = next((m for m in reversed(self.all) if m.object_id == object_id), None)
        self.all = tuple(mark for mark in self.all if mark is not last)

    def forget(self, object_id: int | None = None) -> None:
        """Remove an object's, or all."""
        self.all = tuple(m for m in self.all if object_id not in (None, m.object_id))
