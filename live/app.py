"""Builds the parts of one run from the checked command line, and runs them."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Final

from engines.model_folder import EngineOptions, load_model
from engines.options import TorchOptions
from engines.sam2_graphs import Sam2Networks
from live.carry import Carrier
from live.compositor import BorderOptions, Compositor, Fallback, FeedPolicy
from live.config import ConfigError, default_config_path
from live.config_schema import SourceSettings
from live.config_suggest import suggest_rules
from live.delay import DelayOptions, plan_delay
from live.doctor import examine
from live.frames import Prompt
from live.independent import IndependentPictures, Promptable, check_independent
from live.inference import StepObserver, Stepper
from live.interrupts import Interrupted, Interrupts
from live.metrics import Metrics, MetricsWriter
from live.observer import ObservedSink, ObservedSource, StepFigures
from live.pipeline import Wiring, run_pipeline
from live.profile_saver import ProfileSaver
from live.profiles import ProfileError, describe_profiles
from live.progress import Progress
from live.prompts import parse_prompts
from live.recording.options import check_recording_options
from live.recording.recorder import Recorder, prepare_folder
from live.recording.replay import Recording
from live.recording.session import Session, make_recorder
from live.recording.sources import RecordedSource
from live.remote_controls import RemoteControls, read_bindings
from live.render import RenderLoop, RenderOptions
from live.request import (
    Plan,
    Request,
    build_effect,
    check_smooth,
    choose_outputs,
    choose_pace,
    is_watched,
    plan_request,
)
from live.sinks import SinkOptions, open_sinks
from live.sinks.base import SinkError
from live.sinks.video import VideoOptions
from live.sinks.virtualcam import VirtualCameraOptions
from live.sinks.window import WindowOptions
from live.sources import SourceInfo, SourceOptions, VideoSource, list_cameras, open_source
from live.suggest_run import Suggester, SuggestionsFile, to_suggest_for
from live.summary import format_summary
from live.tracker import Tracker
from live.tracker_prompts import merge_prompts

VERSION: Final = "0.1.0"

log = logging.getLogger(__name__)


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
    if request.list_profiles:
        print("\n".join(describe_profiles()))
        return 0
    check_recording_options(request)
    recording = None if request.replay is None else Recording.open(request.replay)
    if recording is not None:
        request = recording.request(request)
    path = request.config or (default_config_path() if recording is None else None)
    plan = plan_request(request, path)
    if request.doctor:
        report = examine(request, plan)
        print(report.table())
        return report.exit_code
    if request.check_config:
        print(f"configuration is fine: {path or 'the defaults'}")
        return 0
    default = ("none",) if request.suggest is not None else ()
    outputs = choose_outputs(request.outputs or default)
    with logging_to_stderr():
        return _open_and_run(request, plan, outputs, interrupts, recording)


class _Run:
    """One run with its figures.

    Attributes:
        wiring: Slots and events of the stages.
        metrics: Figures.
        remotes: `ctl` and hotkeys, running while the stages do.
    """

    def __init__(
        self, wiring: Wiring, metrics: Metrics, progress: Progress, writer: MetricsWriter | None
    ) -> None:
        self.wiring = wiring
        self.metrics = metrics
        self.remotes: AbstractContextManager[object] = nullcontext()
        self._progress = progress
        self._writer = writer
        self._recorder: Recorder | None = None
        metrics.watch_drops("frames", lambda: wiring.frames.dropped)
        metrics.watch_drops("results", lambda: wiring.results.dropped)
        display = wiring.display
        if display is not None:
            metrics.watch_drops("display", lambda: display.dropped)
            metrics.watch_drops("shown", lambda: wiring.shown.dropped)

    @property
    def records(self) -> bool:
        """Whether the run is being recorded."""
        return self._recorder is not None

    def record(self, recorder: Recorder, source: VideoSource) -> VideoSource:
        """Have this run recorded; return the source to run on."""
        self._recorder = recorder
        self.wiring.controls.watch(recorder.command)
        if not recorder.keeps_pictures:
            return source
        self.metrics.watch_drops("recording", lambda: recorder.dropped)
        return RecordedSource(source, recorder, self.wiring.pace == "all", self.wiring.stop)

    def execute(
        self,
        source: VideoSource,
        tracker: Stepper,
        renderer: RenderLoop,
        interrupts: Interrupts,
        shutdown_s: float,
    ) -> int:
        """Run to the end, whatever it is, print the summary, and return the exit code.

        Raises:
            BaseException: What stopped the run, unless it was the first signal.
        """
        observe: StepObserver = StepFigures(
            self.metrics, self.wiring.frames, self._writer, self._progress
        )
        if self._recorder is not None:
            observe = self._recorder.observing(observe)
        ending = "stopped by an error"
        try:
            with (
                interrupts.graceful(self.wiring.stop),
                self._progress.log_above_bar(),
                self.remotes,
                self._recorder or nullcontext(),
            ):
                ended = run_pipeline(
                    self.wiring,
                    ObservedSource(source, self.metrics),
                    tracker,
                    renderer,
                    observe,
                    shutdown_s,
                )
            ending = "end of the source" if ended else "quit"
        except Interrupted:
            ending = "forced to end"
            raise
        finally:
            if interrupts.received is not None:
                ending = f"interrupted by {signal.Signals(interrupts.received).name}"
            self.metrics.count("broken frames", self.wiring.monitor.stats.broken_frames)
            self._progress.close()  # before the summary, so that the bar stays above it
            _print_summary(format_summary(self.metrics.snapshot(), ending))
            self.close()
        return 0 if interrupts.received is None else 128 + interrupts.received

    def close(self) -> None:
        """Finish progress and metrics. Idempotent."""
        self._progress.close()
        if self._writer is not None:
            self._writer.close()


def _print_summary(text: str) -> None:
    """Print, unless nobody reads: a closed pipe must not hide how the run ended."""
    try:
        print(text, flush=True)
    except OSError as error:
        log.warning("the summary could not be printed: %s", error)
        # else the interpreter fails on the same pipe when it flushes stdout at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def logging_to_stderr() -> Iterator[None]:
    """Log to stderr with the name of the thread."""
    handler = logging.StreamHandler()
    handler.setFormatter(
        logging.Formatter("%(asctime)s %(levelname)s %(threadName)s: %(message)s", "%H:%M:%S")
    )
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


def source_options(settings: SourceSettings, watched: bool) -> SourceOptions:
    """Return the sources' options; a single picture stays on where somebody watches."""
    return SourceOptions(
        fps=settings.fps,
        width=settings.width,
        height=settings.height,
        camera_fps=settings.camera_fps,
        mjpg=settings.mjpg,
        rotate=settings.rotate,
        mirror=settings.mirror,
        repeat_picture=watched,
        demo_frames=settings.demo_frames,
        demo_size_wh=settings.demo_size,
        retry_first_s=settings.retry_first_s,
        retry_max_s=settings.retry_max_s,
        retry_limit_s=settings.retry_limit_s,
        open_timeout_s=settings.open_timeout_s,
        read_timeout_s=settings.read_timeout_s,
    )


