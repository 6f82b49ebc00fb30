"""Policies of the memory bank, as pure functions: what enters, what stays, temporal positions.

Sources: SAM 2 is facebookresearch/sam2 @2b90b9f; SAMURAI is arXiv 2411.11922 and
yangchris11/samurai @76ba195.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final

from samcam.system import Checked, Setting

MAX_RECENT: Final = 6  # num_maskmem 7 less the conditioning one, sam2_base.py:25
MAX_RECENT_POINTERS: Final = 15  # max_obj_ptrs_in_encoder 16 less one, sam2_base.py:638
CONDITIONING_TPOS: Final = 0


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


@dataclass(frozen=True, slots=True)
class BankPolicy(Checked):
    """What a memory bank keeps and how it counts.

    Attributes:
        max_cond: Conditioning memories kept and attended to; the first is never dropped.
        recent_order: By step distance (SAM 2) or by rank among the admitted (gated presets).
        gate_pointers: True: only admitted steps leave a pointer, and the last 15 of those count
            however old they are. False: every step does, and the last 15 steps count.
        clamp_pointer_offset: Limit a pointer's offset to 15 steps, the largest that SAM 2 saw in
            training for recent ones. SAM 2 itself does not.
    """

    max_cond: Annotated[int, Setting("Prompted frames kept in memory.", "memories", 1, 4)] = 4
    recent_order: RecentOrder = RecentOrder.DISTANCE
    gate_pointers: bool = False
    clamp_pointer_offset: Annotated[
        bool, Setting("Count an old memory's pointer as at most 15 steps old.")
    ] = False


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
        Setting("A mask enters the memory above this overlap with the motion.", low=0, high=1),
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


def recent_positions(steps: Sequence[int], now: int, order: RecentOrder) -> list[tuple[int, int]]:
    """Choose the recent memories to attend to, newest first.

    `steps` are theirs, ascending; those of `now` or later are not used.

    Returns:
        (index into `steps`, temporal position 1..6), at most 6.

    Source: SAM 2, sam2_base.py:532-560 with stride 1.
    """
    past = [index for index in range(len(steps) - 1, -1, -1) if steps[index] < now]
    if order is RecentOrder.RANK:
        return [(index, rank) for rank, index in enumerate(past[:MAX_RECENT], start=1)]
    return [(index, now - steps[index]) for index in past if now - steps[index] <= MAX_RECENT]


def pointer_offset(now: int, step: int, clamp: bool) -> float:
    """Return the signed number of steps from a pointer's step to now.

    Source: SAM 2, sam2_base.py:599-606 (use_signed_tpos_enc_to_obj_ptrs).
    """
    offset = now - step
    return float(max(-MAX_RECENT_POINTERS, min(MAX_RECENT_POINTERS, offset)) if clamp else offset)
