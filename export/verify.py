"""Compare a model's backends with each other on this machine.

python -m export verify sam2.1-tiny@512
python -m export verify FOLDER --frames PICTURES --backend tensorrt

Every network of ONNX Runtime, TensorRT and TensorRT for RTX gets the inputs that the torch
definition gets, and its outputs are compared; then the masks that a user would see. Without torch,
or without the model's weights, ONNX Runtime is what the others are compared with.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from samcam.engines import (
    F32,
    MEMORY_ENCODER,
    NETWORKS,
    U8,
    DeviceTensor,
    EngineError,
    EngineOptions,
    Manifest,
    ModelFileError,
    Sam2Networks,
    TorchOptions,
    choose_token,
    find_model,
    open_model,
    read_manifest,
    rebuild_hint,
    uses_multimask_tokens,
    verify_files,
)
from samcam.engines.checks import (
    BOXES,
    NetworkCheck,
    checks_key,
    checks_path,
    compare_networks,
    describe,
    read_pictures,
    write_checks,
)
from samcam.engines.tensorrt import (
    LIBRARIES,
    NoGpuError,
    NoTensorRtError,
    graph_path,
    read_record,
)
from samcam.export.errors import ExportError
from samcam.export.shadow import OutputError, Shadow
from samcam.live.sources.demo import DemoScene
from samcam.system import exporter, install, with_exporter

ONNXRUNTIME, TORCH = "onnxruntime", "torch"
EXIT_FINE, EXIT_MODEL, EXIT_INTERRUPTED = 0, 4, 130
# Largest error of an output as a share of its largest value, by the network's precision.
TOLERANCES: Final = {
    **{"float32": 1e-3, "tf32": 1e-2, "float16": 1e-2, "bfloat16": 5e-2},
    "int8": 1e-1,
}
# The memory encoder rounds to bfloat16 in every precision: the two sides of a step differ by 2^-8.
_MEMORY_TOLERANCE: Final = 2.0**-7
_DEMO_SIZE_WH: Final = (854, 480)
_DEMO_FRAMES: Final = (0, 40, 120)
_RANGE_PICTURES, _RANGE_ROWS = 2, 3
_STEPS: Final = 9  # of tracking: the recent memories are full before the last one

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Comparison:
    """How one backend's networks compare with the reference's."""

    kind: str
    precisions: dict[str, str]
    errors: list[OutputError]
    checks: list[NetworkCheck]

    def problems(self) -> Iterator[str]:
        """Give one line for each output and each mask that is too far off."""
        for error in self.errors:
            limit = tolerance(error.network, self.precisions[error.network])
            if not error.relative <= limit:
                yield (
                    f"{self.kind}: {error.network} {error.output}: off by {error.relative:.1e} of "
                    f"its largest value, expected at most {limit:.1e}"
                )
        for check in self.checks:
            if not check.passed:
                yield (
                    f"{self.kind}: {check.network}: worst mask IoU {check.min_iou:.3f} "
                    f"({check.worst}), expected at least {check.limit:g}"
                )

    def table(self) -> str:
        """Return one line for each output, then one for each network."""
        lines = [
            f"{'network':18} {'output':20} {'precision':9} {'max abs':>8} {'relative':>8} tolerance"
        ]
        for error in self.errors:
            precision = self.precisions[error.network]
            limit = tolerance(error.network, precision)
            lines.append(
                f"{error.network:18} {error.output:20} {precision:9} {error.max_abs:8.1e} "
                f"{error.relative:8.1e} {limit:.1e}{'' if error.relative <= limit else '  TOO FAR'}"
            )
        return "\n".join((*lines, "", describe(self.checks)))


def tolerance(network: str, precision: str) -> float:
    least = _MEMORY_TOLERANCE if network == MEMORY_ENCODER else 0.0
    return max(TOLERANCES[precision], least)


def main(arguments: Sequence[str]) -> int:
    """Command line; returns 0 where everything agrees, 4 where something does not or cannot."""
    options = _parser().parse_args(arguments)
    try:
        problems = verify(options.model, options.backend or (), options.frames, _say)
    except (EngineError, ExportError) as error:
        problems = [str(error)]
    except KeyboardInterrupt:
        print("verify: stopped", file=sys.stderr)
        return EXIT_INTERRUPTED
    for problem in problems:
        print(f"verify: {problem}", file=sys.stderr)
    return EXIT_MODEL if problems else EXIT_FINE


def verify(model: str, backends: Sequence[str], frames: Path | None, say: Report) -> list[str]:
    """Compare the backends of a model, named as for `find_model`.

    Args:
        backends: Those to compare, each of which must be there; empty: all that are.
        frames: Folder of pictures; None for the program's own.

    Returns:
        One line for each problem.

    Raises:
        EngineError: The model is missing or damaged, or there is nothing to compare.
    """
    folder = find_model(model)
    try:
        manifest = read_manifest(folder)
        verify_files(folder, manifest, half=True)
    except ModelFileError as error:
        raise EngineError(f"{error}: {rebuild_hint(folder.name)}") from error
    pictures = demo_pictures() if frames is None else read_pictures(frames)
    problems: list[str] = []
    with ExitStack() as open_models:
        kinds = tuple(backends) or (ONNXRUNTIME, *LIBRARIES)
        opened: dict[str, Sam2Networks] = {}
        for kind in kinds:
            try:
                opened[kind] = open_models.enter_context(_open(kind, folder, manifest, True))
            except EngineError as error:
                if kind in backends or not _absent(error, kind, folder):
                    problems.append(f"{kind}: {error}")
                else:
                    say(f"{kind}: not compared: {error}")
        form = (manifest.padded() if LIBRARIES.keys() & opened else manifest).form
        name, reference = _open_reference(folder, manifest, say)
        open_models.enter_context(reference)
        reference = _in_form(reference, form)
        say(f"model {manifest.name} in {folder}: compared with {name}, {len(pictures)} pictures")
        candidates = {k: networks for k, networks in opened.items() if k != name}
        if not candidates and not problems:
            raise EngineError(f"{folder}: nothing to compare: {name} is all that runs here")
        for kind, networks in candidates.items():
            found = compare(kind, (reference, networks), folder, pictures)
            say(f"\n{kind} against {name}\n{found.table()}")
            problems += found.problems()
            if library := LIBRARIES.get(kind):
                key = checks_key(folder, library)
                write_checks(checks_path(folder, library), key, found.checks)
    problems += check_ranges(folder, manifest, pictures[:_RANGE_PICTURES], say)
    say("\n" + (f"problems: {len(problems)}" if problems else "all networks agree"))
    return problems


def compare(
    kind: str, pair: tuple[Sam2Networks, Sam2Networks], folder: Path, pictures: Sequence[U8]
) -> Comparison:
    """Compare the networks of a backend with the reference's.

    Args:
        pair: The reference, and the backend's networks.
        pictures: (H, W, 3) uint8 BGR.

    Raises:
        EngineError: A network does not run.
    """
    reference, candidate = pair
    shadows = {
        network: Shadow(network, reference.backends[network], candidate.backends[network])
        for network in NETWORKS
    }
    watched = Sam2Networks(candidate.manifest, shadows)
    checks = compare_networks(watched, candidate, pictures)
    follow(watched, pictures)
    return Comparison(
        kind,
        _precisions(kind, folder, candidate.manifest),
        [error for shadow in shadows.values() for error in shadow.errors.values()],
        checks,
    )


def follow(networks: Sam2Networks, pictures: Sequence[U8]) -> None:
    """Track what is in a box through the pictures, until the memory is full."""
    manifest = networks.manifest
    corners = np.array(BOXES[0], np.float32).reshape(2, 2) * manifest.image_size
    nothing = np.zeros((0, 2), np.float32), np.zeros(0, np.int32)
    memories: list[DeviceTensor] = []
    pointers: list[F32] = []
    for step in range(_STEPS):
        features = networks.encode_image(pictures[step % len(pictures)])
        if step == 0:
            prompt = corners, np.array([2, 3], np.int32)
            output = networks.decode(features.pix_feat_no_mem, features, *prompt)
        else:
            recent = memories[1:][-manifest.num_recent :]
            offsets = [0, *range(len(recent), 0, -1)]
            last = pointers[-1 - manifest.max_recent_ptrs :]
            ages = [float(len(last) - i) for i in range(len(last))]
            attended = networks.attend(features, [memories[0], *recent], offsets, last, ages)
            output = networks.decode(attended, features, *nothing)
        choice = choose_token(
            output.low_res_masks,
            output.ious,
            uses_multimask_tokens(2 if step == 0 else 0, True),
            manifest.token_rule,
        )
        # a step's pointer stands for the older ones that a longer track would have
        repeats = 1 + manifest.max_recent_ptrs // _STEPS
        pointers += [output.obj_ptrs[choice.pointer_token]] * repeats
        logits = output.low_res_masks[choice.mask_token]
        memories.append(
            networks.encode_memory(features, logits, step == 0, output.object_score_logit)
        )


def check_ranges(
    folder: Path, manifest: Manifest, pictures: Sequence[U8], say: Report
) -> list[str]:
    """Report how near the values in a model's graphs come to fp16's limit.

    A network's fp16 graph for TensorRT is measured, if there is one, else its own.

    Returns:
        A line where an fp16 node is too near.
    """
    try:
        from samcam.export.half.range_report import measure_ranges
    except ImportError as error:
        say(f"range report: not made: {error}: {install('export')}")
        return []
    graphs = {network: folder / entry.file for network, entry in manifest.files.items()}
    for network in NETWORKS:
        half = graph_path(folder, network, "float16")
        graphs[network] = half if half.is_file() else graphs[network]
    report = measure_ranges(manifest, graphs, pictures)
    say("\nvalues in the graphs beside fp16's limit, the nearest first")
    say(report.table(_RANGE_ROWS))
    try:
        report.check()
    except ExportError as error:
        return [str(error)]
    return []


def demo_pictures() -> list[U8]:
    """Return frames of the demo scene and the program's own pictures."""
    scene = DemoScene(_DEMO_SIZE_WH)
    return [*(scene.render(index)[0] for index in _DEMO_FRAMES), *read_pictures()]


