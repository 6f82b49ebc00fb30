"""Build a model's engines for TensorRT or TensorRT for RTX, and compare them with the model.

python -m export.build_tensorrt sam2.1-tiny        or the path of a model folder
python -m export.build_tensorrt sam2.1-tiny --rtx  for TensorRT for RTX: needs no GPU

Takes minutes. Needs no torch: the graphs are in the model folder.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from samcam.engines import (
    NETWORKS,
    EngineError,
    EngineOptions,
    ModelFileError,
    file_sha256,
    find_model,
    open_model,
)
from samcam.engines.checks import (
    MIN_IOU,
    NetworkCheck,
    checks_key,
    checks_path,
    compare_networks,
    describe,
    missed_before,
    read_pictures,
    refuse_bad,
    write_checks,
)
from samcam.engines.tensorrt import (
    PRECISION_LADDER,
    TENSORRT,
    TENSORRT_RTX,
    EngineRecord,
    Fingerprint,
    Library,
    NoGpuError,
    NoTensorRtError,
    check_capability,
    profiles_of,
    read_record,
    remove,
    write_engine,
)
from samcam.export.engine_compiler import (
    CACHE_NAME,
    DEFAULT_LEVEL,
    PORTABLE,
    BuildError,
    EngineCompiler,
    Target,
    gpu_target,
)
from samcam.export.engine_graphs import (
    Rung,
    load_graph,
    read_model_graphs,
    require_half,
    require_onnx,
)
from samcam.export.shape_profiles import make_profiles
from samcam.system import exporter, prepare_streams, with_exporter

EXIT_MODEL: Final = 4
PRECISIONS: Final = {"fp16": "float16", "bf16": "bfloat16", "tf32": "tf32", "fp32": "float32"}


@dataclass(frozen=True, kw_only=True)
class BuildOrder:
    """What to build.

    Attributes:
        folder: Of the model; the engines go to the library's folder in it.
        library: TensorRT for the GPU of this machine, or TensorRT for RTX for any.
        capability: Compute capability that TensorRT for RTX builds for; None: 8.0 and newer, or
            what the GPU of this machine has if that is older.
        precision: Lowest of the ladder to try; None for the lowest there is.
        level: How long the library may search, 0..5.
        check: Whether to compare the engines with ONNX Runtime; where not, the first run does, as
            always with TensorRT for RTX.
        pictures: Folder of pictures to compare on; None for the program's own.
        limit: Least IoU of a network's worst mask.
    """

    folder: Path
    library: Library = TENSORRT
    capability: tuple[int, int] | None = None
    precision: str | None = None
    level: int = DEFAULT_LEVEL
    check: bool = True
    pictures: Path | None = None
    limit: float = MIN_IOU
    report: Callable[[str], None] = lambda line: None


def build_engines(order: BuildOrder) -> list[EngineRecord]:
    """Build the five engines; one whose answers are too far off, again in a higher precision.

    Raises:
        EngineError: No GPU where one is needed, no library, a broken model, engines that cannot be
            built, or one that misses in the highest precision there is.
    """
    target = _choose_target(order)  # the GPU first: without a driver TensorRT ends the process
    require_onnx(order.library)
    builder = EngineBuilder(order, target)
    if target.gpu is None:
        order.report(f"engines of {order.library.title} for compute capability {target}")
    builder.build_all()
    if target.gpu is None:
        order.report(
            "not compared: the first run on a GPU compares the engines with ONNX Runtime there"
        )
    elif order.check:
        builder.compare_all()
    return list(builder.records.values())


def _choose_target(order: BuildOrder) -> Target:
    if order.library is not TENSORRT_RTX:
        return gpu_target(order.library)
    if order.capability is not None:
        return Target(order.library, order.capability)
    try:
        here = gpu_target(order.library).capability
    except NoGpuError:
        here = PORTABLE
    if here < PORTABLE:
        return Target(order.library, here)
    return Target(order.library, PORTABLE, portable=True)


def _join(*reasons: str) -> str:
    return "; ".join(filter(None, reasons))


class EngineBuilder:
    """Builds the engines of one model.

    Attributes:
        records: Of the engines that were built, by network.
    """

    def __init__(self, order: BuildOrder, target: Target) -> None:
        """Read the model and import the library.

        Raises:
            EngineError: The model or a picture is broken, or the library cannot be imported.
        """
        self._order = order
        self._pictures = read_pictures(order.pictures)  # now, not after minutes
        self._target = target
        self._manifest, self._rungs = read_model_graphs(order.folder, target, order.precision)
        cache = order.folder / order.library.name / CACHE_NAME
        self._compiler = EngineCompiler(target, order.level, cache)
        self.records: dict[str, EngineRecord] = {}

    def build_all(self) -> None:
        """Build every network.

        An engine that missed in a run on this machine is built in a higher precision, unless the
        order names one.

        Raises:
            EngineError: Names the networks that cannot be built, and why; the others are.
        """
        order = self._order
        known = {} if order.precision else missed_before(order.folder, order.library)
        before = {network: self._missed(network, check) for network, check in known.items()}
        remove(checks_path(order.folder, order.library))  # of the engines that were here
        errors = []
        for network in NETWORKS:
            try:
                self._build(network, before.get(network))
            except BuildError as error:
                errors.append(str(error))
        if errors:
            raise EngineError("; ".join(errors))

    def compare_all(self) -> None:
        """Compare every network with ONNX Runtime, and build what misses in a higher precision.

        Raises:
            EngineError: One misses in the highest precision there is, or cannot be built.
        """
        order = self._order
        checks: dict[str, NetworkCheck] = {}
        pending = list(NETWORKS)
        while pending:
            order.report(f"comparing {', '.join(pending)} with ONNX Runtime")
            found = self._compare(pending)
            checks |= {check.network: check for check in found}
            pending = []
            for check in found:
                network = check.network
                if check.cases and not check.passed and len(self._rungs[network]) > 1:
                    before = self._missed(network, check)
                    self._build(network, before)
                    pending.append(network)
        results = [checks[network] for network in NETWORKS]
        key = checks_key(order.folder, order.library)
        write_checks(checks_path(order.folder, order.library), key, results)
        order.report(describe(results))
        refuse_bad(order.folder, order.library, results)

    def _compare(self, networks: list[str]) -> list[NetworkCheck]:
        order, manifest, options = self._order, self._manifest, EngineOptions()
        with (
            open_model("onnxruntime", order.folder, manifest, options) as reference,
            open_model(order.library.name, order.folder, manifest, options) as candidate,
        ):
            return compare_networks(reference, candidate, self._pictures, networks, order.limit)

    def _missed(self, network: str, check: NetworkCheck) -> EngineRecord:
        """Return the record of an engine whose answers are too far off, which it then says; take
        its rung and those below from the list, but the last."""
        record = read_record(self._order.folder, self._order.library, network)
        used = PRECISION_LADDER.index(record.fingerprint.precision)
        rungs = self._rungs[network]
        while len(rungs) > 1 and PRECISION_LADDER.index(rungs[0].precision) <= used:
            del rungs[0]
        text = f"{record.fingerprint.precision}: worst mask IoU {check.min_iou:.3f}"
        return replace(record, reason=_join(record.reason, text))

    def _build(self, network: str, before: EngineRecord | None) -> None:
        """Build one engine and write it with its record.

        The first rung that can be built wins; those before it are removed from the list.
        `before` is the record of the engine that it replaces, if that one missed.

        Raises:
            BuildError: No rung can be built.
            KeyboardInterrupt: The user stopped it.
        """
        order, rungs = self._order, self._rungs[network]
        asked = before.asked if before is not None else rungs[0].precision
        reason = before.reason if before is not None else ""
        while True:
            rung = rungs[0]
            order.report(f"{network}: building in {rung.precision} from {rung.graph.name}")
            try:
                engine = self._compile(network, rung)
                break
            except BuildError as error:
                if len(rungs) == 1:
                    raise
                order.report(f"{network}: {error}")
                reason = _join(reason, f"{rung.precision}: cannot be built")
                del rungs[0]
        record = EngineRecord(
            network=network,
            model_sha256=self._manifest.files[network].sha256,
            engine_sha256="",
            engine_bytes=0,
            asked=asked,
            reason=reason,
            fingerprint=self._fingerprint(network, rung),
        )
        self.records[network] = write_engine(order.folder, order.library, engine, record)
        order.report(f"{network}: {len(engine) / 1e6:.1f} MB")

    def _compile(self, network: str, rung: Rung) -> bytes:
        graph = load_graph(rung, network, self._target)
        profiles = make_profiles(network, graph, profiles_of(self._manifest, network))
        tf32 = rung.precision != "float32"  # the last rung is meant to be exact
        try:
            return self._compiler.compile(network, graph, profiles, tf32)
        except BuildError as error:
            raise BuildError(f"{rung.graph}: {error}") from error

    def _fingerprint(self, network: str, rung: Rung) -> Fingerprint:
        gpu = self._target.gpu
        return Fingerprint(
            onnx_sha256=file_sha256(rung.graph),
            tensorrt=self._compiler.version,
            gpu="" if gpu is None else gpu.name,
            compute_capability=str(self._target),
            driver="" if gpu is None else gpu.driver,
            precision=rung.precision,
            profiles=list(profiles_of(self._manifest, network)),
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=exporter("build_tensorrt"),
        description=with_exporter(__doc__),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", help="a model's name, or the path of its folder")
    parser.add_argument(
        "--rtx", action="store_true", help="engines of TensorRT for RTX, without a GPU"
    )
    parser.add_argument(
        "--capability",
        type=_capability,
        metavar="X.Y",
        help="with --rtx: one compute capability, such as 7.5 for RTX 20; else 8.0 and newer",
    )
    parser.add_argument(
        "--precision", choices=tuple(PRECISIONS), help="the lowest to try; else the lowest there is"
    )
    parser.add_argument(
        "--level", type=int, default=DEFAULT_LEVEL, choices=range(6), help="search effort (3)"
    )
    parser.add_argument("--pictures", type=Path, help="folder to compare on")
    parser.add_argument(
        "--no-check", action="store_true", help="leave the comparison to the first run"
    )
    return parser


def _capability(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    if not (text.isascii() and major.isdecimal() and minor.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text}: expected two numbers such as 7.5")
    try:
        check_capability(TENSORRT_RTX, text)
    except NoTensorRtError as error:
        raise argparse.ArgumentTypeError(error.reason) from error
    return int(major), int(minor)


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns 0, or 4 where the engines cannot be built."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.capability and not options.rtx:
        parser.error("--capability: with --rtx only; TensorRT builds for the GPU of this machine")
    if options.pictures and options.rtx:
        parser.error("--pictures: not with --rtx, which leaves the comparison to the first run")
    try:
        folder = find_model(options.model)
        if PRECISIONS.get(options.precision) not in ("tf32", "float32"):
            require_half(folder)
        order = BuildOrder(
            folder=folder,
            library=TENSORRT_RTX if options.rtx else TENSORRT,
            capability=options.capability,
            precision=PRECISIONS.get(options.precision),
            level=options.level,
            check=not options.no_check,
            pictures=options.pictures,
            report=lambda line: print(line, flush=True),
        )
        build_engines(order)
    except (EngineError, ModelFileError) as error:
        print(f"export: {error}", file=sys.stderr)
        return EXIT_MODEL
    except KeyboardInterrupt:
        print("export: stopped; engines that were finished are kept", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    prepare_streams()
    sys.exit(main())
