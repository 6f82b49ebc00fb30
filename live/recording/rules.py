"""A preset as data: what a recording keeps of the rules, which later versions may change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import StrEnum
from typing import Any, Final, TypeVar, get_args, get_type_hints

from samcam.live.tracker import DEFAULT_PRESET, LIKENESSES, PRESETS, TrackerSettings

S = TypeVar("S")
_CODE: Final = ("name", "make_gate", "make_guide")  # no data: the preset's of this version
_LONGEST_KEY: Final = 40
_LIKENESS: Final = "tracker.recovery."
# What the preset `default` had otherwise when recordings did not have its rules yet: for keys that
# such a recording does not have, or leaves to the preset. An object that was lost then is still
# looked for and found again by today's rules. Recorded rules without a key have it from here too.
_BEFORE: Final[Mapping[str, object]] = {
    "tracker.admission.motion_iou": 0.3,
    "tracker.admission.predicted_iou": 0.5,
    "tracker.bank.recent_stride": 1,
    "tracker.camera_motion": False,
    "tracker.rivals": False,
    "tracker.gate.slack": 0.0,
    **{f"{_LIKENESS}{word}": 0.0 for word in LIKENESSES},
    "tracker.recovery.motion_s": 0.0,
    "tracker.drop_far_parts": False,
}


def rules_of(settings: Any) -> dict[str, Any]:
    """Return the numbers, words and sections of a preset, as JSON takes them."""
    rules: dict[str, Any] = {}
    for item in fields(settings):
        value = getattr(settings, item.name)
        if item.name not in _CODE:
            rules[item.name] = rules_of(value) if is_dataclass(value) else value
    return rules


def preset_of(name: str, rules: Mapping[str, Any]) -> TrackerSettings:
    """Return the preset of this name with recorded rules; what is not among them came later: it
    is as `_BEFORE` has it, else its field's default, which then says that it is off.

    Raises:
        ValueError: They fit no preset; one line with the key.
    """
    code: dict[str, Any] = {key: getattr(PRESETS[name], key) for key in _CODE}
    return _section(TrackerSettings, rules, "rules", code)


def before_rules(
    name: str, settings: Mapping[str, object], chosen: Mapping[str, object]
) -> dict[str, object]:
    """Return what a preset had otherwise when it was recorded without its rules, by key.

    A likeness that would then be below one that is set, which it may not be, is left to the preset.

    Args:
        settings: As recorded; what they set themselves stays.
        chosen: What the user sets now and wins; None: the preset's own value.
    """
    if name != DEFAULT_PRESET:
        return {}
    before = {
        key: old for key, old in _BEFORE.items() if settings.get(key) is None and key not in chosen
    }
    given, least = {**settings, **chosen}, 0.0
    for word in LIKENESSES:
        key, own = f"{_LIKENESS}{word}", getattr(PRESETS[name].recovery, word)
        if least > 0:
            before.pop(key, None)
        if key not in before:
            value = given.get(key)
            least = max(least, value if isinstance(value, int | float) else own)
    return before


def _section(cls: type[S], data: Mapping[str, Any], path: str, code: Mapping[str, Any]) -> S:
    hints = get_type_hints(cls)
    known = {item.name: item for item in fields(cls) if item.name not in code}  # type: ignore[arg-type]  # a dataclass
    section = path.replace("rules", "tracker", 1)
    unknown = next((key for key in data if key not in known), None)
    if unknown is not None:
        raise ValueError(f"{path}.{unknown[:_LONGEST_KEY]}: unknown to this version")
    made: dict[str, Any] = {}
    for key, item in known.items():
        if key in data:
            made[key] = _value(hints[key], data[key], f"{path}.{key}")
        elif item.default is MISSING and item.default_factory is MISSING:
            raise ValueError(f"{path}.{key}: missing")
        elif f"{section}.{key}" in _BEFORE:
            made[key] = _BEFORE[f"{section}.{key}"]
    try:
        return cls(**made, **code)
    except ValueError as error:
        raise ValueError(f"{path}.{error}") from error


def _value(hint: Any, value: Any, path: str) -> Any:
    """Return a value as its field has it; whether it fits says the section's own check."""
    kinds = [kind for kind in (hint, *get_args(hint)) if isinstance(kind, type)]
    section = next((kind for kind in kinds if is_dataclass(kind)), None)
    if section is not None and isinstance(value, Mapping):
        return _section(section, value, path, {})
    words = next((kind for kind in kinds if issubclass(kind, StrEnum)), None)
    if words is None or not isinstance(value, str):
        return value
    if value not in [*words]:
        raise ValueError(f"{path}: expected {' or '.join(words)}, got {value[:_LONGEST_KEY]!r}")
    return words(value)
