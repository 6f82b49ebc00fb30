"""The plan of a run: settings, rules and effects, checked before source and model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from samcam.engines import BACKENDS
from samcam.live.config import (
    EffectSettings,
    ReplaceSettings,
    Request,
    Settings,
    apply_overrides,
    flat,
    read_settings,
)
from samcam.live.effects import (
    EFFECT_NAMES,
    NO_EFFECT,
    BackgroundVideo,
    EdgeOptions,
    Effect,
    ReplaceOptions,
    default_edge,
)
from samcam.live.errors import CaptureError, ConfigError, SinkError
from samcam.live.frames import U8
from samcam.live.loop import PipelinePace
from samcam.live.profiles import name_problems
from samcam.live.remote import parse_bindings
from samcam.live.sinks import output_files, parse_sinks, same_place, suggestions_problem
from samcam.live.sources import MAX_MEGAPIXELS, SourceInfo
from samcam.live.sources.pictures import PictureError, read_picture
from samcam.live.tracker import DEFAULT_PRESET, GUIDES, PRESETS, TrackerSettings
from samcam.live.window.desktop import check_display
from samcam.system.files import (
    NoHomeError,
    expand_user,
    is_file,
    lenient_path,
    open_regular,
    parse_json,
)

_LONGEST_ROW: Final = 1 << 16
_ROW_START: Final = b'{"frame": '
SMOOTH_NEEDS_LIVE: Final = (
    "with --pace all every frame is inferred, so there is nothing to predict; expected --pace live"
)


@dataclass(frozen=True, slots=True)
class Plan:
    """A checked request: its settings and effects."""

    settings: Settings
    tracker: TrackerSettings
    effect: Effect
    own_effects: Mapping[int, Effect | None] = field(default_factory=dict)


def plan_request(request: Request, path: Path | None) -> Plan:
    """Read the settings and check all that needs neither source nor model.

    Args:
        request: The command line.
        path: The configuration file; None for the defaults.

    Raises:
        ConfigError: All problems at once, those of the settings first.
    """
    recorded = {f"--replay {request.replay}, recorded": request.recorded}
    reading = read_settings(path, request.overrides, {**recorded, **request.options})
    settings = reading.settings
    problems = _word_problems(request)
    guide = flat(settings.tracker)["guide"]
    if request.guide in GUIDES and request.guide != guide:
        problems.append(
            f"--guide {request.guide}: with --set tracker.guide={guide}; expected one of the two"
        )
    tracker = request.rules or PRESETS.get(request.preset, PRESETS[DEFAULT_PRESET])
    try:
        if request.rules is not None or request.preset in PRESETS:
            tracker = apply_overrides(tracker, settings.tracker, reading.origins)
    except ConfigError as error:
        problems += reading.in_order(error.problems)
    problems += _metrics_problems(request, path)
    problems += _background_problems(request, settings.effect.replace)
    if request.smooth and settings.source.independent:
        problems.append("--smooth: with source.independent no picture follows from another")
    may_open = not request.foreign_hotkeys
    problems += parse_bindings(settings.hotkeys.keys, opens=may_open)[1]
    problems += _suggest_problems(request)
    if request.save_profile is not None:
        problems += name_problems(request.save_profile)
    effect, own = Effect(), {}
    if request.effect in EFFECT_NAMES:
        try:
            limit = settings.source.max_megapixels
            effect = build_effect(request.effect, settings.effect, limit)
            own = build_own_effects(settings.effect, limit)
        except ConfigError as error:
            problems += error.problems
        problems += _alpha_problems(request, (effect, *own.values()))
    if reading.problems or problems:
        raise ConfigError([*reading.problems, *map(reading.placed, problems)])
    return Plan(settings, tracker, effect, own)


def has_transparency(effects: Iterable[Effect | None]) -> bool:
    """Whether one of a run's effects leaves a part of the picture transparent."""
    return any(effect is not None and effect.backdrop_rgb is not None for effect in effects)


