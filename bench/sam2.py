"""`python -m bench.sam2`: SAM 2.1 on torch, ours beside the library's, in one run.

Each way is one of: our modules through the torch backend, or transformers' `Sam2VideoModel` in a
streaming session; in float32, in bfloat16 autocast, and compiled. A frame is one tracked frame of
a long run: the picture encoded once, and for every object attention to a full memory, decoding
and remembering, until the masks are on the host. The ways take turns, so that what else runs on
the machine meets all of them. Weights do not change the speed: without --checkpoint they are made
up (`bench.sam2_weights`).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from bench.reports.environment import describe_environment
from bench.reports.report import (
    NO_MODEL,
    Report,
    Section,
    Table,
    exit_code,
    publish,
    report_parser,
    table,
)
from bench.sam2_library import Library
from bench.sam2_ours import Ours, on_torch, square_picture
from bench.sam2_weights import lively_model
from samcam.engines import (
    IMAGE_ENCODER,
    MASK_DECODER,
    MEMORY_ATTENTION,
    MEMORY_ENCODER,
    EngineError,
    TorchOptions,
    import_torch,
    resolve_device,
)
from samcam.system import install, prepare_streams

if TYPE_CHECKING:
    import torch
    from transformers import Sam2VideoModel

BLOCK: Final = "sam2"
STEP: Final = (IMAGE_ENCODER, MEMORY_ATTENTION, MASK_DECODER, MEMORY_ENCODER)
SIZES: Final = (1024, 512, 256)
WARM_UP: Final = 3
MAX_OBJECTS: Final = 64


@dataclass(frozen=True, slots=True)
class Way:
    owner: str
    precision: str
    compiled: bool = False

    @property
    def name(self) -> str:
        return f"{self.owner} {self.precision}{' compiled' if self.compiled else ''}"


WAYS: Final = tuple(
    Way(owner, precision, compiled)
    for owner in ("samcam", "transformers")
    for precision, compiled in (("float32", False), ("bfloat16", False), ("bfloat16", True))
)


class Subject(Protocol):
    """A way at work on one picture size."""

    def start(self, objects: int) -> None:
        """Prompt so many objects and fill their memories."""

    def frame(self) -> None:
        """Track one frame; returns when its masks are on the host and the device is idle."""

    def parts(self, calls: int) -> Mapping[str, list[float]]:
        """Return the milliseconds of some calls of each network of `STEP`, one object."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured: numbers of objects, turns of each way, timed frames of a turn."""

    objects: tuple[int, ...] = (1, 4)
    rounds: int = 3
    frames: int = 20


@dataclass(frozen=True, slots=True)
class Figures:
    """Milliseconds of one picture size: by way, then by network or number of objects."""

    size: int
    networks: Mapping[str, Mapping[str, float]]
    frames: Mapping[str, Mapping[int, float]]


def subject_of(way: Way, model: Sam2VideoModel, size: int, device: torch.device) -> Subject:
    """Return a way at work on pictures of one size."""
    picture = square_picture(size)
    if way.owner == "transformers":
        return Library(way.precision, way.compiled, model, picture, device)
    return Ours(on_torch(model, size, str(device), way.precision, way.compiled), picture)


def measure(
    model: Sam2VideoModel, ways: Sequence[Way], size: int, device: torch.device, plan: Plan
) -> Figures:
    """Measure the ways at one picture size, in turns.

    Raises:
        EngineError: A network does not run.
    """
    subjects: dict[str, Subject] = {}
    for way in ways:
        print(f"{size} px: {way.name}: getting ready", file=sys.stderr, flush=True)
        subjects[way.name] = subject_of(way, model, size, device)
    return measure_subjects(subjects, size, plan)


