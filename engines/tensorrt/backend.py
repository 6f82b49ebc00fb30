"""A network on TensorRT 11 or 10, on an NVIDIA GPU, without torch.

Inputs and outputs have fixed places on the device. A run copies its feeds there, most of them
from one place on the device to another, and starts the network. The shapes of tracking (one
point, memories and pointers padded to their limits) are captured as a CUDA graph at the first
run; prompts with more points run call by call in a second context. All networks of a process
share one stream (`engines.tensorrt.cuda_memory`), so nothing waits between them: the host first
waits when it reads a mask.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from samcam.engines.base import DeviceTensor, EngineError, Feed, TensorSpec
from samcam.engines.graph_table import MASK_DECODER, MASK_PROMPT, NETWORKS
from samcam.engines.host_tensors import check_shapes
from samcam.engines.manifest import Manifest, read_manifest
from samcam.engines.options import EngineOptions
from samcam.engines.tensorrt.cuda_memory import CudaDevice, open_device
from samcam.engines.tensorrt.cuda_runtime import CudaError, CudaGraph, CudaStamp, GpuInfo
from samcam.engines.tensorrt.cuda_tensors import CudaTensor, FixedInput, HostMirror
from samcam.engines.tensorrt.files import (
    MAX_POINTS,
    EngineFileError,
    Fingerprint,
    build_hint,
    check_record,
    engine_path,
    profiles_of,
    read_engine,
    read_record,
)
from samcam.engines.tensorrt.library import TENSORRT, Library, import_library
from samcam.engines.tensorrt.runtime import make_logger, numpy_types

if TYPE_CHECKING:
    import tensorrt as trt

TRACKING, PROMPTS = 0, 1  # optimisation profiles; a network without points has the first only
# Every output of these is read on the host, so each run sends them there by itself.
HOST_OUTPUTS: Final = frozenset({MASK_DECODER, MASK_PROMPT})

_log = logging.getLogger(__name__)


def fingerprint_here(trt: Any, gpu: GpuInfo, manifest: Manifest, network: str) -> Fingerprint:
    """Return the fingerprint of an engine made here and now; without hash and precision."""
    return Fingerprint(
        onnx_sha256="",
        tensorrt=str(trt.__version__),
        gpu=gpu.name,
        compute_capability=gpu.compute_capability,
        driver=gpu.driver,
        precision="",
        profiles=list(profiles_of(manifest, network)),
    )


class TensorRtBackend:
    """One engine with its contexts, buffers and graph."""

    def __init__(
        self, network: str, path: Path, options: EngineOptions, library: Library = TENSORRT
    ) -> None:
        """Load the engine that belongs to a model's graph, FOLDER/NETWORK.onnx.

        Raises:
            NoGpuError, NoTensorRtError: This machine cannot run TensorRT.
            EngineFileError: The engine is missing, damaged, stale or built elsewhere.
            ModelFileError: The model's manifest is damaged.
        """
        self._name = f"{network} ({engine_path(path.parent, library, network)})"
        self._network = network
        self._closed = False
        self._graph: CudaGraph | None = None
        self._may_capture = True
        self._results: dict[str, DeviceTensor] = {}
        self._mirrors: list[HostMirror] = []
        self._runtime: Any = None
        self._engine: Any = None
        self._contexts: list[trt.IExecutionContext] = []
        self._places: dict[str, FixedInput] = {}
        # The device first: without a driver, TensorRT's objects end the process.
        self._device = open_device()
        try:
            with self._device.use():
                trt = import_library(library)
                loaded = _load_engine(trt, library, self._device.info, path.parent, network)
                self._runtime, self._engine = loaded
                self._open(trt, network)
        except BaseException:
            self._let_go()
            raise

    @property
    def graph(self) -> bool:
        return self._graph is not None

    def run(self, feeds: Mapping[str, Feed]) -> Mapping[str, DeviceTensor]:
        """Run once; see `Backend.run`. Returns before the GPU is done."""
        if self._closed:
            raise EngineError(f"{self._name}: closed")
        lengths = check_shapes(self._name, self.inputs, feeds)
        if not 1 <= lengths.get("T", 1) <= MAX_POINTS:
            raise EngineError(
                f"{self._name}: expected 1 to {MAX_POINTS} points, got {lengths['T']}"
            )
        shapes = {name: tuple(feed.shape) for name, feed in feeds.items()}
        with self._device.use(self._network):
            for name, place in self._places.items():
                place.fill(feeds[name])
            if shapes == self._tracking_shapes:
                self._run_tracking()
            else:
                self._run_prompt(shapes)
            if self._mirrors:
                self._arrived.record()
        return self._results

    def stamp(self) -> CudaStamp:
        """See `StampingBackend`."""
        with self._device.use():
            return self._device.stamp()

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            with self._device.use():
                self._device.wait()
        finally:
            self._let_go()

    def _let_go(self) -> None:
        with ExitStack() as leaving:  # from the last line to the first
            leaving.callback(self._device.release)
            leaving.callback(self._forget)
            if self._graph is not None:
                leaving.enter_context(self._device.use())
                leaving.callback(self._device.drop, self._graph)

    def _forget(self) -> None:
        self._graph = None
        # Contexts before their engine, the engine before its runtime, all before the device.
        self._contexts.clear()
        self._engine = None
        self._runtime = None
        self._places.clear()
        self._results = {}
        self._mirrors.clear()

    def _open(self, trt: Any, network: str) -> None:
        """Make contexts, buffers and specs; the device is in use."""
        engine = self._engine
        self._contexts = [
            _make_context(trt, engine, profile, self._device, self._name)
            for profile in range(engine.num_optimization_profiles)
        ]
        self.inputs, self.outputs = _specs_of(trt, engine, self._contexts[TRACKING], network)
        self._tracking_shapes = {
            name: tuple(engine.get_tensor_profile_shape(name, TRACKING)[1]) for name in self.inputs
        }
        self._places = {
            name: FixedInput(self._device, self._largest(name), np.dtype(spec.dtype))
            for name, spec in self.inputs.items()
        }
        self._arrived = self._device.make_event()
        addresses = {name: place.address for name, place in self._places.items()}
        for name, spec in self.outputs.items():
            shape, dtype = tuple(int(axis) for axis in spec.shape), np.dtype(spec.dtype)
            block = self._device.allocate(int(np.prod(shape)) * dtype.itemsize)
            mirror = None
            if network in HOST_OUTPUTS:
                mirror = HostMirror(self._device, block, shape, dtype, self._arrived)
                self._mirrors.append(mirror)
            self._results[name] = CudaTensor(self._device, block, shape, dtype, mirror)
            addresses[name] = block.address
        for context in self._contexts:
            for name, address in addresses.items():
                _accept(context.set_tensor_address(name, address), self._name, f"address of {name}")

    def _largest(self, name: str) -> int:
        profiles = range(len(self._contexts))
        shapes = [tuple(self._engine.get_tensor_profile_shape(name, p)[2]) for p in profiles]
        itemsize = np.dtype(self.inputs[name].dtype).itemsize
        return max(int(np.prod(shape)) for shape in shapes) * itemsize

    def _run_tracking(self) -> None:
        """Replay the graph; the first time run call by call, then capture."""
        if self._graph is not None:
            self._graph.launch()
            return
        self._start(TRACKING)
        if not self._may_capture:
            return
        self._may_capture = False
        try:
            self._graph = self._device.capture(lambda: self._start(TRACKING))
        except (CudaError, EngineError) as error:
            _log.warning("%s: runs without a CUDA graph, slower: %s", self._name, error)

    def _run_prompt(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Run call by call with these shapes."""
        context = self._contexts[PROMPTS]
        for name, shape in shapes.items():
            _accept(context.set_input_shape(name, shape), self._name, f"shape {shape} of {name}")
        self._start(PROMPTS)

    def _start(self, profile: int) -> None:
        """Queue the network and the copies that every run makes."""
        context = self._contexts[profile]
        _accept(context.execute_async_v3(self._device.stream), self._name, "start")
        for mirror in self._mirrors:
            mirror.fetch()