def _alpha_problems(request: Request, effects: Sequence[Effect | None]) -> Iterator[str]:
    """Give the outputs that cannot store the transparency of the effects."""
    if has_transparency(effects):
        for text in request.outputs:
            if text.startswith("video:"):
                yield (
                    f"--output {text} with the effect transparent: an mp4 has no transparency; "
                    "expected another output, or --effect chroma for a key colour"
                )


def _background_problems(request: Request, chosen: ReplaceSettings) -> Iterator[str]:
    """Give the outputs that would be written over the video that stands in the background."""
    for text in request.outputs if chosen.video is not None else ():
        kind, _, name = text.partition(":")
        if kind == "video" and same_place(lenient_path(name), lenient_path(chosen.video or "")):
            yield f"--output {text}: this is effect.replace.video; expected another place"


def _word_problems(request: Request) -> list[str]:
    problems: list[str] = []
    problems += _check_word(request.origin("effect"), request.effect, EFFECT_NAMES)
    if request.pace is not None:
        problems += _check_word("--pace", request.pace, ("live", "all", "recorded"))
    if request.smooth and request.pace in ("all", "recorded"):
        problems.append(f"--smooth: {SMOOTH_NEEDS_LIVE}")
    problems += _check_word("--backend", request.backend, BACKENDS)
    problems += _check_word(request.origin("preset"), request.preset, tuple(PRESETS))
    try:
        parse_sinks(request.outputs)
    except ConfigError as error:
        problems += error.problems
    return problems


def _metrics_problems(request: Request, config: Path | None) -> list[str]:
    """Refuse a metrics file that this run uses otherwise, or that holds something else."""
    target = request.metrics
    if target is None:
        return []
    taken = [(f"--source {request.source}", lenient_path(request.source))]
    if config is not None:
        taken.append(("the configuration", config))
    for text in request.prompts:
        if text.startswith("@"):
            taken.append((f"--prompt {text}", lenient_path(text[1:])))
    for text in request.outputs:
        taken += [(f"--output {text}", path) for path in output_files(text)]
    for what, path in taken:
        if same_place(target, path):
            return [f"--metrics {target}: this is {what}; expected a file of its own"]
    if is_file(target) and not _is_metrics_file(target):
        return [f"--metrics {target}: holds something else; expected a new file or metrics rows"]
    return []


def _is_metrics_file(path: Path) -> bool:
    """Whether a file is empty, starts with a metrics row, or is half a row."""
    try:
        with open_regular(path) as file:
            line = file.readline(_LONGEST_ROW)
        row = parse_json(line) if line.strip() else None
    except OSError:
        return False
    except ValueError:
        return line.startswith(_ROW_START) and not line.endswith(b"\n")
    return row is None or (isinstance(row, dict) and {"frame", "step", "stage_ms"} <= row.keys())


def _suggest_problems(request: Request) -> Iterator[str]:
    """Give what is wrong with `--suggest`, and a line for each option that it excludes."""
    if request.suggest is None:
        return
    if problem := suggestions_problem(request.suggest):
        yield problem
    if request.loop:
        yield "--loop: with --suggest the run would never end"
    for text in request.outputs:
        if text.partition(":")[0] not in ("masks", "video", "none"):
            yield f"--output {text}: not with --suggest; expected masks:DIR, video:FILE.mp4 or none"
    for option, given in (("--profile", (request.profile,)), ("--prompt", request.prompts[:1])):
        for word in filter(None, given):
            yield f"{option} {word}: not with --suggest; expected one of the two"
    nothing_tracked = {"--smooth": request.smooth, "--save-profile": request.save_profile}
    for option, wanted in nothing_tracked.items():
        if wanted:
            yield f"{option}: not with --suggest: nothing is tracked there"


