"""A stand-in for the `tensorrt` module over `FakeCuda`; an "engine" is an ONNX file with profiles.

Only what the program uses is here, under the real names; tests/engines/test_tensorrt_names.py
compares them with the real bindings. ONNX Runtime does the arithmetic, when the fake stream gets
there.
"""

from __future__ import annotations

import json
import sys
import weakref
from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime

from samcam.engines.tensorrt import cuda_memory, driver
from tests.helpers import fake_tensorrt_builder as building
from tests.helpers.fake_cuda import Block, DriverFault, FakeCuda, Operation
from tests.helpers.fake_tensorrt_builder import (
    MAGIC,
    ExecutionContextAllocationStrategy,
    ILogger,
    TensorIOMode,
    tensor_of,
)

_NUMPY = {
    "FLOAT": "float32",
    "UINT8": "uint8",
    "INT32": "int32",
    "INT64": "int64",
    "BOOL": "bool",
    "HALF": "float16",
}


class FakeTensorRt:
    """The module."""

    DataType = building.DataType
    TensorIOMode = TensorIOMode
    BuilderFlag = building.BuilderFlag
    ExecutionContextAllocationStrategy = building.ExecutionContextAllocationStrategy
    LayerInformationFormat = building.LayerInformationFormat
    MemoryPoolType = building.MemoryPoolType
    NetworkDefinitionCreationFlag = building.NetworkDefinitionCreationFlag
    ILogger = ILogger
    IProgressMonitor = building.IProgressMonitor

    @property
    def engine_class(self):
        return Engine

    def __init__(self, cuda: FakeCuda, version: str = "11.4.0.106") -> None:
        self.cuda = cuda
        self.__version__ = version
        self.built: Counter[str] = Counter()  # network and precision to number of builds
        # The same, float32 standing for tf32 too, to what its outputs are wrong by.
        self.noise: dict[str, float] = {}
        self.broken: set[str] = set()  # that cannot be built
        self.uncapturable = False
        self.weight_memory = 1 << 40  # what the device has for the weights of one engine

    def Runtime(self, logger):
        self._need_device(logger)
        return SimpleNamespace(
            deserialize_cuda_engine=lambda serialized_engine: self._engine(
                serialized_engine, logger
            )
        )

    def Builder(self, logger):
        self._need_device(logger)
        return building.Builder(self, logger)

    def OnnxParser(self, network, logger):
        return building.Parser(self, network)

    def _need_device(self, logger) -> None:
        if not self.cuda.driver or not self.cuda.devices:
            raise DriverFault("TensorRT without a driver: the process would crash")
        if not getattr(logger, "initialised", False):
            raise DriverFault("the logger's base class was not initialised")

    def _engine(self, data, logger):
        if not data.startswith(MAGIC):
            logger.log(ILogger.ERROR, "Magic tag does not match")
            return None
        header, _, model = data[len(MAGIC) :].partition(b"\n")
        facts = json.loads(header)
        if facts["version"] != self.__version__ or facts["gpu"] not in ("", self.cuda.name):
            logger.log(ILogger.ERROR, "The engine plan file is not compatible")
            return None
        if len(model) > self.weight_memory:
            logger.log(ILogger.ERROR, "Error Code 1: Cuda Runtime (out of memory)")
            return None
        return self.engine_class(self, facts, model, logger)


class Engine:
    """ICudaEngine."""

    def __init__(self, trt: FakeTensorRt, facts: dict[str, Any], model: bytes, logger: Any) -> None:
        self.trt = trt
        self.logger = logger
        self.facts = facts
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(model, options)
        graph = onnx.load_from_string(model).graph
        self.tensors = {v.name: tensor_of(v) for v in (*graph.input, *graph.output)}
        self.layers = [node.name or node.op_type for node in graph.node]
        self.input_names = [v.name for v in graph.input]
        self.output_names = [v.name for v in graph.output]

    @property
    def num_io_tensors(self):
        return len(self.tensors)

    @property
    def num_optimization_profiles(self):
        return len(self.facts["profiles"])

    def get_tensor_name(self, index):
        return list(self.tensors)[-1 - index]  # in an order of its own

    def get_tensor_mode(self, name):
        return TensorIOMode.INPUT if name in self.input_names else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name):
        return self.tensors[name].dtype

    def get_tensor_profile_shape(self, name, profile_index):
        return [tuple(s) for s in self.facts["profiles"][profile_index][name]]

    @property
    def device_memory_size_v2(self):
        """The same for all profiles; of the size of the largest one's inputs."""
        shapes = [s for profile in self.facts["profiles"] for s in profile.values()]
        return max(int(np.prod(largest)) for _, _, largest in shapes)

    def create_engine_inspector(self):
        told = json.dumps({"Layers": self.layers})
        return SimpleNamespace(get_engine_information=lambda format: told)

    def create_execution_context(self, strategy=ExecutionContextAllocationStrategy.STATIC):
        return Context(self, strategy == ExecutionContextAllocationStrategy.USER_MANAGED)