def _load_engine(
    trt: Any, library: Library, gpu: GpuInfo, folder: Path, network: str
) -> tuple[trt.Runtime, trt.ICudaEngine]:
    """Check the record, read the file, make the engine.

    Raises:
        EngineFileError: Says what is wrong with it and what builds it again.
    """
    manifest = read_manifest(folder)
    record = read_record(folder, library, network)
    here = fingerprint_here(trt, gpu, manifest, network)
    check_record(folder, library, record, manifest, here)
    data = read_engine(folder, library, record)
    logger = make_logger(trt)
    logger.last_error = ""
    runtime = trt.Runtime(logger)
    engine = runtime.deserialize_cuda_engine(data)
    if engine is None:
        raise EngineFileError(
            f"{engine_path(folder, library, network)}: refused by {library.title} "
            f"{trt.__version__} ({logger.last_error or 'no reason given'}): "
            f"{build_hint(folder, library)}"
        )
    return runtime, engine


def _make_context(
    trt: Any, engine: trt.ICudaEngine, profile: int, device: CudaDevice, name: str
) -> trt.IExecutionContext:
    """Return a context of its own for one profile, with the profile's usual shapes set."""
    context = engine.create_execution_context()
    if context is None:
        raise EngineError(f"{name}: no execution context: is the GPU out of memory?")
    chosen = context.set_optimization_profile_async(profile, device.stream)
    _accept(chosen, name, f"optimisation profile {profile}")
    device.wait()
    for index in range(engine.num_io_tensors):
        tensor = engine.get_tensor_name(index)
        if engine.get_tensor_mode(tensor) == trt.TensorIOMode.INPUT:
            shape = tuple(engine.get_tensor_profile_shape(tensor, profile)[1])
            _accept(context.set_input_shape(tensor, shape), name, f"shape {shape} of {tensor}")
    return context


