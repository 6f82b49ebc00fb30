"""Finds the settings of a start without `--config`; a `config.yaml` may be another program's."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from samcam.live.config.bounded_yaml import MAX_BYTES, YamlError, parse_yaml, shown_yaml
from samcam.live.config.schema import known_keys, sections
from samcam.system import checkout
from samcam.system.files import decode_text, is_file, one_line, read_regular, reason_of

CONFIG_FILE: Final = "config.yaml"
_MAX_NEAREST: Final = 20  # keys that are compared
_LONGEST_KEY: Final = 200  # characters of one that are
_NEARLY: Final = 0.82  # of 1, as difflib counts: `windwo` is 0.83, `resources` for source 0.8
_NEARLY_BELOW: Final = 0.66  # of a section's keys, which are shorter: `fsp`
# A key of the outermost level, also in text that is not YAML, or has tags of another program.
_TOP_LEVEL: Final = re.compile(r"^([^\s#\[\]{},&*!|>%@`:-].*?):(?=\s|$)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class ConfigPlace:
    """Where a start without `--config` reads its settings.

    Attributes:
        path: The file; None: the defaults.
        left_aside: One-line message about a `config.yaml` of the current folder that is another
            program's; empty where there is none.
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
    """Return the files that are ours whatever they hold, by precedence."""
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
            return f"it holds {shown_yaml(document)} and no sections such as source:"
        if not document:
            return "it sets nothing"
        keys = list(document)
    foreign = next((key for key in keys if not _is_ours(key)), None)
    if foreign is not None and not (any(map(_is_ours, keys)) and _are_misspelt(keys)):
        return f"the key {shown_yaml(foreign)} is none of SamCam's"
    return _why_no_section(document)


def _why_no_section(document: Mapping[Any, object] | None) -> str:
    """Return why keys that others have too, such as `output`, are not ours; empty: they are.

    Args:
        document: Of the file; None: it is not YAML, so only its keys are known.
    """
    why = ""
    for key, value in (document or {}).items():
        if not _is_ours(key):
            continue  # nearly ours
        if key in known_keys() or "." in key or value is None or value == {}:
            return ""
        if isinstance(value, dict):
            names = {name.split(".")[1] for name in known_keys() if name.startswith(f"{key}.")}
            few = list(value)[:_MAX_NEAREST]
            if names & value.keys() or any(_is_nearly(one, names, _NEARLY_BELOW) for one in few):
                return ""
            why = why or f"{key} has none of the keys that it has for SamCam"
        else:
            why = why or f"{key} is {shown_yaml(value)}, no section of SamCam's keys"
    return why


def _is_nearly(name: object, names: Collection[str], cutoff: float = _NEARLY) -> bool:
    """Whether a name is one of these, or misspelt."""
    return isinstance(name, str) and bool(
        get_close_matches(name[:_LONGEST_KEY].partition(".")[0].lower(), names, n=1, cutoff=cutoff)
    )


def _is_ours(key: object) -> bool:
    return isinstance(key, str) and key.partition(".")[0] in sections()


def _are_misspelt(keys: Sequence[object]) -> bool:
    """Whether each key that is none of ours, of a few, is nearly one, such as `windwo`."""
    names = [key for key in keys if not _is_ours(key)]
    ours = [section for section in sections() if "." not in section]
    return len(names) <= _MAX_NEAREST and all(_is_nearly(name, ours) for name in names)
