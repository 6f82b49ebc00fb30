"""Reads the SINK grammar of the command line and opens the outputs."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from samcam.live.errors import ConfigError
from samcam.live.sinks.base import FrameSink
from samcam.live.sinks.coco import COCO_FILE
from samcam.live.sinks.masks import FORMATS, MOT_FILE, PNG_ALONE, TRACKS_FILE, MasksSink
from samcam.live.sinks.null import NullSink
from samcam.live.sinks.video import VideoOptions, VideoSink
from samcam.live.sinks.virtualcam import (
    NoVirtualCameraError,
    VirtualCameraOptions,
    VirtualCameraSink,
)
from samcam.live.sinks.worker import SinkWorker
from samcam.live.slots import SlotMode
from samcam.live.sources import SourceInfo
from samcam.live.watchdog import Watchdog
from samcam.live.window import PreviewWindow, WindowOptions
from samcam.system.files import NoHomeError, expand_user, lenient_path, resolved

EXPECTED = (
    "expected window, virtualcam[:DEVICE], video:FILE.mp4, masks:DIR[?format=png|coco|mot] or none"
)
_OPTIONS = re.compile(r"([^?].*)\?(\w+)=(.*)")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SinkOptions:
    """Options of every kind of sink.

    Attributes:
        mode: How the sinks' slots treat an unread picture: "newest" in live pace, "blocking"
            where every frame counts.
        watchdog: Names an output whose own thread hangs; None: not watched.
    """

    mode: SlotMode = "newest"
    video: VideoOptions = field(default_factory=VideoOptions)
    window: WindowOptions = field(default_factory=WindowOptions)
    virtual_camera: VirtualCameraOptions = field(default_factory=VirtualCameraOptions)
    watchdog: Watchdog | None = None


@dataclass(frozen=True, slots=True)
class SinkSpec:
    """One `--output`, parsed.

    Attributes:
        kind: window, virtualcam, video, masks or none.
        path: Of video and masks.
        device: Of virtualcam; None: the first that works.
        formats: Of masks, see `live.sinks.masks.FORMATS`.
    """

    kind: str
    path: Path | None = None
    device: str | None = None
    formats: tuple[str, ...] = PNG_ALONE


@dataclass(frozen=True, slots=True, eq=False)
class Outputs:
    """The open sinks: the window for the main thread, a worker for each of the others."""

    workers: tuple[SinkWorker, ...]
    window: PreviewWindow | None = None


def parse_sinks(texts: Sequence[str]) -> tuple[SinkSpec, ...]:
    """Read the SINK grammar.

    Raises:
        ConfigError: All problems at once: unknown kinds, missing names, an output given twice.
    """
    problems: list[str] = []
    specs: list[SinkSpec] = []
    for text in texts:
        spec = _parse(text, problems)
        if spec is not None:
            if _resolved(spec) in [_resolved(other) for other in specs]:
                problems.append(f"--output {text}: given twice; expected once")
            specs.append(spec)
    if problems:
        raise ConfigError(problems)
    return tuple(specs)


def open_sinks(
    texts: Sequence[str],
    options: SinkOptions,
    info: SourceInfo,
    wrap: Callable[[FrameSink], FrameSink] = lambda sink: sink,
) -> Outputs:
    """Open every output; the threads start with the render loop.

    Args:
        texts: As the user wrote them.
        options: How.
        info: The source, for its rate and size; an output must not overwrite it.
        wrap: Put around every sink but the window, such as an observer.

    A missing virtual camera is only a warning while another output has the picture, unless
    `options` require it.

    Raises:
        ConfigError: See `parse_sinks`; or an output is the source itself.
        SinkError: One cannot be opened; those opened before it are closed again.
    """
    specs = parse_sinks(texts)
    for spec in specs:
        _refuse_source(spec, info)
    workers: list[SinkWorker] = []
    window = None
    try:
        for spec in specs:
            if spec.kind != "window":
                count = sum(w.thread_name.startswith(f"sink-{spec.kind}") for w in workers)
                thread_name = f"sink-{spec.kind}-{count + 1}" if count else f"sink-{spec.kind}"
                sink = _open_or_go_without(spec, specs, options, info)
                if sink is not None:
                    workers.append(SinkWorker(wrap(sink), options.mode, thread_name))
        if any(spec.kind == "window" for spec in specs):
            window = PreviewWindow(options.window, info)
    except BaseException:
        for worker in workers:
            worker.finish(None)
        raise
    return Outputs(tuple(workers), window)


def _parse(text: str, problems: list[str]) -> SinkSpec | None:
    kind, colon, rest = text.partition(":")
    if kind in ("window", "none"):
        if not colon:
            return SinkSpec(kind)
        problems.append(f"--output {text}: {kind} takes nothing after it; {EXPECTED}")
    elif kind == "virtualcam" and not colon:
        return SinkSpec(kind)
    elif kind not in ("virtualcam", "video", "masks"):
        problems.append(f"--output {text}: unknown; {EXPECTED}")
    elif not rest:
        problems.append(f"--output {text}: no name; {EXPECTED}")
    elif kind == "video" and (Path(rest).suffix.lower() != ".mp4" or rest.endswith("/")):
        problems.append(f"--output {text}: expected a name that ends in .mp4")
    elif kind == "virtualcam":
        return SinkSpec(kind, device=rest)
    else:
        try:
            if kind == "masks":
                return _parse_masks(text, rest, problems)
            return SinkSpec(kind, expand_user(rest))
        except NoHomeError as error:
            problems.append(f"--output {kind}:{error}")
    return None


def _parse_masks(text: str, rest: str, problems: list[str]) -> SinkSpec | None:
    """Read what stands after `masks:`; a question mark without options is part of the name.

    Raises:
        NoHomeError: The name starts with the ~ of an unknown user.
    """
    found = _OPTIONS.fullmatch(rest)
    if found is None:
        return SinkSpec("masks", expand_user(rest))
    folder, key, value = found.groups()
    formats = tuple(dict.fromkeys(value.split(",")))
    wrong = [name for name in formats if name not in FORMATS]
    expected = f"expected masks:DIR?format= and {', '.join(FORMATS)}, one or several with commas"
    if key != "format" or "&" in value:
        problems.append(f"--output {text}: unknown option; {expected}")
    elif wrong:
        problems.append(f"--output {text}: unknown format {wrong[0]!r}; {expected}")
    else:
        return SinkSpec("masks", expand_user(folder), formats=formats)
    return None


def output_path(text: str) -> Path | None:
    """Return the file or folder that an `--output` writes; None where there is none."""
    kind, _, rest = text.partition(":")
    if kind not in ("video", "masks") or not rest:
        return None
    found = _OPTIONS.fullmatch(rest) if kind == "masks" else None
    return lenient_path(found[1] if found else rest)


def output_files(text: str) -> list[Path]:
    """Return the files of fixed names that an `--output` may write."""
    path = output_path(text)
    if path is None:
        return []
    names = (TRACKS_FILE, COCO_FILE, MOT_FILE) if text.startswith("masks:") else ("",)
    return [path / name for name in names]


def _resolved(spec: SinkSpec) -> SinkSpec:
    """Return the place of an output, which no other may have."""
    if spec.path is None:
        return spec
    return replace(spec, path=resolved(spec.path), formats=PNG_ALONE)


def same_place(first: Path, second: Path) -> bool:
    """Whether two paths lead to the same file or folder, by links too."""
    try:
        return first.samefile(second)
    except (OSError, ValueError):  # one of them does not exist yet, or cannot
        return resolved(first) == resolved(second)


def _refuse_source(spec: SinkSpec, info: SourceInfo) -> None:
    """Refuse to write over what is being read."""
    if spec.path is None or info.kind not in ("file", "picture", "folder"):
        return
    source = lenient_path(info.name)
    folder = resolved(source.parent) if spec.kind == "masks" else None
    if same_place(spec.path, source) or resolved(spec.path) == folder:
        raise ConfigError(
            f"--output {spec.kind}:{spec.path}: this is where --source {info.name} is read from; "
            "expected another place"
        )


def _open_or_go_without(
    spec: SinkSpec, specs: Sequence[SinkSpec], options: SinkOptions, info: SourceInfo
) -> FrameSink | None:
    """Open one output; None for a missing virtual camera that the run can do without."""
    try:
        return _open_one(spec, options, info)
    except NoVirtualCameraError as error:
        others = {other.kind for other in specs} - {"virtualcam", "none"}
        if options.virtual_camera.required or not others:
            raise
        _log.warning("%s; the other outputs go on without it", error)
        return None


def _open_one(spec: SinkSpec, options: SinkOptions, info: SourceInfo) -> FrameSink:
    if spec.kind == "virtualcam":
        how = (options.virtual_camera, options.watchdog)
        return VirtualCameraSink(spec.device, info.size_wh, info.fps, *how)
    if spec.kind == "video" and spec.path is not None:
        return VideoSink(spec.path, info.fps, options.video, info.sound)
    if spec.kind == "masks" and spec.path is not None:
        return MasksSink(spec.path, spec.formats)
    return NullSink()
