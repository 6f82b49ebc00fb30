"""Opens everything that one run needs, the cheapest failure first, and runs it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Final

from samcam.engines import EngineError, find_model
from samcam.live.cli.doctor import examine
from samcam.live.cli.opening import (
    load_networks,
    make_compositor,
    open_outputs,
    open_renderer,
    open_stepper,
    source_options,
)
from samcam.live.cli.plan import (
    Plan,
    check_loop,
    check_smooth,
    choose_outputs,
    choose_pace,
    is_watched,
    plan_request,
    waits_for_click,
)
from samcam.live.cli.recording_options import check_recording_options
from samcam.live.cli.run import Run
from samcam.live.config import Request, find_config, suggest_rules
from samcam.live.control import Controls
from samcam.live.errors import CaptureError, ConfigError, SinkError
from samcam.live.frames import Frame, FrameResult, Prompt
from samcam.live.loop import (
    ObservedSource,
    StepObserver,
    Wiring,
    check_independent,
    pictures_to_suggest_for,
    run_pipeline,
    suggest_objects,
)
from samcam.live.metrics import COMPOSE, Metrics, MetricsWriter, Progress
from samcam.live.motion import Carrier
from samcam.live.profiles import ProfileError, ProfileSaver, describe_profiles, looked_for
from samcam.live.prompts import PromptFiles, parse_prompts
from samcam.live.recording import Recording, Session, make_recorder, prepare_folder
from samcam.live.remote import RemoteControls, read_bindings
from samcam.live.sinks import SuggestionsFile, running
from samcam.live.sources import (
    SourceInfo,
    SourceOptions,
    VideoSource,
    broken_frames,
    list_cameras,
    open_source,
)
from samcam.live.tracker import Guides, MaskGenerator
from samcam.system import (
    TO_RUN_MIB,
    VERSION,
    Interrupts,
    complain,
    hide_in_url,
    hide_secrets,
    limit_problem,
    say,
)

_OUTPUT_CODE: Final = 5

log = logging.getLogger(__name__)


def run(request: Request, interrupts: Interrupts) -> int:
    """Do what the command line asks for and return the exit code.

    Raises:
        ConfigError, CaptureError, EngineError, SinkError: See samcam/__main__.py.
        Interrupted: A signal came before the run was under way, or a second one.
    """
    if request.list_cameras:
        cameras = list_cameras()
        return _say("\n".join(map(str, cameras)) if cameras else "no camera found")
    if request.list_profiles:
        return _say("\n".join(describe_profiles()))
    check_recording_options(request)
    recording = None if request.replay is None else Recording.open(request.replay)
    if recording is not None:
        request = recording.request(request)
    path = _config_path(request, recording)
    plan = plan_request(request, path)
    if request.doctor:
        report = examine(request, plan)
        return _say(report.table()) or report.exit_code
    if request.check_config:
        Guides(plan.tracker.guide)  # its files
        return _say(f"configuration is fine: {path or 'the defaults'}")
    default = ("none",) if request.suggest is not None else ()
    outputs = choose_outputs(request.outputs or default)
    problem = limit_problem(TO_RUN_MIB)
    if problem is not None:
        raise EngineError(problem)
    with logging_to_stderr():
        if request.suggest is not None:
            return _open_and_suggest(request, request.suggest, plan, outputs, interrupts)
        return _open_and_track(request, plan, outputs, interrupts, recording)


def _config_path(request: Request, recording: Recording | None) -> Path | None:
    """Return the configuration file, and say which one is left aside; a recording has its own."""
    if request.config is not None or recording is not None:
        return request.config
    found = find_config()
    if found.left_aside:
        complain(found.left_aside)
    return found.path


def _say(text: str) -> int:
    """Print lines and return the exit code."""
    return 0 if say(text) else _OUTPUT_CODE


class _Formatter(logging.Formatter):
    """A log line, or several with a traceback, without anybody's password."""

    def format(self, record: logging.LogRecord) -> str:
        return hide_secrets(super().format(record))


@contextmanager
def logging_to_stderr() -> Iterator[None]:
    """Log to stderr with the name of the thread."""
    handler = logging.StreamHandler()
    handler.setFormatter(
        _Formatter("%(asctime)s %(levelname)s %(threadName)s: %(message)s", "%H:%M:%S")
    )
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


def _open_frames(
    request: Request, options: SourceOptions, recording: Recording | None
) -> VideoSource:
    """Open the source, or the frames of a recording; errors name where it was set."""
    if recording is None:
        try:
            if request.is_profiles("model"):
                find_model(request.model)
            return open_source(request.source, options)
        except EngineError as error:
            raise EngineError(f"{request.origin('model')}: {error}") from error
        except CaptureError as error:
            if not request.is_profiles("source"):
                raise
            raise CaptureError(f"{request.origin('source')}: {error}") from error
    recording.check_model(request.model, VERSION)
    exact, chosen = request.pace == "recorded", "--source" in request.given
    return recording.open_source(request.source, options, exact, chosen)


def _read_prompts(request: Request, info: SourceInfo, max_megapixels: float) -> Sequence[Prompt]:
    """Read the prompts of profile and command line.

    Raises:
        ConfigError: All problems at once; those of the profile's objects name its file.
    """
    prompts: list[Prompt] = []
    problems: list[str] = []
    files = PromptFiles(max_megapixels=max_megapixels)
    try:
        if request.saved is not None:
            prompts += request.saved.read_prompts(request.profile or "", max_megapixels)
    except ConfigError as error:
        problems += error.problems
    try:
        prompts += parse_prompts(request.prompts, info.size_wh, info.frame_count, files)
    except ConfigError as error:
        problems += error.problems
    if problems:
        raise ConfigError(problems)
    return prompts


