"""`recording.json`: what was run, on what, with which settings."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from engines.bounded_files import read_json
from live.recording.fingerprint import Fingerprint

FORMAT: Final = 1
_SHOWN: Final = 80
_HIGHEST_FPS: Final = 100_000  # more than any camera has; a stream may say 90,000
_LONGEST_SIDE: Final = 1 << 16
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
        ValueError: It is damaged or of another format.
        OSError: It cannot be read.
    """
    try:
        row = read_json(folder / HEADER_FILE, follow=False)
    except ValueError as error:
        raise ValueError(f"{HEADER_FILE}: {error}") from error
    if not isinstance(row, dict) or row.pop("format", None) != FORMAT:
        raise ValueError(f"{HEADER_FILE}: expected a recording of format {FORMAT}")
    try:
        source = row.pop("source")
        size = source.pop("size_wh")
        mark = source.pop("fingerprint")
        if mark is not None:
            files = tuple((name, sha) for name, sha in mark["files"])
            mark = Fingerprint(mark["sha256"], files, mark.get("bytes"))
        size_wh = int(size[0]), int(size[1])
        row["source"] = SourceRecord(size_wh=size_wh, fingerprint=mark, **source)
        row["prompts"] = tuple(row["prompts"])
        header = Header(**row)
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError, IndexError) as error:
        missing = f"no key {error}" if isinstance(error, KeyError) else str(error)[:_SHOWN]
        raise ValueError(
            f"{HEADER_FILE}: damaged: {missing}; expected the keys and values that --record writes"
        ) from error
    _check_numbers(header)
    _check(header)
    return header


def _check_numbers(header: Header) -> None:
    """Refuse a pace, rate or size that no run has.

    Raises:
        ValueError: Says key, value and what was expected.
    """
    source = header.source
    size_fits = all(0 < side <= _LONGEST_SIDE for side in source.size_wh)
    rate = source.fps
    rate_fits = isinstance(rate, int | float) and 0 < rate <= _HIGHEST_FPS
    for key, value, fits, expected in (
        ("pace", header.pace, header.pace in ("live", "all"), "live or all"),
        ("source.fps", rate, rate_fits, f"a rate above 0, at most {_HIGHEST_FPS}"),
        ("source.size_wh", source.size_wh, size_fits, f"sides of 1 to {_LONGEST_SIDE} pixels"),
    ):
        if not fits:
            shown = repr(value)[:_SHOWN]
            raise ValueError(f"{HEADER_FILE}: damaged: {key}: {shown}: expected {expected}")


def _check(header: Header) -> None:
    source = header.source
    texts = (header.version, header.model, header.preset, header.effect, header.backend)
    more = (header.manifest_sha256, header.pace, source.name, source.kind)
    mark = source.fingerprint
    fine = (
        all(isinstance(text, str) and text for text in (*texts, *more))
        and isinstance(header.pictures_dropped, int)
        and isinstance(header.settings, dict)
        and all(isinstance(prompt, dict) for prompt in header.prompts)
        and isinstance(source.fps, int | float)
        and source.fps > 0
        and min(source.size_wh) > 0
        and source.pictures in (None, "lossless", "lossy")
        and (source.path is None or isinstance(source.path, str))
        and (source.path is None) == (mark is None)
        and isinstance(header.complete, bool)
        and (mark is None or (isinstance(mark.sha256, str) and isinstance(mark.bytes, int | None)))
    )
    if not fine:
        raise ValueError(f"{HEADER_FILE}: damaged: a value is not of its kind")
    _check_place(source)


def _check_place(source: SourceRecord) -> None:
    """See that a recording, which somebody else may have made, names nothing to connect to.

    Raises:
        ValueError: Its frames are neither in it, nor in a file or folder, nor the demo's.
    """
    if source.pictures is not None:
        return
    if source.kind not in (*ON_DISK, "demo"):
        raise ValueError(
            f"{HEADER_FILE}: its source is a {source.kind} whose pictures were not recorded; "
            "nothing is connected to for a replay"
        )
    if source.kind == "demo" and (source.path is not None or source.name != "demo"):
        raise ValueError(f"{HEADER_FILE}: damaged: a demo with a place of its own")
    if source.kind in ON_DISK and not os.path.isabs(source.path or ""):
        raise ValueError(f"{HEADER_FILE}: damaged: source.path: expected an absolute path")
