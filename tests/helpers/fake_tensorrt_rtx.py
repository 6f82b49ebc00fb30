"""A stand-in for `tensorrt_rtx` over `FakeCuda`: what is another way than in `fake_tensorrt`.

An engine belongs to no GPU; the kernels of a shape are compiled at its first run, or come from a
cache. What NVIDIA's pages forbid raises `DriverFault`: a capture without asking whether it may be,
or of a context whose kernels may still change, and memory that nobody gave.
"""

from __future__ import annotations

import json
import sys
import weakref
from collections import Counter
from enum import IntEnum
from typing import Any

from tests.helpers import fake_tensorrt
from tests.helpers import fake_tensorrt_builder as building
from tests.helpers.fake_cuda import DriverFault, FakeCuda
from tests.helpers.fake_tensorrt import Context, Engine, FakeTensorRt
from tests.helpers.fake_tensorrt_builder import (
    MAGIC,
    ExecutionContextAllocationStrategy,
    HostMemory,
)

KERNELS = b"FAKE-KERNELS\n"


class BuilderFlag(IntEnum):
    TF32 = 7
    REQUIRE_USER_ALLOCATION = 22


class ComputeCapability(IntEnum):
    SM75 = 75
    SM80 = 80
    SM86 = 86
    SM89 = 89
    SM120 = 120
    SM121 = 121


class CudaGraphStrategy(IntEnum):
    DISABLED = 0
    WHOLE_GRAPH_CAPTURE = 1


class DynamicShapesKernelSpecializationStrategy(IntEnum):
    LAZY = 0
    EAGER = 1
    NONE = 2


class RuntimeCache:
    """IRuntimeCache."""

    def __init__(self, trt: FakeTensorRtRtx) -> None:
        self._made_for = [trt.__version__, trt.cuda.name]
        self._kernels: list[str] = []

    def deserialize(self, blob):
        if not blob.startswith(KERNELS):
            raise DriverFault("deserialize: of something that is no cache")
        made_for, kernels = json.loads(blob[len(KERNELS) :])
        if made_for != self._made_for:
            return False
        self._kernels = kernels
        return True

    def serialize(self):
        data = json.dumps([self._made_for, self._kernels]).encode()
        return HostMemory(KERNELS + data) if self._kernels else None


class RuntimeConfig:
    """IRuntimeConfig."""

    def __init__(self, trt: FakeTensorRtRtx) -> None:
        self._trt = trt
        self._cache: Any = lambda: None
        self._memory = ExecutionContextAllocationStrategy.STATIC
        self.cuda_graph_strategy = CudaGraphStrategy.DISABLED
        strategies = DynamicShapesKernelSpecializationStrategy
        self.dynamic_shapes_kernel_specialization_strategy = strategies.LAZY

    def create_runtime_cache(self):
        return RuntimeCache(self._trt)

    def set_runtime_cache(self, cache):
        self._cache = weakref.ref(cache)  # it is the caller who keeps it
        return True

    def set_execution_context_allocation_strategy(self, strategy):
        self._memory = strategy


class RtxEngine(Engine):
    """ICudaEngine."""

    def create_runtime_config(self):
        return RuntimeConfig(self.trt)

    def create_execution_context(self, runtime_config=None):
        if runtime_config is None or runtime_config.cuda_graph_strategy:
            raise DriverFault("a context of its own memory, or that captures by itself")
        return RtxContext(self, runtime_config)


class RtxContext(Context):
    """IExecutionContext."""

    def __init__(self, engine: RtxEngine, config: RuntimeConfig) -> None:
        user_managed = ExecutionContextAllocationStrategy.USER_MANAGED
        super().__init__(engine, config._memory == user_managed)
        if engine.facts["user_allocation"] != (config._memory == user_managed):
            raise DriverFault("built for memory of another kind than the context's")
        self._config = weakref.ref(config)
        kernels = DynamicShapesKernelSpecializationStrategy
        self._settled = config.dynamic_shapes_kernel_specialization_strategy == kernels.EAGER
        self._asked = False

    def is_stream_capturable(self, stream):
        self._asked = True
        return bool(self._engine.facts["user_allocation"]) and not self._engine.trt.uncapturable

    def execute_async_v3(self, stream_handle):
        trt, config = self._engine.trt, self._config()
        cache = None if config is None else config._cache()
        if cache is None:
            raise DriverFault("execute_async_v3: the configuration or the cache was destroyed")
        kernel = f"{self._engine.facts['stem']} {sorted(self._shapes.items())}"
        if trt.cuda._streams[int(stream_handle)].captured is not None:
            if not self._asked or not self._settled or kernel not in cache._kernels:
                raise DriverFault("captured unasked, or before its kernels were settled")
        elif kernel not in cache._kernels:
            trt.compiled[self._engine.facts["stem"]] += 1
            cache._kernels.append(kernel)
        return super().execute_async_v3(stream_handle)


class RtxConfig(building.Config):
    """IBuilderConfig."""

    def __init__(self) -> None:
        super().__init__()
        self.num_compute_capabilities = 0

    def set_flag(self, flag):
        self.flags.add(flag)

    def set_compute_capability(self, compute_capability, index):
        if index >= self.num_compute_capabilities:
            raise DriverFault("set_compute_capability: more than there shall be")

    def create_timing_cache(self, serialized_timing_cache):
        raise DriverFault("create_timing_cache: it asks the GPU, and there need not be one")


class RtxBuilder(building.Builder):
    def create_builder_config(self):
        return RtxConfig()

    def build_serialized_network(self, network, config):
        unused = building.TimingCache(b"")
        config._cache = lambda: unused
        engine = super().build_serialized_network(network, config)
        header, _, model = engine[len(MAGIC) :].partition(b"\n")
        facts = json.loads(header)
        facts |= {"gpu": "", "user_allocation": BuilderFlag.REQUIRE_USER_ALLOCATION in config.flags}
        return HostMemory(MAGIC + json.dumps(facts).encode() + b"\n" + model)


class FakeTensorRtRtx(FakeTensorRt):
    """The module."""

    BuilderFlag = BuilderFlag
    ComputeCapability = ComputeCapability
    CudaGraphStrategy = CudaGraphStrategy
    DynamicShapesKernelSpecializationStrategy = DynamicShapesKernelSpecializationStrategy
    engine_class = RtxEngine

    def __init__(self, cuda: FakeCuda) -> None:
        super().__init__(cuda, "1.7.1.116")
        self.compiled: Counter[str] = Counter()  # network to kernels compiled for a shape of it

    def Builder(self, logger):
        return RtxBuilder(self, logger)


def install(monkeypatch: Any) -> tuple[FakeCuda, FakeTensorRtRtx]:
    """As `fake_tensorrt.install`, with TensorRT for RTX alone."""
    cuda, _ = fake_tensorrt.install(monkeypatch)
    rtx = FakeTensorRtRtx(cuda)
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", rtx)
    return cuda, rtx
