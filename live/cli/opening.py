"""Makes the parts of a run from the checked command line: source options, tracker, outputs."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial

from samcam.engines import Sam2Networks, load_model
from samcam.live.cli.plan import Plan, build_effect, has_transparency
from samcam.live.cli.run import Run
from samcam.live.config import Request, settings_for_model, suggest_rules
from samcam.live.errors import ConfigError
from samcam.live.feed import (
    BorderOptions,
    Compositor,
    DelayOptions,
    Fallback,
    FeedPolicy,
    plan_delay,
)
from samcam.live.frames import Prompt
from samcam.live.loop import (
    IndependentPictures,
    ObservedSink,
    Promptable,
    RenderLoop,
    RenderOptions,
    Stepper,
)
from samcam.live.profiles import ProfileSaver
from samcam.live.sinks import Outputs, SinkOptions, VirtualCameraOptions, open_sinks
from samcam.live.sources import SourceInfo, SourceOptions, SourceSettings
from samcam.live.tracker import Tracker, merge_prompts

log = logging.getLogger(__name__)


def source_options(settings: SourceSettings, watched: bool, loop: bool = False) -> SourceOptions:
    """Return the source options; a single picture is repeated while somebody watches."""
    return SourceOptions(**asdict(settings), repeat_picture=watched, loop=loop)


def virtual_camera_options(plan: Plan) -> VirtualCameraOptions:
    """Return the options of the virtual camera, which sends what the effects leave transparent."""
    output = plan.settings.output
    return VirtualCameraOptions(
        output.virtual_camera_size,
        output.virtual_camera_fps,
        output.require_virtual_camera,
        has_transparency((plan.effect, *plan.own_effects.values())),
    )


def load_networks(request: Request, plan: Plan) -> Sam2Networks:
    """Load the model.

    Raises:
        EngineError: It is missing or damaged, or cannot run.
    """
    return load_model(request.model, request.backend, plan.settings.engine)


def open_tracker(request: Request, plan: Plan, shows_memory: bool = False) -> Tracker:
    """Load the model and return a tracker that owns it; a window may show its memory.

    Raises:
        ConfigError: The settings do not fit the model.
        EngineError: The model is missing or damaged, or cannot run.
    """
    networks = load_networks(request, plan)
    try:
        name = networks.manifest.name
        rules = suggest_rules(plan.settings.suggest, name)
        settings = settings_for_model(plan.tracker, plan.settings.tracker, name)
        return Tracker(networks, settings, rules, shows_memory)
    except ValueError as error:
        networks.close()
        raise ConfigError(f"tracker.bank.{error}") from error


def open_stepper(
    request: Request, plan: Plan, prompts: Sequence[Prompt], shows_memory: bool
) -> Stepper:
    """Return the tracker with its prompts; a window may show its memory.

    Raises:
        ConfigError: The settings do not fit the model, or a prompt cannot be right.
        EngineError: The model is missing or damaged, or cannot run.
    """
    tracker: Promptable = open_tracker(request, plan, shows_memory)
    if plan.settings.source.independent:
        tracker = IndependentPictures(tracker)
    try:
        add_prompts(tracker, prompts)
    except BaseException:
        tracker.close()
        raise
    return tracker


def add_prompts(tracker: Promptable, prompts: Sequence[Prompt]) -> None:
    """Give the command line's prompts to the tracker, those of a frame and object as one.

    Raises:
        ConfigError: All that it refuses, such as one that only says where the object is not.
    """
    problems = []
    together: dict[tuple[int, int], list[Prompt]] = {}
    for prompt in prompts:
        together.setdefault((prompt.frame_index or 0, prompt.object_id), []).append(prompt)
    for _, group in sorted(together.items()):
        try:
            tracker.prompt(merge_prompts(group))
        except ValueError as error:
            problems.append(f"--prompt: {error}")
    if problems:
        raise ConfigError(problems)


def open_outputs(
    plan: Plan, outputs: Sequence[str], info: SourceInfo, run: Run, delayed: int = 0
) -> Outputs:
    """Open the outputs, observed; `delayed` pictures may wait on purpose before they get them.

    Raises:
        ConfigError: An output is the source itself.
        SinkError: One cannot be opened.
    """
    settings = plan.settings
    options = SinkOptions(
        mode="newest" if run.wiring.pace == "live" else "blocking",
        video=settings.output,
        window=settings.window,
        virtual_camera=virtual_camera_options(plan),
        watchdog=run.wiring.watchdog,
    )
    opened = open_sinks(
        outputs, options, info, lambda sink: ObservedSink(sink, run.metrics, run.wiring.watchdog)
    )
    run.expect([worker.name for worker in opened.workers] or ["window"], delayed)
    return opened


def open_renderer(
    plan: Plan, outputs: Sequence[str], info: SourceInfo, run: Run, profiles: ProfileSaver
) -> RenderLoop:
    """Open the outputs and return the render loop that owns them.

    Raises:
        ConfigError: As `open_outputs`; or too many pictures would be delayed.
        SinkError: As `open_outputs`.
    """
    settings = plan.settings
    delay = _delay(plan, run.wiring.pace, info)
    opened = open_outputs(plan, outputs, info, run, 0 if delay is None else delay.places)
    age_ms = settings.pipeline.max_mask_age_ms
    render = RenderOptions(info.live, age_ms, delay, profiles, run.records, info.size_wh, info.kind)
    limit = settings.source.max_megapixels
    build = partial(build_effect, settings=settings.effect, max_megapixels=limit)
    compositor = make_compositor(plan, not settings.source.independent)
    return RenderLoop(run.wiring, compositor, opened, render, run.metrics, build)


def make_compositor(plan: Plan, follows: bool) -> Compositor:
    """Return the compositor; independent pictures share no masks."""
    settings = plan.settings
    policy = FeedPolicy(
        _fallback(settings.output.on_lost),
        _fallback(settings.output.on_idle),
        settings.pipeline.max_mask_age_ms if follows else 0.0,
    )
    smoothing = settings.effect.smoothing if follows else 0.0
    borders = BorderOptions(smoothing, settings.effect.refine)
    return Compositor(plan.effect, policy, plan.own_effects, borders)


def _delay(plan: Plan, pace: str, info: SourceInfo) -> DelayOptions | None:
    """Return the output delay; only live pace has one, to match a camera's sound."""
    setting = plan.settings.output.delay_ms
    if setting != 0 and pace == "all":
        log.warning(
            "output.delay_ms: %s has no effect in --pace all; expected --pace live", setting
        )
        return None
    return plan_delay(setting, info)


def _fallback(word: str | None) -> Fallback | None:
    return None if word is None else Fallback(word)
