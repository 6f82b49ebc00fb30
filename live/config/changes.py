"""Settings that override those of a preset or a model; null keeps its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, make_dataclass, replace
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

from samcam.live.tracker import (
    PRESETS,
    CropSettings,
    SuggestRules,
    TrackerSettings,
    model_rules,
    wants_crop,
)
from samcam.system import Section, Setting

S = TypeVar("S", bound=Section)
ON, AUTO = "true", "auto"


def extended_by(parts: Mapping[str, tuple[Any, Any]]) -> Callable[[type[S]], type[S]]:
    """Give a class further fields: by name, the type and the default of each."""

    def extend(cls: type[S]) -> type[S]:
        made = [(name, hint, field(default=default)) for name, (hint, default) in parts.items()]
        extended: Any = make_dataclass(cls.__name__, made, bases=(cls,), frozen=True, slots=True)
        extended.__module__, extended.__doc__ = cls.__module__, cls.__doc__
        return extended  # type: ignore[no-any-return]

    return extend


def changes_to(whole: type[Section], *same: str) -> Callable[[type[S]], type[S]]:
    """Give a class every setting of another one, null by default, beside the fields that it has.

    Args:
        whole: The settings to change; its own sections become sections of such changes.
        same: Settings that are the same wherever the changes apply: their default is shown.
    """

    def extend(cls: type[S]) -> type[S]:
        parts: dict[str, tuple[Any, Any]] = {}
        hints = get_type_hints(whole, include_extras=True)
        own = fields(cls)  # type: ignore[arg-type]  # a dataclass
        for item in fields(whole):  # type: ignore[arg-type]  # likewise
            hint = hints[item.name]
            section = next((part for part in (hint, *get_args(hint)) if _is_section(part)), None)
            if section is not None and any(isinstance(one.default, section) for one in own):
                continue
            if section is not None:
                inner: type[Section] = changes_to(section)(
                    type(f"{section.__name__}Changes", (_Changes,), {})
                )
                parts[item.name] = inner, inner()
            elif item.name in same:
                parts[item.name] = hint, item.default
            elif any(isinstance(part, Setting) and part.doc for part in get_args(hint)[1:]):
                kind, *meaning = get_args(hint)
                parts[item.name] = Annotated[kind | None, *meaning], None
        return extended_by(parts)(cls)

    return extend


def _is_section(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Section)


@dataclass(frozen=True, slots=True)
class _Changes(Section):
    """Changes to one section."""


@changes_to(SuggestRules)
@dataclass(frozen=True, slots=True)
class SuggestSettings(Section):
    """Objects suggested without a prompt (--suggest); null takes what fits the model."""


@dataclass(frozen=True, slots=True)
class CropOverrides(CropSettings):
    """Which part of the picture the network gets to see, and whether only a part."""

    enabled: Annotated[
        str,
        Setting(
            "Look for a known object in a crop that follows it, not in the whole picture; auto: "
            "with models that track better so.",
            choices=(AUTO, ON, "false"),
        ),
    ] = AUTO


@changes_to(TrackerSettings, "prompt_history", "catch_up", "guide")
@dataclass(frozen=True, slots=True)
class TrackerOverrides(Section):
    """Changes to the preset (--preset); null keeps the preset's own value."""

    crop: CropOverrides = CropOverrides()


def suggest_rules(settings: SuggestSettings, model: str) -> SuggestRules:
    """Return the rules for a model: as set, else the model's own.

    Args:
        settings: From the configuration.
        model: Name in the model's manifest; all but `nano` count as SAM 2.
    """
    return _changed(model_rules(model), settings, "suggest", model)


def apply_overrides(preset: TrackerSettings, overrides: TrackerOverrides) -> TrackerSettings:
    """Return the preset with every override that is not null in place.

    `tracker.crop.enabled: auto` counts as on where the preset can steer a crop, until
    `settings_for_model` knows better.

    Raises:
        ValueError: An override belongs to a part that this preset does not have, or the preset
            refuses the value; one line with the key path.
    """
    merged = _changed(preset, overrides, "tracker", preset.name)
    _check_stride(merged, overrides)
    chosen = overrides.crop
    if chosen.enabled == ON and merged.gate is None:
        raise ValueError(
            f"tracker.crop.enabled: the preset {preset.name} has no motion gate to steer a crop; "
            "expected false, or another --preset"
        )
    if merged.gate is None or chosen.enabled not in (ON, AUTO):
        return merged
    crop = CropSettings(**{item.name: getattr(chosen, item.name) for item in fields(CropSettings)})
    return replace(merged, crop=crop)


def settings_for_model(
    settings: TrackerSettings, overrides: TrackerOverrides, model: str
) -> TrackerSettings:
    """Return the settings with each `auto` decided.

    Args:
        settings: From `apply_overrides`.
        overrides: The same as there.
        model: Name in the model's manifest.
    """
    if overrides.crop.enabled == AUTO and not wants_crop(model):
        return replace(settings, crop=None)
    return settings


def _check_stride(merged: TrackerSettings, overrides: Any) -> None:
    """Refuse a distance of recent memories that the preset's tiers have otherwise.

    Args:
        merged: The preset with the overrides in place.
        overrides: `TrackerOverrides`, whose fields are made from the preset's.
    """
    asked, kept = overrides.bank.recent_stride, merged.bank_policy.recent_stride
    if asked is not None and asked != kept:
        raise ValueError(
            f"tracker.bank.recent_stride: {asked}: with the preset {merged.name} "
            f"tracker.memory.mem_every counts, {kept} here; expected null and "
            f"tracker.memory.mem_every: {asked}"
        )


def _changed(base: S, changes: Section, path: str, owner: str) -> S:
    given: dict[str, Any] = {}
    for item in fields(changes):  # type: ignore[arg-type]  # every section is a dataclass
        value: Any = getattr(changes, item.name)
        old: Any = getattr(base, item.name)
        if isinstance(value, _Changes):
            names = [i.name for i in fields(value) if getattr(value, i.name) is not None]
            if names and old is None:
                others = [name for name in PRESETS if getattr(PRESETS[name], item.name, None)]
                raise ValueError(
                    f"{path}.{item.name}.{names[0]}: the preset {owner} has no rules "
                    f"{path}.{item.name}; expected null, or --preset {' | '.join(others)}"
                )
            value = _changed(old, value, f"{path}.{item.name}", owner) if names else None
        if value is not None and not isinstance(value, CropOverrides):
            given[item.name] = value
    try:
        changed: S = replace(base, **given)  # type: ignore[type-var]  # likewise
        return changed
    except ValueError as error:
        raise ValueError(f"{path}.{error}") from error
