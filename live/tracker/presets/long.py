"""The preset `long`: three tiers of memory, for hours, after XMem and SAM_XMem_TensorRT @12a6c3f.

The previous frame (sensory), recent memories that passed the gate (working), and anchors from any
time (long-term): what leaves the working memory is offered to them, and they are chosen by quality,
by difference of appearance and by spread in time. `samcam.memory.LongTermMemory` has the settings;
XMem's numbers (eval.py:50-58 @f3b841d) where they mean something for SAM 2's attention. The other
rules are those of `default`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from samcam.live.tracker.presets.default import DEFAULT
from samcam.live.tracker.presets.settings import TrackerSettings
from samcam.memory import LongTermMemory

LONG: Final[TrackerSettings] = replace(DEFAULT, name="long", memory=LongTermMemory())
