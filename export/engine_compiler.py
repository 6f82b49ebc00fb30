"""From a graph to an engine: the parser and the compiler of TensorRT, or of TensorRT for RTX."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from samcam.engines import EngineError
from samcam.engines.tensorrt import (
    GpuInfo,
    Library,
    find_gpu,
    import_library,
    make_logger,
    write_engine_file,
)
from samcam.export.build_progress import interruptible, make_monitor
from samcam.export.rtx_options import set_rtx_options
from samcam.export.shape_profiles import Profile

if TYPE_CHECKING:
    import onnx
    import tensorrt as trt

DEFAULT_LEVEL: Final = 3  # the libraries' own default, of 0..5
MAX_CACHE_BYTES: Final = 256 << 20
CACHE_NAME: Final = "timing.cache"
PORTABLE: Final = (8, 0)  # of TensorRT for RTX: this compute capability and every newer one

_WORKSPACE_SHARE: Final = 2  # at most half of the GPU's memory while building


class BuildError(EngineError):
    """The library cannot read a graph, or build an engine from it."""


@dataclass(frozen=True, slots=True)
class Target:
    """What engines are compiled for.

    Attributes:
        library: What compiles and runs them.
        capability: Compute capability, for example (8, 9).
        portable: Whether they run on every newer one too.
        gpu: The GPU of this machine if they are for that one alone.
    """

    library: Library
    capability: tuple[int, int]
    portable: bool = False
    gpu: GpuInfo | None = None

    def __str__(self) -> str:
        """As it stands in a fingerprint: "8.9", or "8.0+"."""
        return ".".join(map(str, self.capability)) + ("+" if self.portable else "")


def gpu_target(library: Library) -> Target:
    """Return the GPU of this machine.

    Raises:
        NoGpuError: There is none.
    """
    gpu = find_gpu()
    return Target(library, gpu.capability, gpu=gpu)


class EngineCompiler:
    """The library's builder for one target."""

    def __init__(self, target: Target, level: int = DEFAULT_LEVEL, cache: Path | None = None):
        """Import the library and make its builder.

        Args:
            level: How long it may search, 0..5.
            cache: File for what it measures on the GPU, where it does.

        Raises:
            NoTensorRtError: The library cannot be imported.
        """
        self._trt = import_library(target.library)
        self._target = target
        self._level = level
        self._cache = cache if target.library.timing_cache else None
        self._logger = make_logger(self._trt)
        self._builder = self._trt.Builder(self._logger)

    @property
    def version(self) -> str:
        return str(self._trt.__version__)

    def compile(
        self,
        title: str,
        model: onnx.ModelProto,
        profiles: Sequence[Profile] = (),
        tf32: bool = True,
    ) -> bytes:
        """Compile a graph.

        Args:
            title: Of the progress bar.
            profiles: Of its inputs; none for a graph without free axes.
            tf32: Whether fp32 matrix products may round what they multiply to TF32.

        Raises:
            BuildError: It is refused; says which node or why.
            KeyboardInterrupt: The user stopped it.
        """
        trt = self._trt
        self._logger.last_error = ""
        # TensorRT 11 builds nothing else; version 10 then takes the graph's own precisions too.
        flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        definition = self._builder.create_network(flags)
        parser = trt.OnnxParser(definition, self._logger)
        # Bytes and no path: on Windows the parser reads paths in the code page only.
        if not parser.parse(model.SerializeToString()):
            raise BuildError(f"{self._title} cannot read it: {_parser_errors(parser)}")
        config = self._builder.create_builder_config()
        config.builder_optimization_level = self._level
        config.max_aux_streams = 0  # one stream: fewer buffers, and a graph without forks
        if not tf32:
            config.clear_flag(trt.BuilderFlag.TF32)
        if self._target.gpu is not None:
            memory = self._target.gpu.memory_bytes // _WORKSPACE_SHARE
            config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, memory)
        else:
            capability = None if self._target.portable else self._target.capability
            set_rtx_options(trt, config, capability)
        self._add_profiles(config, profiles)
        cache = self._read_cache(config)  # must live until the engine is built
        engine = self._serialise(title, definition, config)
        if engine is None:
            said = self._logger.last_error or "no reason given"
            raise BuildError(f"{self._title} cannot build an engine: {said}")
        if cache is not None:
            self._write_cache(cache)
        return bytes(engine)

    @property
    def _title(self) -> str:
        return f"{self._target.library.title} {self.version}"

    def _serialise(
        self, title: str, definition: trt.INetworkDefinition, config: trt.IBuilderConfig
    ) -> trt.IHostMemory | None:
        with interruptible() as interrupt:
            # Kept in a variable: the build calls it until it ends.
            monitor = make_monitor(self._trt, title, interrupt)
            config.progress_monitor = monitor
            try:
                engine = self._builder.build_serialized_network(definition, config)
            finally:
                monitor.close()
        if interrupt.is_set():
            raise KeyboardInterrupt
        return engine

    def _add_profiles(self, config: trt.IBuilderConfig, profiles: Sequence[Profile]) -> None:
        for shapes_of in profiles:
            profile = self._builder.create_optimization_profile()
            for name, shapes in shapes_of.items():
                profile.set_shape(name, shapes[0], shapes[1], shapes[2])
            if config.add_optimization_profile(profile) < 0:
                raise BuildError(f"{self._title} refused the profile {shapes_of}")

    def _read_cache(self, config: trt.IBuilderConfig) -> trt.ITimingCache | None:
        """Take the timings of earlier builds; those of another GPU or version are left."""
        if self._cache is None:
            return None
        data = b""
        if self._cache.is_file() and self._cache.stat().st_size <= MAX_CACHE_BYTES:
            data = self._cache.read_bytes()
        cache = config.create_timing_cache(data)
        if cache is None or not config.set_timing_cache(cache, False):
            cache = config.create_timing_cache(b"")
            config.set_timing_cache(cache, False)
        return cache

    def _write_cache(self, cache: trt.ITimingCache) -> None:
        if self._cache is not None:
            write_engine_file(self._cache, bytes(cache.serialize()))


def _parser_errors(parser: trt.OnnxParser) -> str:
    """Return what the parser refused, in one line, each with the node's name and operator."""
    found = []
    for index in range(parser.num_errors):
        error = parser.get_error(index)
        code = str(error.code()).rpartition(".")[2].replace("_", " ").lower()
        text = " ".join(f"{code}: {error.desc()}".split())
        operator = error.node_operator()
        found.append(f"node {error.node_name()} ({operator}): {text}" if operator else text)
    return "; ".join(dict.fromkeys(found)) or "no reason given"
