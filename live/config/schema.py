"""Every setting with its default, unit, range and meaning: the one home of each number.

Sections that other rooms use stand there. `python -m tools.settings_pages` writes config.yaml and
the reference page from here. Keys named `..._ms`, `..._s`, `..._px` carry their
unit; the rest say it in their `Setting`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Annotated, Any, Final

from samcam.engines import EngineOptions
from samcam.live.config.changes import SuggestSettings, TrackerOverrides
from samcam.live.config.effects import EffectSettings
from samcam.live.feed import Fallback
from samcam.live.sinks import VideoOptions
from samcam.live.sources import SourceSettings
from samcam.live.window import WindowOptions
from samcam.system import Section, Setting

# Old names of keys and sections, with the new ones. Recordings are read with the new names; a user
# who writes an old name gets an error with the new one.
RENAMED: Final[Mapping[str, str]] = {"tracker.window": "tracker.crop"}
FALLBACKS: Final = tuple(map(str, Fallback))
DEFAULT_KEYS = {
    "<ctrl>+<alt>+h": "hide",
    "<ctrl>+<alt>+e": "effect next",
    "<ctrl>+<alt>+u": "undo",
    "<ctrl>+<alt>+r": "reset",
    "<ctrl>+<alt>+c": "commit 1",
}


@dataclass(frozen=True, slots=True)
class OutputSettings(VideoOptions):
    """What is sent to the outputs."""

    on_lost: Annotated[
        str | None,
        Setting(
            "What is sent while no object is visible (with censor: not every one); null: hide_all "
            "for effects on the background and censor, else passthrough.",
            choices=FALLBACKS,
        ),
    ] = None
    on_idle: Annotated[
        str | None,
        Setting(
            "What is sent before the first prompt; null: what null means for on_lost.",
            choices=FALLBACKS,
        ),
    ] = None
    require_virtual_camera: Annotated[
        bool, Setting("Fail, with exit code 5, where virtualcam is asked for and there is none.")
    ] = False
    virtual_camera_size: Annotated[
        tuple[int, int] | None,
        Setting(
            "Width and height of virtualcam, odd ones rounded up; null: the source's.",
            "px",
            16,
            8192,
        ),
    ] = None
    virtual_camera_fps: Annotated[
        float | None,
        Setting("Constant rate of virtualcam; null: the source's, at most 60.", "frames/s", 1, 240),
    ] = None
    delay_ms: Annotated[
        float | str,
        Setting(
            "When a picture is sent to window and virtualcam, counted from its grab; 0: at once; "
            "auto: measured in the first seconds with an object, then constant.",
            "ms",
            0,
            2000,
            choices=("auto",),
        ),
    ] = 0.0


@dataclass(frozen=True, slots=True)
class PipelineSettings(Section):
    """The threads between source and outputs."""

    max_mask_age_ms: Annotated[
        float,
        Setting(
            "A picture or a held mask older than this counts as stale: no signal, or hidden.",
            "ms",
            50,
            60000,
        ),
    ] = 500.0
    command_queue: Annotated[
        int, Setting("Clicks and removals that may wait; one more is refused.", "commands", 1, 1024)
    ] = 32
    shutdown_s: Annotated[
        float, Setting("Time for all threads together to stop.", "s", 0.1, 60)
    ] = 2.0


@dataclass(frozen=True, slots=True)
class MetricsSettings(Section):
    """Figures while running."""

    period_s: Annotated[
        float, Setting("Time between two progress lines on a stream or in a log.", "s", 0.5, 3600)
    ] = 5.0


@dataclass(frozen=True, slots=True)
class ControlSettings(Section):
    """Commands from other programs of yours."""

    socket: Annotated[bool, Setting("Take commands from `run_live.py ctl` of the same user.")] = (
        True
    )


@dataclass(frozen=True, slots=True)
class HotkeySettings(Section):
    """Keys that work while another window has the focus."""

    enabled: Annotated[
        str,
        Setting(
            "auto: on where they can work, off on macOS; true: on macOS too.",
            choices=("auto", "true", "false"),
        ),
    ] = "auto"
    keys: Annotated[
        Mapping[str, str],
        Setting("Keys and the `ctl` command that each sends; replaces the whole list."),
    ] = field(default_factory=lambda: dict(DEFAULT_KEYS))


@dataclass(frozen=True, slots=True)
class RecordSettings(Section):
    """How --record keeps the pictures of cameras and URLs."""

    lossless: Annotated[
        bool,
        Setting(
            "Keep every pixel as it was: a replay's masks are then the same, files are larger."
        ),
    ] = False
    crf: Annotated[
        int, Setting("Quality of lossy pictures: lower is better and larger.", "x264 CRF", 0, 51)
    ] = 16


@dataclass(frozen=True, slots=True)
class Settings(Section):
    """All settings; `live.config.load.load_settings` makes them from a file and overrides."""

    source: SourceSettings = field(default_factory=SourceSettings)
    engine: EngineOptions = field(default_factory=EngineOptions)
    tracker: TrackerOverrides = field(default_factory=TrackerOverrides)
    effect: EffectSettings = field(default_factory=EffectSettings)
    output: OutputSettings = OutputSettings()
    suggest: SuggestSettings = field(default_factory=SuggestSettings)
    window: WindowOptions = field(default_factory=WindowOptions)
    pipeline: PipelineSettings = PipelineSettings()
    metrics: MetricsSettings = MetricsSettings()
    control: ControlSettings = ControlSettings()
    hotkeys: HotkeySettings = field(default_factory=HotkeySettings)
    record: RecordSettings = RecordSettings()


def flat(section: Section, prefix: str = "") -> dict[str, Any]:
    """Return every dotted key of a section with its value, lists for tuples."""
    values: dict[str, Any] = {}
    for item in fields(section):  # type: ignore[arg-type]  # every section is a dataclass
        key, value = f"{prefix}{item.name}", getattr(section, item.name)
        if isinstance(value, Section):
            values |= flat(value, f"{key}.")
        else:
            values[key] = list(value) if isinstance(value, tuple) else value
    return values


@cache
def known_keys() -> Mapping[str, Any]:
    """Return every key path with its default, in the order of the sections."""
    return flat(Settings())


@cache
def sections() -> frozenset[str]:
    """Return the paths of all sections."""
    parts = [key.split(".") for key in known_keys()]
    return frozenset(".".join(names[:n]) for names in parts for n in range(1, len(names)))


def new_name(key: str) -> str:
    """Return the present name of a key that may be an old one."""
    for old, new in RENAMED.items():
        if key == old or key.startswith(f"{old}."):
            return f"{new}{key.removeprefix(old)}"
    return key
