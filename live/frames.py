"""Values that flow between the stages: frames, prompts and results.

Everything here is frozen and compared by identity: comparing arrays raises, and a value that
crosses a thread must not change under its reader.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from samcam.live.masks import F32 as F32
from samcam.live.masks import U8 as U8
from samcam.live.masks import Mask as Mask
from samcam.live.masks import merge_object_ids, object_layers, separate_layers
from samcam.live.prompt_checks import (
    as_array,
    as_mask,
    check_form,
    check_inside,
    check_mask,
    check_picture,
    float_array,
    numbers,
    whole_number,
)
from samcam.system import shown

if TYPE_CHECKING:
    from samcam.memory import MemoryPicture, Tier

I32: TypeAlias = NDArray[np.int32]

NS_PER_S: Final = 1_000_000_000
NS_PER_MS: Final = 1_000_000
MAX_TIME_S: Final = 9e9  # its nanoseconds fit into 64 bits
NOMINAL_STEP_S: Final = 1 / 30  # where two pictures do not say how far apart they are
MIN_OBJECT_ID, MAX_OBJECT_ID = 1, 254  # a palette PNG keeps 0 for the background; 255 stays free
MAX_PENDING_PROMPTS: Final = 4096


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    """Return a view of `array` that cannot be written through."""
    view = array.view()
    view.flags.writeable = False
    return view


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One source picture with its place in the stream.

    Attributes:
        index: Source frame index, from 0; gaps are dropped frames.
        time_ns: Media time for files and replays, capture clock for cameras. Every filter and
            every output duration uses this one.
        captured_ns: `time.perf_counter_ns()` at the grab; for latency figures only.
        image_bgr: (H, W, 3) uint8, read-only.
        duration_ns: How long it is shown, where the source says so and no next frame tells.
    """

    index: int
    time_ns: int
    captured_ns: int
    image_bgr: U8
    duration_ns: int | None = None

    def __post_init__(self) -> None:
        check_picture("image_bgr", self.image_bgr)
        object.__setattr__(self, "image_bgr", _read_only(self.image_bgr))

    @classmethod
    def after(cls, last: Frame | None, picture: NDArray[Any], time_s: float | None = None) -> Frame:
        """Return an array as the frame that follows another one.

        It is copied: whoever made it may draw on it, or use its memory again.

        Args:
            last: The frame before; None: this one is the first.
            picture: (H, W, 3) uint8, BGR, of any strides.
            time_s: On any clock; None: one thirtieth of a second after `last`, so that the same
                pictures give the same masks, however fast they come.

        Raises:
            TypeError: It is no array.
            ValueError: It has another shape or type, or the time is no number of seconds, or runs
                backwards.
        """
        check_picture("picture", picture)
        index, time_ns = 0, 0
        if last is not None:
            index, time_ns = last.index + 1, last.time_ns + round(NOMINAL_STEP_S * NS_PER_S)
        if time_s is not None:
            (seconds,) = numbers(time_s=time_s)
            if not abs(seconds) < MAX_TIME_S:
                raise ValueError(f"time_s: expected seconds, got {shown(time_s)}")
            time_ns = round(seconds * NS_PER_S)
            if last is not None and time_ns < last.time_ns:
                raise ValueError(
                    f"time_s: {seconds:g} is before the last picture's "
                    f"{last.time_ns / NS_PER_S:g}: expected times that do not run backwards"
                )
        return cls(index, time_ns, time.perf_counter_ns(), picture.copy())

    @property
    def size_wh(self) -> tuple[int, int]:
        return self.image_bgr.shape[1], self.image_bgr.shape[0]


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """What the user points at, in pixels of the source picture.

    Attributes:
        object_id: 1..254.
        frame_index: Source frame the prompt belongs to: it takes effect at the first processed
            frame with this index or a later one. None: the next processed frame.
        points_xy_px: (T, 2) float32, clicks; may be empty.
        labels: (T,) int32, 1 for a positive click, 0 for a negative one.
        box_xyxy_px: (4,) float32 with x1 < x2 and y1 < y2, or None.
        mask: (H, W) bool, or whole numbers 0 and 1 or 255, or None. Excludes points and box.
        reference_bgr: Picture that `mask` belongs to, when it is not the frame itself.
        step: Tracker step of the picture that the user saw, which the prompt belongs to. Excludes
            `frame_index`. None: see there.
        candidate: Mask token of the decoder, 0..K-1, that shall answer points and box; None: the
            model's token rule chooses. Where prompts are joined, that of the last one counts.
    """

    object_id: int = 1
    frame_index: int | None = None
    points_xy_px: F32 = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    labels: I32 = field(default_factory=lambda: np.zeros((0,), np.int32))
    box_xyxy_px: F32 | None = None
    mask: Mask | None = None
    reference_bgr: U8 | None = None
    step: int | None = None
    candidate: int | None = None

    def __post_init__(self) -> None:
        own_id = whole_number("object_id", self.object_id, MIN_OBJECT_ID, MAX_OBJECT_ID)
        object.__setattr__(self, "object_id", own_id)
        for name in ("frame_index", "step", "candidate"):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, whole_number(name, value))
        if self.step is not None and self.frame_index is not None:
            raise ValueError("a prompt belongs to a step or to a frame, not to both")
        points = float_array("points_xy_px", self.points_xy_px, "pairs of numbers X,Y")
        if points.size % 2:
            raise ValueError(f"points_xy_px: expected pairs X,Y, got {points.size} numbers")
        points = points.reshape(-1, 2)
        labels = as_array(self.labels).reshape(-1)
        if len(points) != len(labels) or not np.isin(labels, (0, 1)).all():
            raise ValueError(f"labels: expected {len(points)} values of 0 or 1, got {labels}")
        labels = labels.astype(np.int32, copy=False)
        object.__setattr__(self, "points_xy_px", _read_only(points))
        object.__setattr__(self, "labels", _read_only(labels))
        box = None
        if self.box_xyxy_px is not None:
            box = float_array("box_xyxy_px", self.box_xyxy_px, "numbers X1,Y1,X2,Y2").reshape(-1)
            if len(box) != 4:
                raise ValueError(f"box_xyxy_px: expected X1,Y1,X2,Y2, got {len(box)} numbers")
            object.__setattr__(self, "box_xyxy_px", _read_only(box))
        with self._named():
            check_form(points, box)
        if self.mask is not None:
            if len(points) or box is not None:
                raise ValueError("mask: cannot be combined with points or a box in one prompt")
            object.__setattr__(self, "mask", _read_only(as_mask(self.mask)))
        elif not len(points) and box is None:
            raise ValueError("a prompt needs a point, a box or a mask")

    @classmethod
    def click(
        cls, x: float, y: float, object_id: int = 1, positive: bool = True, step: int | None = None
    ) -> Prompt:
        """Return one click: this is the object, or this is not."""
        points, labels = np.array([numbers(x=x, y=y)]), np.array([positive])
        return cls(object_id, points_xy_px=points, labels=labels, step=step)

    @classmethod
    def box(
        cls, x1: float, y1: float, x2: float, y2: float, object_id: int = 1, step: int | None = None
    ) -> Prompt:
        """Return a box around the object."""
        box = np.array(numbers(x1=x1, y1=y1, x2=x2, y2=y2))
        return cls(object_id, box_xyxy_px=box, step=step)

    @property
    def points_at_something(self) -> bool:
        """Whether it says where the object is: a positive click, a box or a mask."""
        pointed = self.mask is not None or self.box_xyxy_px is not None
        return pointed or bool((self.labels == 1).any())

    def fitted(self, size_wh: tuple[int, int] | None) -> Prompt:
        """Return it, checked against a picture; a box is cut at the picture's edges.

        Args:
            size_wh: Of the picture; None while it is not known.

        Raises:
            ValueError: It does not fit; names the object, the value and what was expected.
        """
        box = self.box_xyxy_px
        with self._named():
            if self.mask is not None:
                check_mask(self.mask, self.reference_bgr, size_wh)
            elif self.reference_bgr is not None:
                raise ValueError("image: a picture of its own needs a mask, got points or a box")
            elif size_wh is not None:
                box = check_inside(self.points_xy_px, box, size_wh)
        return self if box is self.box_xyxy_px else replace(self, box_xyxy_px=box)

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Let an error begin with the object."""
        try:
            yield
        except ValueError as error:
            raise ValueError(f"object {self.object_id}: {error}") from None


class ObjectState(StrEnum):
    """Where an object stands; see `live.tracker.state` for the thresholds."""

    TRACKING = "tracking"
    UNCERTAIN = "uncertain"
    LOST = "lost"
    RECOVERED = "recovered"


@dataclass(frozen=True, slots=True, eq=False)
class ObjectResult:
    """One object's answer on one frame.

    Attributes:
        object_id: 1..254.
        state, reason: State after this step and one plain sentence why.
        mask_logits: (L, L) float32 low-resolution logits of the whole picture stretched to a
            square; > 0 is the object. None when it is not visible.
        predicted_iou: The network's own estimate for the chosen mask, 0..1.
        object_score: Object score logit; the preset's threshold decides presence.
        motion_iou: IoU of the mask's box with the Kalman prediction; None until it is stable.
        guide_iou: IoU of the mask's box with the guide's; None without a guide's answer.
        box_xyxy_px: (x1, y1, x2, y2) of the mask in source pixels, x2 and y2 exclusive; None
            when it is not visible.
        admitted: Whether this step entered the memory bank.
        memory_steps: Steps of the memories attended to.
        size_wh: Of the source picture.
        predicted: True where the mask was carried by motion, not inferred.
        memory_tiers: Tier of each of `memory_steps`.
        memory_pictures: What each of `memory_steps` saw, small; None where that was not kept, as
            everywhere without `Tracker.open(memory_pictures=True)`.
        appearance: How much the decoder's mask looks like what is remembered, 0..1; None where
            the preset does not ask, or there is none.
    """

    object_id: int
    state: ObjectState
    reason: str
    mask_logits: F32 | None
    predicted_iou: float
    object_score: float
    motion_iou: float | None
    box_xyxy_px: tuple[float, float, float, float] | None
    admitted: bool
    memory_steps: tuple[int, ...]
    size_wh: tuple[int, int]
    predicted: bool = False
    memory_tiers: tuple[Tier, ...] = ()
    memory_pictures: tuple[MemoryPicture | None, ...] = ()
    guide_iou: float | None = None
    appearance: float | None = None

    @property
    def visible(self) -> bool:
        return self.mask_logits is not None

    def mask(self) -> Mask:
        """Return (H, W) bool in source pixels; without a True where it is not visible.

        Where objects overlap, each of them has the pixel; `FrameResult.object_ids` decides.
        """
        return merge_object_ids(object_layers((self,), self.size_wh), self.size_wh) > 0


@dataclass(frozen=True, slots=True, eq=False)
class PinnedAnswers:
    """The masks on the pinned step, for the user who looks at its picture.

    Attributes:
        step: Tracker step of the picture.
        masks: By object id, (L, L) float32 logits of the whole picture, > 0 the object; None for
            an object without a mask there, or removed. Only objects that were answered again
            since the step was pinned.
    """

    step: int
    masks: Mapping[int, F32 | None]


@dataclass(frozen=True, slots=True, eq=False)
class FrameResult:
    """Everything the tracker says about one frame; it carries its own frame.

    Attributes:
        frame: The frame the masks belong to.
        step: Tracker step, +1 per processed frame. A result whose masks were carried to a later
            frame (`predicted`) keeps the step of the answer that they come from.
        objects: By ascending object id.
        stage_ms: Time of each stage in milliseconds; on a GPU its own, where what a step has not
            finished when it returns counts towards the next one.
        motion: (h, w, 2) displacement dx, dy from this picture back to the one that `step`
            answered, in pixels of its own small size; None where that is this picture itself.
        pinned: What prompts on the pinned step came to so far; None: no step is pinned.
    """

    frame: Frame
    step: int
    objects: tuple[ObjectResult, ...]
    stage_ms: Mapping[str, float] = field(default_factory=dict)
    motion: F32 | None = None
    pinned: PinnedAnswers | None = None

    def object_ids(self) -> U8:
        """Return (H, W) object ids in source pixels, as mask files have them; 0 elsewhere.

        Where objects overlap the higher logit wins.
        """
        size_wh = self.frame.size_wh
        return merge_object_ids(separate_layers(object_layers(self.objects, size_wh)), size_wh)


@dataclass(frozen=True, slots=True, eq=False)
class Composite:
    """A finished picture on its way to the sinks; composed once, shared read-only.

    Attributes:
        result: The tracker's answer, with its frame.
        feed_bgr: (H, W, 3) uint8, the clean picture for the outputs: no help, no cursor.
        object_ids: (H, W) uint8, object id per source pixel, 0 elsewhere; where objects overlap
            the higher logit wins.
        areas_px: Visible area of each object of `result.objects`, in source pixels.
        hidden: True where `feed_bgr` has nothing of the camera's picture: a privacy rule, the
            panic key or a missing signal replaced it.
        panic: Whether the panic key was on.
        alpha: (H, W) uint8, 0 where the picture is transparent; None: nowhere. `feed_bgr` is
            mixed over `backdrop_rgb` by it, for outputs without transparency.
        backdrop_rgb: Red, green, blue, 0..255 each.
        repeats: True where this was sent before and only `feed_bgr` is another one, such as after
            the panic key: files have that picture already.
    """

    result: FrameResult
    feed_bgr: U8
    object_ids: U8
    areas_px: tuple[int, ...]
    hidden: bool = False
    panic: bool = False
    alpha: U8 | None = None
    backdrop_rgb: tuple[int, int, int] = (0, 0, 0)
    repeats: bool = False

    @property
    def time_ns(self) -> int:
        """Media time of the picture in `feed_bgr`."""
        return self.result.frame.time_ns

    @property
    def is_new_frame(self) -> bool:
        """Whether it is a frame's first picture, and counts as that frame."""
        return not self.repeats


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class StandIn(Composite):
    """A picture that is sent while no frames come; only `feed_bgr` is to be shown or written.

    Attributes:
        result: The last one there was.
        began_ns: Its media time.
        caption: What it says, such as "no signal".
    """

    began_ns: int
    caption: str

    @property
    def time_ns(self) -> int:
        return self.began_ns

    @property
    def is_new_frame(self) -> bool:
        return False
