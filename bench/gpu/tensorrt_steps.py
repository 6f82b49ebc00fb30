"""TensorRT and TensorRT for RTX on the GPU: engines built, compared, inspected, timed, run long."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from bench.gpu.engines import engine_table, inspect_engines
from bench.gpu.flat import run_flat
from bench.gpu.machine import run_aloud
from bench.gpu.order import NotHere, Order, Outcome, Save, Surprise
from bench.gpu.torch_steps import plan_of, with_checks, with_times
from bench.sam2 import measure_subjects
from bench.sam2_ours import Ours, square_picture
from bench.sam2_weights import WEIGHTS_NAME, write_weights
from samcam.engines import EMBEDDED_MODEL, MEMORY_ATTENTION, Sam2Networks, find_model, load_model
from samcam.engines.checks import NetworkCheck, checks_path
from samcam.engines.tensorrt import (
    LIBRARIES,
    Library,
    NoTensorRtError,
    find_gpu,
    import_library,
)
from samcam.export import BuildOrder, build_engines
from samcam.system import install
from samcam.system.files import read_json

_PROGRAM_FRAMES: Final = 240
_EXPORT_PACKAGES: Final = ("torch", "transformers", "safetensors", "onnx")

StepRun = Callable[[Order, Save], Outcome]


def find_library(library: Library) -> StepRun:
    """Return the step that imports a library and names the GPU as cuda-python sees it."""

    def run(order: Order, save: Save) -> Outcome:
        if find_spec("cuda") is None:
            raise NotHere(f"cuda-python is not installed: {install(library.extra)}")
        gpu = find_gpu()
        begun = time.perf_counter()
        try:
            module = import_library(library)
        except NoTensorRtError as error:
            raise NotHere(str(error)) from error
        took = time.perf_counter() - begun
        line = f"{library.title} {module.__version__}, imported in {took:.1f} s, on {gpu.name}"
        return Outcome("done", line, {"version": str(module.__version__), "gpu": asdict(gpu)})

    return run


def nano(library: Library) -> StepRun:
    """Return the step that builds and compares the embedded model's engines."""

    def run(order: Order, save: Save) -> Outcome:
        folder = nano_folder(order, library)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(find_model(EMBEDDED_MODEL), folder)
        return build(folder, library, EMBEDDED_MODEL, save)

    return run


def program(library: Library) -> StepRun:
    """Return the step that runs the whole program on `nano`'s engines: threads, video, masks."""

    def run(order: Order, save: Save) -> Outcome:
        from bench import speed  # needs PyAV, which only this step does

        folder = nano_folder(order, library)
        [rate] = speed.run_rates(str(folder), (1,), _PROGRAM_FRAMES, 1, library.name)
        line = f"{_PROGRAM_FRAMES} frames of the demo at {rate.median:.1f} frames/s"
        return Outcome("done", line, {"fps": rate.median})

    return run


def export(size: int) -> StepRun:
    """Return the step that writes SAM 2.1 from made-up weights, with graphs in half precision."""

    def run(order: Order, save: Save) -> Outcome:
        modules = [name for library in LIBRARIES.values() for name in library.modules]
        if not any(map(find_spec, modules)):
            raise NotHere("neither TensorRT nor TensorRT for RTX is installed")
        missing = [name for name in _EXPORT_PACKAGES if find_spec(name) is None]
        if missing:
            raise NotHere(f"not installed: {', '.join(missing)}: {install('export')}")
        weights = order.work / "weights"
        if not (weights / WEIGHTS_NAME).is_file():
            write_weights(weights)
        model = f"sam2.1-tiny@{size}"
        command = [
            *(sys.executable, "-m", "export", model, "--checkpoint", str(weights)),
            *("--precision", "fp16", "--out", str(sam2_folder(order, size))),
        ]
        code, last = run_aloud(command)
        if code:
            raise Surprise(f"{model}: the export ended with code {code}: {last}")
        return Outcome("done", last)

    return run


