"""Every setting with its default, unit, range and meaning: the one home of each number.

`config.yaml` shows the same keys for people; a test keeps the two equal. Keys named `..._ms`,
`..._s`, `..._px` carry their unit; the rest say it in `FieldSpec.unit`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace

from samcam.engines import TORCH_PRECISIONS
from samcam.live.config.effects import EffectSettings
from samcam.live.config.fields import setting
from samcam.live.config.tracker import TrackerOverrides
from samcam.live.sources import MAX_MEGAPIXELS
from samcam.live.tracker import SuggestRules, model_rules

FALLBACKS = ("hide_all", "hold", "passthrough")
DEFAULT_KEYS = {
    "<ctrl>+<alt>+h": "hide",
    "<ctrl>+<alt>+e": "effect next",
    "<ctrl>+<alt>+u": "undo",
    "<ctrl>+<alt>+r": "reset",
    "<ctrl>+<alt>+c": "commit 1",
}


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """How pictures come in."""

    fps: float = setting(
        30.0,
        "Rate of pictures, folders and the demo, which have no times of their own.",
        unit="frames/s",
        low=0.1,
        high=1000.0,
    )
    width: int | None = setting(
        None, "Picture width to ask a camera for; null: its own.", unit="px", low=16, high=16384
    )
    height: int | None = setting(
        None, "Picture height to ask a camera for; null: its own.", unit="px", low=16, high=16384
    )
    camera_fps: float | None = setting(
        None, "Rate to ask a camera for; null: its own.", unit="frames/s", low=1.0, high=1000.0
    )
    mjpg: bool = setting(False, "Ask a camera for MJPG, which many need for high sizes and rates.")
    rotate: int = setting(
        0, "Turn every picture clockwise.", unit="degrees", choices=(0, 90, 180, 270)
    )
    mirror: bool = setting(False, "Flip every picture left to right, after rotating.")
    demo_frames: int = setting(
        240, "Length of the demo scene; 0: endless.", unit="frames", low=0, high=1_000_000
    )
    demo_size: tuple[int, int] = setting(
        (854, 480), "Width and height of the demo scene.", unit="px", low=16, high=8192
    )
    max_megapixels: float = setting(
        MAX_MEGAPIXELS,
        "Larger pictures are refused before they are decoded: sources, mask=, image=, backgrounds.",
        unit="million px",
        low=0.01,
        high=4000.0,
    )
    independent: bool = setting(
        False, "Pictures of a folder have nothing to do with each other: forget all before each."
    )
    retry_first_s: float = setting(
        0.5,
        "Wait before the first try to get a lost camera or URL back.",
        unit="s",
        low=0.05,
        high=60.0,
    )
    retry_max_s: float = setting(
        10.0, "The wait doubles with every try, up to this.", unit="s", low=0.05, high=3600.0
    )
    retry_limit_s: float | None = setting(
        None,
        "Give up, with exit code 3, after this long without a picture; null: never.",
        unit="s",
        low=0.1,
        high=86_400.0,
    )
    open_timeout_s: float = setting(
        10.0, "How long a URL may take to answer.", unit="s", low=0.1, high=600.0
    )
    read_timeout_s: float = setting(
        5.0, "How long a URL may be silent before it counts as lost.", unit="s", low=0.1, high=600.0
    )


@dataclass(frozen=True, slots=True)
class TorchSettings:
    """The torch backend (`--backend torch`)."""

    device: str = setting("auto", "auto: a GPU where torch sees one; else cpu, cuda or cuda:N.")
    precision: str = setting(
        "float32",
        "float32 is exact; bfloat16 is faster on a GPU and rounds (autocast).",
        choices=TORCH_PRECISIONS,
    )
    compile: bool = setting(
        False, "Compile the tracking step; the start then takes minutes. On a GPU: a CUDA graph."
    )


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How the networks run."""

    threads: int = setting(
        0, "Threads of one network on the CPU; 0: half the cores.", unit="threads", low=0, high=256
    )
    providers: tuple[str, ...] = setting(
        ("CPUExecutionProvider",),
        "ONNX Runtime execution providers, best first; each must be there, nothing falls back.",
    )
    torch: TorchSettings = field(default_factory=TorchSettings)


@dataclass(frozen=True, slots=True)
class OutputSettings:
    """What leaves the program."""

    crf: int = setting(
        20, "Quality of a video file: lower is better and larger.", unit="x264 CRF", low=0, high=51
    )
    preset: str = setting(
        "superfast",
        "Speed of the video encoder: a slower one makes a smaller file.",
        choices=("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow"),
    )
    sound: bool = setting(True, "Keep the sound of a source file in a video file.")
    on_lost: str | None = setting(
        None,
        "What leaves while no object is visible (with censor: not every one); null: hide_all for "
        "effects on the background and censor, else passthrough.",
        choices=FALLBACKS,
    )
    on_idle: str | None = setting(
        None,
        "What leaves before the first prompt; null: what null means for on_lost.",
        choices=FALLBACKS,
    )
    require_virtual_camera: bool = setting(
        False, "Fail, with exit code 5, where virtualcam is asked for and there is none."
    )
    virtual_camera_size: tuple[int, int] | None = setting(
        None,
        "Width and height of virtualcam, odd ones rounded up; null: the source's.",
        unit="px",
        low=16,
        high=8192,
    )
    virtual_camera_fps: float | None = setting(
        None,
        "Constant rate of virtualcam; null: the source's, at most 60.",
        unit="frames/s",
        low=1.0,
        high=240.0,
    )
    delay_ms: float | str = setting(
        0.0,
        "When a picture leaves to window and virtualcam, counted from its grab; 0: at once; auto: "
        "measured in the first seconds with an object, then constant.",
        unit="ms",
        low=0.0,
        high=2000.0,
        choices=("auto",),
    )