def _specs_of(
    trt: Any, engine: trt.ICudaEngine, context: trt.IExecutionContext, network: str
) -> tuple[dict[str, TensorSpec], dict[str, TensorSpec]]:
    """Return inputs and outputs. An axis is free where a profile leaves it a choice."""
    types = numpy_types(trt)
    inputs: dict[str, TensorSpec] = {}
    outputs: dict[str, TensorSpec] = {}
    for tensor, wanted in _in_table_order(engine, network):
        kind = engine.get_tensor_dtype(tensor)
        dtype = types.get(kind, str(kind))
        if engine.get_tensor_mode(tensor) == trt.TensorIOMode.OUTPUT:
            outputs[tensor] = TensorSpec(tensor, dtype, tuple(context.get_tensor_shape(tensor)))
        else:
            inputs[tensor] = TensorSpec(tensor, dtype, _input_shape(engine, tensor, wanted))
    return inputs, outputs


def _in_table_order(
    engine: trt.ICudaEngine, network: str
) -> list[tuple[str, tuple[int | str, ...]]]:
    """Return the engine's tensors with their shapes in the table; unknown ones last."""
    table = NETWORKS[network]
    shapes = {spec.name: spec.shape for spec in (*table.inputs, *table.outputs)}
    found = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    places = {name: place for place, name in enumerate(shapes)}
    found.sort(key=lambda name: places.get(name, len(places)))
    return [(name, shapes.get(name, ())) for name in found]


def _input_shape(
    engine: trt.ICudaEngine, tensor: str, wanted: tuple[int | str, ...]
) -> tuple[int | str, ...]:
    """Return an input's shape with the table's name where a profile leaves a choice."""
    bounds = [
        tuple(dims)
        for profile in range(engine.num_optimization_profiles)
        for dims in engine.get_tensor_profile_shape(tensor, profile)
    ]
    shape: list[int | str] = []
    for i, lengths in enumerate(zip(*bounds, strict=True)):
        name = wanted[i] if i < len(wanted) else None
        free = name if isinstance(name, str) else f"{tensor}.{i}"
        shape.append(int(lengths[0]) if len(set(lengths)) == 1 else free)
    return tuple(shape)


def _accept(answer: bool, name: str, what: str) -> None:
    """Raise where TensorRT refused a call; it logged why."""
    if not answer:
        raise EngineError(f"{name}: TensorRT refused the {what} (see its messages in the log)")
