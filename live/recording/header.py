"""`recording.json`: what was run, on what, with which settings."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias

from samcam.engines import Sha256
from samcam.live.recording.fingerprint import Fingerprint
from samcam.system import CheckedAs, ModelError, Section, Setting, read_model
from samcam.system.files import on_another_machine, read_json, shown_path, shown_value, write_whole

FORMAT: Final = 1
ON_DISK: Final = ("file", "picture", "folder")  # kinds that can be read again
HEADER_FILE: Final = "recording.json"
STEPS_FILE: Final = "steps.jsonl"
COMMANDS_FILE: Final = "commands.jsonl"
PICTURES_FILE: Final = "pictures.jsonl"
VIDEO_FILE: Final = "pictures.mp4"


_Text: TypeAlias = Annotated[str, Setting(limits={"min_length": 1}, expected="a text")]
_Count: TypeAlias = Annotated[
    int, Setting(low=0, high=(1 << 63) - 1, expected="a whole number of at least 0")
]
_Rate: TypeAlias = Annotated[
    float,
    Setting(
        "Nominal.",
        high=100_000,  # more than any camera has; a stream may say 90,000
        limits={"gt": 0},
        expected="a rate above 0, at most 100000",
    ),
]
_Size: TypeAlias = Annotated[
    tuple[int, int],
    Setting(
        "Picture size in pixels, after rotation and mirroring.",
        low=1,
        high=1 << 16,
        expected="sides of 1 to 65536 pixels, as [width, height]",
    ),
]
_Pictures: TypeAlias = Annotated[
    str | None,
    CheckedAs(Literal["lossless", "lossy"] | None),
    Setting("How pictures.mp4 keeps the frames; null where the source still has them."),
]


@dataclass(frozen=True, slots=True)
class SourceRecord(Section):
    """Where the frames came from."""

    name: Annotated[_Text, Setting("As the user wrote it, without a URL's password.")]
    kind: Annotated[_Text, Setting("camera, file, picture, folder, url or demo.")]
    size_wh: _Size
    fps: _Rate
    path: Annotated[_Text | None, Setting("Where the file or folder was.")] = None
    fingerprint: Fingerprint | None = None
    repeated: Annotated[bool, Setting("Whether one picture was served again and again.")] = False
    pictures: _Pictures = None
    looped: Annotated[bool, Setting("Whether it started again at its end.")] = False

    def __post_init__(self) -> None:
        if (self.path is None) != (self.fingerprint is None):
            raise ValueError("path: expected together with source.fingerprint")


@dataclass(frozen=True, slots=True)
class Header(Section):
    """What was run, on what, with which settings; written before the first step and at the end."""

    __needed__: ClassVar = ("format",)

    format: Annotated[int, Setting(low=1, high=1, expected="1")] = field(
        default=FORMAT, kw_only=True
    )
    version: Annotated[_Text, Setting("Of the program.")]
    source: SourceRecord
    model: Annotated[_Text, Setting("As the user wrote it; a folder by its full path.")]
    manifest_sha256: Annotated[
        Sha256, Setting("Of the model's manifest.json, which has the hashes of its files.")
    ]
    backend: _Text
    preset: _Text
    effect: _Text
    pace: Annotated[str, CheckedAs(Literal["live", "all"])]
    settings: Annotated[
        Mapping[str, Any], Setting("Every key of the configuration.", expected="an object")
    ]
    prompts: Annotated[
        tuple[Mapping[str, Any], ...],
        Setting(
            "The command line's, as in commands.jsonl.",
            limits={"max_length": 1 << 16, "fail_fast": True},
            expected="a list of objects",
        ),
    ] = ()
    complete: Annotated[bool, Setting("Whether the run ended by itself.")] = False
    steps: Annotated[_Count | None, Setting("Processed frames, once complete.")] = None
    pictures_dropped: Annotated[
        _Count, Setting("Frames dropped before they were tracked: the encoder had no room.")
    ] = 0
    files: Annotated[
        Mapping[str, Fingerprint], Setting("Of settings that name a file, by key path.")
    ] = field(default_factory=dict)
    rules: Annotated[
        Mapping[str, Any] | None,
        Setting(
            "What the preset was: all its rules, without the changes in settings; earlier "
            "versions have none.",
        ),
    ] = None


class _Row(Section):
    """Base of the rows, which later versions may give further keys."""

    __slots__ = ()
    __pydantic_config__: ClassVar = Section.__pydantic_config__ | {"extra": "ignore"}


@dataclass(frozen=True, slots=True)
class StepRow(_Row):
    """A processed frame, a row of steps.jsonl."""

    step: Annotated[_Count, Setting("Tracker step, +1 per row.")]
    frame: Annotated[_Count, Setting("Source frame index; gaps were not processed.")]
    time_ns: Annotated[_Count, Setting("Media time of the frame in nanoseconds.")]


@dataclass(frozen=True, slots=True)
class PictureRow(_Row):
    """A picture of pictures.mp4, a row of pictures.jsonl in the order of the file."""

    frame: Annotated[_Count, Setting("Source frame index.")]
    time_ns: Annotated[_Count, Setting("Time on the capture clock in nanoseconds, 0 at first.")]
    ticks: Annotated[_Count, Setting("Presentation time in pictures.mp4, in 1/90,000 s.")]


@dataclass(frozen=True, slots=True)
class CommandRow(_Row):
    """A command that took effect before a step, a row of commands.jsonl."""

    step: _Count
    command: Any = None


def write_header(folder: Path, header: Header) -> None:
    """Write or replace the header, all of it or nothing.

    Raises:
        OSError: It cannot be written.
    """
    text = json.dumps(asdict(header), indent=1, allow_nan=False)
    write_whole(folder / HEADER_FILE, f"{text}\n".encode())


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
    if not isinstance(row, dict) or row.get("format") != FORMAT:
        raise ValueError(f"{HEADER_FILE}: expected a recording of format {FORMAT}")
    try:
        header = read_model(Header, row)
    except ModelError as error:
        raise ValueError(f"{HEADER_FILE}: damaged: {error.line}") from error
    _check_place(header.source)
    return header


def _check_place(source: SourceRecord) -> None:
    """Check that a recording, which is untrusted, names nothing to connect to.

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
