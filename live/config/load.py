"""Reads `config.yaml` and `--set` into validated settings; reports every problem at once."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar, get_type_hints

import yaml

from samcam.engines import TORCH_DEVICES, is_torch_device
from samcam.live.config.bounded_yaml import MAX_BYTES, YamlError, parse_yaml
from samcam.live.config.fields import FieldSpec, ValueKind, check_value, spec_of
from samcam.live.config.schema import Settings
from samcam.live.errors import ConfigError
from samcam.system import checkout
from samcam.system.files import decode_text, is_file, one_line, read_regular, reason_of

CONFIG_FILE = "config.yaml"
_MAX_NEAREST: Final = 20  # unknown keys that get a suggestion
_LONGEST_KEY: Final = 200  # characters of one that are shown and compared
_SHOWN_PARTS: Final = 8
_NEARLY: Final = 0.82  # of 1, as difflib counts: `windwo` is 0.83, `resources` for source 0.8
_NEARLY_BELOW: Final = 0.66  # of a section's keys, which are shorter: `fsp`
# A key of the outermost level, also in a text that is no YAML, or has tags of another program.
_TOP_LEVEL: Final = re.compile(r"^([^\s#\[\]{},&*!|>%@`:-].*?):(?=\s|$)", re.MULTILINE)
S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class KnownKey:
    """What one key path may hold."""

    kind: ValueKind
    spec: FieldSpec


@dataclass(frozen=True, slots=True)
class _Entry:
    """One value to set; `origin` says where it was written."""

    key: str
    value: object
    origin: str


@dataclass(frozen=True, slots=True)
class ConfigPlace:
    """Where a start without `--config` reads its settings.

    Attributes:
        path: The file; None: the defaults.
        left_aside: What to say about a `config.yaml` of the current folder that is not ours: one
            line; empty where nothing was left aside.
    """

    path: Path | None
    left_aside: str = ""


def find_config() -> ConfigPlace:
    """Look for `config.yaml`: of the current folder if it is ours, the checkout, the user."""
    homes = _own_places()
    here, left_aside = Path(CONFIG_FILE), ""
    if os.path.lexists(here):
        known = any(_is_same_file(here, home) for home in homes)
        why = "" if known else _why_foreign(here)
        if not why:
            return ConfigPlace(here)
        hint = f"; to use it: --config {here}" if is_file(here) else ""
        left_aside = one_line(f"{here} of the current folder is left aside: {why}{hint}")
    return ConfigPlace(next(filter(os.path.lexists, homes), None), left_aside)


def _own_places() -> list[Path]:
    """Return the files that are ours whatever they hold, the best first."""
    folders = [checkout(), _user_folder()]
    return [folder / CONFIG_FILE for folder in folders if folder is not None]


def _user_folder() -> Path | None:
    """Return the user's folder of settings; None where there is no home."""
    from platformdirs import user_config_path  # ctl does not wait for it

    try:
        folder = user_config_path("samcam", appauthor=False)
    except (RuntimeError, ValueError, LookupError, OSError):
        return None
    return folder if folder.is_absolute() else None


def _is_same_file(path: Path, other: Path) -> bool:
    try:
        return os.path.samefile(path, other)
    except OSError:  # one of them is not there, or cannot be looked at
        return False


def _why_foreign(path: Path) -> str:
    """Return why a file is not our configuration; empty: it is, right or wrong."""
    try:
        text = decode_text(read_regular(path, MAX_BYTES))
    except (OSError, ValueError) as error:
        return f"it cannot be read: {reason_of(error)}"
    document: Any = None
    try:
        document = parse_yaml(text)
    except YamlError as error:
        keys = [match[1].strip(" \"'") for match in _TOP_LEVEL.finditer(text)]
        if not keys:
            return f"it is not valid YAML: {error}"
    else:
        if document is not None and not isinstance(document, dict):
            return f"it holds {_shown(document)} and no sections such as source:"
        if not document:
            return "it sets nothing"
        keys = list(document)
    foreign = next((key for key in keys if not _is_ours(key)), None)
    if foreign is not None and not (any(map(_is_ours, keys)) and _are_misspelt(keys)):
        return f"the key {_shown(foreign)} is none of SamCam's"
    return _why_no_section(document)


