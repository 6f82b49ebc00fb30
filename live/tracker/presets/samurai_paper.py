"""The preset `samurai-paper`: SAMURAI as its paper has it (arXiv 2411.11922).

Where the paper is silent the numbers are those of its code, yangchris11/samurai @76ba195.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from samcam.live.tracker.presets.samurai import SAMURAI_GATE
from samcam.live.tracker.presets.settings import TrackerSettings
from samcam.memory import AdmissionThresholds, BankPolicy, RecentOrder

SAMURAI_PAPER: Final = TrackerSettings(
    name="samurai-paper",
    bank=BankPolicy(max_cond=4, recent_order=RecentOrder.RANK, clamp_pointer_offset=True),
    # tau_mask 0.5, tau_obj 0, tau_kf 0.5: paper section 4 (its code has 0.0 for the last).
    admission=AdmissionThresholds(predicted_iou=0.5, object_score=0.0, motion_iou=0.5),
    # alpha_kf 0.15 and 15 stable frames: paper section 4; the rest is as its code has it.
    gate=replace(SAMURAI_GATE, weight=0.15),
    corrections_condition=True,
)
