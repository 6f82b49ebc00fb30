"""Every setting with its default, unit, range and meaning: the one home of each number.

`config.yaml` shows the same keys for people; a test keeps the two equal. Keys named `..._ms`,
`..._s`, `..._px` carry their unit; the rest say it in `FieldSpec.unit`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from live.config_fields import setting

BACKGROUND_EFFECTS = ("blur",)  # effects that hide the surroundings: privacy is the default
EFFECTS = ("highlight", "blur")
FALLBACKS = ("hide_all", "hold", "passthrough")


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """How pictures come in."""

    fps: float = setting(
        30.0,
        "Rate of a folder of pictures, of a single picture and of the demo, which have none.",
        unit="frames/s",
        low=0.1,
        high=1000.0,
    )
    width: int | None = setting(
        None,
        "Camera picture width to ask for; null: the camera's own.",
        unit="px",
        low=16,
        high=16384,
    )
    height: int | None = setting(
        None,
        "Camera picture height to ask for; null: the camera's own.",
        unit="px",
        low=16,
        high=16384,
    )
    camera_fps: float | None = setting(
        None,
        "Camera rate to ask for; null: the camera's own.",
        unit="frames/s",
        low=1.0,
        high=1000.0,
    )
    mjpg: bool = setting(False, "Ask the camera for MJPG, which many need above 640x480.")
    mirror: bool = setting(False, "Mirror every picture left to right, as a selfie view does.")
    rotate: int = setting(
        0, "Turn every picture clockwise: 0, 90, 180 or 270.", unit="degrees", low=0, high=270
    )
    demo_frames: int = setting(
        240, "Length of the demo scene.", unit="frames", low=1, high=1_000_000
    )


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How the networks run."""

    threads: int = setting(
        0, "Threads of the CPU runtime; 0: half the cores.", unit="threads", low=0, high=1024
    )


@dataclass(frozen=True, slots=True)
class OutputSettings:
    """What leaves the program."""

    crf: int = setting(
        20, "Quality of a video file: lower is better and larger.", unit="x264 CRF", low=0, high=51
    )
    on_lost: str | None = setting(
        None,
        "What leaves while no object is visible; null: hide_all for blur, else passthrough.",
        choices=FALLBACKS,
    )
    on_idle: str | None = setting(
        None,
        "What leaves before the first prompt; null: hide_all for blur, else passthrough.",
        choices=FALLBACKS,
    )


@dataclass(frozen=True, slots=True)
class PipelineSettings:
    """The threads between source and sinks."""

    max_mask_age_ms: float = setting(
        500.0,
        "In live pace, a result older than this is no longer shown as live: on_lost applies.",
        unit="ms",
        low=50.0,
        high=60_000.0,
    )
    command_queue: int = setting(
        32,
        "Clicks and removals that may wait; one more is refused.",
        unit="commands",
        low=1,
        high=1024,
    )
    shutdown_s: float = setting(
        2.0, "Time for all threads together to stop.", unit="s", low=0.1, high=60.0
    )


@dataclass(frozen=True, slots=True)
class MetricsSettings:
    """Figures while running."""

    period_s: float = setting(
        5.0,
        "Time between two progress lines on a stream or in a log.",
        unit="s",
        low=0.5,
        high=3600.0,
    )


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings; `live.config.load_settings` makes them from a file and overrides."""

    source: SourceSettings = field(default_factory=SourceSettings)
    engine: EngineSettings = field(default_factory=EngineSettings)
    output: OutputSettings = field(default_factory=OutputSettings)
    pipeline: PipelineSettings = field(default_factory=PipelineSettings)
    metrics: MetricsSettings = field(default_factory=MetricsSettings)
