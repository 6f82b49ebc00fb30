"""Write a model folder: SAM 2.1 from Meta's weights, or nano from its training checkpoint.

python -m export sam2.1-tiny              downloads Meta's checkpoint, writes sam2.1-tiny@1024
python -m export sam2.1-tiny@512 --checkpoint sam2.1_hiera_tiny.pt
python -m export sam2.1-tiny --precision int8
python -m export sam2.1-tiny --contract sam2-onnx-trt      for DeepStream's MaskTracker
python -m export nano                     training/checkpoint/nano.pt -> engines/nano
python -m export nanotrack                fetches the box tracker of --guide nanotrack
python -m export verify sam2.1-tiny@512   compares its backends on this machine
"""

from __future__ import annotations

import argparse
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from samcam.engines import EMBEDDED_MODEL, SAM2_MODELS, EngineError, user_model_folder
from samcam.engines.tensorrt import TENSORRT, build_hint, find_driver, find_gpu, import_library
from samcam.export.calibration import CALIBRATION_BY, require_training
from samcam.export.errors import ExportError
from samcam.guides import NANOTRACK, NANOTRACK_FOLDER
from samcam.system import exporter, install, prepare_streams, with_exporter
from samcam.system.files import NoHomeError

ROOT: Final = Path(__file__).resolve().parent.parent
PRECISIONS: Final = ("fp32", "fp16", "bf16", "int8")
NANOTRACK_HAS: Final = {"precision": (None,), "contract": ("live",), "backend": ("onnx",)}
NANO_HAS: Final = {"precision": ("fp32", "int8"), "contract": ("live",), "backend": ("onnx",)}
CONTRACTS: Final = ("live", "sam2-onnx-trt")
BACKENDS: Final = ("onnx", "tensorrt")
SAM2_SIZES: Final = (1024, 512, 256)  # the first one where none is given; 256 is for tests
NANO_SIZE: Final = 256
EXIT_MODEL: Final = 4
EXIT_INTERRUPTED: Final = 130


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code (0 fine, 2 wrong use, 4 the model cannot be written)."""
    words = sys.argv[1:] if arguments is None else arguments
    if words[:1] == ["verify"]:
        from samcam.export.verify import main as verify

        return verify(words[1:])
    parser = _parser()
    options = parser.parse_args(words)
    name, size = _model_and_size(parser, options.model)
    try:
        if name == NANOTRACK:
            _install_nanotrack(options)
        elif name == EMBEDDED_MODEL:
            _export_nano(options, size)
        elif options.contract == "live":
            _export_sam2(options, name, size)
        else:
            _export_seeds(options, name, size)
    except (ExportError, EngineError, NoHomeError) as error:
        print(f"export: {error}", file=sys.stderr)
        return EXIT_MODEL
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"export: {where}{error.strerror or error}", file=sys.stderr)
        return EXIT_MODEL
    except ImportError as error:
        print(f"export: {error}; install the extra: {install('export')}", file=sys.stderr)
        return EXIT_MODEL
    except KeyboardInterrupt:
        print("export: stopped", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=exporter(),
        description=with_exporter(__doc__),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "model",
        help=f"{', '.join((EMBEDDED_MODEL, *SAM2_MODELS))}, with @SIZE for the picture size; "
        f"or {NANOTRACK}",
    )
    parser.add_argument("--checkpoint", type=Path, help="weights on the disk, instead of Meta's")
    parser.add_argument("--out", type=Path, help="the model folder to write")
    parser.add_argument(
        "--precision", choices=PRECISIONS, help="default: fp16 where TensorRT may run, else fp32"
    )
    parser.add_argument("--contract", choices=CONTRACTS, default=CONTRACTS[0])
    parser.add_argument("--backend", choices=BACKENDS, default=BACKENDS[0])
    return parser


def _model_and_size(parser: argparse.ArgumentParser, model: str) -> tuple[str, int]:
    """Split NAME@SIZE and check both; wrong use ends the program with exit code 2."""
    name, at, text = model.partition("@")
    known = (EMBEDDED_MODEL, *SAM2_MODELS, NANOTRACK)
    if name not in known or (name == NANOTRACK and at):
        parser.error(f"model: expected one of {', '.join(known)}, got {model!r}")
    default = NANO_SIZE if name == EMBEDDED_MODEL else SAM2_SIZES[0]
    if not at:
        return name, default
    size = int(text) if text.isdecimal() else 0
    if name == EMBEDDED_MODEL and (size < 64 or size % 32):
        parser.error(f"{model}: expected a size that is a multiple of 32, from 64")
    if name != EMBEDDED_MODEL and size not in SAM2_SIZES:
        sizes = ", ".join(map(str, SAM2_SIZES))
        parser.error(f"{model}: expected a size of {sizes} (256 is for tests)")
    return name, size


def _install_nanotrack(options: argparse.Namespace) -> None:
    from samcam.export.nanotrack import install_nanotrack

    for key, values in NANOTRACK_HAS.items():
        if getattr(options, key) not in values:
            raise ExportError(f"--{key} {getattr(options, key)}: {NANOTRACK} has one form only")
    folder = options.out or user_model_folder() / NANOTRACK_FOLDER
    install_nanotrack(options.checkpoint, folder, _say)
    _print_size(folder)


def _export_nano(options: argparse.Namespace, size: int) -> None:
    require_training("nano: its torch modules are in")
    from samcam.export.nano import describe, export_nano

    for key, values in NANO_HAS.items():
        if getattr(options, key) not in (None, *values):
            raise ExportError(f"--{key}: nano has only {' and '.join(values)}")
    int8 = options.precision == "int8"
    if int8 and options.out is None:
        raise ExportError("--precision int8: name a folder with --out; engines/nano stays fp32")
    folder = options.out or ROOT / "engines/nano"
    checkpoint = options.checkpoint or ROOT / "training/checkpoint/nano.pt"
    print(describe(export_nano(checkpoint, folder, size, int8, _say)))
    _print_size(folder)
    if not int8:
        _print_build_hint(folder)


def _export_sam2(options: argparse.Namespace, name: str, size: int) -> None:
    precision, reason = _choose_precision(options)
    if precision == "int8" and options.backend == "tensorrt":
        raise ExportError("--precision int8: for CPUs; with --backend tensorrt fp32, fp16 or bf16")
    if precision == "int8":
        require_training(CALIBRATION_BY)  # now, not after minutes
    from samcam.export.sam2.writer import Sam2Export, export_sam2

    if options.backend == "tensorrt":
        # also now; the GPU first: without a driver TensorRT ends the process
        find_gpu()
        import_library(TENSORRT)
    folder = options.out or user_model_folder() / f"{name}@{size}"
    order = Sam2Export(
        variant=name.removeprefix("sam2.1-"),
        size=size,
        checkpoint=options.checkpoint,
        precision=precision,
        report=_say,
    )
    export_sam2(order, folder)
    if precision != "int8":
        answer = "no" if precision == "fp32" else "yes"
        _say(f"half-precision graphs for TensorRT: {answer}: {reason}")
    _print_size(folder)
    if options.backend == "tensorrt":
        from samcam.export.build_tensorrt import BuildOrder, build_engines

        start = "float32" if precision == "fp32" else None  # TF32 only where it was not asked away
        build_engines(BuildOrder(folder=folder, precision=start, report=_say))
    elif precision != "int8":
        _print_build_hint(folder)


def _choose_precision(options: argparse.Namespace) -> tuple[str, str]:
    """Return the precision of an export of SAM 2.1, and why; half where TensorRT may read it."""
    if options.precision is not None:
        return options.precision, f"--precision {options.precision}"
    if options.backend == "tensorrt":
        return "fp16", "--backend tensorrt"
    driver = find_driver()
    if driver is not None:
        return "fp16", f"there is an NVIDIA GPU ({driver}); --precision fp32 leaves them out"
    package = _tensorrt_package()
    if package is not None:
        return "fp16", f"the package {package} is installed; --precision fp32 leaves them out"
    return "fp32", "neither an NVIDIA driver nor TensorRT is here; --precision fp16 adds them"


def _tensorrt_package() -> str | None:
    """Return a package that only the TensorRT extras bring, None where there is none.

    Not TensorRT for RTX, which the tests' extra brings as a compiler alone, and not the module
    `cuda`, which torch brings.
    """
    if find_spec("tensorrt") is not None:
        return "tensorrt"
    try:
        version("cuda-python")
    except PackageNotFoundError:
        return None
    return "cuda-python"


def _export_seeds(options: argparse.Namespace, name: str, size: int) -> None:
    from samcam.export.seeds.contract import CONTRACT, SeedsExport, export_seeds

    if options.precision not in (None, "fp32") or options.backend != "onnx":
        raise ExportError(
            f"--contract {CONTRACT}: fp32 ONNX files only: whoever reads them builds the engines"
        )
    order = SeedsExport(
        variant=name.removeprefix("sam2.1-"), size=size, checkpoint=options.checkpoint, report=_say
    )
    folder = options.out or user_model_folder() / f"{name}@{size}-{CONTRACT}"
    export_seeds(order, folder)
    _print_size(folder)


def _say(line: str) -> None:
    print(line, flush=True)


def _print_size(folder: Path) -> None:
    files = sorted(folder.rglob("*.onnx"))
    size = sum(file.stat().st_size for file in files)
    print(f"{folder}: {size / 1e6:.1f} MB in {len(files)} files")


def _print_build_hint(folder: Path) -> None:
    """Say what makes engines of the model, where there is a GPU for them."""
    try:
        gpu = find_gpu()
    except EngineError:
        return
    print(f"no TensorRT engines for {gpu.name} yet: {build_hint(folder, TENSORRT)}")


if __name__ == "__main__":
    prepare_streams()
    sys.exit(main())
