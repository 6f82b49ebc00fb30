"""When to ask what a click would give, and whether an answer still belongs to the pointer."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from samcam.live.commands import HoverRequest
from samcam.live.control import Controls
from samcam.live.frames import F32
from samcam.live.window.letterbox import Letterbox, Point
from samcam.live.window.prompts import on_step_picture

HOVER_EVERY_S: Final = 0.08
# a pointer that rests is not about to click, and what lies under the outline is to be seen
HOVER_REST_S: Final = 2.0
HOVER_NEAR_PX: Final = 16.0  # canvas pixels
HOVER_STEPS: Final = 3  # an answer takes a step or two, and the stream goes on meanwhile


@dataclass(frozen=True, slots=True, eq=False)
class HoverScene:
    """What a click would be for just now.

    Attributes:
        letterbox: Where the picture on screen lies.
        step: Its tracker step.
        motion: As `FrameResult.motion` of that picture.
        object_id: Which object the next click is for.
    """

    letterbox: Letterbox
    step: int
    motion: F32 | None
    object_id: int


class HoverPointer:
    """Where the pointer is and what was asked about it; main thread only."""

    def __init__(self, controls: Controls, clock: Callable[[], float]) -> None:
        """Begin without a pointer; `clock` gives seconds."""
        self._controls, self._clock = controls, clock
        self._at: Point | None = None
        self._moved_s = -math.inf
        self._asked_s = -math.inf
        self._asked: tuple[int, int, Point] | None = None

    def move(self, at: Point) -> None:
        """Follow the pointer, in canvas pixels."""
        self._at, self._moved_s = at, self._clock()

    def leave(self) -> None:
        """The pointer is gone until it moves again."""
        self._at = None

    def ask(self, scene: HoverScene | None) -> None:
        """Ask what a click would give, if that is due; take back what nobody wants any more.

        Args:
            scene: None where a click would be for something else, or for nothing.
        """
        at, now_s = self._at, self._clock()
        if scene is None or at is None or not self._is_on(at, scene.letterbox):
            self._asked = None  # it is news when it is wanted again
            self._controls.hover.put(None)
            return
        wanted = (scene.object_id, scene.step, at)
        if wanted != self._asked and now_s - self._asked_s >= HOVER_EVERY_S:
            self._asked, self._asked_s = wanted, now_s
            box = scene.letterbox
            there = on_step_picture(box.to_source(at.x, at.y), scene.motion, box.source_wh)
            self._controls.hover.put(HoverRequest(scene.object_id, scene.step, there.x, there.y))

    def fits(self, request: HoverRequest, scene: HoverScene | None) -> bool:
        """Whether an answer to this request may be drawn.

        The pointer is still near, and the picture the one asked about: in a running stream it may
        be a few steps newer, for the answer takes that long.
        """
        if scene is None or self._at is None or request.object_id != scene.object_id:
            return False
        if not 0 <= scene.step - request.step <= HOVER_STEPS:
            return False
        if not self._is_on(self._at, scene.letterbox):
            return False
        asked = scene.letterbox.to_canvas(request.x, request.y)
        return math.hypot(asked.x - self._at.x, asked.y - self._at.y) <= HOVER_NEAR_PX

    def _is_on(self, at: Point, letterbox: Letterbox) -> bool:
        """Whether the pointer is on the picture and was moved lately."""
        return letterbox.contains(at.x, at.y) and self._clock() - self._moved_s <= HOVER_REST_S
