"""`python -m bench.loop`: what the loop itself costs, with networks that cost nothing.

A made-up camera delivers pictures on time; everything after it is the product's own: capture and
inference threads, slots, tracker, compositor, render loop, sink thread. Best of three runs, all
are shown; figures to look at, never a test.
"""

from __future__ import annotations

import argparse
import math
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.reports.environment import describe_environment
from bench.reports.report import Report, Section, Table, exit_code, publish, report_parser, table
from samcam.engines import fake_networks
from samcam.live.config import EffectSettings
from samcam.live.effects import Effect
from samcam.live.feed import BorderOptions, Compositor
from samcam.live.frames import NS_PER_MS, NS_PER_S, U8, Composite, Frame, FrameResult, Prompt
from samcam.live.loop import RenderLoop, RenderOptions, Wiring, run_pipeline
from samcam.live.metrics import Metrics
from samcam.live.sinks import Outputs, SinkWorker
from samcam.live.sources import SourceInfo
from samcam.live.sources.demo import PERIOD, DemoScene
from samcam.live.tracker import PRESETS, Tracker
from samcam.system import prepare_streams

SIZE_WH = (1280, 720)
PICTURES = 8  # pre-rendered and shown in turn, so that the camera itself costs nothing
WARM_UP_S = 1.0
COMMAND_QUEUE = 8
SHUTDOWN_S = 5.0
BLOCK = "loop"


@dataclass(frozen=True, slots=True)
class Case:
    """One way to run the loop.

    Attributes:
        fps: Of the camera.
        delay_s: Time that the stub networks take per picture.
        tracked: Whether there is an object, drawn with `highlight`.
    """

    name: str
    fps: int
    delay_s: float
    tracked: bool


@dataclass(frozen=True, slots=True)
class Run:
    """Figures of one run in milliseconds, warm-up left out.

    Attributes:
        latency_p50, latency_p99: Grab to sink.
        age_mean: Mean age of a frame when inference starts on it.
        results_per_s: Pictures that reached the sink, per second.
    """

    latency_p50: float
    latency_p99: float
    age_mean: float
    results_per_s: float


CASES = (
    Case("nothing tracked", 60, 0.0, False),
    Case("one object, highlight", 60, 0.0, True),
    Case("one object, highlight, 50 ms networks", 30, 0.050, True),
)


