"""Builds the parts of one run from the command line and the settings, and runs them."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import cv2

from engines.model_folder import EngineOptions, load_model
from live.config import ConfigError, default_config_path, load_settings
from live.config_schema import BACKGROUND_EFFECTS, EFFECTS, EngineSettings, Settings, SourceSettings
from live.config_tracker import apply_overrides
from live.frames import FrameResult
from live.interrupts import Interrupts
from live.metrics import Metrics, MetricsWriter
from live.pipeline import PipelinePace, Wiring, run_pipeline
from live.presets import PRESETS, TrackerSettings
from live.progress import Progress
from live.prompts import parse_prompts
from live.sources import SourceOptions, VideoSource, list_cameras, open_source
from live.sources.base import SourceInfo
from live.summary import format_summary
from live.tracker import Tracker

__all__ = [
    "EFFECTS",
    "OUTPUT_HELP",
    "PRESETS",
    "PROMPT_HELP",
    "SOURCE_HELP",
    "VERSION",
    "Request",
    "run",
]

VERSION: Final = "0.1.0"
SOURCE_HELP: Final = (
    "camera index or part of its name, video file, picture, folder of pictures, rtsp:// or "
    "http:// URL, or demo (0)"
)
PROMPT_HELP: Final = (
    "point=X,Y neg=X,Y box=X1,Y1,X2,Y2 mask=FILE.png [image=FILE] bbox_txt=FILE object=ID "
    "frame=N, separated by spaces, in pixels of the source; or @FILE.jsonl; repeatable"
)
OUTPUT_HELP: Final = (
    "window, video:FILE.mp4, masks:DIR or none; repeatable (window where there is a display)"
)

_LATER_EFFECTS: Final = (
    "pixelate",
    "replace",
    "chroma",
    "transparent",
    "dim",
    "spotlight",
    "grayscale",
    "censor",
)
_LATER_SINKS: Final = ("virtualcam", "web")
_LATER_BACKENDS: Final = ("tensorrt", "torch")
_LATER_PRESETS: Final = ("samurai", "dam", "long")
_SINK_NAMES: Final = "window, video:FILE.mp4, masks:DIR or none"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Request:
    """The command line, taken apart but not yet checked."""

    source: str = "0"
    model: str = "nano"
    backend: str = "auto"
    preset: str = "default"
    prompts: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    effect: str = "highlight"
    pace: str | None = None
    metrics: Path | None = None
    config: Path | None = None
    overrides: tuple[str, ...] = ()
    check_config: bool = False
    list_cameras: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What a checked request comes to."""

    settings: Settings
    tracker: TrackerSettings


def run(request: Request, interrupts: Interrupts) -> int:
    """Do what the command line asks for and return the exit code.

    Raises:
        ConfigError, CaptureError, EngineError, SinkError: See run_live.py.
        Interrupted: A signal came before the run was under way, or a second one.
    """
    if request.list_cameras:
        cameras = list_cameras()
        print("\n".join(map(str, cameras)) if cameras else "no camera found")
        return 0
    path = request.config or default_config_path()
    settings = load_settings(path, request.overrides)
    plan = check_request(request, settings)
    if request.check_config:
        print(f"configuration is fine: {path or 'the defaults'}")
        return 0
    configure_logging()
    return _run(request, plan, interrupts)


def check_request(request: Request, settings: Settings) -> Plan:
    """Check what needs neither source nor model.

    Raises:
        ConfigError: All problems at once.
    """
    problems: list[str] = []
    problems += _check_word("--effect", request.effect, EFFECTS, _LATER_EFFECTS)
    if request.pace is not None:
        problems += _check_word("--pace", request.pace, ("live", "all"), ("recorded",))
    problems += _check_word("--backend", request.backend, ("auto", "onnxruntime"), _LATER_BACKENDS)
    problems += _check_word("--preset", request.preset, tuple(PRESETS), _LATER_PRESETS)
    for sink in request.outputs:
        problems += _check_sink(sink)
    for sink in sorted(set(request.outputs)):
        if request.outputs.count(sink) > 1:
            problems.append(f"--output {sink}: given twice; expected once")
    tracker = PRESETS.get(request.preset, PRESETS["default"])
    try:
        tracker = apply_overrides(tracker, settings.tracker)
    except ValueError as error:
        problems.append(str(error))
    if problems:
        raise ConfigError(problems)
    return Plan(settings, tracker)


def _check_word(
    option: str, word: str, known: Sequence[str], later: Sequence[str]
) -> Iterator[str]:
    """Give the problem with one word of the command line, if there is one."""
    expected = f"expected {' | '.join(known)}"
    if word in later:
        yield f"{option} {word}: not in this release; {expected}"
    elif word not in known:
        yield f"{option} {word}: {expected}"


def _check_sink(sink: str) -> Iterator[str]:
    kind, colon, rest = sink.partition(":")
    if kind in _LATER_SINKS:
        yield f"--output {sink}: not in this release; expected {_SINK_NAMES}"
    elif kind in ("window", "none"):
        if colon:
            yield f"--output {sink}: {kind} takes nothing after it; expected {_SINK_NAMES}"
    elif kind in ("video", "masks"):
        if not rest:
            yield f"--output {sink}: no name; expected {_SINK_NAMES}"
    else:
        yield f"--output {sink}: unknown; expected {_SINK_NAMES}"


def choose_outputs(outputs: Sequence[str]) -> tuple[str, ...]:
    """Return the outputs; the window where none is named.

    Raises:
        ConfigError: A window is wanted where there is no display.
    """
    chosen = tuple(outputs) or ("window",)
    if "window" in chosen and not has_display():
        default = "" if outputs else " (the default)"
        raise ConfigError(
            f"--output window{default}: there is no display here; expected --output with one of "
            "video:FILE.mp4, masks:DIR or none"
        )
    return chosen


def choose_pace(pace: str | None, info: SourceInfo, outputs: Sequence[str]) -> PipelinePace:
    """Return the pace: as asked, else every frame of what is recorded and not looked at."""
    if pace is not None:
        return "all" if pace == "all" else "live"
    return "live" if info.live or "window" in outputs else "all"


def has_display() -> bool:
    """Whether a window can be opened, as far as the environment says."""
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def configure_logging() -> None:
    """Log to stderr with the name of the thread; silence what the libraries print themselves."""
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)-7s %(threadName)s: %(message)s",
        datefmt="%H:%M:%S",
    )
    cv2.setLogLevel(0)


def source_options(settings: SourceSettings, windowed: bool) -> SourceOptions:
    """Return the sources' options; a single picture stays on in a window."""
    return SourceOptions(
        fps=settings.fps,
        width=settings.width,
        height=settings.height,
        camera_fps=settings.camera_fps,
        mjpg=settings.mjpg,
        rotate=settings.rotate,
        mirror=settings.mirror,
        repeat_picture=windowed,
        demo_frames=settings.demo_frames,
        demo_size_wh=settings.demo_size,
        retry_first_s=settings.retry_first_s,
        retry_max_s=settings.retry_max_s,
        retry_limit_s=settings.retry_limit_s,
        open_timeout_s=settings.open_timeout_s,
        read_timeout_s=settings.read_timeout_s,
    )
