"""What the user asks for while the program runs, whether by window, hotkey, `ctl` or replay.

Frozen values that cross threads. Tracker commands take effect before a step, feed commands before
a picture is composed; both are noted with that step (`live.control.controls.Controls.applied`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, TypeAlias

from samcam.live.frames import F32, MAX_OBJECT_ID, MIN_OBJECT_ID, Prompt
from samcam.system import Checked, Setting

ObjectId: TypeAlias = Annotated[int, Setting(low=MIN_OBJECT_ID, high=MAX_OBJECT_ID)]
AnyObjectId: TypeAlias = Annotated[int | None, Setting(low=MIN_OBJECT_ID, high=MAX_OBJECT_ID)]


@dataclass(frozen=True, slots=True)
class RemoveObject(Checked):
    """Forget one object, or all of them when `object_id` is None."""

    object_id: AnyObjectId = None


@dataclass(frozen=True, slots=True)
class UndoPrompt(Checked):
    """Take back the last prompt of an object, or of any when `object_id` is None."""

    object_id: AnyObjectId = None


@dataclass(frozen=True, slots=True)
class CycleCandidate(Checked):
    """Answer the last click of an object with the next larger candidate mask (`by` of them)."""

    object_id: ObjectId
    by: int = 1


@dataclass(frozen=True, slots=True)
class CommitMask(Checked):
    """Keep an object's present mask as a conditioning memory, as if it had been prompted."""

    object_id: ObjectId


@dataclass(frozen=True, slots=True)
class PinStep(Checked):
    """Keep what a step needs for prompts, beyond the usual history; None releases it."""

    step: Annotated[int | None, Setting(low=0)]


@dataclass(frozen=True, slots=True)
class GuideBox(Checked):
    """Where a detector outside has an object; it counts as the guide's answer for a short time.

    Attributes:
        object_id: 1..254, a tracked one.
        x1, y1, x2, y2: The box in source pixels, x2 and y2 exclusive; cut at the edges.
        step: Tracker step of the picture that it was found on; None: the newest.
    """

    object_id: ObjectId
    x1: float
    y1: float
    x2: float
    y2: float
    step: Annotated[int | None, Setting(low=0)] = None


@dataclass(frozen=True, slots=True)
class SetEffect:
    """Change the effect.

    Attributes:
        name: None: the next one in order. For an object also `none`: it is left as it is.
        object_id: For this object only, until it is given the effect of all again; None: for all
            that have none of their own.
    """

    name: str | None = None
    object_id: int | None = None


@dataclass(frozen=True, slots=True)
class HideFeed:
    """The panic key: hide the picture in all outputs, or show it again; None: the other state."""

    on: bool | None = None


@dataclass(frozen=True, slots=True)
class SaveProfile:
    """Save a profile of the newest picture; it changes nothing of the run, so it is not recorded.

    Attributes:
        name: A profile's name or folder, as after `--profile`.
    """

    name: str


TrackerCommand: TypeAlias = (
    Prompt | RemoveObject | UndoPrompt | CycleCandidate | CommitMask | PinStep | GuideBox
)
FeedCommand: TypeAlias = SetEffect | HideFeed | SaveProfile
Command: TypeAlias = TrackerCommand | FeedCommand


@dataclass(frozen=True, slots=True)
class HoverRequest(Checked):
    """Which mask a click would give, if one were made.

    Attributes:
        object_id: 1..254, the object that the click would be for.
        step: Tracker step of the picture that the user sees.
        x, y: Position in source pixels.
    """

    object_id: ObjectId
    step: int
    x: float
    y: float


@dataclass(frozen=True, slots=True, eq=False)
class HoverAnswer:
    """The mask and its predicted IoU.

    Attributes:
        mask_logits: (L, L) float32 low-resolution logits of the whole picture, > 0 the object.
    """

    request: HoverRequest
    mask_logits: F32
    predicted_iou: float


@dataclass(frozen=True, slots=True, eq=False)
class Proposal:
    """A mask that may be an object.

    Attributes:
        mask_logits: (L, L) float32 logits of the whole picture stretched to a square.
        predicted_iou: The network's own estimate; the order of proposals.
        stability: Stability score, 0..1.
        point_xy_px: The click that gave it, in source pixels.
    """

    mask_logits: F32
    predicted_iou: float
    stability: float
    point_xy_px: tuple[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class SuggestRequest:
    """Asks for proposals on the picture of a step; every request is one of its own."""

    step: int


@dataclass(frozen=True, slots=True, eq=False)
class Suggestions:
    """The proposals of a request so far.

    Attributes:
        proposals: The best first; a later answer may lack some, for better ones came.
        done, total: Slices of work.
        refusal: Why there will be none, or "".
    """

    request: SuggestRequest
    proposals: tuple[Proposal, ...] = ()
    done: int = 0
    total: int = 0
    refusal: str = ""
