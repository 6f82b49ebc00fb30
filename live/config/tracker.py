"""The `tracker` section: changes to the chosen preset; null keeps the preset's own number."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, TypeVar

from samcam.live.config.fields import setting
from samcam.live.tracker import (
    CATCH_UP,
    DEFAULT_PROMPT_HISTORY,
    CropSettings,
    TrackerSettings,
    wants_crop,
)

T = TypeVar("T")
ON, AUTO = "true", "auto"
_SIZES = CropSettings()


@dataclass(frozen=True, slots=True)
class BankOverrides:
    """Changes to `memory.selection.BankPolicy`."""

    max_cond: int | None = setting(
        None, "Prompted frames kept in memory.", unit="memories", low=1, high=4
    )
    clamp_pointer_offset: bool | None = setting(
        None, "Count an old memory's pointer as at most 15 steps old."
    )


@dataclass(frozen=True, slots=True)
class AdmissionOverrides:
    """Changes to `memory.selection.AdmissionThresholds`."""

    predicted_iou: float | None = setting(
        None, "A mask enters the memory above this predicted IoU.", low=0.0, high=1.0
    )
    object_score: float | None = setting(
        None,
        "A mask enters the memory above this object score.",
        unit="logit",
        low=-32.0,
        high=32.0,
    )
    motion_iou: float | None = setting(
        None, "A mask enters the memory above this overlap with the motion.", low=0.0, high=1.0
    )


@dataclass(frozen=True, slots=True)
class GateOverrides:
    """Changes to `kalman.motion_gate.GateSettings`."""

    weight: float | None = setting(
        None, "Share of the motion in the choice among candidate masks.", low=0.0, high=1.0
    )
    stable_steps: int | None = setting(
        None, "Good masks in a row before motion takes part.", unit="steps", low=1, high=1000
    )
    stable_iou: float | None = setting(
        None, "Predicted IoU above which a mask moves the filter.", low=0.0, high=1.0
    )
    follow_iou: float | None = setting(
        None, "Overlap with the motion that a mask needs to move the filter.", low=0.0, high=1.0
    )
    hold_s: float | None = setting(
        None, "Motion is forgotten after this long without a mask.", unit="s", low=0.0, high=60.0
    )


@dataclass(frozen=True, slots=True)
class StateOverrides:
    """Changes to `live.tracker.state.StateThresholds`."""

    uncertain_iou: float | None = setting(
        None, "Predicted IoU below which a mask is in doubt.", low=0.0, high=1.0
    )
    certain_iou: float | None = setting(
        None, "Predicted IoU at which the doubt ends.", low=0.0, high=1.0
    )
    doubt_steps: int | None = setting(
        None, "Doubtful masks in a row before uncertain.", unit="steps", low=1, high=1000
    )
    lost_steps: int | None = setting(
        None, "Steps without the object before lost.", unit="steps", low=1, high=1000
    )
    lost_s: float | None = setting(
        None, "Seconds without the object before lost.", unit="s", low=0.0, high=60.0
    )
    recover_steps: int | None = setting(
        None, "Certain masks in a row before recovered.", unit="steps", low=1, high=1000
    )
    recovered_s: float | None = setting(
        None, "How long recovered is shown before tracking.", unit="s", low=0.0, high=60.0
    )


@dataclass(frozen=True, slots=True)
class WindowOverrides:
    """Where to look: `live.tracker.crop.CropSettings`, and whether to."""

    enabled: str = setting(
        AUTO,
        "Look for a known object in a window that follows it, not in the whole picture; auto: "
        "with models that track better so.",
        choices=(AUTO, ON, "false"),
    )
    zoom: float = setting(
        _SIZES.zoom,
        "Side of the window relative to the object's box.",
        unit="times the object's",
        low=1.2,
        high=20.0,
    )
    min_share: float = setting(
        _SIZES.min_share,
        "Smallest window, as share of the picture's side.",
        unit="share of the picture",
        low=0.05,
        high=1.0,
    )
    growth: float = setting(
        _SIZES.growth,
        "How much wider the window gets with each step without a sure mask.",
        unit="times",
        low=1.05,
        high=4.0,
    )


@dataclass(frozen=True, slots=True)
class TrackerOverrides:
    """Changes to `live.tracker.presets.TrackerSettings`; field names are the preset's."""

    presence_threshold: float | None = setting(
        None, "Object score above which the object is there.", unit="logit", low=-32.0, high=32.0
    )
    corrections_condition: bool | None = setting(
        None, "A corrected frame is remembered like a first prompt."
    )
    trust_prompts: bool | None = setting(
        None, "What the user points at is there, whatever the object score says."
    )
    prompt_history: int = setting(
        DEFAULT_PROMPT_HISTORY,
        "Past pictures on which a click still counts where it was seen; each costs memory.",
        unit="processed frames",
        low=0,
        high=64,
    )
    catch_up: str = setting(
        CATCH_UP[0],
        "After a click on a past picture: track that object again since then, or only remember.",
        choices=CATCH_UP,
    )
    bank: BankOverrides = field(default_factory=BankOverrides)
    admission: AdmissionOverrides = field(default_factory=AdmissionOverrides)
    gate: GateOverrides = field(default_factory=GateOverrides)
    state: StateOverrides = field(default_factory=StateOverrides)
    window: WindowOverrides = field(default_factory=WindowOverrides)


def apply_overrides(preset: TrackerSettings, overrides: TrackerOverrides) -> TrackerSettings:
    """Return the preset with every override that is not null in place.

    `tracker.window.enabled: auto` counts as on where the preset can steer a window, until
    `settings_for_model` knows better.

    Raises:
        ValueError: An override belongs to a part that this preset does not have, or the preset
            refuses the value; one line with the key path.
    """
    merged = _merge(preset, overrides, "tracker", preset.name)
    chosen = overrides.window
    if chosen.enabled == ON and merged.gate is None:
        raise ValueError(
            f"tracker.window.enabled: the preset {preset.name} has no motion gate to steer a "
            "window; expected false, or another --preset"
        )
    if merged.gate is None or chosen.enabled not in (ON, AUTO):
        return merged
    return replace(merged, crop=CropSettings(chosen.zoom, chosen.min_share, chosen.growth))


def settings_for_model(
    settings: TrackerSettings, overrides: TrackerOverrides, model: str
) -> TrackerSettings:
    """Return the settings with what is `auto` decided.

    Args:
        settings: From `apply_overrides`.
        overrides: The same as there.
        model: Name in the model's manifest.
    """
    if overrides.window.enabled == AUTO and not wants_crop(model):
        return replace(settings, crop=None)
    return settings


def _merge(base: T, overrides: object, path: str, preset_name: str) -> T:
    changes: dict[str, Any] = {}
    for item in fields(overrides):  # type: ignore[arg-type]  # every section is a dataclass
        value = getattr(overrides, item.name)
        if isinstance(value, WindowOverrides):
            continue  # no preset has one: the section is not a list of changes
        old = getattr(base, item.name)
        if is_dataclass(value):
            given = [i.name for i in fields(value) if getattr(value, i.name) is not None]
            if given and old is None:
                raise ValueError(
                    f"{path}.{item.name}.{given[0]}: the preset {preset_name} has no {item.name}; "
                    "expected null, or another --preset"
                )
            if given:
                changes[item.name] = _merge(old, value, f"{path}.{item.name}", preset_name)
        elif value is not None:
            changes[item.name] = value
    try:
        merged: T = replace(base, **changes)  # type: ignore[type-var]  # likewise
    except ValueError as error:
        raise ValueError(f"{path}.{error}") from error
    return merged
