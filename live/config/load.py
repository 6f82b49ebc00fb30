"""Reads `config.yaml` and `--set` into validated settings; reports every problem at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from samcam.live.config.bounded_yaml import MAX_BYTES, YamlError, key_lines, parse_yaml, shown_yaml
from samcam.live.config.schema import Settings, flat, known_keys, new_name, sections
from samcam.live.errors import ConfigError
from samcam.memory import MEANINGLESS
from samcam.system import ModelError, Problem, read_model
from samcam.system.files import decode_text, read_regular, reason_of

_MEMORY: Final = "tracker.memory."
_OPTIONS: Final = ("preset", "model", "backend")  # that somebody may look for here
_MAX_NEAREST: Final = 20  # unknown keys that get a suggestion
_LONGEST_KEY: Final = 200  # characters of one that are shown and compared
_NEAR: Final = 0.8  # of 1, as difflib counts
_NEAR_OUTER: Final = 0.7  # `sauce` for source is 0.73
_NEAR_BELOW: Final = 0.66  # of a section's keys, which are shorter: `fsp`


@dataclass(frozen=True, slots=True)
class _Entry:
    """One value to set; `origin` says where it was written, `line` of the file or 0."""

    value: object
    origin: str
    line: int = 0


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read: the settings that fit, what is wrong, and where each key was written."""

    settings: Settings
    problems: Sequence[str]
    origins: Mapping[str, str]

    def placed(self, line: str) -> str:
        """Return a line about a value with where that was written."""
        return f"{self.origins.get(_key_of(line), '')}: {line}".removeprefix(": ")

    def in_order(self, lines: Iterable[str]) -> list[str]:
        """Return lines about values in the order in which those were written."""
        order = {key: place for place, key in enumerate(self.origins)}
        return sorted(lines, key=lambda line: order.get(_key_of(line), len(order)))


def load_settings(
    path: Path | None, overrides: Iterable[str] = (), given: Mapping[str, object] | None = None
) -> Settings:
    """Read the settings; see `read_settings`.

    Raises:
        ConfigError: All problems at once.
    """
    reading = read_settings(path, overrides, {"": given or {}})
    if reading.problems:
        raise ConfigError(reading.problems)
    return reading.settings


def read_settings(
    path: Path | None,
    overrides: Iterable[str] = (),
    given: Mapping[str, Mapping[str, object]] = MappingProxyType({}),
) -> Reading:
    """Read the settings, and what is wrong with them: a line for each problem, in the order of the
    file, with where it stands, key path, value and what was expected.

    Args:
        path: YAML file; None: the defaults.
        overrides: `section.key=value` from the command line, values as in YAML; they win over
            the file, the last over the ones before it.
        given: Values by key that win over the file, such as a recording's, by where they come
            from, as a message begins.
    """
    problems: list[str] = []
    values: dict[str, object] = {}
    origins: dict[str, str] = {}
    wrong: set[str] = set()
    for entries in (  # each is checked whole: what wins over a mistake does not hide it
        {} if path is None else dict(_read_file(path, problems)),
        *(
            {key: _Entry(value, origin) for key, value in some.items()}
            for origin, some in given.items()
        ),
        dict(_parse_overrides(overrides, problems)),
    ):
        fitting, found = _fitting(entries)
        found += _unknown(entries)
        problems += [line for _, line in sorted(found, key=lambda one: entries[one[0]].line)]
        values |= fitting
        for key, entry in entries.items():
            origins.pop(key, None)
            if entry.value is not None:  # which leaves the value to a preset or a model
                origins[key] = entry.origin
        wrong |= {key for key, _ in found if key in known_keys()}
    settings = read_model(Settings, _nested(values)) if values else Settings()
    reading = Reading(settings, problems, origins)
    between = (line for line in cross_check(settings) if not any(key in line for key in wrong))
    problems += map(reading.placed, between)
    return reading


def cross_check(settings: Settings) -> list[str]:
    """Return the problems between keys, one line each."""
    problems = []
    source = settings.source
    if (source.width is None) != (source.height is None):
        name, other = ("height", "width") if source.width is None else ("width", "height")
        problems.append(
            f"source.{name}: {getattr(source, name)} with source.{other}: null: expected both or "
            "neither"
        )
    if source.retry_first_s > source.retry_max_s:
        problems.append(
            f"source.retry_first_s: {source.retry_first_s:g}: expected at most "
            f"source.retry_max_s, {source.retry_max_s:g}"
        )
    smallest, largest = (flat(settings.suggest)[name] for name in ("min_area", "max_area"))
    if smallest is not None and largest is not None and smallest > largest:
        problems.append(
            f"suggest.min_area: {smallest:g}: expected at most suggest.max_area, {largest:g}"
        )
    return problems


def _key_of(line: str) -> str:
    return line.partition(": ")[0]