def _why_no_section(document: Mapping[Any, object] | None) -> str:
    """Return why keys that others have too, such as `output`, are not meant as ours; empty: are.

    Args:
        document: What a file holds; None: it is no YAML, so that its keys are all that is known.
    """
    why = ""
    for key, value in (document or {}).items():
        if not _is_ours(key):
            continue  # nearly ours
        if key in known_keys() or "." in key or value is None or value == {}:
            return ""
        if isinstance(value, dict):
            names = {
                name.removeprefix(f"{key}.").partition(".")[0]
                for name in known_keys()
                if name.startswith(f"{key}.")
            }
            few = list(value)[:_MAX_NEAREST]
            if names & value.keys() or any(_is_nearly(one, names, _NEARLY_BELOW) for one in few):
                return ""
            why = why or f"{key} has none of the keys that it has for SamCam"
        else:
            why = why or f"{key} is {_shown(value)}, no section of SamCam's keys"
    return why


def _is_nearly(name: object, names: Collection[str], cutoff: float = _NEARLY) -> bool:
    """Whether a name is one of these, or misspelt."""
    return isinstance(name, str) and bool(
        difflib.get_close_matches(
            name[:_LONGEST_KEY].partition(".")[0].lower(), names, n=1, cutoff=cutoff
        )
    )


def _is_ours(key: object) -> bool:
    return isinstance(key, str) and key.partition(".")[0] in _sections()


def _are_misspelt(keys: Sequence[object]) -> bool:
    """Whether each key that is none of ours, of a few, is nearly one, such as `windwo`."""
    names = [key for key in keys if not _is_ours(key)]
    if len(names) > _MAX_NEAREST:
        return False
    ours = [section for section in _sections() if "." not in section]
    return all(_is_nearly(name, ours) for name in names)


def load_settings(path: Path | None, overrides: Iterable[str] = ()) -> Settings:
    """Read the settings.

    Args:
        path: YAML file; None: the defaults.
        overrides: `section.key=value` from the command line, values as in YAML; they win over
            the file, the last over the ones before it.

    Raises:
        ConfigError: All problems at once, each with where it stands, key path, value and what
            was expected.
    """
    problems: list[str] = []
    entries = list(_read_file(path, problems)) if path is not None else []
    entries += _parse_overrides(overrides, problems)
    values: dict[str, Any] = {}
    unknown = 0
    for entry in entries:
        known = known_keys().get(entry.key)
        if known is None:
            unknown += 1
            problems.append(_unknown(entry, unknown <= _MAX_NEAREST))
            continue
        try:
            values[entry.key] = check_value(entry.value, known.kind, known.spec)
        except ValueError as error:
            problems.append(f"{entry.origin}: {entry.key}: {_shown(entry.value)}: expected {error}")
    settings = _build(Settings, values, "")
    problems += cross_check(settings)
    if problems:
        raise ConfigError(problems)
    return settings


@cache
def known_keys() -> Mapping[str, KnownKey]:
    """Return every key path with what it may hold, in the order of the sections."""
    return dict(_walk(Settings, ""))


def cross_check(settings: Settings) -> list[str]:
    """Return the problems that no key's own range tells, one line each."""
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
    smallest, largest = settings.suggest.min_area, settings.suggest.max_area
    if smallest is not None and largest is not None and smallest > largest:
        problems.append(
            f"suggest.min_area: {smallest:g}: expected at most suggest.max_area, {largest:g}"
        )
    if not is_torch_device(settings.engine.torch.device):
        problems.append(
            f"engine.torch.device: {settings.engine.torch.device}: expected {TORCH_DEVICES}"
        )
    return problems


