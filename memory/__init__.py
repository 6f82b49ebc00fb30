"""An object's memory: a bounded memory bank and the policies that fill it."""

from samcam.memory.anchors import (
    Anchoring,
    Areas,
    DistractorTest,
    may_anchor,
    sees_distractor,
)
from samcam.memory.bank import THUMBNAIL_PX, MemoryBank, MemoryEntry, MemoryPicture, MemoryView
from samcam.memory.long_term import MEANINGLESS, LongTermMemory
from samcam.memory.look import Look, RememberedLook, appearance
from samcam.memory.selection import (
    MAX_RECENT,
    MAX_RECENT_POINTERS,
    AdmissionThresholds,
    BankPolicy,
    KeepPrevious,
    RecentOrder,
    Tier,
    admits,
)

__all__ = [
    "MAX_RECENT",
    "MAX_RECENT_POINTERS",
    "MEANINGLESS",
    "THUMBNAIL_PX",
    "AdmissionThresholds",
    "Anchoring",
    "Areas",
    "BankPolicy",
    "DistractorTest",
    "KeepPrevious",
    "LongTermMemory",
    "Look",
    "MemoryBank",
    "MemoryEntry",
    "MemoryPicture",
    "MemoryView",
    "RecentOrder",
    "RememberedLook",
    "Tier",
    "admits",
    "appearance",
    "may_anchor",
    "sees_distractor",
]
