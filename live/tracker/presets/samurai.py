"""The preset `samurai`: SAMURAI as its published code has it (yangchris11/samurai @76ba195).

Differs from the code, beside what `samcam.kalman.SamuraiGate` says of the filter:

- Every object has memory and filter of its own; theirs is for one object (sam2_base.py:201-205,
  426, 451, 495).
- The gate decides when the mask is made. Theirs searches backwards at every frame, without a
  bound while the object is lost (666-677), and raises KeyError where a prompted frame has left the
  tracked ones (667). The memories attended to are the same: the last 6 that passed, the previous
  frame always among them (678-679); a rejected one that is not the previous frame's is gone.
- The frames that are gated start with the first tracked one, not with frame 2 (666).
- An empty mask never passes the gate; as the previous frame's memory it counts, as there.
- A corrected frame is a conditioning memory, and at most 4 of these are kept; theirs keeps all.
- The offset of an old pointer counts as 15 steps at most.
- `tracker.gate.weight` is 0.25 for every model; theirs has 0.15 for the large one.
"""

from __future__ import annotations

from typing import Final

from samcam.kalman import MAX_HOLD_STEPS, GateSettings, SamuraiGate
from samcam.live.tracker.presets.settings import TrackerSettings
from samcam.memory import AdmissionThresholds, BankPolicy, KeepPrevious, RecentOrder

SAMURAI_GATE: Final = GateSettings(
    weight=0.25,  # kf_score_weight, sam2.1_hiera_t.yaml:127
    stable_steps=15,  # stable_frames_threshold, sam2.1_hiera_t.yaml:124
    stable_iou=0.3,  # stable_ious_threshold, sam2.1_hiera_t.yaml:125
    reset_when_weak=True,  # sam2_base.py:495-496
    start_iou=0.0,  # blind, sam2_base.py:421-437
    follow_iou=0.0,  # no such test, sam2_base.py:497-498
    hold_steps=MAX_HOLD_STEPS,  # never forgotten
    hold_s=0.0,
)

SAMURAI: Final = TrackerSettings(
    name="samurai",
    bank=BankPolicy(
        recent_order=RecentOrder.RANK,
        gate_pointers=False,  # the last 15 frames whatever their score, sam2_base.py:761-770
        clamp_pointer_offset=True,
        keep_previous=KeepPrevious.ALWAYS,  # sam2_base.py:678-679
    ),
    # memory_bank_*_threshold, sam2.1_hiera_t.yaml:128-130
    admission=AdmissionThresholds(predicted_iou=0.5, object_score=0.0, motion_iou=0.0),
    gate=SAMURAI_GATE,
    make_gate=SamuraiGate,
    # min_obj_score_logits, sam2.1_hiera_t.yaml:126, sam2_base.py:398: a mask is shown from -1 on,
    # while the memory encoder still takes 0 and below for absent.
    presence_threshold=-1.0,
    corrections_condition=True,
)
