"""The preset `samurai-paper`: SAMURAI as its paper has it (arXiv 2411.11922).

Where the paper is silent the numbers are those of its code, yangchris11/samurai @76ba195.
"""

from __future__ import annotations

from typing import Final

from samcam.kalman import MAX_HOLD_STEPS, GateSettings
from samcam.live.tracker.presets.settings import TrackerSettings
from samcam.memory import AdmissionThresholds, BankPolicy, RecentOrder

SAMURAI_PAPER: Final = TrackerSettings(
    name="samurai-paper",
    bank=BankPolicy(max_cond=4, recent_order=RecentOrder.RANK, clamp_pointer_offset=True),
    # tau_mask 0.5, tau_obj 0, tau_kf 0.5: paper section 4 (its code has 0.0 for the last).
    admission=AdmissionThresholds(predicted_iou=0.5, object_score=0.0, motion_iou=0.5),
    gate=GateSettings(
        weight=0.15,  # alpha_kf, paper section 4 (its code: 0.25 for tiny, small and base+)
        stable_steps=15,  # paper section 4; stable_frames_threshold, sam2.1_hiera_t.yaml:124
        stable_iou=0.3,  # stable_ious_threshold, sam2.1_hiera_t.yaml:125; the paper gives none
        reset_when_weak=True,  # sam2_base.py:495-496
        start_iou=0.0,  # blind, sam2_base.py:421-437
        follow_iou=0.0,  # no such test, sam2_base.py:497-498
        hold_steps=MAX_HOLD_STEPS,  # never forgotten
        hold_s=0.0,
    ),
    corrections_condition=True,
)
