"""`python -m bench.sam2`: SAM 2.1 on torch, ours beside the library's, in one run.

Each way is one of: our modules through the torch backend, or transformers' `Sam2VideoModel` in a
streaming session; in float32, in bfloat16 autocast, and compiled. A frame is one tracked frame of
a long run: the picture encoded once, and for every object attention to a full memory, decoding
and remembering, until the masks are on the host. The ways take turns, so that what else runs on
the machine meets all of them. Weights do not change the speed: without --checkpoint they are
random.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from samcam.engines import (
    IMAGE_ENCODER,
    MASK_DECODER,
    MEMORY_ATTENTION,
    MEMORY_ENCODER,
    U8,
    EngineError,
    EngineOptions,
    TorchOptions,
    choose_token,
    import_torch,
    networks_of,
    resolve_device,
)
from samcam.live.sources.demo import DemoScene
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
class Figures:
    """Milliseconds of one picture size: by way, then by network or number of objects."""

    size: int
    networks: Mapping[str, Mapping[str, float]]
    frames: Mapping[str, Mapping[int, float]]


class Ours:
    """Our modules through the torch backend."""

    def __init__(self, way: Way, model: Sam2VideoModel, size: int, device: torch.device) -> None:
        from samcam.export import build_modules, sam2_manifest

        form = "fixed" if way.compiled else "dynamic"
        manifest = sam2_manifest(model, "tiny", size, "none", form)
        modules = build_modules(model, size, raw_values=False)
        options = EngineOptions(torch=TorchOptions(str(device), way.precision, way.compiled))
        self._networks = networks_of(modules, manifest, options)
        self._picture = demo_picture(size)
        self._device = device
        self._objects = 0

    def start(self, objects: int) -> None:
        self._objects = objects
        networks, manifest = self._networks, self._networks.manifest
        features = networks.encode_image(self._picture)
        output = networks.decode(features.pix_feat_no_mem, features, *_NO_POINTS)
        memory = networks.encode_memory(features, output.low_res_masks[0], True, 10.0)
        # A long run with one prompt attends to that frame, the recent ones and their pointers.
        count = 1 + manifest.num_recent
        pointers = 1 + manifest.max_recent_ptrs
        self._memories = [memory] * count, list(range(count))
        self._pointers = [output.obj_ptrs[0]] * pointers, [float(i) for i in range(pointers)]

    def frame(self) -> None:
        networks = self._networks
        features = networks.encode_image(self._picture)
        for _ in range(self._objects):
            attended = networks.attend(features, *self._memories, *self._pointers)
            output = networks.decode(attended, features, *_NO_POINTS)
            rule = networks.manifest.token_rule
            chosen = choose_token(output.low_res_masks, output.ious, True, rule).mask_token
            networks.encode_memory(features, output.low_res_masks[chosen], False, 10.0)
        synchronize(self._device)

    def parts(self, calls: int) -> Mapping[str, list[float]]:
        networks = self._networks
        features = networks.encode_image(self._picture)
        attended = networks.attend(features, *self._memories, *self._pointers).copy()
        logits = networks.decode(attended, features, *_NO_POINTS).low_res_masks[0]
        runs: dict[str, Callable[[], object]] = {
            IMAGE_ENCODER: lambda: networks.encode_image(self._picture),
            MEMORY_ATTENTION: lambda: networks.attend(features, *self._memories, *self._pointers),
            MASK_DECODER: lambda: networks.decode(attended, features, *_NO_POINTS),
            MEMORY_ENCODER: lambda: networks.encode_memory(features, logits, False, 10.0),
        }
        return {name: list(self._times(run, calls)) for name, run in runs.items()}

    def _times(self, run: Callable[[], object], calls: int) -> Iterator[float]:
        for _ in range(calls):
            begun = time.perf_counter()
            run()
            synchronize(self._device)
            yield (time.perf_counter() - begun) * 1000


_NO_POINTS: Final = np.zeros((0, 2), np.float32), np.zeros(0, np.int32)


def demo_picture(size: int) -> U8:
    """Return a picture that needs no stretching."""
    return DemoScene((size, size)).render(0)[0]


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        import_torch().cuda.synchronize(device)


def load_model(variant: str, checkpoint: Path | None) -> Sam2VideoModel:
    """Return the library's model, with random weights where there is no checkpoint."""
    from transformers import Sam2VideoModel

    from samcam.export import load_sam2, sam2_config

    if checkpoint is not None:
        return load_sam2(variant, checkpoint)
    model = Sam2VideoModel(sam2_config(variant))
    import_torch().nn.Module.eval(model)
    return model


def measure(
    options: argparse.Namespace, ways: Sequence[Way], size: int, device: torch.device
) -> Figures:
    """Measure the ways at one picture size, in turns."""
    model = load_model(options.variant, options.checkpoint)
    subjects: dict[str, Subject] = {}
    for way in ways:
        print(f"{size} px: {way.name}: getting ready", file=sys.stderr, flush=True)
        if way.owner == "samcam":
            subjects[way.name] = Ours(way, model, size, device)
        else:
            picture = demo_picture(size)
            subjects[way.name] = Library(way.precision, way.compiled, model, picture, device)
    networks: dict[str, Mapping[str, float]] = {}
    frames: dict[str, dict[int, float]] = {name: {} for name in subjects}
    for objects in options.objects:
        for subject in subjects.values():
            subject.start(objects)
            for _ in range(WARM_UP):
                subject.frame()
        times = in_turns(subjects, options.rounds, options.frames)
        for name, taken in times.items():
            frames[name][objects] = float(np.median(taken))
        if not networks:
            networks = {
                name: {part: float(np.median(ms)) for part, ms in s.parts(options.frames).items()}
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
        made = result_table([measure(options, ways, size, device) for size in options.sizes])
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
