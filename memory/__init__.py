"""An object's memory: a bounded memory bank and the policies that fill it."""

from samcam.memory.bank import MemoryBank, MemoryEntry, MemoryView
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
    "AdmissionThresholds",
    "BankPolicy",
    "MemoryBank",
    "MemoryEntry",
    "MemoryView",
    "RecentOrder",
    "Tier",
    "admits",
]