def _open(kind: str, folder: Path, manifest: Manifest, candidate: bool) -> Sam2Networks:
    """Open a backend; torch as a candidate is its bfloat16."""
    precision = "bfloat16" if candidate else "float32"
    options = EngineOptions(torch=TorchOptions(precision=precision))
    return open_model(kind, folder, manifest, options)


def _open_reference(folder: Path, manifest: Manifest, say: Report) -> tuple[str, Sam2Networks]:
    """Open torch in float32, or ONNX Runtime where that is not possible."""
    try:
        return f"{TORCH} float32", _open(TORCH, folder, manifest, False)
    except EngineError as error:
        say(f"torch: not compared: {error}")
    return ONNXRUNTIME, _open(ONNXRUNTIME, folder, manifest, False)


def _in_form(networks: Sam2Networks, form: str) -> Sam2Networks:
    """Return the same networks fed in another form."""
    return Sam2Networks(replace(networks.manifest, form=form), networks.backends)


def _absent(error: EngineError, kind: str, folder: Path) -> bool:
    """Whether a backend is just not there, as opposed to broken."""
    if isinstance(error, NoGpuError | NoTensorRtError):
        return True
    return kind in LIBRARIES and not any((folder / kind).glob("*.engine"))


def _precisions(kind: str, folder: Path, manifest: Manifest) -> dict[str, str]:
    if library := LIBRARIES.get(kind):
        records = {network: read_record(folder, library, network) for network in NETWORKS}
        return {network: record.fingerprint.precision for network, record in records.items()}
    if kind == TORCH:
        from samcam.engines import ROUNDED

        return {network: "bfloat16" if network in ROUNDED else "float32" for network in NETWORKS}
    return {network: entry.precision for network, entry in manifest.files.items()}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"{exporter()} verify",
        description=with_exporter(__doc__),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", help="name of an installed model, or its folder")
    parser.add_argument(
        "--backend",
        action="append",
        choices=(ONNXRUNTIME, *LIBRARIES, TORCH),
        help="only this one, which must be there; repeatable. torch: its bfloat16",
    )
    parser.add_argument("--frames", type=Path, help="folder of pictures to compare on")
    return parser


def _say(text: str) -> None:
    print(text, flush=True)
