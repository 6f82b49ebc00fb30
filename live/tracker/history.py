"""The last processed steps, kept so that a prompt can be answered on the picture the user saw.

Bounded by construction: a fixed number of steps, and one more that is pinned.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from samcam.kalman import CameraMotion, Grey, measure_camera, small_grey
from samcam.live.frames import NOMINAL_STEP_S, NS_PER_S, U8, Prompt
from samcam.live.tracker.crop import Crop
from samcam.live.tracker.guidance import GuideAnswer
from samcam.live.tracker.identity.rivals import Place
from samcam.live.tracker.track import ObjectTrack

if TYPE_CHECKING:
    from samcam.engines import ImageFeatures

MAX_STEP_S: Final = 60.0  # by then an object may be anywhere


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """What the networks made of a part of a picture."""

    crop: Crop
    features: ImageFeatures


@dataclass(slots=True, eq=False)
class PastObject:
    """One object on one step: all that its answer follows from, and some of the answer.

    Attributes:
        before: The object before the step; None: it was not known. Shared with nobody.
        prompts: Given for this step, in order.
        committed: The user made this step's mask a conditioning memory.
        visible: Whether the answer has a mask.
        teaches: Whether that may start its guide: it is nobody else's, and looks like it.
        token, candidates: Of an answer to points: the token that gave it, and those that could,
            by the area of their masks.
        view: The latest crop that the object was looked for in, where that was not the whole
            picture: running the step again looks there again.
        guide: Where its guide has it; None: there is none, or it did not say. A guide cannot go
            back, so running the step again takes this; a change on an earlier step drops it.
    """

    before: ObjectTrack | None = None
    prompts: tuple[Prompt, ...] = ()
    committed: bool = False
    visible: bool = False
    teaches: bool = False
    token: int | None = None
    candidates: tuple[int, ...] = ()
    view: View | None = None
    guide: GuideAnswer | None = None

    def drop_guide(self) -> None:
        """Forget what a guide said that followed a mask which has changed; a detector did not."""
        if self.guide is not None and not self.guide.given:
            self.guide = None

    def note(
        self,
        visible: bool,
        token: int | None = None,
        candidates: tuple[int, ...] = (),
        teaches: bool = False,
    ) -> None:
        """Keep the step's answer."""
        self.visible, self.token, self.candidates = visible, token, candidates
        self.teaches = teaches


@dataclass(slots=True, eq=False)
class PastStep:
    """One processed step.

    Attributes:
        step: Tracker step.
        frame_index: Index of its source frame.
        dt_s: Media time since the step before, in seconds.
        size_wh: Size of the source picture.
        picture: (H, W, 3) uint8 until it is encoded, None from then on; with crops
            (`TrackerSettings.crop`) as long as the step is kept, for crops are cut from it.
            A step without objects is encoded when somebody asks.
        features: What the whole of it was encoded to.
        time_ns: Media time of the picture.
        reduced: The picture with fewer pixels, where it is let go: for what a memory is shown as.
        grey: The small picture in which the camera's motion is measured, where it is.
        camera: How the camera moved since the step before; None: nobody measured it.
        places: Where the objects are expected, before any of them is looked for; noted where
            several are tracked and the preset compares them. Running the step again takes these.
        foreseen: Places of objects that were run again since, or forgot something. They count from
            the next new step on, so that the order of edits between two steps decides nothing.
        objects: By object id; those that the step had or has prompts for.
    """

    step: int
    frame_index: int
    dt_s: float
    size_wh: tuple[int, int]
    picture: U8 | None
    features: ImageFeatures | None = None
    time_ns: int = 0
    reduced: U8 | None = None
    grey: Grey | None = None
    camera: CameraMotion | None = None
    places: tuple[Place, ...] = ()
    foreseen: dict[int, Place] = field(default_factory=dict)
    objects: dict[int, PastObject] = field(default_factory=dict)

    def of(self, object_id: int) -> PastObject:
        return self.objects.setdefault(object_id, PastObject())

    def expect_foreseen(self) -> None:
        """Let what was foreseen count, instead of what was noted of those objects before."""
        known = {place.object_id: place for place in self.places} | self.foreseen
        self.places = tuple(known[object_id] for object_id in sorted(known))
        self.foreseen.clear()

    def forget(self, object_id: int | None) -> None:
        """Drop one object, or all."""
        gone = tuple(self.objects) if object_id is None else (object_id,)
        for one in gone:
            self.objects.pop(one, None)
            self.foreseen.pop(one, None)
        for other in self.objects.values():
            if other.before is not None and object_id is not None:
                other.before.forget_rival(object_id)
        self.places = tuple(
            place for place in self.places if object_id not in (None, place.object_id)
        )

    @property
    def seen(self) -> U8 | None:
        """The whole picture, with fewer pixels where it was let go; None: not kept."""
        return self.reduced if self.picture is None else self.picture

    def shrink(self) -> Grey | None:
        """Return the small grey picture; make it while the picture is there."""
        if self.grey is None and self.picture is not None:
            self.grey = small_grey(self.picture)
        return self.grey

    def watch_camera(self, before: Grey | None) -> None:
        """Note how the camera moved since the small picture of the step before, once."""
        now = self.shrink()
        if self.camera is None and before is not None and now is not None:
            self.camera = measure_camera(before, now)


class StepHistory:
    """At most `length` steps, the newest ones, and at most one pinned step."""

    def __init__(self, length: int) -> None:
        self._recent: deque[PastStep] = deque(maxlen=length)
        self.pinned: PastStep | None = None  # kept however old it gets

    @property
    def newest(self) -> PastStep | None:
        return self._recent[-1] if self._recent else None

    def __iter__(self) -> Iterator[PastStep]:
        """Every kept step, ascending."""
        if self.pinned is not None and not self.is_recent(self.pinned.step):
            yield self.pinned
        yield from self._recent

    def append(self, past: PastStep) -> None:
        """Keep one more step; the oldest goes where there is no room."""
        self._recent.append(past)

    def is_recent(self, step: int) -> bool:
        """Whether a step and all since it are kept."""
        return bool(self._recent) and self._recent[0].step <= step <= self._recent[-1].step

    def since(self, step: int) -> list[PastStep]:
        """Return the recent steps from this one on, ascending."""
        return [past for past in self._recent if past.step >= step]

    def find(self, step: int) -> PastStep | None:
        """Return a kept step, the pinned one too; None where it is not kept."""
        return next((past for past in self if past.step == step), None)

    def nearest(self, step: int) -> PastStep | None:
        """Return the kept step that is nearest; None where nothing is kept."""
        return min(self, key=lambda past: abs(past.step - step), default=None)

    def forget(self, object_id: int | None) -> None:
        """Drop one object from all steps, or all objects."""
        for past in self:
            past.forget(object_id)

    def expect_foreseen(self) -> bool:
        """Let the places count that edits since the last step have changed; say whether any."""
        changed = [past for past in self if past.foreseen]
        for past in changed:
            past.expect_foreseen()
        return bool(changed)

    def clear(self) -> None:
        self._recent.clear()
        self.pinned = None


def step_seconds(previous_ns: int | None, now_ns: int) -> float:
    """Return the seconds between two frames, made usable where the clock is not.

    A first frame, equal times and time running backwards (a looped file, a camera that came
    back) count as 1/30 s; a gap counts as `MAX_STEP_S` at most.
    """
    if previous_ns is None or now_ns <= previous_ns:
        return NOMINAL_STEP_S
    return min((now_ns - previous_ns) / NS_PER_S, MAX_STEP_S)
