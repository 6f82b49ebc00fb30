"""`python -m bench.speed`: how long each network takes, and how fast whole runs are.

Networks: the typed calls with everything they do on the host, on the demo's pictures, with the
memory of a long run. Whole runs: `run_live.py` as a process, one object, on an 854x480 video,
every frame, overlay and mp4 writing included; the rate is that of its own summary.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from bench.reports.environment import REPOSITORY, describe_environment, model_line
from bench.reports.report import (
    NO_MODEL,
    Report,
    Section,
    Table,
    add_output,
    exit_code,
    publish,
    report_parser,
    table,
    write_block,
)
from samcam.engines import (
    BACKENDS,
    EngineError,
    EngineOptions,
    Sam2Networks,
    Stamp,
    load_model,
)
from samcam.live.sources.demo import GEAR_ID, DemoScene, demo_clicks
from samcam.system import prepare_streams

SIZE_WH = (854, 480)
FPS = 30
WARM_UP = 10
AIM_FPS = 20.0
RUN_TIMEOUT_S = 600.0
BLOCK = "speed"
_RATE = re.compile(r"inference\s+([\d.]+)\s+fps")


class SpeedError(RuntimeError):
    """A run of the program failed or said nothing of its rate."""


@dataclass(frozen=True, slots=True)
class Times:
    """Spread of one call in milliseconds."""

    name: str
    threads: int
    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True)
class RunRate:
    """Frames per second of whole runs, slowest first."""

    threads: int
    fps: tuple[float, ...]

    @property
    def median(self) -> float:
        return float(np.median(self.fps))


def time_call(
    name: str,
    threads: int,
    calls: int,
    call: Callable[[], object],
    stamp: Callable[[], Stamp],
) -> Times:
    """Warm a call up, then time it `calls` times, by the device's own clock if `stamp` is of one.

    Each call starts on an idle device: what the host does before counts, as for a single object.
    """
    for _ in range(WARM_UP):
        call()
    took = np.zeros(calls)
    for i in range(calls):
        begun = stamp()
        call()
        ended = stamp()
        while (passed_ms := ended.ms_since(begun)) is None:
            time.sleep(0)
        took[i] = passed_ms
    p50, p95, p99 = np.percentile(took, (50, 95, 99)).tolist()
    return Times(name, threads, p50, p95, p99)


def time_networks(networks: Sam2Networks, threads: int, calls: int) -> list[Times]:
    """Time each network as a long run uses it, and one whole tracking step of one object."""
    manifest = networks.manifest
    image, ids = DemoScene(SIZE_WH).render(0)
    features = networks.encode_image(image)
    points, labels = np.zeros((0, 2), np.float32), np.zeros(0, np.int32)
    output = networks.decode(features.pix_feat_no_mem, features, points, labels)
    logits, pointer = output.low_res_masks[0], output.obj_ptrs[0]
    memory = networks.encode_memory(features, logits, True, 10.0)
    # A long run with one prompt attends to that frame, the recent ones and all their pointers.
    recent = manifest.num_recent
    memories, offsets = [memory] * (1 + recent), [0, *range(1, recent + 1)]
    pointers = 1 + manifest.max_recent_ptrs

    def attend() -> object:
        return networks.attend(
            features, memories, offsets, [pointer] * pointers, list(range(pointers))
        )

    with_memory = networks.attend(
        features, memories, offsets, [pointer] * pointers, list(range(pointers))
    ).copy()

    def decode() -> object:
        return networks.decode(with_memory, features, points, labels)

    def remember() -> object:
        return networks.encode_memory(features, logits, False, 10.0)

    def step() -> object:
        networks.encode_image(image)
        attend()
        decode()
        return remember()

    gear = ids == GEAR_ID
    timed: dict[str, Callable[[], object]] = {
        "image_encoder": lambda: networks.encode_image(image),
        "memory_attention": attend,
        "mask_decoder": decode,
        "memory_encoder": remember,
        "mask_prompt": lambda: networks.encode_mask_prompt(gear),
        "one tracked frame (all but mask_prompt)": step,
    }
    return [time_call(name, threads, calls, call, networks.stamp) for name, call in timed.items()]


def write_demo_video(path: Path, frames: int) -> None:
    """Write the demo scene as an H.264 video, as a camera's recording would be."""
    scene = DemoScene(SIZE_WH)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "18"})
        stream.width, stream.height, stream.pix_fmt = *SIZE_WH, "yuv420p"
        stream.time_base = Fraction(1, FPS)
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(scene.render(index)[0], format="bgr24")
            frame.pts, frame.time_base = index, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def run_program(video: Path, out: Path, model: str, threads: int, backend: str = "auto") -> float:
    """Run the whole program once; return its inference rate in frames per second.

    Raises:
        SpeedError: It failed, or its summary names no rate.
    """
    x, y = demo_clicks(SIZE_WH)[GEAR_ID]
    command = [
        *(sys.executable, str(REPOSITORY / "run_live.py"), "--source", str(video)),
        *("--model", model, "--prompt", f"point={x},{y}", "--output", f"video:{out}"),
        *("--pace", "all", "--set", f"engine.threads={threads}", "--backend", backend),
    ]
    try:
        done = subprocess.run(
            command, cwd=REPOSITORY, capture_output=True, text=True, timeout=RUN_TIMEOUT_S
        )
    except subprocess.TimeoutExpired as error:
        raise SpeedError(f"run_live.py: not finished after {RUN_TIMEOUT_S:.0f} s") from error
    said = done.stdout + done.stderr
    rate = _RATE.search(said)
    if done.returncode or rate is None:
        last = said.strip().splitlines()[-1:] or ["no output"]
        raise SpeedError(f"run_live.py ended with code {done.returncode}: {last[0]}")
    return float(rate[1])


