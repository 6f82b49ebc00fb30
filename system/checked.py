"""Models that programs make too: their values are checked when they are made, without pydantic."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import cache
from itertools import pairwise
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    ClassVar,
    Final,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from samcam.system.arguments import shown
from samcam.system.models import Section, Setting

_WORDS: Final[Mapping[Any, str]] = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "text",
    NoneType: "None",
    tuple: "a tuple",
    Callable: "a function or class",
}
_PLAIN: Final = Setting()


class ClashError(ValueError):
    """Fields that do not fit each other.

    Attributes:
        lines: One for each clash.
        pairs: Of fields, the first of which is above the second, a pair for each line; else empty.
    """

    def __init__(self, lines: Sequence[str], pairs: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__("; ".join(lines))
        self.lines, self.pairs = tuple(lines), tuple(pairs)


class Checked(Section):
    """A section whose types, ranges, choices and rules hold for objects made in Python too.

    `__error__` is what is raised, with `__of__` before the name. A `rule` is a named function: in
    an annotation a lambda does not see its module.
    """

    __slots__ = ()
    __error__: ClassVar[type[Exception]] = ValueError
    __of__: ClassVar[str] = ""

    def __post_init__(self) -> None:
        before: dict[str, Any] = {}
        for name, kinds, setting in _fields(cast(Any, type(self))):
            value = getattr(self, name)
            if isinstance(value, list):  # as in files
                value = tuple(value)
                object.__setattr__(self, name, value)
            expected = ""
            if not any(
                _fits(value, kind, setting) and _in_limits(value, setting.limits) for kind in kinds
            ):
                expected = setting.expected or " or ".join(_words(kind, setting) for kind in kinds)
            elif setting.rule is not None:
                expected = setting.rule(value, before)
            if expected:
                raise self.__error__(
                    f"{self.__of__}{name}: expected {expected}, got {shown(value)}"
                )
            before[name] = value
        pairs = [
            (low, high)
            for names in self.ascending()
            for low, high in pairwise(names)
            if before[low] > before[high]
        ]
        if pairs:
            raise ClashError(
                [
                    f"{low}: expected at most {high} {before[high]:g}, got {before[low]:g}"
                    for low, high in pairs
                ],
                pairs,
            )

    def ascending(self) -> Sequence[Sequence[str]]:
        """Return groups of fields, of which none may be above the next one."""
        return ()


@cache
def _fields(cls: Any) -> list[tuple[str, tuple[Any, ...], Setting]]:
    """Return name, alternative types and meaning of each field."""
    hints = get_type_hints(cls, include_extras=True)
    found = []
    for name in (item.name for item in fields(cls)):
        found.append((name, *_meaning(hints[name], _PLAIN)))
    return found


def _meaning(hint: Any, default: Setting) -> tuple[tuple[Any, ...], Setting]:
    """Return the alternative types of a field or an item, and what is said of it."""
    kind, *notes = get_args(hint) if _is(hint, Annotated) else [hint]
    kinds = get_args(kind) if _is(kind, Union, UnionType) else (kind,)
    return kinds, next((note for note in notes if isinstance(note, Setting)), default)


def _is(hint: Any, *forms: Any) -> bool:
    return get_origin(hint) in forms


def _choices(kind: Any, setting: Setting) -> tuple[str | int, ...]:
    """Return those that are of a type: a `float | str` has words beside its numbers."""
    return tuple(choice for choice in setting.choices if type(choice) is kind)


def _fits(value: Any, kind: Any, setting: Setting) -> bool:
    if choices := _choices(kind, setting):
        return value in choices and not isinstance(value, bool)
    if kind in (int, float):
        low, high = setting.low, setting.high
        return (
            isinstance(value, Integral if kind is int else Real)
            and not isinstance(value, bool)
            and -math.inf < (number := cast(float, value)) < math.inf
            and (low is None or low <= number)
            and (high is None or number <= high)
        )
    origin = get_origin(kind) or kind
    if not isinstance(value, origin):
        return False
    if origin is not tuple:
        return True
    items = get_args(kind)
    items = items[:1] * len(value) if items[-1] is ... else items
    return len(items) == len(value) and all(
        _is_one_of(part, item, setting) for part, item in zip(value, items, strict=True)
    )


def _is_one_of(value: Any, hint: Any, setting: Setting) -> bool:
    """Whether an item of a tuple fits its type, one of its alternatives or a note of its own."""
    kinds, own = _meaning(hint, setting)
    if kinds == (hint,):
        return _fits(value, hint, setting)
    right = own is setting or _in_limits(value, own.limits)
    return right and any(_is_one_of(value, kind, own) for kind in kinds)


def _in_limits(value: Any, limits: Mapping[str, Any]) -> bool:
    if isinstance(value, str) and not re.search(limits.get("pattern", ""), value):
        return False
    if not isinstance(value, tuple | Mapping):
        return True
    low, high = limits.get("min_length", 0), limits.get("max_length", math.inf)
    return bool(low <= len(value) <= high)


def _words(kind: Any, setting: Setting) -> str:
    if choices := _choices(kind, setting):
        *most, last = map(str, choices)
        return f"{', '.join(most)} or {last}"
    if _is(kind, tuple):
        items = [item for item in get_args(kind) if item is not ...]
        least = setting.limits.get("min_length")
        return f"a tuple of {_words(items[0], setting)} each" + (
            f", at least {least}" if least else ""
        )
    text = _WORDS.get(get_origin(kind) or kind, getattr(kind, "__name__", str(kind)))
    ranged = kind in (int, float) and setting.low is not None and setting.high is not None
    return f"{text} {setting.low:.10g}..{setting.high:.10g}" if ranged else text
