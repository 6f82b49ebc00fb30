"""Settings: what they are, what may stand in them, where they are read."""

from samcam.live.config.effects import EffectSettings, ReplaceSettings
from samcam.live.config.load import find_config, known_keys, load_settings
from samcam.live.config.request import Request
from samcam.live.config.schema import (
    ControlSettings,
    HotkeySettings,
    Settings,
    SourceSettings,
    suggest_rules,
)
from samcam.live.config.tracker import apply_overrides, settings_for_model

__all__ = [
    "ControlSettings",
    "EffectSettings",
    "HotkeySettings",
    "ReplaceSettings",
    "Request",
    "Settings",
    "SourceSettings",
    "apply_overrides",
    "find_config",
    "known_keys",
    "load_settings",
    "settings_for_model",
    "suggest_rules",
]