def _walk(cls: type[Any], prefix: str) -> Iterator[tuple[str, KnownKey]]:
    hints = get_type_hints(cls)
    for item in fields(cls):
        path = f"{prefix}{item.name}"
        if is_dataclass(hints[item.name]):
            yield from _walk(hints[item.name], f"{path}.")
        else:
            yield path, KnownKey(ValueKind.from_hint(hints[item.name]), spec_of(item))


def _build(cls: type[S], values: Mapping[str, Any], prefix: str) -> S:
    hints = get_type_hints(cls)
    given: dict[str, Any] = {}
    for item in fields(cls):  # type: ignore[arg-type]  # every S here is a dataclass
        path = f"{prefix}{item.name}"
        if is_dataclass(hints[item.name]):
            given[item.name] = _build(hints[item.name], values, f"{path}.")
        elif path in values:
            given[item.name] = values[path]
    return cls(**given)


@cache
def _sections() -> set[str]:
    found: set[str] = set()
    for key in known_keys():
        parts = key.split(".")
        found.update(".".join(parts[:n]) for n in range(1, len(parts)))
    return found


def _unknown(entry: _Entry, nearest: bool) -> str:
    if entry.key in _sections():
        names = [k for k in known_keys() if k.startswith(f"{entry.key}.")]
        return (
            f"{entry.origin}: {entry.key}: {_shown(entry.value)}: "
            f"expected a section with the keys {', '.join(names)}"
        )
    if not nearest:  # the search takes milliseconds, and the first ones tell what is wrong
        return f"{entry.origin}: {entry.key[:_LONGEST_KEY]}: unknown key"
    key = entry.key[:_LONGEST_KEY]
    near = difflib.get_close_matches(key, list(known_keys()), n=1, cutoff=0.0)
    return f"{entry.origin}: {key}: unknown key; the nearest valid one is {near[0]}"


def _cut(value: object, levels: int = 3) -> object:
    """Return the beginning of a value: nobody reads more of it in a message."""
    if isinstance(value, dict):
        parts = list(value.items())[:_SHOWN_PARTS] if levels else []
        return {key: _cut(part, levels - 1) for key, part in parts}
    if isinstance(value, list | tuple | set):
        return [_cut(part, levels - 1) for part in list(value)[:_SHOWN_PARTS]] if levels else []
    return value


def _shown(value: object) -> str:
    """Return a value as YAML would write it, cut to one short line."""
    text = yaml.safe_dump(_cut(value), default_flow_style=True, allow_unicode=True, width=10_000)
    text = text.removesuffix("...\n").strip().replace("\n", " ")
    return text if len(text) <= 80 else text[:77] + "..."


def _read_file(path: Path, problems: list[str]) -> Iterator[_Entry]:
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
    if document is None:
        return
    if not isinstance(document, dict):
        problems.append(f"{path}: {_shown(document)}: expected sections such as source:")
        return
    yield from _flatten(document, "", str(path))


def _flatten(mapping: Mapping[Any, object], prefix: str, origin: str) -> Iterator[_Entry]:
    for name, value in mapping.items():
        key = f"{prefix}{name}"
        if key in _sections() and value is None:
            continue  # a section whose keys are all commented out
        if isinstance(value, dict) and key not in known_keys():
            if key in _sections():
                yield from _flatten(value, f"{key}.", origin)
            else:
                yield _Entry(key, value, origin)
        else:
            yield _Entry(key, value, origin)


def _parse_overrides(overrides: Iterable[str], problems: list[str]) -> Iterator[_Entry]:
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            problems.append(f"--set {text}: expected KEY=VALUE, such as source.fps=25")
            continue
        try:
            parsed = parse_yaml(value)
        except YamlError as error:
            problems.append(f"--set {text}: the value is not valid YAML: {error}")
            continue
        yield _Entry(key.strip(), parsed, "--set")