def _open_and_track(
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
        options = source_options(settings.source, is_watched(outputs), request.loop)
        source = _open_frames(request, options, recording)
        opened.callback(source.close)
        info = source.info
        if settings.source.independent:
            check_independent(info)
        if request.loop:
            check_loop(info)
        _log_source(info)
        pace, carrier = choose_pace(request.pace, info, outputs), None
        if request.smooth:
            check_smooth(pace, request.source)
            carrier = Carrier(settings.pipeline.max_mask_age_ms)
        limit = settings.source.max_megapixels
        prompts: Sequence[Prompt] = (
            _read_prompts(request, info, limit) if recording is None else recording.prompts
        )
        bindings = read_bindings(settings, info)
        wiring = Wiring.build(pace, settings.pipeline.command_queue, carrier)
        stepper = open_stepper(request, plan, prompts, "window" in outputs)
        opened.callback(stepper.close)
        run = _figures_of(wiring, request, info.frame_count, settings.metrics.period_s)
        opened.callback(run.close)
        if recording is not None:
            wiring.controls.script = recording.script(request)
        elif waits_for_click(request, info, outputs):
            wiring.controls.play.hold()
            log.info("waiting on the first picture: click an object, or press space to play")
        if request.record is not None:
            session = Session(request, settings, info, prompts, wiring.pace, VERSION)
            recorder = make_recorder(session, request.record, wiring.watchdog)
            source = run.record(recorder, source)
        profiles = ProfileSaver(request.source, request.model, request.preset, request.save_profile)
        renderer = open_renderer(plan, outputs, info, run, profiles)
        run.remotes = RemoteControls(wiring.controls, settings, info, bindings)
        opened.pop_all()
    _say_what_is_looked_for(request, settings.window.object_names or (), wiring.controls)
    observed = ObservedSource(source, run.metrics, wiring.watchdog)
    shutdown_s = settings.pipeline.shutdown_s
    code = run.execute(
        lambda observe: run_pipeline(wiring, observed, stepper, renderer, observe, shutdown_s),
        interrupts,
    )
    _finish_profile(profiles)
    return code


def _say_what_is_looked_for(request: Request, names: Sequence[str], controls: Controls) -> None:
    if request.profile is not None and request.saved is not None:
        greeting = looked_for(request.profile, request.saved.object_ids, names)
        log.info("%s", greeting)
        controls.say(greeting)


def _open_and_suggest(
    request: Request, target: Path, plan: Plan, outputs: Sequence[str], interrupts: Interrupts
) -> int:
    """Propose objects for the pictures of a source, write them to `target`, and report."""
    settings = plan.settings
    with ExitStack() as opened:
        source = _open_frames(request, source_options(settings.source, watched=False), None)
        opened.callback(source.close)
        info = pictures_to_suggest_for(source.info)
        _log_source(info)
        wiring = Wiring.build("all", settings.pipeline.command_queue)
        networks = load_networks(request, plan)
        opened.callback(networks.close)
        name = networks.manifest.name
        rules = suggest_rules(settings.suggest, name)
        report = opened.enter_context(
            closing(SuggestionsFile(target, hide_in_url(request.source), name))
        )
        run = _figures_of(wiring, request, info.frame_count, settings.metrics.period_s)
        opened.callback(run.close)
        compositor = make_compositor(plan, follows=False)
        opened.callback(compositor.close)
        workers = open_outputs(plan, outputs, info, run).workers

        def generate(frame: Frame) -> MaskGenerator:
            features = networks.encode_image(frame.image_bgr)
            return MaskGenerator(networks, features, frame.size_wh, rules)

        def stages(observe: StepObserver) -> bool:
            def take(result: FrameResult, age_ms: float) -> None:
                observe(result, age_ms)
                with run.metrics.timing(COMPOSE):
                    composite = compositor.compose(result)
                for worker in workers:
                    worker.put(composite)

            searching = wiring.watchdog.watching("suggestions: search", "the search has taken")
            with running(workers, wiring.stop, settings.pipeline.shutdown_s), searching:
                read = ObservedSource(source, run.metrics, wiring.watchdog)
                try:
                    return suggest_objects(read, generate, report, wiring.stop.is_set, take)
                finally:
                    run.metrics.count("broken frames", broken_frames(source))

        return run.execute(stages, interrupts)


def _log_source(info: SourceInfo) -> None:
    log.info("source %s: %s, %dx%d at %.4g fps", info.name, info.kind, *info.size_wh, info.fps)


def _figures_of(wiring: Wiring, request: Request, frame_count: int | None, period_s: float) -> Run:
    """Return the run with its figures, progress and metrics file.

    Raises:
        SinkError: The metrics file cannot be written.
    """
    progress = Progress(frame_count, period_s, lambda: wiring.controls.play.held_s)
    metrics = request.metrics
    writer = MetricsWriter(metrics, wiring.watchdog) if metrics is not None else None
    return Run(wiring, Metrics(), progress, writer)


def _finish_profile(profiles: ProfileSaver) -> None:
    """Save the profile that was asked for at the end, if one was.

    Raises:
        SinkError: It cannot be saved.
    """
    try:
        message = profiles.finish()
    except ProfileError as error:
        raise SinkError(f"--save-profile: {error}") from error
    if message is not None:
        log.info("%s", message)
