"""What one configuration key may hold: its unit, range and meaning, and the check of a value.

A setting is an ordinary dataclass field made by `setting(...)`; the `FieldSpec` in its metadata
is the one home of its range, its unit and its documentation.
"""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Mapping
from dataclasses import Field, dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")
SPEC_KEY = "samcam"


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """Meaning and allowed values of one key.

    Attributes:
        doc: One plain sentence.
        unit: Unit of a number, "" where it has none.
        low, high: Inclusive range of a number (of each number of a list); None: no limit.
        choices: Allowed words or numbers; empty: anything. Of a `float | str`: words that may
            stand instead of a number.
    """

    doc: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    choices: tuple[str | int, ...] = ()


def setting(
    default: T,
    doc: str,
    *,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str | int, ...] = (),
) -> T:
    """Make a dataclass field with its `FieldSpec`; the return type is for the type checker."""
    spec = FieldSpec(doc, unit, low, high, choices)
    made: Any
    if isinstance(default, dict):  # else every instance would share, and could change, this one
        made = field(default_factory=lambda: dict(default), metadata={SPEC_KEY: spec})
    else:
        made = field(default=default, metadata={SPEC_KEY: spec})
    return typing.cast(T, made)


def spec_of(item: Field[Any]) -> FieldSpec:
    """Return the `FieldSpec` of a dataclass field made by `setting`."""
    spec: FieldSpec = item.metadata[SPEC_KEY]
    return spec


@dataclass(frozen=True, slots=True)
class ValueKind:
    """The type of a setting, taken apart.

    Attributes:
        base: bool, int, float or str; the element type where `length` is set.
        optional: Whether null is allowed.
        length: Number of elements of a list, 0 for a list of one or more, None for a single value.
        mapping: Whether it is a mapping of texts to texts; may be empty.
        mapped: Whether it is a mapping from whole numbers to `base`; range is then the keys'.
        or_word: Whether one of the choices may stand instead of a number.
    """

    base: type
    optional: bool
    length: int | None = None
    mapping: bool = False
    mapped: bool = False
    or_word: bool = False

    @classmethod
    def from_hint(cls, hint: Any) -> ValueKind:
        """Take apart `bool | int | float | str`, `X | None`, tuples and mappings.

        A tuple is `tuple[X, X]`, or `tuple[X, ...]` for one or more; a mapping `Mapping[str, str]`
        or `Mapping[int, X]`.

        `float | str` is a number, or a word among the choices.

        Raises:
            TypeError: The annotation is of another form: a bug in the settings' classes.
        """
        optional = False
        if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
            members = [arg for arg in typing.get_args(hint) if arg is not type(None)]
            optional = len(members) < len(typing.get_args(hint))
            if set(members) == {float, str}:
                return cls(float, optional, or_word=True)
            if len(members) != 1:
                raise TypeError(f"settings: cannot check a value of type {hint}")
            hint = members[0]
        if typing.get_origin(hint) is tuple:
            elements = typing.get_args(hint)
            if len(elements) == 2 and elements[1] is Ellipsis:
                return cls(elements[0], optional, 0)
            if len(set(elements)) != 1:
                raise TypeError(f"settings: cannot check a value of type {hint}")
            return cls(elements[0], optional, len(elements))
        if typing.get_origin(hint) is Mapping and typing.get_args(hint) == (str, str):
            return cls(str, optional, mapping=True)
        if typing.get_origin(hint) is Mapping and typing.get_args(hint)[0] is int:
            return cls(typing.get_args(hint)[1], optional, mapped=True)
        if hint not in (bool, int, float, str):
            raise TypeError(f"settings: cannot check a value of type {hint}")
        return cls(hint, optional)


_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
_PLURALS = {bool: "truth values", int: "whole numbers", float: "numbers", str: "texts"}


