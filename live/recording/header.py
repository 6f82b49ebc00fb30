"""`recording.json`: what was run, on what, with which settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from live.recording.fingerprint import Fingerprint

FORMAT: Final = 1
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
    text = (folder / HEADER_FILE).read_text(encoding="utf-8")
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{HEADER_FILE}: not valid JSON") from error
    if not isinstance(row, dict) or row.pop("format", None) != FORMAT:
        raise ValueError(f"{HEADER_FILE}: expected a recording of format {FORMAT}")
    try:
        source = row.pop("source")
        size = source.pop("size_wh")
        mark = source.pop("fingerprint")
        if mark is not None:
            mark = Fingerprint(mark["sha256"], tuple((name, sha) for name, sha in mark["files"]))
        size_wh = int(size[0]), int(size[1])
        row["source"] = SourceRecord(size_wh=size_wh, fingerprint=mark, **source)
        row["prompts"] = tuple(row["prompts"])
        header = Header(**row)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise ValueError(f"{HEADER_FILE}: damaged: {error!r}") from error
    _check(header)
    return header


def _check(header: Header) -> None:
    source = header.source
    texts = (header.version, header.model, header.preset, header.effect, header.backend)
    more = (header.manifest_sha256, header.pace, source.name, source.kind)
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
        and (source.path is None) == (source.fingerprint is None)
    )
    if not fine:
        raise ValueError(f"{HEADER_FILE}: damaged: a value is not of its kind")
