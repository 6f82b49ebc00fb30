"""The library: prompts and pictures in, tracked objects out."""

from samcam.live.tracker.crop import Crop, CropSettings, first_crop, wants_crop
from samcam.live.tracker.guidance import GUIDES, NO_GUIDE, Guides
from samcam.live.tracker.identity.recovery import LIKENESSES, RecoverySettings
from samcam.live.tracker.presets import DEFAULT_PRESET, PRESETS, TrackerSettings, preset
from samcam.live.tracker.prompts import merge_prompts, said_of_removal
from samcam.live.tracker.suggest import MaskGenerator, SuggestRules, model_rules
from samcam.live.tracker.tracker import Tracker

__all__ = [
    "DEFAULT_PRESET",
    "GUIDES",
    "LIKENESSES",
    "NO_GUIDE",
    "PRESETS",
    "Crop",
    "CropSettings",
    "Guides",
    "MaskGenerator",
    "RecoverySettings",
    "SuggestRules",
    "Tracker",
    "TrackerSettings",
    "first_crop",
    "merge_prompts",
    "model_rules",
    "preset",
    "said_of_removal",
    "wants_crop",
]