def load_networks(request: Request, plan: Plan) -> Sam2Networks:
    """Load the model.

    Raises:
        EngineError: It is missing or damaged, or cannot run.
    """
    engine = plan.settings.engine
    chosen = engine.torch
    options = EngineOptions(
        providers=engine.providers,
        threads=engine.threads,
        torch=TorchOptions(chosen.device, chosen.precision, chosen.compile),
    )
    return load_model(request.model, request.backend, options)


def open_tracker(request: Request, plan: Plan) -> Tracker:
    """Load the model and return a tracker that owns it.

    Raises:
        ConfigError: The settings do not fit the model.
        EngineError: The model is missing or damaged, or cannot run.
    """
    networks = load_networks(request, plan)
    try:
        return Tracker(networks, plan.tracker)
    except ValueError as error:
        networks.close()
        raise ConfigError(f"tracker.bank.{error}") from error


def open_suggester(
    request: Request, plan: Plan, path: Path, stopped: Callable[[], bool]
) -> Suggester:
    """Load the model and open the file for proposals.

    Raises:
        EngineError: The model is missing or damaged, or cannot run.
        SinkError: The file cannot be written.
    """
    networks = load_networks(request, plan)
    try:
        report = SuggestionsFile(path, request.source, networks.manifest.name)
    except BaseException:
        networks.close()
        raise
    rules = suggest_rules(plan.settings.suggest, networks.manifest.name)
    return Suggester(networks, rules, report, stopped)


