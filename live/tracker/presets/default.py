"""The preset `default`: ours.

SAMURAI is arXiv 2411.11922 (the paper) and yangchris11/samurai @76ba195 (its code).
"""

from __future__ import annotations

from typing import Final

from samcam.kalman import GateSettings
from samcam.live.tracker.identity.recovery import RecoverySettings
from samcam.live.tracker.presets.settings import TrackerSettings
from samcam.memory import AdmissionThresholds, BankPolicy, RecentOrder

DEFAULT_PRESET: Final = "default"

DEFAULT: Final = TrackerSettings(
    name=DEFAULT_PRESET,
    bank=BankPolicy(
        max_cond=4,
        recent_order=RecentOrder.RANK,
        gate_pointers=True,
        clamp_pointer_offset=True,
        recent_stride=5,  # as DAM4SAM: six memories of a second say more than six of a fifth
    ),
    # Softer than SAMURAI. A gate that is strict after an occlusion learns nothing from then on,
    # and the memory grows stale; what keeps other things out is `recovery`, which looks at them.
    # The motion has its say in the choice among candidates, in the filter and in the crop.
    admission=AdmissionThresholds(predicted_iou=0.3, object_score=0.0, motion_iou=-1.0),
    gate=GateSettings(
        weight=0.25,  # SAMURAI's code, sam2.1_hiera_t.yaml:127
        stable_steps=5,  # ours: 15 frames are too long for a live first click
        stable_iou=0.3,  # as SAMURAI
        reset_when_weak=False,  # ours: one weak mask must not make the gate forget the motion
        start_iou=0.5,  # ours: tau_mask; never blindly on whatever comes after a loss
        follow_iou=0.3,  # ours: what does not enter the memory does not move the filter either
        hold_steps=3,
        hold_s=0.5,  # ours: constant velocity says little about half a second later
        slack=1.0,  # ours: a gap or a cut opens the gate by one standard deviation of the filter
    ),
    corrections_condition=True,
    trust_prompts=True,
    camera_motion=True,  # ours: bench.camera, and hard cases with and without it
    drop_far_parts=True,  # ours: a twin that went on, a distractor beside the object
    recovery=RecoverySettings(),
    rivals=True,  # ours: objects that look alike
)
