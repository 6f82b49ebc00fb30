"""Reads `config.yaml` and `--set` into validated settings; reports every problem at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from samcam.live.config.bounded_yaml import MAX_BYTES, YamlError, key_lines, parse_yaml, shown_yaml
from samcam.live.config.schema import Settings, flat, known_keys, new_name, sections
from samcam.live.errors import ConfigError
from samcam.system import ModelError, Problem, read_model
from samcam.system.files import decode_text, read_regular, reason_of

_MAX_NEAREST: Final = 20  # unknown keys that get a suggestion
_LONGEST_KEY: Final = 200  # characters of one that are shown and compared
_NEAR: Final = 0.7  # of 1, as difflib counts: `sauce` for source is 0.73


@dataclass(frozen=True, slots=True)
class _Entry:
    """One value to set; `origin` says where it was written."""

    value: object
    origin: str


def load_settings(
    path: Path | None, overrides: Iterable[str] = (), given: Mapping[str, object] | None = None
) -> Settings:
    """Read the settings.

    Args:
        path: YAML file; None: the defaults.
        overrides: `section.key=value` from the command line, values as in YAML; they win over
            the file, the last over the ones before it.
        given: Values by key that win over the file, such as a recording's.

    Raises:
        ConfigError: All problems at once, each with where it stands, key path, value and what
            was expected.
    """
    problems: list[str] = []
    values: dict[str, object] = {}
    for entries in (  # each is checked whole: what wins over a mistake does not hide it
        {} if path is None else dict(_read_file(path, problems)),
        {key: _Entry(value, "") for key, value in (given or {}).items()},
        dict(_parse_overrides(overrides, problems)),
    ):
        problems += _unknown(entries)
        values |= _fitting(entries, problems)
    settings = read_model(Settings, _nested(values)) if values else Settings()
    problems += cross_check(settings)
    if problems:
        raise ConfigError(problems)
    return settings


def cross_check(settings: Settings) -> list[str]:
    """Return the problems between keys, one line each."""
    problems = []
    source = settings.source
    if (source.width is None) != (source.height is None):
        problems.append(
            f"source.width: {source.width} with source.height: {source.height}: "
            "expected both or neither"
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


def _fitting(entries: Mapping[str, _Entry], problems: list[str]) -> dict[str, object]:
    """Return the values that fit their keys, and add what is wrong with the others."""
    values = {key: entry.value for key, entry in entries.items() if key in known_keys()}
    while values:  # again, as of many problems only the first ones come at once
        try:
            read_model(Settings, _nested(values))
        except ModelError as error:
            for problem in error.problems:
                at = f"{problem.key}."  # of a value, a part of it, or a section
                wrong = [k for k in values if at.startswith(f"{k}.") or k.startswith(at)]
                problems += [_line(problem, entries[key].origin) for key in wrong[:1]]
                values = {key: value for key, value in values.items() if key not in wrong}
        else:
            break
    return values


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


def _unknown(entries: Mapping[str, _Entry]) -> Iterator[str]:
    """Give a line for each unknown key."""
    searched = 0
    for key, entry in entries.items():
        if key in known_keys():
            continue
        if key in sections():
            names = [name for name in known_keys() if name.startswith(f"{key}.")]
            yield (
                f"{entry.origin}: {key}: {shown_yaml(entry.value)}: "
                f"expected a section with the keys {', '.join(names)}"
            )
        elif (now := new_name(key)) != key:
            yield f"{entry.origin}: {key}: has a new name; expected {now}"
        else:
            near: list[str] = []
            searched += 1
            if searched <= _MAX_NEAREST:  # the first ones tell what is wrong
                shown, outer = key[:_LONGEST_KEY], key[:_LONGEST_KEY].partition(".")[0]
                near = get_close_matches(shown, [*known_keys(), *sections()], 1, _NEAR)
                near = near or get_close_matches(outer, sections(), 1, _NEAR)
            hint = f"; the nearest valid one is {near[0]}" if near else ""
            yield f"{entry.origin}: {key[:_LONGEST_KEY]}: unknown key{hint}"


def _read_file(path: Path, problems: list[str]) -> Iterator[tuple[str, _Entry]]:
    try:
        text = decode_text(read_regular(path, MAX_BYTES))
    except (OSError, ValueError) as error:
        problems.append(
            f"--config {path}: cannot be read: {reason_of(error)}; expected a YAML file"
        )
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
            yield key, _Entry(value, f"{path}{where}")
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
