"""Policies of the memory bank, as pure functions: what enters, what stays, temporal positions.

Sources: SAM 2 is facebookresearch/sam2 @2b90b9f; SAMURAI is arXiv 2411.11922 and
yangchris11/samurai @76ba195; DAM4SAM is jovanavidenovic/DAM4SAM @9c95450.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final

from samcam.memory.anchors import MAX_ANCHORS, Anchoring
from samcam.system import Checked, Setting

MAX_RECENT: Final = 6  # num_maskmem 7 less the conditioning one, sam2_base.py:25
MAX_RECENT_POINTERS: Final = 15  # max_obj_ptrs_in_encoder 16 less one, sam2_base.py:638
CONDITIONING_TPOS: Final = 0
MAX_CONDITIONING: Final = 4  # with anchors: what engines are built for
MAX_WORKING: Final = 64  # recent memories kept; at most `MAX_RECENT` are attended to


class Tier(StrEnum):
    """Why a memory is attended to. Names: XMem's, arXiv 2207.07115, section 3."""

    CONDITIONING = "conditioning"  # a prompt made it
    SENSORY = "sensory"  # the previous step's, whatever its scores
    WORKING = "working"  # recent and admitted
    LONG_TERM = "long_term"  # an anchor: kept for what it shows, however old


class RecentOrder(StrEnum):
    """What the temporal position 1..6 of a recent memory means."""

    DISTANCE = "distance"  # steps back, with gaps; SAM 2
    RANK = "rank"  # 1 is the newest that was admitted; SAMURAI


class KeepPrevious(StrEnum):
    """Whether the previous step's memory is attended to although it was not admitted."""

    NEVER = "never"
    SEEN = "seen"  # where its mask has pixels
    ALWAYS = "always"  # SAMURAI's code, sam2_base.py:678-679 @76ba195


@dataclass(frozen=True, slots=True)
class BankPolicy(Checked):
    """What a memory bank keeps and how it counts.

    Attributes:
        max_cond: Conditioning memories kept, and memories of these and anchors together that are
            attended to; the first is never dropped.
        recent_order: By step distance (SAM 2) or by rank among the admitted (gated presets).
        gate_pointers: True: only admitted steps leave a pointer, and the last 15 of those count
            however old they are. False: every step does, and the last 15 steps count.
        clamp_pointer_offset: Limit a pointer's offset to 15 steps, the largest that SAM 2 saw in
            training for recent ones. SAM 2 itself does not.
        keep_previous: Whether the previous step's memory is attended to at temporal position 1
            although it was not admitted.
        max_recent: Recent memories attended to, the previous step's among them.
        max_memories: Memories attended to in all: anchors take the places of recent ones.
        recent_stride: Steps that lie between two recent memories; the newest is always kept.
        working_most, working_least: When there are more recent memories than `working_most`,
            the oldest go until `working_least` are left.
        anchoring: Where anchors come from and which stay.
        max_anchors: Anchors kept.
        top_k: Anchors attended to, if `max_cond` leaves room.
    """

    max_cond: Annotated[
        int, Setting("Prompted frames kept in memory.", "memories", 1, MAX_CONDITIONING)
    ] = 4
    recent_order: RecentOrder = RecentOrder.DISTANCE
    gate_pointers: bool = False
    clamp_pointer_offset: Annotated[
        bool, Setting("Count an old memory's pointer as at most 15 steps old.")
    ] = False
    keep_previous: KeepPrevious = KeepPrevious.NEVER
    max_recent: Annotated[int, Setting(low=1, high=MAX_RECENT)] = MAX_RECENT
    max_memories: Annotated[int, Setting(low=2, high=MAX_CONDITIONING + MAX_RECENT)] = (
        MAX_CONDITIONING + MAX_RECENT
    )
    recent_stride: Annotated[
        int,
        Setting(
            "Steps between two recent memories; the newest always counts. With the preset long: "
            "memory.mem_every.",
            "steps",
            1,
            10_000,
        ),
    ] = 1
    working_most: Annotated[int, Setting(low=1, high=MAX_WORKING)] = MAX_RECENT
    working_least: Annotated[int, Setting(low=1, high=MAX_WORKING)] = MAX_RECENT
    anchoring: Anchoring = Anchoring.NONE
    max_anchors: Annotated[int, Setting(low=1, high=MAX_ANCHORS)] = MAX_CONDITIONING - 1
    top_k: Annotated[int, Setting(low=1, high=MAX_CONDITIONING - 1)] = MAX_CONDITIONING - 1

    def __post_init__(self) -> None:
        Checked.__post_init__(self)
        if self.max_memories <= self.max_cond:
            raise ValueError(
                f"max_memories: expected more than max_cond {self.max_cond}, which are always "
                f"attended to, got {self.max_memories}"
            )

    def ascending(self) -> Sequence[Sequence[str]]:
        """Return the bounds of the working memory."""
        return (("working_least", "working_most"),)


