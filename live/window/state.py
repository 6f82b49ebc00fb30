"""What the window draws of the user's doing: plain values, made for each drawing."""

from __future__ import annotations

from dataclasses import dataclass

from samcam.live.window.letterbox import Point
from samcam.live.window.marks import Mark
from samcam.live.window.proposals import ProposalView


@dataclass(frozen=True, slots=True)
class InputState:
    """What the window draws of the user's doing.

    Attributes:
        object_id: Which object the next click is for.
        help_visible: Whether the key list is shown.
        drag: Corners of the rectangle being drawn, in canvas pixels, or None.
        message: A short note on the last action, or "".
        frozen: Whether the picture on screen is to stay there.
        marks: Clicks and boxes on the frozen picture.
        proposals: Objects that are suggested on it; None: the user asked for none.
        memory_visible: Whether the memory of the object is shown.
    """

    object_id: int = 1
    help_visible: bool = False
    drag: tuple[Point, Point] | None = None
    message: str = ""
    frozen: bool = False
    marks: tuple[Mark, ...] = ()
    proposals: ProposalView | None = None
    memory_visible: bool = False
