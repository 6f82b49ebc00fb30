"""An object's memory: a bounded memory bank and the policies that fill it."""

from samcam.memory.bank import THUMBNAIL_PX, MemoryBank, MemoryEntry, MemoryPicture, MemoryView
from samcam.memory.selection import (
    MAX_RECENT,
    MAX_RECENT_POINTERS,
    AdmissionThresholds,
    BankPolicy,
    RecentOrder,
    Tier,
    admits,
)

__all__ = [
    "MAX_RECENT",
    "MAX_RECENT_POINTERS",
    "THUMBNAIL_PX",
    "AdmissionThresholds",
    "BankPolicy",
    "MemoryBank",
    "MemoryEntry",
    "MemoryPicture",
    "MemoryView",
    "RecentOrder",
    "Tier",
    "admits",
]
