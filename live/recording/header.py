"""`recording.json`: what was run, on what, with which settings."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from samcam.live.recording.fingerprint import Fingerprint
from samcam.live.recording.header_form import FINGERPRINT, HEADER, SOURCE
from samcam.system.files import check_form, on_another_machine, read_json, shown_path, shown_value

FORMAT: Final = 1
ON_DISK: Final = ("file", "picture", "folder")  # kinds that can be read again
HEADER_FILE: Final = "recording.json"
STEPS_FILE: Final = "steps.jsonl"
COMMANDS_FILE: Final = "commands.jsonl"
PICTURES_FILE: Final = "pictures.jsonl"
VIDEO_FILE: Final = "pictures.mp4"


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """Where the frames came from.

    Attributes:
        name: As the user wrote it, without a URL's password.
        kind, size_wh, fps: As in `live.sources.base.SourceInfo`.
        path: Where the file or folder was; None for other kinds.
        fingerprint: Of that; None for other kinds.
        repeated: Whether a single picture was served again and again.
        looped: Whether it started again at its end.
        pictures: None where the frames can be had from the source again; else lossless or lossy.
    """

    name: str
    kind: str
    size_wh: tuple[int, int]
    fps: float
    path: str | None = None
    fingerprint: Fingerprint | None = None
    repeated: bool = False
    pictures: str | None = None
    looped: bool = False


@dataclass(frozen=True, slots=True)
class Header:
    """All of it.

    Attributes:
        version: Of the program.
        source: Where the frames came from.
        model, manifest_sha256: Name as the user wrote it; hash of the model's manifest, which has
            the hashes of its files.
        backend, preset, effect: As on the command line.
        pace: live or all.
        settings: Every key of the configuration with its value.
        prompts: The command line's, as `live.recording.values` writes them.
        complete: Whether the run ended by itself; a killed one leaves False.
        steps: Processed frames, once complete.
        pictures_dropped: Frames that were dropped because the encoder had no room.
        files: Of settings that name a file: key to its fingerprint.
    """

    version: str
    source: SourceRecord
    model: str
    manifest_sha256: str
    backend: str
    preset: str
    effect: str
    pace: str
    settings: Mapping[str, Any]
    prompts: tuple[Mapping[str, Any], ...] = field(default=())
    complete: bool = False
    steps: int | None = None
    pictures_dropped: int = 0
    files: Mapping[str, Fingerprint] = field(default_factory=dict)


def write_header(folder: Path, header: Header) -> None:
    """Write or replace the header, all of it or nothing.

    Raises:
        OSError: It cannot be written.
    """
    path = folder / HEADER_FILE
    partial = path.with_name(path.name + ".part")
    text = json.dumps({"format": FORMAT, **asdict(header)}, indent=1, allow_nan=False)
    partial.write_text(text + "\n", encoding="utf-8")
    partial.replace(path)


def read_header(folder: Path) -> Header:
    """Read the header.

    Raises:
        ValueError: It is damaged or of another format; names key, value and what was expected.
        OSError: It cannot be read.
    """
    try:
        row = read_json(folder / HEADER_FILE, follow=False)
    except ValueError as error:
        raise ValueError(f"{HEADER_FILE}: {error}") from error
    if not isinstance(row, dict) or row.pop("format", None) != FORMAT:
        raise ValueError(f"{HEADER_FILE}: expected a recording of format {FORMAT}")
    try:
        header = _header(row)
    except ValueError as error:
        raise ValueError(f"{HEADER_FILE}: damaged: {error}") from error
    _check_place(header.source)
    return header


def _header(row: dict[str, Any]) -> Header:
    """Check a header and put it together.

    Raises:
        ValueError: Names key, value and what was expected.
    """
    check_form(row, HEADER)
    source = row.pop("source")
    check_form(source, SOURCE, "source.")
    width, height = source.pop("size_wh")
    mark = source.pop("fingerprint", None)
    if mark is not None:
        mark = _fingerprint(mark, "source.fingerprint.")
    if (source.get("path") is None) != (mark is None):
        raise ValueError("source.path: expected together with source.fingerprint")
    files = {}
    for key, value in row.pop("files", {}).items():
        if not isinstance(value, dict):
            raise ValueError(f"files.{key[:40]}: {shown_value(value)}: expected an object")
        files[key] = _fingerprint(value, f"files.{key[:40]}.")
    record = SourceRecord(size_wh=(width, height), fingerprint=mark, **source)
    prompts = tuple(row.pop("prompts", ()))
    return Header(source=record, prompts=prompts, files=files, **row)


def _fingerprint(row: dict[str, Any], prefix: str) -> Fingerprint:
    check_form(row, FINGERPRINT, prefix)
    files = tuple((name, sha) for name, sha in row["files"])
    return Fingerprint(row["sha256"], files, row.get("bytes"))


def _check_place(source: SourceRecord) -> None:
    """See that a recording, which somebody else may have made, names nothing to connect to.

    Raises:
        ValueError: Its frames are neither in it, nor in a file or folder, nor the demo's.
    """
    if source.pictures is not None:
        return
    if source.kind not in (*ON_DISK, "demo"):
        raise ValueError(
            f"{HEADER_FILE}: source.kind: {shown_value(source.kind)}: its pictures were not "
            "recorded and nothing is connected to for a replay; expected "
            f"{', '.join(ON_DISK)} or demo"
        )
    if source.kind == "demo" and (source.path is not None or source.name != "demo"):
        shown = shown_path(source.path or source.name)
        raise ValueError(
            f"{HEADER_FILE}: damaged: source: {shown}: expected the name demo and no path, as its "
            "kind is demo"
        )
    if source.kind in ON_DISK and not os.path.isabs(source.path or ""):
        shown = shown_path(source.path)
        raise ValueError(f"{HEADER_FILE}: damaged: source.path: {shown}: expected an absolute path")
    if on_another_machine(source.path or ""):
        raise ValueError(
            f"{HEADER_FILE}: source.path: {shown_path(source.path)}: is on another machine, and "
            "nothing is connected to for a replay; expected a path of this one"
        )
