"""When to ask what a click would give, and whether an answer still belongs to the pointer."""

from __future__ import annotations

import math
from typing import Final

from live.commands import HoverRequest
from live.letterbox import Letterbox, Point

HOVER_EVERY_S: Final = 0.08
# a pointer that rests is not about to click, and what lies under the outline is to be seen
HOVER_REST_S: Final = 2.0
HOVER_NEAR_PX: Final = 16.0  # canvas pixels
HOVER_STEPS: Final = 3  # an answer takes a step or two, and the stream goes on meanwhile


class HoverPointer:
    """Where the pointer is and what was asked about it; main thread only."""

    def __init__(self) -> None:
        self._at: Point | None = None
        self._moved_s = -math.inf
        self._asked_s = -math.inf
        self._asked: tuple[int, int, Point] | None = None

    def move(self, at: Point, now_s: float) -> None:
        """Follow the pointer, in canvas pixels."""
        self._at, self._moved_s = at, now_s

    def leave(self) -> None:
        """The pointer is gone until it moves again."""
        self._at = None

    def wanted(self, letterbox: Letterbox, now_s: float) -> bool:
        """Whether the pointer is on the picture and was moved lately."""
        at = self._at
        return (
            at is not None
            and letterbox.contains(at.x, at.y)
            and now_s - self._moved_s <= HOVER_REST_S
        )

    def due(self, object_id: int, step: int, now_s: float) -> bool:
        """Whether to ask now: something is new, and the last time is long enough ago.

        True counts as asked.
        """
        if self._at is None or now_s - self._asked_s < HOVER_EVERY_S:
            return False
        wanted = (object_id, step, self._at)
        if wanted == self._asked:
            return False
        self._asked, self._asked_s = wanted, now_s
        return True

    def forget(self) -> None:
        """Forget what was asked: it was taken back, and is news when it is wanted again."""
        self._asked = None

    def fits(self, request: HoverRequest, letterbox: Letterbox, step: int) -> bool:
        """Whether the pointer is still near, and the picture of `step` the one asked about.

        In a running stream the picture may be a few steps newer: the answer takes that long.
        """
        if self._at is None or not 0 <= step - request.step <= HOVER_STEPS:
            return False
        asked = letterbox.to_canvas(request.x, request.y)
        return math.hypot(asked.x - self._at.x, asked.y - self._at.y) <= HOVER_NEAR_PX
