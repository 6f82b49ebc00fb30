"""One object's memory bank: bounded, and asked at each step what to attend to."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, Generic, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from samcam.memory.anchors import Anchoring, least_worth, most_alike, quality
from samcam.memory.look import RememberedLook
from samcam.memory.selection import (
    CONDITIONING_TPOS,
    MAX_RECENT_POINTERS,
    BankPolicy,
    KeepPrevious,
    Tier,
    conditioning_to_drop,
    pointer_offset,
    recent_positions,
    spaced,
)

F32: TypeAlias = NDArray[np.float32]
T = TypeVar("T")
THUMBNAIL_PX: Final = 64


@dataclass(frozen=True, slots=True, eq=False)
class MemoryPicture:
    """What a memory saw, small, for people to look at: no policy does.

    Attributes:
        image_bgr: (h, w, 3) uint8, read-only: the part of its picture around the object; the longer
            side has `THUMBNAIL_PX` pixels.
        mask: (h, w) bool, read-only: where the object is in it.
        time_ns: Media time of its picture.
        predicted_iou: The network's own estimate of the mask, 0..1.
    """

    image_bgr: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    time_ns: int
    predicted_iou: float


@dataclass(frozen=True, slots=True, eq=False)
class MemoryEntry(Generic[T]):
    """The memory of one step.

    Attributes:
        step: Tracker step, +1 per processed frame (not the source's frame index).
        conditioning: True where a prompt made the mask and the preset keeps it as such.
        maskmem_features: The backend's tensor, never opened here; a copy that outlives the
            network's next run.
        obj_ptr: (D,) float32 on the host.
        object_score_logit: Score of the mask that was encoded.
        predicted_iou: The network's own estimate, 0..1.
        motion_iou: Overlap with the motion prediction; None where there was none.
        picture: What it saw, where that was kept.
        colours: What its mask showed, see `look.Look`; None: nobody looked.
        appearance: How much it looks like the object, see `look.appearance`; 1 for one that a
            prompt made or the user committed.
    """

    step: int
    conditioning: bool
    maskmem_features: T
    obj_ptr: F32
    object_score_logit: float
    predicted_iou: float
    motion_iou: float | None
    picture: MemoryPicture | None = None
    colours: F32 | None = None
    appearance: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class MemoryView(Generic[T]):
    """What one step attends to; the tensors stay the bank's.

    Attributes:
        maskmem_features: N tensors, conditioning ones first, then anchors, then newest first.
        maskmem_tpos: N positions: 0 conditioning and anchors, 1..6 for the recent ones.
        obj_ptrs: P vectors (D,), conditioning ones first, then anchors, then newest first.
        obj_ptr_tpos: P signed offsets in steps.
        steps: Step of each of the N memories.
        tiers: Tier of each of the N memories.
        pictures: What each of them saw.
    """

    maskmem_features: tuple[T, ...]
    maskmem_tpos: tuple[int, ...]
    obj_ptrs: tuple[F32, ...]
    obj_ptr_tpos: tuple[float, ...]
    steps: tuple[int, ...]
    tiers: tuple[Tier, ...]
    pictures: tuple[MemoryPicture | None, ...]

    @property
    def tensors(
        self,
    ) -> tuple[tuple[T, ...], tuple[int, ...], tuple[F32, ...], tuple[float, ...]]:
        """What memory attention takes, in its order."""
        return self.maskmem_features, self.maskmem_tpos, self.obj_ptrs, self.obj_ptr_tpos


@dataclass(frozen=True, slots=True, eq=False)
class _Pointer:
    step: int
    obj_ptr: F32


class _HasStep(Protocol):
    @property
    def step(self) -> int: ...


_S = TypeVar("_S", bound=_HasStep)


class MemoryBank(Generic[T]):
    """Keeps conditioning memories, recent ones, the previous one, anchors, and recent pointers.

    Every list is ordered by step and bounded by the policy. A step is never in two of them at
    once, except a conditioning memory from a reference picture beside the step's own tracked
    memory, and a recent memory that is an anchor too: a view has it once.
    Limits of a view: N = max_cond + 6 memories, P = max_cond + 15 pointers, with anchors.
    """

    def __init__(self, policy: BankPolicy) -> None:
        self._policy = policy
        self._conditioning: list[MemoryEntry[T]] = []
        self._recent: list[MemoryEntry[T]] = []
        self._pointers: list[_Pointer] = []
        self._anchors: list[MemoryEntry[T]] = []
        self._previous: MemoryEntry[T] | None = None  # of a step that was not admitted

    @property
    def conditioning(self) -> tuple[MemoryEntry[T], ...]:
        return tuple(self._conditioning)

    @property
    def recent(self) -> tuple[MemoryEntry[T], ...]:
        return tuple(self._recent)

    @property
    def anchors(self) -> tuple[MemoryEntry[T], ...]:
        return tuple(self._anchors)

    @property
    def last_sure_step(self) -> int | None:
        """Step of the newest conditioning memory or anchor; None without any."""
        return max((kept.step for kept in (*self._conditioning, *self._anchors)), default=None)

    @property
    def looks(self) -> Iterator[RememberedLook]:
        """Every memory that an answer can be compared with."""
        yield from self._conditioning
        yield from self._anchors
        yield from self._recent

    @property
    def pointer_steps(self) -> tuple[int, ...]:
        """Steps of the recent pointers, ascending."""
        return tuple(pointer.step for pointer in self._pointers)

    def fork(self) -> MemoryBank[T]:
        twin: MemoryBank[T] = MemoryBank(self._policy)
        twin._conditioning = self._conditioning.copy()
        twin._recent = self._recent.copy()
        twin._pointers = self._pointers.copy()
        twin._anchors = self._anchors.copy()
        twin._previous = self._previous
        return twin

    def at(self, step: int) -> tuple[MemoryEntry[T], ...]:
        """Return the memories of one step, a conditioning one first."""
        return tuple(kept for kept in (*self._conditioning, *self._recent) if kept.step == step)

    def forget(self, step: int) -> None:
        """Drop the memories and the pointer of one step, if there are any."""
        _discard(self._conditioning, step)
        self._forget_tracked(step)

    def forget_tracked(self, *, before: int = 0, after: int | None = None) -> None:
        """Drop what steps before one, and after one, left, except those with a conditioning
        memory."""
        given = {kept.step for kept in self._conditioning}

        def stays(one: _HasStep) -> bool:
            return one.step in given or (
                before <= one.step and (after is None or one.step <= after)
            )

        self._recent = [one for one in self._recent if stays(one)]
        self._pointers = [one for one in self._pointers if stays(one)]
        self._anchors = [one for one in self._anchors if stays(one)]
        if self._previous is not None and not stays(self._previous):
            self._previous = None

    def add(self, entry: MemoryEntry[T]) -> None:
        """Take in a memory; one of the same step and kind is replaced.

        A conditioning memory also replaces its step's recent one, so that no frame counts twice
        (sam2_video_predictor.py:532-535). A corrected frame that is stored as recent replaces
        what tracking left of it.
        """
        if not entry.conditioning:
            self._add_recent(entry)
            return
        self._forget_tracked(entry.step)
        _put(self._conditioning, entry)
        steps = [kept.step for kept in self._conditioning]
        dropped = conditioning_to_drop(steps, self._policy.max_cond)
        if dropped is not None:
            # SAM 2 attends to an unselected conditioning frame as if it were a tracked one
            # while it is recent (sam2_base.py:556-559, 613-617).
            self._add_recent(replace(self._conditioning.pop(dropped), conditioning=False))

    def add_pointer(self, step: int, obj_ptr: F32) -> None:
        """Note the pointer of a step whose mask was not admitted.

        Does nothing where the policy gates pointers. SAMURAI does not gate them: the last 15
        steps count whatever their score (sam2_base.py:761-770 @76ba195).
        """
        if not self._policy.gate_pointers:
            self._put_pointer(step, obj_ptr)

    def add_previous(self, entry: MemoryEntry[T]) -> None:
        """Note the memory of a step that was not admitted; only the next step attends to it.

        Does nothing where the policy keeps no such memory.
        """
        if self._policy.keep_previous is not KeepPrevious.NEVER:
            self._previous = entry

    def promote(self, step: int) -> None:
        """Make the recent memory of a step an anchor too; the oldest goes where there is no room.

        Does nothing where the step left none. Source: DAM4SAM's `add_to_drm`,
        sam2_video_predictor.py:329-361 @9c95450.
        """
        for kept in self._recent:
            if kept.step == step:
                _put(self._anchors, kept)
                del self._anchors[: -self._policy.max_anchors]

    def view(self, step: int) -> MemoryView[T]:
        """Return what `step` attends to: memories of earlier steps, and conditioning ones of its
        own (a reference picture given at this step).

        Source: `_prepare_memory_conditioned_features`, sam2_base.py:517-640.
        """
        policy = self._policy
        conditioning = [kept for kept in self._conditioning if kept.step <= step]
        anchors = self._recalled(step, policy.max_cond - len(conditioning))
        lasting = conditioning + anchors
        recent, positions = self._latest(step, lasting)
        anchored = {kept.step for kept in anchors}
        pointers = [
            pointer
            for pointer in reversed(self._pointers)
            if pointer.step < step
            and pointer.step not in anchored
            and (policy.gate_pointers or step - pointer.step <= MAX_RECENT_POINTERS)
        ]
        memories = lasting + recent
        pointer_steps = [kept.step for kept in lasting] + [kept.step for kept in pointers]
        return MemoryView(
            maskmem_features=tuple(kept.maskmem_features for kept in memories),
            maskmem_tpos=(CONDITIONING_TPOS,) * len(lasting) + tuple(positions),
            obj_ptrs=tuple(kept.obj_ptr for kept in lasting)
            + tuple(kept.obj_ptr for kept in pointers),
            obj_ptr_tpos=tuple(
                pointer_offset(step, kept, policy.clamp_pointer_offset) for kept in pointer_steps
            ),
            steps=tuple(kept.step for kept in memories),
            tiers=(Tier.CONDITIONING,) * len(conditioning)
            + (Tier.LONG_TERM,) * len(anchors)
            + tuple(self._tier(kept.step, step) for kept in recent),
            pictures=tuple(kept.picture for kept in memories),
        )

    def _recalled(self, step: int, room: int) -> list[MemoryEntry[T]]:
        """Return the anchors that a step attends to, ascending.

        Not that of the previous step, which is still the newest recent one
        (sam2_utils.py:19-53 @9c95450). Fewer where there is less room: prompts come first.
        """
        policy = self._policy
        known = [kept for kept in self._anchors if kept.step < step - 1]
        count = min(policy.top_k, room)
        if count < 1 or len(known) <= count or policy.anchoring is not Anchoring.DIVERSE:
            return known[-count:] if count > 0 else []
        sure = [kept for kept in (*self._conditioning, *self._recent) if kept.step < step]
        present = max(sure, key=lambda kept: kept.step, default=known[-1]).obj_ptr
        return [known[i] for i in most_alike([kept.obj_ptr for kept in known], present, count)]

    def _latest(
        self, step: int, lasting: list[MemoryEntry[T]]
    ) -> tuple[list[MemoryEntry[T]], list[int]]:
        """Return the recent memories that a step attends to, newest first, and their positions."""
        policy = self._policy
        anchored = {kept.step for kept in lasting if not kept.conditioning}
        known = [kept for kept in self._recent if kept.step not in anchored]
        if self._previous is not None and self._previous.step == step - 1:
            known = [*(kept for kept in known if kept.step < step - 1), self._previous]
        most = min(policy.max_recent, policy.max_memories - len(lasting))
        positions = recent_positions([kept.step for kept in known], step, policy.recent_order, most)
        return [known[index] for index, _ in positions], [position for _, position in positions]

    def _tier(self, recent: int, step: int) -> Tier:
        keeps = self._policy.keep_previous is not KeepPrevious.NEVER
        return Tier.SENSORY if keeps and recent == step - 1 else Tier.WORKING

    def _add_recent(self, entry: MemoryEntry[T]) -> None:
        policy = self._policy
        _put(self._recent, entry)
        if policy.recent_stride > 1:
            steps = [kept.step for kept in self._recent]
            self._recent = [self._recent[i] for i in spaced(steps, policy.recent_stride)]
        if len(self._recent) > policy.working_most:
            leaving = self._recent[: -policy.working_least]
            del self._recent[: -policy.working_least]
            if policy.anchoring is Anchoring.DIVERSE:
                self._consolidate(leaving)
        if self._previous is not None and self._previous.step == entry.step:
            self._previous = None
        self._put_pointer(entry.step, entry.obj_ptr)

    def _consolidate(self, leaving: list[MemoryEntry[T]]) -> None:
        """Offer what leaves the working memory to the long-term one; the least worth goes."""
        for entry in leaving:
            _put(self._anchors, entry)
            if len(self._anchors) > self._policy.max_anchors:
                steps = [kept.step for kept in self._anchors]
                pointers = [kept.obj_ptr for kept in self._anchors]
                worth = [quality(e.predicted_iou, e.object_score_logit) for e in self._anchors]
                del self._anchors[least_worth(steps, pointers, worth)]

    def _forget_tracked(self, step: int) -> None:
        _discard(self._recent, step)
        _discard(self._pointers, step)
        _discard(self._anchors, step)
        if self._previous is not None and self._previous.step == step:
            self._previous = None

    def _put_pointer(self, step: int, obj_ptr: F32) -> None:
        _put(self._pointers, _Pointer(step, obj_ptr))
        del self._pointers[:-MAX_RECENT_POINTERS]


def _put(items: list[_S], item: _S) -> None:
    """Insert by step, or replace the item of the same step."""
    if not items or items[-1].step < item.step:  # the common case: the newest
        items.append(item)
        return
    index = bisect_left(items, item.step, key=lambda kept: kept.step)
    if items[index].step == item.step:
        items[index] = item
    else:
        items.insert(index, item)


def _discard(items: list[_S], step: int) -> None:
    """Remove the item of this step, if there is one."""
    index = bisect_left(items, step, key=lambda kept: kept.step)
    if index < len(items) and items[index].step == step:
        del items[index]
