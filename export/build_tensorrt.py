"""Build a model's TensorRT engines for the GPU of this machine, and compare them with the model.

python -m export.build_tensorrt sam2.1-tiny        or the path of a model folder

Takes minutes. Needs no torch: the graphs are in the model folder.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from samcam.engines import (
    NETWORKS,
    EngineError,
    EngineOptions,
    Manifest,
    ModelFileError,
    file_sha256,
    find_model,
    open_model,
    read_manifest,
    rebuild_hint,
    verify_files,
)
from samcam.engines.checks import (
    MIN_IOU,
    NetworkCheck,
    checks_key,
    checks_path,
    compare_networks,
    describe,
    read_pictures,
    refuse_bad,
    write_checks,
)
from samcam.engines.tensorrt import (
    PRECISION_LADDER,
    TENSORRT,
    EngineRecord,
    GpuInfo,
    find_gpu,
    fingerprint_here,
    graph_path,
    import_library,
    make_logger,
    profiles_of,
    remove,
    write_engine,
    write_engine_file,
)
from samcam.export.build_progress import interruptible, make_monitor
from samcam.export.shape_profiles import profile_shapes
from samcam.system import exporter, prepare_streams, with_exporter

if TYPE_CHECKING:
    import tensorrt as trt

LADDER: Final = PRECISION_LADDER
DEFAULT_LEVEL: Final = 3  # TensorRT's own default, of 0..5
MAX_CACHE_BYTES: Final = 256 << 20
EXIT_MODEL: Final = 4

# Memories are rounded to bfloat16 in every precision; older GPUs lack the type.
_LEAST_CAPABILITY: Final = (8, 0)
_WORKSPACE_SHARE: Final = 2  # at most half of the GPU's memory while building
_CACHE_NAME: Final = "timing.cache"


class BuildError(EngineError):
    """TensorRT cannot read a graph, or build an engine from it."""


@dataclass(frozen=True, kw_only=True)
class BuildOrder:
    """What to build.

    Attributes:
        folder: Of the model; the engines go to FOLDER/tensorrt/.
        level: How long TensorRT may search, 0..5.
        check: Whether to compare the engines with ONNX Runtime; where not, the first run does.
        pictures: Folder of pictures to compare on; None for the program's own.
        limit: Least IoU of a network's worst mask.
    """

    folder: Path
    level: int = DEFAULT_LEVEL
    check: bool = True
    pictures: Path | None = None
    limit: float = MIN_IOU
    report: Callable[[str], None] = lambda line: None


@dataclass(frozen=True)
class _Rung:
    """A graph that an engine can be built from."""

    precision: str
    graph: Path


def build_engines(order: BuildOrder) -> list[EngineRecord]:
    """Build the five engines; one whose answers are too far off, again in a higher precision.

    Raises:
        EngineError: No GPU, no TensorRT, a broken model, an engine that cannot be built, or one
            that misses in the highest precision there is.
    """
    gpu = find_gpu()  # first: without a driver, TensorRT's objects end the process
    _check_capability(gpu)
    trt = import_library(TENSORRT)
    manifest, rungs = _read_model(order.folder)
    builder = EngineBuilder(trt, gpu, manifest, order)
    remove(checks_path(order.folder, TENSORRT))  # of the engines that were here
    records = {network: builder.build(network, rungs[network]) for network in NETWORKS}
    if not order.check:
        return list(records.values())
    checks: dict[str, NetworkCheck] = {}
    pending = list(NETWORKS)
    while pending:
        order.report(f"comparing {', '.join(pending)} with ONNX Runtime")
        found = _compare(order, manifest, pending)
        checks |= {check.network: check for check in found}
        pending = []
        for check in found:
            left = rungs[check.network]
            if check.cases and not check.passed and len(left) > 1:
                del left[0]
                before = _missed(records[check.network], check)
                records[check.network] = builder.build(check.network, left, before)
                pending.append(check.network)
    results = [checks[network] for network in NETWORKS]
    write_checks(checks_path(order.folder, TENSORRT), checks_key(order.folder, TENSORRT), results)
    order.report(describe(results))
    refuse_bad(order.folder, TENSORRT, results)
    return list(records.values())


def _read_model(folder: Path) -> tuple[Manifest, dict[str, list[_Rung]]]:
    """Read a manifest, compare every file with it, and return the graphs of each network."""
    try:
        manifest = read_manifest(folder)
        verify_files(folder, manifest, half=True)
        return manifest, {network: _rungs(folder, manifest, network) for network in NETWORKS}
    except ModelFileError as error:
        raise EngineError(f"{error}: {rebuild_hint(folder.name)}") from error


def _check_capability(gpu: GpuInfo) -> None:
    """Refuse a GPU without bfloat16.

    Raises:
        EngineError: Names it and what runs on it.
    """
    major, _, minor = gpu.compute_capability.partition(".")
    if (int(major), int(minor)) < _LEAST_CAPABILITY:
        least = ".".join(map(str, _LEAST_CAPABILITY))
        raise EngineError(
            f"{gpu.name}: compute capability {gpu.compute_capability}, expected at least {least} "
            "for TensorRT engines: use --backend onnxruntime"
        )


def _missed(record: EngineRecord, check: NetworkCheck) -> EngineRecord:
    """Add to a record that its engine's answers are too far off."""
    text = f"{record.fingerprint.precision}: worst mask IoU {check.min_iou:.3f}"
    return replace(record, reason=_join(record.reason, text))


