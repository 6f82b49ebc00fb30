"""Checks of a model: what its networks declare and answer, on pictures of our own."""

from samcam.engines.checks.first_run import checks_key, checks_path, missed_before, refuse_bad
from samcam.engines.checks.self_check import (
    BOXES,
    MIN_IOU,
    NOTHING_FOUND,
    NetworkCheck,
    compare_networks,
    describe,
    read_pictures,
    write_checks,
)

__all__ = [
    "BOXES",
    "MIN_IOU",
    "NOTHING_FOUND",
    "NetworkCheck",
    "checks_key",
    "checks_path",
    "compare_networks",
    "describe",
    "missed_before",
    "read_pictures",
    "refuse_bad",
    "write_checks",
]
