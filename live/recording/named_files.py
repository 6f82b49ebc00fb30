"""The files that a recording's settings name: marked when it is made, checked before a replay.

Recordings are untrusted. Of what one names only a model folder and background
files of the recorded content are opened; whatever else is named on the command line. Options of
execution providers can name libraries, so none are taken.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

from samcam.engines import MANIFEST_NAME, EngineError, is_model_name
from samcam.live.recording.fingerprint import Fingerprint, difference, fingerprint
from samcam.live.remote import opens_file
from samcam.system.files import (
    MAX_JSON_BYTES,
    NoHomeError,
    expand_user,
    lenient_path,
    on_another_machine,
    one_line,
    open_regular,
    read_regular,
    reason_of,
    resolved,
    shown_path,
    shown_value,
)

FILE_KEYS: Final = ("effect.replace.picture", "effect.replace.video")
HOTKEYS: Final = "hotkeys.keys"
PROVIDERS: Final = "engine.providers"

_HEAD_BYTES: Final = 4096
# Texts that FFmpeg takes for videos and that name further files: HLS, its own lists, DASH, IMF, SDP
_LISTS: Final = (b"#EXTM3U", b"ffconcat", b"<MPD", b"CompositionPlaylist", b"\nc=IN")


def mark_files(settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Fingerprint]]:
    """Return settings with the full paths of the files that they name, and what these files are.

    A file that cannot be read is left without a mark: the run does not use it either.

    Args:
        settings: Every key path with its value.
    """
    values, marks = dict(settings), {}
    for key in FILE_KEYS:
        name = values.get(key)
        if not name:
            continue
        try:
            place = resolved(expand_user(name))
            marks[key] = fingerprint(place)
            values[key] = str(place)
        except (OSError, NoHomeError):
            continue
    return values, marks


def trusted_settings(
    settings: Mapping[str, Any],
    marks: Mapping[str, Fingerprint],
    given: Collection[str],
    needed: bool,
) -> tuple[dict[str, Any], list[str]]:
    """Return a recording's settings without files that must not be opened.

    Args:
        settings: Every key path with its value, as recorded.
        marks: What the files that they name were.
        given: Keys that `--set` changes; they are not checked.
        needed: Whether the replay shows these files.

    Returns:
        The settings, and what was left out of them, a line each.

    Raises:
        ValueError: A file that is needed is not the recorded one; one line.
    """
    values, left_out = dict(settings), []
    for key in FILE_KEYS:
        name = values.get(key)
        if key in given or not isinstance(name, str):
            continue
        problem = _file_problem(name, marks.get(key))
        if problem and needed:
            shown = shown_path(name)
            raise ValueError(f"{key}: {shown}{problem}; name it with --set {key}=FILE, or null")
        if problem:
            values[key] = None
            left_out.append(f"{key}: left out: {shown_path(name)}{problem}")
    keys = values.get(HOTKEYS)
    if HOTKEYS not in given and isinstance(keys, Mapping):
        named = {key: text for key, text in keys.items() if _names_file(text)}
        values[HOTKEYS] = {key: text for key, text in keys.items() if key not in named}
        left_out += [
            f"{HOTKEYS}: {one_line(key)}: left out: {one_line(shown_value(text))} names a file; "
            f"set it with --set {HOTKEYS}=..."
            for key, text in named.items()
        ]
    if PROVIDERS in values and PROVIDERS not in given:
        values[PROVIDERS], names = _without_options(values[PROVIDERS])
        left_out += [
            f"{PROVIDERS}: options of {one_line(shown_value(name))}: left out: they may name "
            f"libraries and folders; set them with --set {PROVIDERS}=..."
            for name in names
        ]
    return values, left_out


def check_model_folder(name: str, manifest_sha256: str) -> None:
    """Check that the model folder that a recording names is the recorded one.

    Args:
        name: As recorded.
        manifest_sha256: Of its manifest, as recorded.

    Raises:
        EngineError: It is not there, or another one; one line.
    """
    if is_model_name(name):
        return
    shown, how = shown_path(name), "name a model with --model MODEL"
    if on_another_machine(name):
        raise EngineError(f"model {shown}: is on another machine; {how}")
    try:
        data = read_regular(lenient_path(name) / MANIFEST_NAME, MAX_JSON_BYTES)
    except (OSError, ValueError) as error:
        raise EngineError(
            f"model {shown}: its {MANIFEST_NAME} cannot be read: {reason_of(error)}; {how}"
        ) from error
    now = hashlib.sha256(data).hexdigest()
    if now != manifest_sha256:
        raise EngineError(
            f"model {shown} is not the recorded one: {MANIFEST_NAME} has SHA-256 {now[:12]}..., "
            f"expected {manifest_sha256[:12]}...; {how}"
        )


def names_other_files(path: Path) -> bool:
    """Whether a file is a list of further ones, which no fingerprint covers.

    Raises:
        OSError: It cannot be read.
    """
    with open_regular(path) as file:
        head = file.read(_HEAD_BYTES)
    return any(word in head for word in _LISTS)


def _file_problem(name: str, mark: Fingerprint | None) -> str:
    """Return why a background may not be opened, to stand after its name; "" where it may."""
    if mark is None:
        return ": recorded without its SHA-256, so that nobody knows what it was"
    if on_another_machine(name):
        return ": is on another machine"
    try:
        place = expand_user(name)
        found = difference(mark, place)
        if not found and names_other_files(place):
            return ": is a list of other files"
    except (OSError, NoHomeError) as error:
        return f": cannot be read: {reason_of(error)}"
    return f" is not the recorded one{found}" if found else ""


def _without_options(providers: object) -> tuple[object, list[object]]:
    """Return the providers as names alone, and whose options are gone; what is none of both is
    refused where the settings are checked."""
    if not isinstance(providers, list):
        return providers, []
    names: list[object] = []
    kept = []
    for entry in providers:
        if isinstance(entry, Mapping) and len(entry) == 1:
            (name, options), *_ = entry.items()
            names += [name] if options else []
            kept.append(name)
        else:
            kept.append(entry)
    return kept, names


def _names_file(command: object) -> bool:
    """Whether a hotkey does; what is no text is refused where the settings are checked."""
    return isinstance(command, str) and opens_file(command)