def _join(*reasons: str) -> str:
    return "; ".join(filter(None, reasons))


def _rungs(folder: Path, manifest: Manifest, network: str) -> list[_Rung]:
    """Return the graphs of a network, the lowest precision first.

    Raises:
        EngineError: The model's own graph is in a precision that TensorRT does not build.
        ModelFileError: A graph lies there that the manifest does not name.
    """
    entry = manifest.files[network]
    if entry.precision not in LADDER:
        raise EngineError(
            f"{folder / entry.file}: precision {entry.precision}: TensorRT engines are built from "
            f"{', '.join(LADDER)}: export the model with another --precision"
        )
    found = {entry.precision: folder / entry.file}
    for precision in LADDER:
        path = graph_path(folder, network, precision)
        if precision in manifest.half.get(network, {}):
            found.setdefault(precision, path)
        elif path.is_file():
            raise ModelFileError(f"{path}: not in the model's manifest")
    return [_Rung(precision, found[precision]) for precision in LADDER if precision in found]


def _compare(order: BuildOrder, manifest: Manifest, networks: list[str]) -> list[NetworkCheck]:
    options = EngineOptions()
    with (
        open_model("onnxruntime", order.folder, manifest, options) as reference,
        open_model("tensorrt", order.folder, manifest, options) as candidate,
    ):
        pictures = read_pictures(order.pictures)
        return compare_networks(reference, candidate, pictures, networks, order.limit)