def _fitting(entries: Mapping[str, _Entry]) -> tuple[dict[str, object], list[tuple[str, str]]]:
    """Return the values that fit their keys, and what is wrong with others, by their keys."""
    problems: list[tuple[str, str]] = []
    values = {key: entry.value for key, entry in entries.items() if key in known_keys()}
    while values:  # again, as of many problems only the first ones come at once
        try:
            read_model(Settings, _nested(values))
        except ModelError as error:
            for problem in error.problems:
                at = f"{problem.key}."  # of a value, a part of it, or a section
                wrong = [k for k in values if at.startswith(f"{k}.") or k.startswith(at)]
                problems += [(key, _line(problem, entries[key].origin)) for key in wrong[:1]]
                values = {key: value for key, value in values.items() if key not in wrong}
        else:
            break
    return values, problems


def _line(problem: Problem, origin: str) -> str:
    shown = shown_yaml(problem.value)
    return f"{origin}: {problem.key}: {shown}: expected {problem.expected}".removeprefix(": ")


def _nested(values: Mapping[str, object]) -> dict[str, Any]:
    """Return values by dotted key as sections of sections."""
    document: dict[str, Any] = {}
    for key, value in values.items():
        section = document
        *outer, name = key.split(".")
        for part in outer:
            section = section.setdefault(part, {})
        section[name] = value
    return document


def _unknown(entries: Mapping[str, _Entry]) -> Iterator[tuple[str, str]]:
    """Give each unknown key with the line about it."""
    searched = 0
    for key, entry in entries.items():
        if key in known_keys():
            continue
        if key in sections():
            names = [name for name in known_keys() if name.startswith(f"{key}.")]
            what = f"{shown_yaml(entry.value)}: expected a section with the keys {', '.join(names)}"
        elif (why := MEANINGLESS.get(key.removeprefix(_MEMORY))) and key.startswith(_MEMORY):
            what = f"of no use here: {why}"
        elif key.removeprefix("tracker.") in _OPTIONS:
            option = key.rpartition(".")[2]
            what = f"no setting; expected on the command line: --{option} NAME"
        elif (now := new_name(key)) != key:
            what = f"has a new name; expected {now}"
        else:
            searched += 1  # the first ones tell what is wrong
            near = _nearest(key[:_LONGEST_KEY]) if searched <= _MAX_NEAREST else ""
            what = f"unknown key; the nearest valid one is {near}" if near else "unknown key"
        yield key, f"{entry.origin}: {key[:_LONGEST_KEY]}: {what}"


def _nearest(key: str) -> str:
    """Return the key or section that an unknown key nearly is; in a section, one of that; or ""."""
    names, outer = [*known_keys(), *sections()], key
    while outer and outer not in sections():
        outer = outer.rpartition(".")[0]
    if outer:
        start = f"{outer}."
        below = [name.removeprefix(start) for name in names if name.startswith(start)]
        near = get_close_matches(key.removeprefix(start), below, 1, _NEAR_BELOW)
        return f"{start}{near[0]}" if near else ""
    near = get_close_matches(key, names, 1, _NEAR)
    near = near or get_close_matches(key.partition(".")[0], sections(), 1, _NEAR_OUTER)
    return near[0] if near else ""


def _read_file(path: Path, problems: list[str]) -> Iterator[tuple[str, _Entry]]:
    try:
        text = decode_text(read_regular(path, MAX_BYTES))
    except (OSError, ValueError) as error:
        expected = "" if "expected" in reason_of(error) else "; expected a YAML file"
        problems.append(f"{path}: cannot be read: {reason_of(error)}{expected}")
        return
    try:
        document = parse_yaml(text)
    except YamlError as error:
        where = "" if error.line is None else f", line {error.line}"
        problems.append(f"{path}{where}: not valid YAML: {error}")
        return
    if isinstance(document, dict):
        lines = key_lines(text)
        for key, value in _flatten(document, ""):
            where = f", line {lines[key]}" if key in lines else ""
            yield key, _Entry(value, f"{path}{where}", lines.get(key, 0))
    elif document is not None:
        problems.append(f"{path}: {shown_yaml(document)}: expected sections such as source:")


def _flatten(mapping: Mapping[Any, object], prefix: str) -> Iterator[tuple[str, object]]:
    for name, value in mapping.items():
        key = f"{prefix}{name}"
        if key not in sections():
            yield key, value
        elif isinstance(value, dict):
            yield from _flatten(value, f"{key}.")
        elif value is not None:  # None: its keys are all commented out
            yield key, value


def _parse_overrides(overrides: Iterable[str], problems: list[str]) -> Iterator[tuple[str, _Entry]]:
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            problems.append(f"--set {text}: expected KEY=VALUE, such as source.fps=25")
            continue
        try:
            yield key.strip(), _Entry(parse_yaml(value), "--set")
        except YamlError as error:
            problems.append(f"--set {text}: the value is not valid YAML: {error}")