def sam2(library: Library, size: int) -> StepRun:
    """Return the step that builds, compares, inspects and times SAM 2.1's engines."""

    def run(order: Order, save: Save) -> Outcome:
        folder, name = sam2_folder(order, size), f"sam2.1-tiny@{size}"
        outcome = build(folder, library, name, save)
        with opened(folder, library) as networks:
            ours = Ours(networks, square_picture(size))
            found = measure_subjects({f"samcam {library.name}": ours}, size, plan_of(order))
        return with_times(outcome, library.name, found)

    return run


def flat(library: Library, size: int) -> StepRun:
    """Return the step that tracks long on SAM 2.1's engines."""

    def run(order: Order, save: Save) -> Outcome:
        with opened(sam2_folder(order, size), library) as networks:
            return run_flat(Ours(networks, square_picture(size)), order)

    return run


def build(folder: Path, library: Library, name: str, save: Save) -> Outcome:
    """Build a model's engines; compare, capture and inspect them.

    Raises:
        EngineError: An engine cannot be built, or its masks are too far off.
        Surprise: A graph is not captured, or attention is not fused.
    """
    begun = time.perf_counter()
    build_engines(BuildOrder(folder=folder, library=library, report=_say))
    took = time.perf_counter() - begun
    title = f"{name} on {library.title}"
    outcome = Outcome("done", f"built in {took:.0f} s", {"build_s": round(took, 1)})
    with opened(folder, library) as networks:
        checks = [NetworkCheck(**c) for c in read_json(checks_path(folder, library))["checks"]]
        outcome = with_checks(outcome, title, checks)
        graphs = capture_all(networks)
    facts, layers = inspect_engines(folder, library)
    made = engine_table(facts, graphs)
    print(made.plain(), flush=True)
    fused = ", ".join(one.network for one in facts if one.fused) or "in no layer's name"
    outcome = Outcome(
        "done",
        f"{outcome.line}; fused attention: {fused}; graphs captured: {sum(graphs.values())}",
        {**outcome.figures, f"engines {title}": [asdict(one) for one in facts], "graphs": graphs},
        {**outcome.tables, f"Engines, {title}": made},
        {title: layers},
    )
    save(outcome)
    scores = [one for one in facts if one.holds_scores]
    if scores:
        raise Surprise(
            f"{title}: {scores[0].network} needs {scores[0].memory_mb:.0f} MB: its attention is "
            "not fused"
        )
    return outcome


def capture_all(networks: Sam2Networks) -> dict[str, int]:
    """Run every shape of tracking; return the graphs that each network has then.

    Raises:
        Surprise: One has fewer than it has shapes: its graph could not be captured.
    """
    ours = Ours(networks, square_picture(networks.manifest.image_size))
    ours.start(1)
    for memories, pointers in networks.manifest.row_steps:
        ours.attend_to(memories, pointers)
    ours.frame()
    wanted = dict.fromkeys(networks.backends, 1)
    wanted[MEMORY_ATTENTION] = len(networks.manifest.row_steps)
    graphs: dict[str, int] = {
        name: int(getattr(backend, "graphs", 0)) for name, backend in networks.backends.items()
    }
    fewer = [name for name, count in wanted.items() if graphs[name] < count]
    if fewer:
        found = ", ".join(f"{name} {graphs[name]} of {wanted[name]}" for name in fewer)
        raise Surprise(f"CUDA graphs that are not captured: {found}, see the log")
    return graphs


def opened(folder: Path, library: Library) -> Sam2Networks:
    """Open a model on its engines, compared with ONNX Runtime by the first run."""
    return load_model(str(folder), library.name)


def nano_folder(order: Order, library: Library) -> Path:
    return order.work / f"{EMBEDDED_MODEL}-{library.name}"


def sam2_folder(order: Order, size: int) -> Path:
    return order.work / f"sam2.1-tiny@{size}"


def _say(line: str) -> None:
    print(line, flush=True)
