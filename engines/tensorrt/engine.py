"""An engine of TensorRT, or of TensorRT for RTX: loaded, with a context for each profile."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from samcam.engines.base import EngineError, GpuMemoryError, TensorSpec
from samcam.engines.graph_table import NETWORKS
from samcam.engines.manifest import Manifest, read_manifest
from samcam.engines.tensorrt.cuda_memory import CudaDevice, DeviceBlock
from samcam.engines.tensorrt.cuda_runtime import GpuInfo
from samcam.engines.tensorrt.files import (
    EngineFileError,
    Fingerprint,
    build_hint,
    check_record,
    engine_path,
    profiles_of,
    read_engine,
    read_record,
)
from samcam.engines.tensorrt.library import Library, check_capability, import_library
from samcam.engines.tensorrt.rtx_contexts import RtxContexts
from samcam.engines.tensorrt.runtime import make_logger, numpy_types

if TYPE_CHECKING:
    import tensorrt as trt

# How the libraries tell that memory ran out, in what they log.
_OUT_OF_MEMORY: Final = re.compile("out ?of ?memory|could not be allocated", re.IGNORECASE)

Shapes: TypeAlias = dict[str, tuple[int, ...]]
"""By input."""


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


class Engine:
    """One network's engine; its contexts share their scratch memory, as only one is at work."""

    def __init__(self, library: Library, device: CudaDevice, folder: Path, network: str) -> None:
        """Load the engine of a model's folder; the device, which lives longer, is in use.

        Raises:
            NoTensorRtError: The library cannot be used, or not on this GPU.
            EngineFileError: The engine is missing, damaged, stale or built elsewhere.
            ModelFileError: The model's manifest is damaged.
            GpuMemoryError: There is too little memory for it.
            EngineError: It is refused.
        """
        check_capability(library, device.info.compute_capability)
        self._name = f"{network} ({engine_path(folder, library, network)})"
        self._way_out = f"{build_hint(folder, library)}, or use --backend onnxruntime"
        self._network = network
        self._library = library
        self._device = device
        self._trt = import_library(library)
        self._logger = make_logger(self._trt)
        self._logger.last_error = ""
        self._runtime: trt.Runtime = None
        self._engine: trt.ICudaEngine = None
        self._contexts: list[trt.IExecutionContext] = []
        self._rtx: RtxContexts | None = None
        self._scratch: DeviceBlock | None = None
        try:
            self._runtime, self._engine = self._load(folder)
            if library.runtime_cache:
                path = engine_path(folder, library, network)
                self._rtx = RtxContexts(self._trt, self._engine, path)
            self._scratch = device.allocate(self._engine.device_memory_size_v2)
            for profile in range(self._engine.num_optimization_profiles):
                self._contexts.append(self._make_context(profile))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Free it; idempotent. Nothing of it may be at work."""
        # Contexts before their engine, the engine before its runtime, all before the device.
        self._contexts.clear()
        if self._rtx is not None:
            self._rtx.close()
        self._rtx = None
        self._engine = None
        self._runtime = None
        self._scratch = None

    @property
    def profiles(self) -> int:
        return len(self._contexts)

    def shapes(self, profile: int) -> Shapes:
        """Return the shapes of a profile's inputs that its context starts with: the usual ones."""
        return {name: self._bounds(name, profile)[1] for name in self._inputs()}

    def largest(self, tensor: str) -> tuple[int, ...]:
        """Return the shape of an input in the profile that has most of it."""
        return max((self._bounds(tensor, p)[2] for p in range(self.profiles)), key=_count)

    def is_fixed(self, profile: int) -> bool:
        """Whether a profile takes one shape of every input, so that it can be captured."""
        return all(len(set(self._bounds(name, profile))) == 1 for name in self._inputs())

    def set_address(self, tensor: str, address: int) -> None:
        """Tell where an input is read, or an output written, by every context."""
        for context in self._contexts:
            self._accept(context.set_tensor_address(tensor, address), f"the address of {tensor}")

    def set_shapes(self, profile: int, shapes: Shapes) -> None:
        context = self._contexts[profile]
        for name, shape in shapes.items():
            self._accept(context.set_input_shape(name, shape), f"the shape {shape} of {name}")

    def start(self, profile: int, stream: int) -> None:
        """Queue a run.

        Raises:
            EngineError: It is refused; says why.
        """
        self._accept(self._contexts[profile].execute_async_v3(stream), "the start")

    def may_capture(self, profile: int, stream: int) -> bool:
        """Whether a profile's run can be captured in a CUDA graph; ask after its first run."""
        return self._rtx is None or self._rtx.may_capture(self._contexts[profile], stream)

    def keep(self) -> None:
        """Keep on disk what was compiled for this GPU, where the library does that."""
        if self._rtx is not None:
            self._rtx.save()

    def specs(self) -> tuple[dict[str, TensorSpec], dict[str, TensorSpec]]:
        """Return inputs and outputs. An axis is free where a profile leaves it a choice."""
        types = numpy_types(self._trt)
        context = self._contexts[0]
        inputs: dict[str, TensorSpec] = {}
        outputs: dict[str, TensorSpec] = {}
        for tensor, wanted in self._in_table_order():
            kind = self._engine.get_tensor_dtype(tensor)
            dtype = types.get(kind, str(kind))
            if self._is_input(tensor):
                inputs[tensor] = TensorSpec(tensor, dtype, self._input_shape(tensor, wanted))
            else:
                outputs[tensor] = TensorSpec(tensor, dtype, tuple(context.get_tensor_shape(tensor)))
        return inputs, outputs

    def _load(self, folder: Path) -> tuple[trt.Runtime, trt.ICudaEngine]:
        """Check the record, read the file, make the engine."""
        library = self._library
        manifest = read_manifest(folder)
        record = read_record(folder, library, self._network)
        here = fingerprint_here(self._trt, self._device.info, manifest, self._network)
        check_record(folder, library, record, manifest, here)
        data = read_engine(folder, library, record)
        runtime = self._trt.Runtime(self._logger)
        engine = runtime.deserialize_cuda_engine(data)
        if engine is None:
            error = self._refused("the file")
            if isinstance(error, GpuMemoryError):
                raise error
            raise EngineFileError(error.reason, build_hint(folder, library))
        return runtime, engine

    def _make_context(self, profile: int) -> trt.IExecutionContext:
        """Return a context for one profile, with the profile's usual shapes set."""
        if self._rtx is not None:
            context = self._rtx.make(self._engine, self.is_fixed(profile))
        else:
            strategy = self._trt.ExecutionContextAllocationStrategy.USER_MANAGED
            context = self._engine.create_execution_context(strategy)
        if context is None:
            raise self._refused("an execution context")
        if self._scratch is not None:
            context.set_device_memory(self._scratch.address, self._scratch.size)
        chosen = context.set_optimization_profile_async(profile, self._device.stream)
        self._accept(chosen, f"the optimisation profile {profile}")
        self._device.wait()
        for name, shape in self.shapes(profile).items():
            self._accept(context.set_input_shape(name, shape), f"the shape {shape} of {name}")
        return context

    def _inputs(self) -> list[str]:
        names = map(self._engine.get_tensor_name, range(self._engine.num_io_tensors))
        return [name for name in names if self._is_input(name)]

    def _is_input(self, tensor: str) -> bool:
        return bool(self._engine.get_tensor_mode(tensor) == self._trt.TensorIOMode.INPUT)

    def _bounds(self, tensor: str, profile: int) -> list[tuple[int, ...]]:
        """Return the smallest, the usual and the largest shape."""
        return [tuple(dims) for dims in self._engine.get_tensor_profile_shape(tensor, profile)]

    def _in_table_order(self) -> list[tuple[str, tuple[int | str, ...]]]:
        """Return the engine's tensors with their shapes in the table; unknown ones last."""
        table = NETWORKS[self._network]
        shapes = {spec.name: spec.shape for spec in (*table.inputs, *table.outputs)}
        found = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        places = {name: place for place, name in enumerate(shapes)}
        found.sort(key=lambda name: places.get(name, len(places)))
        return [(name, shapes.get(name, ())) for name in found]

    def _input_shape(self, tensor: str, wanted: tuple[int | str, ...]) -> tuple[int | str, ...]:
        """Return an input's shape with the table's name where a profile leaves a choice."""
        bounds = [dims for p in range(self.profiles) for dims in self._bounds(tensor, p)]
        shape: list[int | str] = []
        for i, lengths in enumerate(zip(*bounds, strict=True)):
            name = wanted[i] if i < len(wanted) else None
            free = name if isinstance(name, str) else f"{tensor}.{i}"
            shape.append(int(lengths[0]) if len(set(lengths)) == 1 else free)
        return tuple(shape)

    def _accept(self, answer: bool, what: str) -> None:
        """Raise where the library refused a call; it logged why."""
        if not answer:
            raise self._refused(what)

    def _refused(self, what: str) -> EngineError:
        said = self._logger.last_error or "no reason given"
        title = f"{self._library.title} {self._trt.__version__}"
        text = f"{self._name}: {title} refused {what}: {said}"
        if _OUT_OF_MEMORY.search(said):
            return self._device.with_sizes(GpuMemoryError(text))
        return EngineError(text, self._way_out)


def _count(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape))