def build_effect(
    name: str, settings: EffectSettings, max_megapixels: float = MAX_MEGAPIXELS
) -> Effect:
    """Return the effect of this name as the settings want it to look.

    Args:
        name: One of `EFFECT_NAMES`.
        settings: How it looks.
        max_megapixels: Larger pictures and videos for `replace` are refused.

    Raises:
        ConfigError: The picture or video for `replace` cannot be read.
    """
    feather_px = settings.feather_px
    if feather_px is None:
        feather_px = default_edge(name, settings.invert).feather_px
    edge = EdgeOptions(feather_px, settings.grow_px, settings.invert, settings.decontaminate)
    if name == "replace":
        chosen = settings.replace
        picture = (
            None if chosen.picture is None else _read_background(chosen.picture, max_megapixels)
        )
        video = None if chosen.video is None else _open_background(chosen, max_megapixels)
        return Effect(name, ReplaceOptions(chosen.color, picture, video), edge)
    return Effect(name, getattr(settings, name), edge)


def build_own_effects(
    settings: EffectSettings, max_megapixels: float = MAX_MEGAPIXELS
) -> dict[int, Effect | None]:
    """Return the objects' own effects by id; None: the object is left as it is.

    Raises:
        ConfigError: See `build_effect`.
    """
    return {
        object_id: None if name == NO_EFFECT else build_effect(name, settings, max_megapixels)
        for object_id, name in (settings.per_object or {}).items()
    }


def _open_background(chosen: ReplaceSettings, max_megapixels: float) -> BackgroundVideo:
    name = chosen.video or ""
    if chosen.picture is not None:
        raise ConfigError(
            f"effect.replace.video: {name} with effect.replace.picture: {chosen.picture}: "
            "expected one of them"
        )
    try:
        return BackgroundVideo(expand_user(name), name, max_megapixels)
    except NoHomeError as error:
        raise ConfigError(f"effect.replace.video: {error}") from error
    except CaptureError as error:
        raise ConfigError(f"effect.replace.video: {error}") from error


def _read_background(name: str, max_megapixels: float) -> U8:
    where = f"effect.replace.picture: {name}"
    try:
        return read_picture(expand_user(name), where, max_megapixels)
    except NoHomeError as error:
        raise ConfigError(f"effect.replace.picture: {error}") from error
    except PictureError as error:
        raise ConfigError(f"{where}: {error}") from error
    except OSError as error:
        raise ConfigError(
            f"{where}: cannot be read: {error.strerror or error}; expected a picture file"
        ) from error


def _check_word(option: str, word: str, known: Sequence[str]) -> Iterator[str]:
    """Give the problem with one word of the command line, if there is one."""
    if word not in known:
        yield f"{option} {word}: expected {' | '.join(known)}"


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


def is_watched(outputs: Sequence[str]) -> bool:
    """Whether somebody watches the run as it goes, in the window or as a camera."""
    return any(text.partition(":")[0] in ("window", "virtualcam") for text in outputs)


def waits_for_click(request: Request, info: SourceInfo, outputs: Sequence[str]) -> bool:
    """Whether a file waits on its first picture, so that there is time to click in the window.

    A single picture stays on anyway, the demo is there to be seen moving; a finished recording
    at a URL is a file.
    """
    return (
        info.kind in ("file", "folder", "url")
        and not info.live
        and "window" in outputs
        and not request.prompts
        and request.saved is None
        and request.pace != "all"
    )


def check_loop(info: SourceInfo) -> None:
    """Refuse `--loop` where there is no end to start again at.

    Raises:
        ConfigError: The source is a camera or a stream.
    """
    if info.live:
        raise ConfigError(
            f"--loop: source {info.name} ({info.kind}) has no end to start again at; expected a "
            "file, a folder of pictures or the demo"
        )


def choose_pace(pace: str | None, info: SourceInfo, outputs: Sequence[str]) -> PipelinePace:
    """Return the pace: as asked, else every frame of what is recorded and not watched.

    `recorded` is `all` here: the replay's source gives the processed frames only.
    """
    if pace is not None:
        return "live" if pace == "live" else "all"
    return "live" if info.live or is_watched(outputs) else "all"


def check_smooth(pace: PipelinePace, source: str) -> None:
    """Refuse `--smooth` where the pace that was chosen makes it meaningless.

    Raises:
        ConfigError: Every frame is inferred.
    """
    if pace == "all":
        raise ConfigError(f"--smooth: {SMOOTH_NEEDS_LIVE} (--source {source} takes all by default)")