@dataclass(frozen=True, slots=True)
class SuggestSettings:
    """Objects suggested without a prompt (`--suggest`, key `a`); null takes what fits the model."""

    points_per_side: int | None = setting(
        None, "Points along each side of the grid that is tried.", unit="points", low=1, high=64
    )
    predicted_iou: float | None = setting(
        None, "Least predicted IoU of a proposal.", low=0.0, high=1.0
    )
    stability: float | None = setting(
        None, "Least overlap of a mask cut a little higher with itself cut a little lower.",
        low=0.0, high=1.0,
    )  # fmt: skip
    stability_delta: float | None = setting(
        None, "How much higher and lower that is.", unit="logit", low=0.01, high=16.0
    )
    min_area: float | None = setting(
        None, "Least area of a proposal.", unit="share of the picture", low=0.0, high=1.0
    )
    max_area: float | None = setting(
        None, "Largest area of a proposal.", unit="share of the picture", low=0.0, high=1.0
    )
    max_overlap: float | None = setting(
        None, "Of two masks whose IoU is above this, the worse is dropped.", low=0.0, high=1.0
    )
    max_proposals: int | None = setting(
        None, "Most proposals of one picture; the best stay.", low=1, high=254
    )


@dataclass(frozen=True, slots=True)
class WindowSettings:
    """The preview window; it can be resized by hand."""

    max_width: int = setting(1280, "Widest it opens.", unit="px", low=160, high=16384)
    max_height: int = setting(720, "Highest it opens.", unit="px", low=90, high=16384)
    object_names: tuple[str, ...] | None = setting(
        None, "Names of the objects 1, 2, ... in its status line; null: object 1, object 2, ..."
    )


@dataclass(frozen=True, slots=True)
class PipelineSettings:
    """The threads between source and sinks."""

    max_mask_age_ms: float = setting(
        500.0,
        "A picture or a held mask older than this counts as stale: no signal, or hidden.",
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
class ControlSettings:
    """`run_live.py ctl`."""

    socket: bool = setting(True, "Take commands from `run_live.py ctl` of the same user.")


@dataclass(frozen=True, slots=True)
class HotkeySettings:
    """Keys that work while another window has the focus."""

    enabled: str = setting(
        "auto",
        "auto: on where they can work, off on macOS; true: on macOS too.",
        choices=("auto", "true", "false"),
    )
    keys: Mapping[str, str] = setting(
        DEFAULT_KEYS, "Keys and the `ctl` command that each sends; replaces the whole list."
    )


@dataclass(frozen=True, slots=True)
class RecordSettings:
    """How --record keeps the pictures of cameras and URLs."""

    lossless: bool = setting(
        False, "Keep every pixel as it was: a replay's masks are then the same, files are larger."
    )
    crf: int = setting(
        16,
        "Quality of lossy pictures: lower is better and larger.",
        unit="x264 CRF",
        low=0,
        high=51,
    )


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings; `live.config.load.load_settings` makes them from a file and overrides."""

    source: SourceSettings = field(default_factory=SourceSettings)
    engine: EngineSettings = field(default_factory=EngineSettings)
    tracker: TrackerOverrides = field(default_factory=TrackerOverrides)
    effect: EffectSettings = field(default_factory=EffectSettings)
    output: OutputSettings = field(default_factory=OutputSettings)
    suggest: SuggestSettings = field(default_factory=SuggestSettings)
    window: WindowSettings = field(default_factory=WindowSettings)
    pipeline: PipelineSettings = field(default_factory=PipelineSettings)
    metrics: MetricsSettings = field(default_factory=MetricsSettings)
    control: ControlSettings = field(default_factory=ControlSettings)
    hotkeys: HotkeySettings = field(default_factory=HotkeySettings)
    record: RecordSettings = field(default_factory=RecordSettings)


def suggest_rules(settings: SuggestSettings, model: str) -> SuggestRules:
    """Return the rules for a model: as set, else the model's own.

    Args:
        settings: From the configuration.
        model: Name in the model's manifest; all but `nano` count as SAM 2.
    """
    given = {item.name: getattr(settings, item.name) for item in fields(settings)}
    chosen = {name: value for name, value in given.items() if value is not None}
    return replace(model_rules(model), **chosen)