def measure_subjects(subjects: Mapping[str, Subject], size: int, plan: Plan) -> Figures:
    """Measure what is at work on one picture size, in turns."""
    networks: dict[str, Mapping[str, float]] = {}
    frames: dict[str, dict[int, float]] = {name: {} for name in subjects}
    for objects in plan.objects:
        for subject in subjects.values():
            subject.start(objects)
            for _ in range(WARM_UP):
                subject.frame()
        times = in_turns(subjects, plan.rounds, plan.frames)
        for name, taken in times.items():
            frames[name][objects] = float(np.median(taken))
        if not networks:
            networks = {
                name: {part: float(np.median(ms)) for part, ms in s.parts(plan.frames).items()}
                for name, s in subjects.items()
            }
    return Figures(size, networks, frames)


def in_turns(subjects: Mapping[str, Subject], rounds: int, frames: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in subjects}
    for _ in range(rounds):
        for name, subject in subjects.items():
            for _ in range(frames):
                begun = time.perf_counter()
                subject.frame()
                times[name].append((time.perf_counter() - begun) * 1000)
    return times


def result_table(figures: Sequence[Figures]) -> Table:
    """Median milliseconds: a row for each network and number of objects, a column for each way."""
    names = list(figures[0].frames)
    rows = []
    for found in figures:
        for part in STEP:
            cells = [f"{found.networks[name][part]:.1f}" for name in names]
            rows.append([f"{found.size} px: {part}", *cells])
        for objects in next(iter(found.frames.values())):
            cells = [f"{found.frames[name][objects]:.1f}" for name in names]
            label = f"{found.size} px: whole frame, {objects} object{'s' if objects > 1 else ''}"
            rows.append([label, *cells])
    return table(("median ms", *names), rows)


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    names = [way.name for way in WAYS]
    parser = report_parser(BLOCK, __doc__)
    parser.add_argument("--variant", default="tiny", choices=("tiny", "small", "base+", "large"))
    parser.add_argument("--checkpoint", type=Path, help="Meta's .pt or a folder with weights")
    parser.add_argument("--sizes", type=int, nargs="+", choices=SIZES, default=[1024, 512])
    parser.add_argument("--objects", type=int, nargs="+", default=[1, 4], metavar="N")
    parser.add_argument("--ways", nargs="+", choices=names, default=names, metavar="WAY")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--frames", type=int, default=20, help="timed frames of a turn")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each way")
    options = parser.parse_args(arguments)
    for name in ("frames", "rounds"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} {getattr(options, name)}: expected at least 1")
    for count in options.objects:
        if not 1 <= count <= MAX_OBJECTS:
            parser.error(f"--objects {count}: expected 1..{MAX_OBJECTS}")
    return options


def device_line(device: torch.device) -> str:
    import transformers

    torch = import_torch()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "the processor"
    return f"on {name}; torch {torch.__version__}, transformers {transformers.__version__}"


def run(options: argparse.Namespace) -> None:
    """Measure every size and publish the table.

    Raises:
        EngineError: Something is not installed, or see `measure`.
    """
    try:
        device = resolve_device(TorchOptions(options.device).device)
        ways = [way for way in WAYS if way.name in options.ways]
        head = [f"sam2.1-{options.variant}, {device_line(device)}", *describe_environment().lines()]
        if options.checkpoint is None:
            model = lively_model(options.variant)
        else:
            from samcam.export import load_sam2

            model = load_sam2(options.variant, options.checkpoint)
        plan = Plan(tuple(options.objects), options.rounds, options.frames)
        made = result_table([measure(model, ways, size, device, plan) for size in options.sizes])
    except ImportError as error:
        hint = f"install the extra: {install('export')}"
        raise EngineError(f"{error}; {hint}") from error
    publish(Report(head, [Section(made)]), options.markdown, BLOCK)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_arguments(arguments)
    # Exporter and torch raise a plain RuntimeError.
    return exit_code(lambda: run(options), {EngineError: NO_MODEL, RuntimeError: NO_MODEL})


if __name__ == "__main__":
    prepare_streams()
    sys.exit(main())
