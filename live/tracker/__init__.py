"""The library: prompts and pictures in, tracked objects out."""

from samcam.live.tracker.crop import Window, WindowSettings, first_window, suits
from samcam.live.tracker.presets import (
    CATCH_UP,
    DEFAULT_PRESET,
    DEFAULT_PROMPT_HISTORY,
    PRESETS,
    TrackerSettings,
    preset,
)
from samcam.live.tracker.prompts import merge_prompts, said_of_removal
from samcam.live.tracker.suggest import MaskGenerator, SuggestRules, model_rules
from samcam.live.tracker.tracker import Tracker

__all__ = [
    "CATCH_UP",
    "DEFAULT_PRESET",
    "DEFAULT_PROMPT_HISTORY",
    "PRESETS",
    "MaskGenerator",
    "SuggestRules",
    "Tracker",
    "TrackerSettings",
    "Window",
    "WindowSettings",
    "first_window",
    "merge_prompts",
    "model_rules",
    "preset",
    "said_of_removal",
    "suits",
]
