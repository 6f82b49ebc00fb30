"""The state of a run at one moment, as the status line and `ctl status` show it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ObjectStatus:
    """One object.

    Attributes:
        object_id: 1..254.
        state, reason: As in its last result.
        visible: Whether it has a mask.
        effect: Its own effect, or None.
    """

    object_id: int
    state: str
    reason: str
    visible: bool
    effect: str | None = None


@dataclass(frozen=True, slots=True)
class LiveStatus:
    """The state of a run.

    Attributes:
        step: Tracker step of the newest picture.
        frame: Its source frame index.
        time_s: Its media time.
        source_fps, inference_fps: Frames per second lately.
        source_age_ms: How old a picture is when an output gets it, lately.
        dropped: Frames and results that were dropped so far.
        cpu_percent: Of this process lately; 100 is one core.
        effect: The effect of objects without one of their own.
        hidden: Whether the panic key hides everything.
        waiting: Whether a file waits on its first picture for a click.
        source_kind: As `SourceInfo.kind`; "" where that is not known.
        trouble: A stage that hangs, or that the machine cannot keep up, and what would help; a
            short text, and more after ": "; "" where all is well.
    """

    step: int
    frame: int
    time_s: float
    source_fps: float = 0.0
    inference_fps: float = 0.0
    source_age_ms: float = 0.0
    dropped: int = 0
    cpu_percent: float = 0.0
    effect: str = "highlight"
    hidden: bool = False
    objects: tuple[ObjectStatus, ...] = field(default=())
    recording: bool = False
    waiting: bool = False
    source_kind: str = ""
    trouble: str = ""


def object_name(object_id: int, names: Sequence[str]) -> str:
    """Return the user's name of an object; `names` are of objects 1, 2 and so on."""
    if object_id <= len(names) and names[object_id - 1]:
        return names[object_id - 1]
    return f"object {object_id}"