class EngineBuilder:
    """TensorRT's builder for one model on one GPU."""

    def __init__(self, trt: Any, gpu: GpuInfo, manifest: Manifest, order: BuildOrder) -> None:
        self._trt = trt
        self._gpu = gpu
        self._manifest = manifest
        self._order = order
        self._logger = make_logger(trt)
        self._builder = trt.Builder(self._logger)
        self._cache = order.folder / TENSORRT.name / _CACHE_NAME

    def build(
        self,
        network: str,
        rungs: list[_Rung],
        before: EngineRecord | None = None,
    ) -> EngineRecord:
        """Build one engine and write it with its record.

        The first of `rungs` that can be built wins; those before it are removed from the list.
        `before` is the record of the engine that it replaces, if that one missed.

        Raises:
            EngineError: TensorRT cannot read the graph or build the engine.
            KeyboardInterrupt: The user stopped it.
        """
        asked = before.asked if before is not None else rungs[0].precision
        reason = before.reason if before is not None else ""
        while True:
            rung = rungs[0]
            self._order.report(f"{network}: building in {rung.precision} from {rung.graph.name}")
            try:
                engine = self._serialise(network, rung)
                break
            except BuildError as error:
                if len(rungs) == 1:
                    raise
                self._order.report(f"{network}: {error}")
                reason = _join(reason, f"{rung.precision}: cannot be built")
                del rungs[0]
        here = fingerprint_here(self._trt, self._gpu, self._manifest, network)
        record = EngineRecord(
            network=network,
            model_sha256=self._manifest.files[network].sha256,
            engine_sha256="",
            engine_bytes=0,
            asked=asked,
            reason=reason,
            fingerprint=replace(
                here, onnx_sha256=file_sha256(rung.graph), precision=rung.precision
            ),
        )
        written = write_engine(self._order.folder, TENSORRT, engine, record)
        self._order.report(f"{network}: {written.engine_bytes / 1e6:.1f} MB")
        return written

    def _serialise(self, network: str, rung: _Rung) -> bytes:
        trt = self._trt
        builder = self._builder
        self._logger.last_error = ""
        # TensorRT 11 builds nothing else; version 10 then takes the graph's own precisions too.
        flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        definition = builder.create_network(flags)
        parser = trt.OnnxParser(definition, self._logger)
        if not parser.parse_from_file(str(rung.graph)):
            errors = "; ".join(parser.get_error(i).desc() for i in range(parser.num_errors))
            raise BuildError(f"{rung.graph}: TensorRT cannot read it: {' '.join(errors.split())}")
        config = builder.create_builder_config()
        memory = self._gpu.memory_bytes // _WORKSPACE_SHARE
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, memory)
        config.builder_optimization_level = self._order.level
        config.max_aux_streams = 0  # one stream: fewer buffers, and a graph without forks
        if rung.precision == "float32":
            config.clear_flag(trt.BuilderFlag.TF32)  # the last rung is meant to be exact
        self._add_profiles(network, definition, config)
        cache = self._read_cache(config)  # must live until the engine is built
        with interruptible() as interrupt:
            # Kept in a variable: the build calls it until it ends.
            monitor = make_monitor(trt, network, interrupt)
            config.progress_monitor = monitor
            try:
                engine = builder.build_serialized_network(definition, config)
            finally:
                monitor.close()
        if interrupt.is_set():
            raise KeyboardInterrupt
        if engine is None:
            raise BuildError(
                f"{rung.graph}: TensorRT {trt.__version__} cannot build an engine: "
                f"{self._logger.last_error or 'no reason given'}"
            )
        self._write_cache(cache)
        return bytes(engine)

    def _add_profiles(
        self, network: str, definition: trt.INetworkDefinition, config: trt.IBuilderConfig
    ) -> None:
        for chosen in profiles_of(self._manifest, network):
            profile = self._builder.create_optimization_profile()
            for index in range(definition.num_inputs):
                tensor = definition.get_input(index)
                shapes = profile_shapes(network, tensor.name, tuple(tensor.shape), chosen)
                profile.set_shape(tensor.name, shapes[0], shapes[1], shapes[2])
            if config.add_optimization_profile(profile) < 0:
                raise EngineError(f"{network}: TensorRT refused the profile {chosen}")

    def _read_cache(self, config: trt.IBuilderConfig) -> trt.ITimingCache:
        """Take the timings of earlier builds; those of another GPU or version are left."""
        data = b""
        if self._cache.is_file() and self._cache.stat().st_size <= MAX_CACHE_BYTES:
            data = self._cache.read_bytes()
        cache = config.create_timing_cache(data)
        if cache is None or not config.set_timing_cache(cache, False):
            cache = config.create_timing_cache(b"")
            config.set_timing_cache(cache, False)
        return cache

    def _write_cache(self, cache: trt.ITimingCache) -> None:
        write_engine_file(self._cache, bytes(cache.serialize()))


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns 0, or 4 where the engines cannot be built."""
    parser = argparse.ArgumentParser(
        prog=exporter("build_tensorrt"),
        description=with_exporter(__doc__),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", help="a model's name, or the path of its folder")
    parser.add_argument(
        "--level", type=int, default=DEFAULT_LEVEL, choices=range(6), help="search effort (3)"
    )
    parser.add_argument("--pictures", type=Path, help="folder to compare on")
    parser.add_argument(
        "--no-check", action="store_true", help="leave the comparison to the first run"
    )
    options = parser.parse_args(arguments)
    try:
        order = BuildOrder(
            folder=find_model(options.model),
            level=options.level,
            check=not options.no_check,
            pictures=options.pictures,
            report=lambda line: print(line, flush=True),
        )
        build_engines(order)
    except EngineError as error:
        print(f"export: {error}", file=sys.stderr)
        return EXIT_MODEL
    except KeyboardInterrupt:
        print("export: stopped; engines that were finished are kept", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    prepare_streams()
    sys.exit(main())