def run_rates(
    model: str, threads: Sequence[int], frames: int, runs: int, backend: str = "auto"
) -> list[RunRate]:
    """Run the program `runs` times for each number of threads."""
    with tempfile.TemporaryDirectory(prefix="samcam-speed-") as folder:
        video = Path(folder) / "demo.mp4"
        write_demo_video(video, frames)
        return [
            RunRate(
                count,
                tuple(
                    sorted(
                        run_program(video, Path(folder) / "out.mp4", model, count, backend)
                        for _ in range(runs)
                    )
                ),
            )
            for count in threads
        ]


def network_table(times: Sequence[Times]) -> Table:
    return table(
        ("network", "threads", "p50 ms", "p95 ms", "p99 ms"),
        [[t.name, str(t.threads), f"{t.p50:.1f}", f"{t.p95:.1f}", f"{t.p99:.1f}"] for t in times],
    )


def rate_table(rates: Sequence[RunRate], frames: int) -> Table:
    return table(
        (f"whole run, {SIZE_WH[0]}x{SIZE_WH[1]}, {frames} frames", "threads", "fps", "all runs"),
        [
            [
                f"one object, overlay, mp4 (aim {AIM_FPS:.0f})",
                str(rate.threads),
                f"{rate.median:.1f}",
                " ".join(f"{fps:.1f}" for fps in rate.fps),
            ]
            for rate in rates
        ],
    )


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = report_parser(BLOCK, __doc__)
    parser.add_argument("--model", default="nano", help="model name or folder")
    parser.add_argument("--backend", choices=BACKENDS, default="auto", help="as run_live.py's")
    parser.add_argument("--calls", type=int, default=100, help="timed calls of each network")
    parser.add_argument("--frames", type=int, default=240, help="length of a whole run")
    parser.add_argument("--runs", type=int, default=3, help="whole runs per number of threads")
    add_output(parser, "--summary", f"{BLOCK}-summary")
    options = parser.parse_args(arguments)
    for name in ("calls", "frames", "runs"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} {getattr(options, name)}: expected at least 1")
    return options


def run(options: argparse.Namespace) -> None:
    # Only ONNX Runtime, which `auto` takes without a GPU, has them.
    threads = (1, 2) if options.backend in ("auto", "onnxruntime") else (1,)
    head = [model_line(options.model), *describe_environment().lines()]
    if options.backend != "auto":
        head.insert(1, f"backend {options.backend}")
    times: list[Times] = []
    for count in threads:
        engine = EngineOptions(threads=count)
        with load_model(options.model, options.backend, engine) as networks:
            times += time_networks(networks, count, options.calls)
    rates = run_rates(options.model, threads, options.frames, options.runs, options.backend)
    tables = (network_table(times), rate_table(rates, options.frames))
    publish(Report(head, [Section(made) for made in tables]), options.markdown, BLOCK)
    if options.summary is not None:
        where = ", ".join(head)
        write_block(options.summary, f"{BLOCK}-summary", f"{tables[1].markdown()}\n\n{where}.")


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_arguments(arguments)
    return exit_code(lambda: run(options), {EngineError: NO_MODEL, SpeedError: NO_MODEL})


if __name__ == "__main__":
    prepare_streams()
    sys.exit(main())