@dataclass(frozen=True, slots=True)
class AdmissionThresholds(Checked):
    """A tracked mask enters the memory when every score is above its threshold.

    Attributes:
        predicted_iou: tau_mask.
        object_score: tau_obj.
        motion_iou: tau_kf; passes where the motion score is not known.
    """

    predicted_iou: Annotated[
        float, Setting("A mask enters the memory above this predicted IoU.", low=0, high=1)
    ]
    object_score: Annotated[
        float, Setting("A mask enters the memory above this object score.", "logit", -32, 32)
    ]
    motion_iou: Annotated[
        float,
        Setting(
            "A mask enters the memory above this overlap with the motion; -1: however it moved.",
            low=-1,
            high=1,
        ),
    ]


def admits(
    thresholds: AdmissionThresholds | None,
    predicted_iou: float,
    object_score: float,
    motion_iou: float | None,
    is_empty: bool,
) -> bool:
    """Say whether a tracked mask enters the memory; without thresholds everything does.

    An empty mask never passes the thresholds: it would teach that the object is nowhere.
    Source: SAMURAI section 4; code sam2_base.py:663-687 @76ba195. Differs: decided when
    the mask is made, so that a rejected one is never encoded and nothing is searched later.
    """
    if thresholds is None:
        return True
    return (
        not is_empty
        and predicted_iou > thresholds.predicted_iou
        and object_score > thresholds.object_score
        and (motion_iou is None or motion_iou > thresholds.motion_iou)
    )


def conditioning_to_drop(steps: Sequence[int], max_cond: int) -> int | None:
    """Return the index of the conditioning memory to drop, None while at most `max_cond` exist.

    `steps` are ascending. SAM 2 attends to those closest in time (`select_closest_cond_frames`,
    sam2_utils.py:18-67); on a stream all lie in the past, so closest means newest and what is
    dropped never comes back. Differs: the first one always stays, as in DAM4SAM, because it is
    the surest.
    """
    return 1 if len(steps) > max_cond else None


def recent_positions(
    steps: Sequence[int], now: int, order: RecentOrder, most: int = MAX_RECENT
) -> list[tuple[int, int]]:
    """Choose the recent memories to attend to, newest first.

    `steps` are theirs, ascending; those of `now` or later are not used.

    Returns:
        (index into `steps`, temporal position 1..6), at most `most`.

    Source: SAM 2, sam2_base.py:532-560 with stride 1.
    """
    past = [index for index in range(len(steps) - 1, -1, -1) if steps[index] < now][:most]
    if order is RecentOrder.RANK:
        return [(index, rank) for rank, index in enumerate(past, start=1)]
    return [(index, now - steps[index]) for index in past if now - steps[index] <= MAX_RECENT]


def spaced(steps: Sequence[int], stride: int) -> list[int]:
    """Return the indices of the recent memories that stay: every `stride` steps, and the newest.

    Source: DAM4SAM's memory_temporal_stride_for_eval (sam21pp_hiera_t.yaml:126, sam2_base.py:
    562-602 @9c95450), XMem's mem_every. Differs: counted from the memory before, not on a grid of
    steps, so that nothing is searched for where the object was not seen.
    """
    kept: list[int] = []
    for index, step in enumerate(steps):
        if not kept or index == len(steps) - 1 or step - steps[kept[-1]] >= stride:
            kept.append(index)
    return kept


def pointer_offset(now: int, step: int, clamp: bool) -> float:
    """Return the signed number of steps from a pointer's step to now.

    Source: SAM 2, sam2_base.py:599-606 (use_signed_tpos_enc_to_obj_ptrs).
    """
    offset = now - step
    return float(max(-MAX_RECENT_POINTERS, min(MAX_RECENT_POINTERS, offset)) if clamp else offset)
