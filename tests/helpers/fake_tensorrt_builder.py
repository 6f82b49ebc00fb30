"""The enums of the fake TensorRT, and its builder: it makes an "engine" of an ONNX file."""

from __future__ import annotations

import json
import weakref
from collections import Counter
from collections.abc import Callable
from enum import IntEnum
from types import SimpleNamespace
from typing import Any, Protocol

import onnx

from tests.helpers.fake_cuda import DriverFault, FakeCuda
from tests.helpers.graph_rules import uint8_faults

MAGIC = b"FAKE-ENGINE\n"
_TYPES = {1: "FLOAT", 2: "UINT8", 6: "INT32", 7: "INT64", 9: "BOOL", 10: "HALF"}


class DataType(IntEnum):
    FLOAT = 0
    HALF = 1
    INT32 = 3
    BOOL = 4
    UINT8 = 5
    BF16 = 7
    INT64 = 8


class TensorIOMode(IntEnum):
    NONE = 0
    INPUT = 1
    OUTPUT = 2


class ExecutionContextAllocationStrategy(IntEnum):
    STATIC = 0
    ON_PROFILE_CHANGE = 1
    USER_MANAGED = 2


class BuilderFlag(IntEnum):
    TF32 = 7


class LayerInformationFormat(IntEnum):
    ONELINE = 0
    JSON = 1


class MemoryPoolType(IntEnum):
    WORKSPACE = 0


class NetworkDefinitionCreationFlag(IntEnum):
    STRONGLY_TYPED = 1


class ILogger:
    class Severity(IntEnum):
        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2
        INFO = 3
        VERBOSE = 4

    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = Severity

    def __init__(self) -> None:
        self.initialised = True


class IProgressMonitor:
    def __init__(self) -> None:
        self.initialised = True


class HostMemory(bytes):
    """IHostMemory: a buffer."""

    @property
    def nbytes(self) -> int:
        return len(self)


def tensor_of(value: Any) -> SimpleNamespace:
    kind = value.type.tensor_type
    shape = tuple(d.dim_value if d.HasField("dim_value") else -1 for d in kind.shape.dim)
    dtype = DataType[_TYPES[kind.elem_type]]
    return SimpleNamespace(name=value.name, shape=shape, dtype=dtype)


class Network:
    """INetworkDefinition."""

    def __init__(self) -> None:
        self.model: onnx.ModelProto | None = None

    @property
    def num_inputs(self) -> int:
        return len(self.model.graph.input)

    def get_input(self, index):
        return tensor_of(self.model.graph.input[index])


def stem_of(network: Network) -> str:
    """Return a network's name, and its precision if it has a graph of its own for that."""
    return ".".join(filter(None, (network.model.graph.name, network.model.doc_string)))


class Profile:
    """IOptimizationProfile."""

    def __init__(self) -> None:
        self.shapes: dict[str, list[list[int]]] = {}

    def set_shape(self, input, min, opt, max):
        if not all(0 <= a <= b <= c for a, b, c in zip(min, opt, max, strict=True)):
            raise ValueError(f"{input}: min, opt, max are not ascending")
        self.shapes[input] = [list(min), list(opt), list(max)]


class TimingCache:
    def __init__(self, data: bytes) -> None:
        self.data = data

    def serialize(self):
        return HostMemory(self.data)


class Config:
    """IBuilderConfig."""

    def __init__(self) -> None:
        self.profiles: list[Profile] = []
        self.progress_monitor: Any = None
        self.builder_optimization_level = 3
        self.max_aux_streams = 0
        self.flags = {BuilderFlag.TF32}
        self.pools: dict[MemoryPoolType, int] = {}
        self._cache: Callable[[], TimingCache | None] = lambda: None

    def set_memory_pool_limit(self, pool, pool_size):
        self.pools[pool] = pool_size

    def clear_flag(self, flag):
        self.flags.discard(flag)

    def add_optimization_profile(self, profile):
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def create_timing_cache(self, serialized_timing_cache):
        return TimingCache(bytes(serialized_timing_cache) or b"timings:")

    def set_timing_cache(self, cache, ignore_mismatch):
        if not cache.data.startswith(b"timings:"):
            return False
        self._cache = weakref.ref(cache)  # it is the caller who keeps it
        return True


class World(Protocol):
    """What the builder wants of the module."""

    __version__: str
    cuda: FakeCuda
    built: Counter[str]
    broken: set[str]


class Parser:
    """OnnxParser."""

    def __init__(self, trt: World, network: Network) -> None:
        self._network = network
        self._errors: list[str] = []

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index):
        return SimpleNamespace(
            code=lambda: "ErrorCode.INVALID_GRAPH",
            desc=lambda: self._errors[index],
            node_name=lambda: "",
            node_operator=lambda: "",
        )

    def parse(self, model):
        self._network.model = onnx.load_from_string(model)
        if not self._network.model.graph.output:
            self._errors.append("no outputs")
            return False
        return True


class Builder:
    def __init__(self, trt: World, logger: Any) -> None:
        self._trt = trt
        self._logger = logger

    def create_network(self, flags=0):
        if not flags >> int(NetworkDefinitionCreationFlag.STRONGLY_TYPED) & 1:
            raise DriverFault("TensorRT 11 only builds strongly typed networks")
        return Network()

    def create_builder_config(self):
        return Config()

    def create_optimization_profile(self):
        return Profile()

    def build_serialized_network(self, network, config):
        monitor = config.progress_monitor
        own = stem = stem_of(network)
        if not network.model.doc_string and BuilderFlag.TF32 in config.flags:
            stem += ".tf32"
        self._trt.built[stem] += 1
        if monitor is not None:
            if not monitor.initialised:
                raise DriverFault("the monitor's base class was not initialised")
            monitor.phase_start("Building engine", None, 3)
            monitor.phase_start("Tactics", "Building engine", 2)
            steps = [
                monitor.step_complete("Tactics", 0),
                monitor.step_complete("Building engine", 0),
            ]
            monitor.phase_finish("Tactics")
            monitor.phase_finish("Building engine")
            if not all(steps):
                return None
        if {stem, own} & self._trt.broken:
            self._logger.log(ILogger.ERROR, "Could not find any implementation")
            return None
        if faults := uint8_faults(network.model):
            self._logger.log(ILogger.ERROR, f"UINT8 is for casts to float only: {faults[0]}")
            return None
        for tensor in map(tensor_of, network.model.graph.input):
            for profile in config.profiles:
                for shape in profile.shapes.get(tensor.name, [[-1] * len(tensor.shape)]):
                    for given, wanted in zip(shape, tensor.shape, strict=True):
                        if given < 0 or wanted not in (-1, given):
                            self._logger.log(ILogger.ERROR, f"{tensor.name}: profile {shape}")
                            return None
        cache = config._cache()
        if cache is None:
            raise DriverFault("the timing cache was destroyed before the engine was built")
        cache.data += stem.encode()
        facts = {
            "version": self._trt.__version__,
            "gpu": self._trt.cuda.name,
            "stem": own,
            "kind": stem,
            "tf32": BuilderFlag.TF32 in config.flags,
            "profiles": [profile.shapes for profile in config.profiles],
        }
        model = network.model.SerializeToString()
        return HostMemory(MAGIC + json.dumps(facts).encode() + b"\n" + model)