class Context:
    """IExecutionContext."""

    def __init__(self, engine: Engine, takes_memory: bool = False) -> None:
        self._engine = engine
        self._takes_memory = takes_memory
        self._scratch: Block | None = None
        self._profile: int | None = None
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}

    def set_device_memory(self, memory, size):
        if not self._takes_memory:
            raise DriverFault("set_device_memory: the context has memory of its own")
        if size < self._engine.device_memory_size_v2:
            raise DriverFault("set_device_memory: too little for the engine")
        _, self._scratch = self._engine.trt.cuda.device_bytes(memory, size)

    def set_optimization_profile_async(self, profile_index, stream_handle):
        self._profile = profile_index
        return 0 <= profile_index < self._engine.num_optimization_profiles

    def set_input_shape(self, name, shape):
        small, _, large = self._engine.get_tensor_profile_shape(name, self._profile)
        fits = len(shape) == len(small) and all(
            a <= n <= b for a, n, b in zip(small, shape, large, strict=True)
        )
        if fits:
            self._shapes[name] = tuple(shape)
        return fits

    def set_tensor_address(self, name, memory):
        self._addresses[name] = memory
        return name in self._engine.tensors

    def get_tensor_shape(self, name):
        """Static, or B: no network here has other free axes among its outputs."""
        shape = self._engine.tensors[name].shape
        return tuple(1 if axis < 0 else axis for axis in shape)

    def execute_async_v3(self, stream_handle):
        engine, cuda = self._engine, self._engine.trt.cuda
        if cuda.error is not None:
            engine.logger.log(ILogger.ERROR, f"CUDA error {cuda.error} launching a kernel")
            return False
        if set(self._shapes) != set(engine.input_names):
            return False
        if set(self._addresses) != set(engine.tensors):
            return False
        if engine.trt.uncapturable:
            cuda._capturing()
        shapes, addresses = dict(self._shapes), dict(self._addresses)
        views, blocks = {}, []
        if self._takes_memory:
            if self._scratch is None:
                raise DriverFault("execute_async_v3: the context was given no memory")
            blocks.append(self._scratch)
        for name, address in addresses.items():
            dtype = np.dtype(_NUMPY[engine.tensors[name].dtype.name])
            shape = shapes.get(name) or self.get_tensor_shape(name)
            data, block = cuda.device_bytes(address, int(np.prod(shape)) * dtype.itemsize)
            views[name] = data.view(dtype).reshape(shape)
            blocks.append(block)
        noise = max((engine.trt.noise.get(engine.facts[k], 0.0) for k in ("stem", "kind")), key=abs)
        me = weakref.ref(self)

        def work() -> None:
            feeds = {name: views[name].copy() for name in engine.input_names}
            results = engine.session.run(engine.output_names, feeds)
            for name, result in zip(engine.output_names, results, strict=True):
                views[name][...] = result + noise

        def check() -> None:
            context = me()
            if context is None:
                raise DriverFault("graph launched after its execution context was destroyed")
            if context._addresses != addresses or context._shapes != shapes:
                raise DriverFault("an address or shape was changed after capture")

        cuda.enqueue(stream_handle, Operation(work, blocks, None, check))
        return True


def install(monkeypatch: Any, cuda: FakeCuda | None = None) -> tuple[FakeCuda, FakeTensorRt]:
    """Fake `import tensorrt`, `from cuda.bindings import runtime` and the driver's libraries."""
    cuda = cuda or FakeCuda()
    trt = FakeTensorRt(cuda)
    bindings = SimpleNamespace(runtime=cuda)
    for name, module in (
        ("cuda", SimpleNamespace(bindings=bindings)),
        ("cuda.bindings", bindings),
        ("cuda.bindings.runtime", cuda),
        ("tensorrt", trt),
    ):
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(driver, "_load", lambda names: cuda)
    monkeypatch.setattr(cuda_memory, "_devices", {})  # none of an earlier test
    return cuda, trt