class TimedCamera:
    """A camera that has a new picture every 1/fps seconds, read or not."""

    def __init__(self, pictures: Sequence[U8], fps: int, frames: int) -> None:
        self._pictures = pictures
        self._fps = fps
        self._frames = frames
        self._next = 0
        self._start_ns: int | None = None
        self._closed = threading.Event()
        self._info = SourceInfo("bench", "camera", SIZE_WH, fps, frames, live=True)

    @property
    def info(self) -> SourceInfo:
        return self._info

    def read(self) -> Frame | None:
        """Wait for the next picture; like a camera, skip those that nobody fetched."""
        now_ns = time.perf_counter_ns()
        if self._start_ns is None:
            self._start_ns = now_ns
        passed = int((now_ns - self._start_ns) * self._fps // NS_PER_S)
        index = max(self._next, passed)
        if index >= self._frames:
            return None
        self._next = index + 1
        due_ns = self._start_ns + index * NS_PER_S // self._fps
        if self._closed.wait(max(0.0, (due_ns - now_ns) / NS_PER_S)):
            return None
        picture = self._pictures[index % len(self._pictures)]
        return Frame(index, index * NS_PER_S // self._fps, time.perf_counter_ns(), picture)

    def close(self) -> None:
        self._closed.set()


class LatencySink:
    """Notes how long each picture was on its way; one value per frame of the run."""

    def __init__(self) -> None:
        self.latencies_ms: list[tuple[int, float]] = []

    @property
    def name(self) -> str:
        return "bench"

    def put(self, composite: Composite) -> None:
        frame = composite.result.frame
        passed_ns = time.perf_counter_ns() - frame.captured_ns
        self.latencies_ms.append((frame.time_ns, passed_ns / NS_PER_MS))

    def close(self) -> None:
        """Nothing to release."""


class AgeObserver:
    """Notes the age of every frame when inference starts."""

    def __init__(self) -> None:
        self.ages_ms: list[tuple[int, float]] = []

    def __call__(self, result: FrameResult, source_age_ms: float) -> None:
        self.ages_ms.append((result.frame.time_ns, source_age_ms))


def _after_warm_up(values: Sequence[tuple[int, float]]) -> list[float]:
    """The values after the warm-up; a machine too slow for any gives one that is no number."""
    kept = [value for time_ns, value in values if time_ns >= WARM_UP_S * NS_PER_S]
    return kept or [math.nan]


def run_once(case: Case, pictures: Sequence[U8], seconds: float) -> Run:
    """Run the pipeline for `seconds` after the warm-up and return its figures."""
    wiring = Wiring.build("live", COMMAND_QUEUE)
    camera = TimedCamera(pictures, case.fps, round((WARM_UP_S + seconds) * case.fps))
    tracker = Tracker(fake_networks(delay_s=case.delay_s), PRESETS["default"])
    if case.tracked:
        tracker.prompt(Prompt.click(SIZE_WH[0] / 2, SIZE_WH[1] / 2))
    sink, observer = LatencySink(), AgeObserver()
    renderer = RenderLoop(
        wiring,
        Compositor(Effect("highlight"), borders=BorderOptions(EffectSettings().smoothing)),
        Outputs((SinkWorker(sink, "newest", "sink-bench"),)),
        RenderOptions(live_source=True),
        Metrics(),
    )
    run_pipeline(wiring, camera, tracker, renderer, observer, SHUTDOWN_S)
    latencies = _after_warm_up(sink.latencies_ms)
    p50, p99 = np.percentile(latencies, (50, 99)).tolist()
    age = float(np.mean(_after_warm_up(observer.ages_ms)))
    return Run(p50, p99, age, len(latencies) / seconds)


def measure(case: Case, runs: int, seconds: float) -> list[Run]:
    """Run a case several times, best first: by source age with slow networks, else by p99."""
    scene = DemoScene(SIZE_WH)
    pictures = [scene.render(i * PERIOD // PICTURES)[0] for i in range(PICTURES)]
    done = [run_once(case, pictures, seconds) for _ in range(runs)]
    return sorted(done, key=lambda run: run.age_mean if case.delay_s else run.latency_p99)


def latency_table(measured: Sequence[tuple[Case, list[Run]]]) -> Table:
    return table(
        ("1280x720, 60 fps, free networks", "p50 ms (aim 2)", "p99 ms (aim 4)", "p50 / p99 of all"),
        [
            [
                case.name,
                f"{runs[0].latency_p50:.2f}",
                f"{runs[0].latency_p99:.2f}",
                ", ".join(f"{run.latency_p50:.2f} / {run.latency_p99:.2f}" for run in runs),
            ]
            for case, runs in measured
        ],
    )


def age_table(measured: Sequence[tuple[Case, list[Run]]]) -> Table:
    return table(
        ("1280x720, 30 fps", "mean source age ms (aim 20)", "all", "results/s"),
        [
            [
                case.name,
                f"{runs[0].age_mean:.1f}",
                ", ".join(f"{run.age_mean:.1f}" for run in runs),
                f"{runs[0].results_per_s:.1f}",
            ]
            for case, runs in measured
        ],
    )


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = report_parser(BLOCK, __doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0, help="length of one run")
    options = parser.parse_args(arguments)
    if options.runs < 1 or options.seconds < 0.5:
        parser.error("expected --runs of at least 1 and --seconds of at least 0.5")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_arguments(arguments)
    measured = [(case, measure(case, options.runs, options.seconds)) for case in CASES]
    tables = (
        latency_table([pair for pair in measured if not pair[0].delay_s]),
        age_table([pair for pair in measured if pair[0].delay_s]),
    )
    report = Report(describe_environment().lines(), [Section(made) for made in tables])
    return exit_code(lambda: publish(report, options.markdown, BLOCK), {})


if __name__ == "__main__":
    prepare_streams()
    sys.exit(main())
