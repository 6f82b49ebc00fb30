"""The preset `sam2`: Meta's answers (facebookresearch/sam2 @2b90b9f), no gate."""

from __future__ import annotations

from typing import Final

from samcam.live.tracker.presets.settings import TrackerSettings
from samcam.memory import BankPolicy, RecentOrder

SAM2: Final = TrackerSettings(
    name="sam2",
    # Meta keeps every conditioning frame (max_cond_frames_in_attn -1); a stream needs a bound,
    # and 4 is the engines' limit.
    bank=BankPolicy(max_cond=4, recent_order=RecentOrder.DISTANCE),
)
