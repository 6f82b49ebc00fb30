"""Settings: their models, and where they are read from."""

from samcam.live.config.changes import apply_overrides, settings_for_model, suggest_rules
from samcam.live.config.effects import EffectSettings, ReplaceSettings
from samcam.live.config.load import load_settings, read_settings
from samcam.live.config.places import find_config
from samcam.live.config.request import Request
from samcam.live.config.schema import (
    ControlSettings,
    HotkeySettings,
    Settings,
    flat,
    known_keys,
    new_name,
)

__all__ = [
    "ControlSettings",
    "EffectSettings",
    "HotkeySettings",
    "ReplaceSettings",
    "Request",
    "Settings",
    "apply_overrides",
    "find_config",
    "flat",
    "known_keys",
    "load_settings",
    "new_name",
    "read_settings",
    "settings_for_model",
    "suggest_rules",
]
