"""The command line in typed form, and the checks that need neither source nor model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from live.config import ConfigError
from live.config_schema import EffectSettings, Settings
from live.config_tracker import apply_overrides
from live.effects import EFFECT_NAMES, BlurOptions, Effect, HighlightOptions
from live.pipeline import PipelinePace
from live.presets import DEFAULT_PRESET, PRESETS, TrackerSettings
from live.sinks import parse_sinks
from live.sinks.base import SinkError
from live.sinks.display import check_display
from live.sources.base import SourceInfo

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
_LATER_BACKENDS: Final = ("tensorrt", "torch")
_LATER_PRESETS: Final = ("samurai", "dam", "long")


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
    effect: Effect


def check_request(request: Request, settings: Settings) -> Plan:
    """Check what needs neither source nor model.

    Raises:
        ConfigError: All problems at once.
    """
    problems: list[str] = []
    problems += _check_word("--effect", request.effect, EFFECT_NAMES, _LATER_EFFECTS)
    if request.pace is not None:
        problems += _check_word("--pace", request.pace, ("live", "all"), ("recorded",))
    problems += _check_word("--backend", request.backend, ("auto", "onnxruntime"), _LATER_BACKENDS)
    problems += _check_word("--preset", request.preset, tuple(PRESETS), _LATER_PRESETS)
    try:
        parse_sinks(request.outputs)
    except ConfigError as error:
        problems += error.problems
    tracker = PRESETS.get(request.preset, PRESETS[DEFAULT_PRESET])
    try:
        tracker = apply_overrides(tracker, settings.tracker)
    except ValueError as error:
        problems.append(str(error))
    if problems:
        raise ConfigError(problems)
    return Plan(settings, tracker, build_effect(request.effect, settings.effect))


def build_effect(name: str, settings: EffectSettings) -> Effect:
    """Return the effect of this name as the settings want it to look."""
    return Effect(
        name,
        HighlightOptions(
            tint=settings.highlight.tint,
            contour_px=settings.highlight.contour_px,
            label=settings.highlight.label,
        ),
        BlurOptions(sigma_px=settings.blur.sigma_px, feather_px=settings.blur.feather_px),
    )


def _check_word(
    option: str, word: str, known: Sequence[str], later: Sequence[str]
) -> Iterator[str]:
    """Give the problem with one word of the command line, if there is one."""
    expected = f"expected {' | '.join(known)}"
    if word in later:
        yield f"{option} {word}: not in this release; {expected}"
    elif word not in known:
        yield f"{option} {word}: {expected}"


def choose_outputs(outputs: Sequence[str]) -> tuple[str, ...]:
    """Return the outputs; the window where none is named.

    Raises:
        ConfigError: None is named and no window can be opened.
        SinkError: A window is named and cannot be opened.
    """
    if outputs:
        if "window" in outputs:
            check_display()
        return tuple(outputs)
    try:
        check_display()
    except SinkError as error:
        raise ConfigError(
            f"no --output is given, and the default does not work: {error}"
        ) from error
    return ("window",)


def choose_pace(pace: str | None, info: SourceInfo, outputs: Sequence[str]) -> PipelinePace:
    """Return the pace: as asked, else every frame of what is recorded and not looked at."""
    if pace is not None:
        return "all" if pace == "all" else "live"
    return "live" if info.live or "window" in outputs else "all"
