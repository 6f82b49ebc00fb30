"""Settings that override those of a preset or a model; null keeps its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, make_dataclass, replace
from types import MappingProxyType
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

from samcam.live.config.bounded_yaml import shown_yaml
from samcam.live.errors import ConfigError
from samcam.live.tracker import (
    PRESETS,
    CropSettings,
    SuggestRules,
    TrackerSettings,
    model_rules,
    wants_crop,
)
from samcam.system import ClashError, Section, Setting

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
    changes = _Merging(model)
    rules = changes.made_to(model_rules(model), settings, "suggest")
    changes.check()
    return rules


def apply_overrides(
    preset: TrackerSettings,
    overrides: TrackerOverrides,
    origins: Mapping[str, str] = MappingProxyType({}),
) -> TrackerSettings:
    """Return the preset with every override that is not null in place.

    `tracker.crop.enabled: auto` counts as on where the preset can steer a crop, until
    `settings_for_model` knows better.

    Args:
        preset: As it is.
        overrides: The changes.
        origins: Where each of them was written, by key path.

    Raises:
        ConfigError: Overrides belong to a part that this preset does not have, or the preset
            refuses the values; all problems at once, each line beginning with a key path.
    """
    changes = _Merging(preset.name, origins)
    merged = changes.made_to(preset, overrides, "tracker")
    chosen = overrides.crop
    if chosen.enabled == ON and merged.gate is None:
        changes.problems.append(
            f"tracker.crop.enabled: {chosen.enabled}: the preset {preset.name} has no motion gate "
            "to steer a crop; expected false, or another preset"
        )
    changes.check()
    _check_stride(merged, overrides)
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
        raise ConfigError(
            f"tracker.bank.recent_stride: {asked}: with the preset {merged.name} "
            f"tracker.memory.mem_every counts, {kept} here; expected null and "
            f"tracker.memory.mem_every: {asked}"
        )


@dataclass(frozen=True, slots=True)
class _Merging:
    """Changes on their way into a preset's or a model's rules, and what is wrong with them.

    Attributes:
        owner: The preset or model, by name.
        origins: Where each change was written, by key path.
        problems: A line each.
    """

    owner: str
    origins: Mapping[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def made_to(self, base: S, changes: Section, path: str) -> S:
        """Return a section with the changes; as it is where they do not fit."""
        given: dict[str, Any] = {}
        for item in fields(changes):  # type: ignore[arg-type]  # every section is a dataclass
            value: Any = getattr(changes, item.name)
            old: Any = getattr(base, item.name)
            if isinstance(value, _Changes):
                if value == type(value)():
                    continue
                if old is None:
                    self._refuse(value, f"{path}.{item.name}", item.name)
                    continue
                value = self.made_to(old, value, f"{path}.{item.name}")
            if value is not None and not isinstance(value, CropOverrides):
                given[item.name] = value
        try:
            changed: S = replace(base, **given)  # type: ignore[type-var]  # likewise
            return changed
        except ClashError as error:
            wanted = {item.name: getattr(base, item.name) for item in fields(base)} | given  # type: ignore[arg-type]  # likewise
            self.problems.extend(
                [self._order(pair, wanted, changes, path) for pair in error.pairs]
                or [
                    f"{path}.{key}: {shown_yaml(wanted[key])}: {why}"
                    for key, _, why in (line.partition(": ") for line in error.lines)
                ]
            )
        except ValueError as error:
            self.problems.append(f"{path}.{error}")
        return base

    def check(self) -> None:
        """Raise what is wrong.

        Raises:
            ConfigError: All of it.
        """
        if self.problems:
            raise ConfigError(self.problems)

    def _refuse(self, changes: Section, path: str, name: str) -> None:
        """Note each change to a section that the rules do not have."""
        others = [other for other in PRESETS if getattr(PRESETS[other], name, None)]
        for item in fields(changes):  # type: ignore[arg-type]  # likewise
            value, key = getattr(changes, item.name), f"{path}.{item.name}"
            if value is not None:
                self.problems.append(
                    f"{key}: {shown_yaml(value)}: the preset {self.owner} has no rules {path}; "
                    f"expected null (--set {key}=null), or --preset {' | '.join(others)}"
                )

    def _order(
        self, pair: tuple[str, str], wanted: Mapping[str, Any], changes: Section, path: str
    ) -> str:
        """Return the line about two values of which the first must not be above the second; it
        begins with what was set, and names where the other one comes from."""
        low, high = pair
        key, other, bound = (low, high, "at most")
        if getattr(changes, low) is None:
            key, other, bound = (high, low, "at least")
        whole = f"{path}.{other}"
        origin = f"the preset {self.owner}"
        if getattr(changes, other) is not None:
            origin = self.origins.get(whole, "")
        line = f"{path}.{key}: {wanted[key]:g}: expected {bound} {whole}, {wanted[other]:g}"
        return f"{line} ({origin})" if origin else line
