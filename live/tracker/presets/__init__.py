"""The tracker's presets: every number of the tracking rules, each with its source; a file each."""

from __future__ import annotations

from typing import Final

from samcam.live.tracker.presets.dam import DAM
from samcam.live.tracker.presets.default import DEFAULT, DEFAULT_PRESET
from samcam.live.tracker.presets.long import LONG
from samcam.live.tracker.presets.sam2 import SAM2
from samcam.live.tracker.presets.samurai import SAMURAI
from samcam.live.tracker.presets.samurai_paper import SAMURAI_PAPER
from samcam.live.tracker.presets.settings import CATCH_UP, TrackerSettings

__all__ = [
    "CATCH_UP",
    "DAM",
    "DEFAULT",
    "DEFAULT_PRESET",
    "LONG",
    "PRESETS",
    "SAM2",
    "SAMURAI",
    "SAMURAI_PAPER",
    "TrackerSettings",
    "preset",
]

PRESETS: Final[dict[str, TrackerSettings]] = {
    settings.name: settings for settings in (DEFAULT, SAM2, SAMURAI, SAMURAI_PAPER, DAM, LONG)
}


def preset(name: str) -> TrackerSettings:
    """Return the preset of this name.

    Raises:
        ValueError: There is none; names those there are.
    """
    if name not in PRESETS:
        raise ValueError(f"preset: expected one of {', '.join(PRESETS)}, got {name!r}")
    return PRESETS[name]