def open_stepper(
    request: Request, plan: Plan, prompts: Sequence[Prompt], stopped: Callable[[], bool]
) -> Stepper:
    """Return the tracker with its prompts, or what stands in its place.

    Raises:
        ConfigError: The settings do not fit the model, or a prompt cannot be right.
        EngineError: The model is missing or damaged, or cannot run.
        SinkError: The file for proposals cannot be written.
    """
    if request.suggest is not None:
        return open_suggester(request, plan, request.suggest, stopped)
    tracker: Promptable = open_tracker(request, plan)
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
    plan: Plan, outputs: Sequence[str], info: SourceInfo, run: _Run, profiles: ProfileSaver
) -> RenderLoop:
    """Open the outputs and return the render loop that owns them.

    Raises:
        ConfigError: An output is the source itself.
        SinkError: One cannot be opened.
    """
    settings = plan.settings
    options = SinkOptions(
        mode="newest" if run.wiring.pace == "live" else "blocking",
        video=VideoOptions(settings.output.crf, settings.output.preset),
        window=WindowOptions(
            max_width=settings.window.max_width,
            max_height=settings.window.max_height,
            object_names=settings.window.object_names or (),
        ),
        virtual_camera=VirtualCameraOptions(
            size_wh=settings.output.virtual_camera_size,
            fps=settings.output.virtual_camera_fps,
            required=settings.output.require_virtual_camera,
            alpha=any(
                effect is not None and effect.name == "transparent"
                for effect in (plan.effect, *plan.own_effects.values())
            ),
        ),
    )
    opened = open_sinks(outputs, options, info, lambda sink: ObservedSink(sink, run.metrics))
    age_ms = settings.pipeline.max_mask_age_ms
    policy = FeedPolicy(
        _fallback(settings.output.on_lost), _fallback(settings.output.on_idle), age_ms
    )
    borders = BorderOptions(settings.effect.smoothing, settings.effect.refine)
    compositor = Compositor(plan.effect, policy, plan.own_effects, borders)
    delay = _delay(plan, run.wiring.pace, info)
    render = RenderOptions(info.live, age_ms, delay, profiles, run.records)
    build = partial(build_effect, settings=settings.effect)
    return RenderLoop(run.wiring, compositor, opened, render, run.metrics, build)


def _delay(plan: Plan, pace: str, info: SourceInfo) -> DelayOptions | None:
    """Return how long pictures wait; only in live pace does a camera's sound go beside them."""
    setting = plan.settings.output.delay_ms
    if setting != 0 and pace == "all":
        log.warning(
            "output.delay_ms: %s has no effect in --pace all; expected --pace live", setting
        )
        return None
    return plan_delay(setting, info)


def _fallback(word: str | None) -> Fallback | None:
    return None if word is None else Fallback(word)


def _open_frames(
    request: Request, options: SourceOptions, recording: Recording | None
) -> VideoSource:
    """Open the source, or the frames of a recording."""
    if recording is None:
        return open_source(request.source, options)
    recording.check_model(request.model, VERSION)
    return recording.open_source(request.source, options, request.pace == "recorded")


def _open_and_run(
    request: Request,
    plan: Plan,
    outputs: Sequence[str],
    interrupts: Interrupts,
    recording: Recording | None,
) -> int:
    """Open everything, cheapest failure first, run, and return the exit code."""
    settings = plan.settings
    if request.record is not None:
        prepare_folder(request.record)
    with ExitStack() as opened:  # closes what was opened, unless the pipeline took it over
        options = source_options(settings.source, is_watched(outputs))
        source = _open_frames(request, options, recording)
        opened.callback(source.close)
        if request.suggest is not None:
            source = to_suggest_for(source)
        info = source.info
        if settings.source.independent:
            check_independent(info)
        log.info("source %s: %s, %dx%d at %.4g fps", info.name, info.kind, *info.size_wh, info.fps)
        pace, carrier = choose_pace(request.pace, info, outputs), None
        if request.smooth:
            check_smooth(pace, request.source)
            carrier = Carrier(settings.pipeline.max_mask_age_ms)
        prompts: Sequence[Prompt] = (
            parse_prompts(request.prompts, info.size_wh, info.frame_count)
            if recording is None
            else recording.prompts
        )
        bindings = read_bindings(settings, info)
        wiring = Wiring.build(pace, settings.pipeline.command_queue, carrier)
        stepper = open_stepper(request, plan, prompts, wiring.stop.is_set)
        opened.callback(stepper.close)
        run = _Run(
            wiring,
            Metrics(),
            Progress(info.frame_count, settings.metrics.period_s),
            MetricsWriter(request.metrics) if request.metrics is not None else None,
        )
        opened.callback(run.close)
        if recording is not None:
            wiring.controls.script = recording.script(request)
        if request.record is not None:
            session = Session(request, settings, info, prompts, wiring.pace, VERSION)
            source = run.record(make_recorder(session, request.record), source)
        profiles = ProfileSaver(request.source, request.model, request.preset, request.save_profile)
        renderer = open_outputs(plan, outputs, info, run, profiles)
        run.remotes = RemoteControls(wiring.controls, settings, info, bindings)
        opened.pop_all()
    code = run.execute(source, stepper, renderer, interrupts, settings.pipeline.shutdown_s)
    _finish_profile(profiles)
    return code


def _finish_profile(profiles: ProfileSaver) -> None:
    """Save the profile that was asked for at the end, if one was.

    Raises:
        SinkError: It cannot be saved.
    """
    try:
        said = profiles.finish()
    except ProfileError as error:
        raise SinkError(f"--save-profile: {error}") from error
    if said is not None:
        log.info("%s", said)