def describe(kind: ValueKind, spec: FieldSpec) -> str:
    """Say what a key may hold, such as "a number 0..1" or "one of a | b, or null"."""
    if kind.mapped:
        words = " | ".join(map(str, spec.choices)) or _WORDS[kind.base]
        text = f"{{NUMBER: WORD}} with numbers {spec.low:.10g}..{spec.high:.10g} and {words}"
        return text + (", or null" if kind.optional else "")
    if kind.or_word:
        text = " or ".join([*map(str, spec.choices), _WORDS[kind.base]])
    elif spec.choices:
        text = "one of " + " | ".join(map(str, spec.choices))
    elif kind.mapping:
        text = "a mapping of texts to texts"
    elif kind.length == 0:
        text = f"a list of {_PLURALS[kind.base]}"
    elif kind.length is not None:
        text = f"a list of {kind.length} {_PLURALS[kind.base]}"
    else:
        text = _WORDS[kind.base]
    if spec.low is not None and spec.high is not None:
        text += f" {spec.low:.10g}..{spec.high:.10g}"
    elif spec.low is not None:
        text += f" of at least {spec.low:.10g}"
    elif spec.high is not None:
        text += f" of at most {spec.high:.10g}"
    if spec.unit:
        text += f" ({spec.unit})"
    return text + (", or null" if kind.optional else "")


def check_value(value: object, kind: ValueKind, spec: FieldSpec) -> Any:
    """Return `value` as the setting's type.

    Args:
        value: As YAML gave it.
        kind: Type of the setting.
        spec: Its range and choices.

    Raises:
        ValueError: The value is not allowed; the text is what was expected.
    """
    if value is None and kind.optional:
        return None
    if kind.mapping:
        if not isinstance(value, dict):
            raise ValueError(describe(kind, spec))
        return {_check_one(k, kind, spec): _check_one(v, kind, spec) for k, v in value.items()}
    if kind.mapped:
        return _check_mapping(value, kind, spec)
    if kind.or_word and value in spec.choices:
        return value
    if kind.length is not None:
        if not isinstance(value, list | tuple) or not value or 0 < kind.length != len(value):
            raise ValueError(describe(kind, spec))
        return tuple(_check_one(element, kind, spec) for element in value)
    return _check_one(value, kind, spec)


def _check_mapping(value: object, kind: ValueKind, spec: FieldSpec) -> dict[int, Any]:
    """Return a mapping with whole numbers as keys, also where JSON made text of them."""
    if not isinstance(value, dict):
        raise ValueError(describe(kind, spec))
    checked: dict[int, Any] = {}
    for key, element in value.items():
        number = int(key) if isinstance(key, str) and key.isdecimal() else key
        word = _convert(element, kind.base)
        whole = isinstance(number, int) and not isinstance(number, bool)
        if not whole or not (spec.low or 0) <= number <= (spec.high or math.inf):
            raise ValueError(describe(kind, spec))
        if word is None or (spec.choices and word not in spec.choices):
            raise ValueError(describe(kind, spec))
        checked[number] = word
    return checked


def _check_one(value: object, kind: ValueKind, spec: FieldSpec) -> Any:
    if isinstance(value, bool) and str(value).lower() in spec.choices:
        value = str(value).lower()  # YAML reads the word `true` as a truth value
    converted = _convert(value, kind.base)
    if converted is None:
        raise ValueError(describe(kind, spec))
    if spec.choices and not kind.or_word and converted not in spec.choices:
        raise ValueError(describe(kind, spec))
    if isinstance(converted, int | float) and not isinstance(converted, bool):
        below = spec.low is not None and converted < spec.low
        above = spec.high is not None and converted > spec.high
        if below or above:
            raise ValueError(describe(kind, spec))
    return converted


def _convert(value: object, base: type) -> bool | int | float | str | None:
    """Return `value` as `base`, None where it is of another kind."""
    if base is bool or isinstance(value, bool):
        return value if base is bool and isinstance(value, bool) else None
    if base is float:
        if not isinstance(value, int | float | str):
            return None
        try:
            number = float(value)  # text too: YAML 1.1 reads 1e-3 as text
        except (ValueError, OverflowError):
            return None
        return number if math.isfinite(number) else None
    return value if isinstance(value, base) and isinstance(value, int | str) else None
