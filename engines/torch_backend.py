"""A network as its torch module: the reference of the other backends, and a GPU path of its own.

The modules are those that were exported. torch is imported where it is used, and the modules'
definition, which is in `export`, by name: without either the rest of the program works.

With `compile`, the step of tracking (one point, memories and pointers padded to their limits) is
compiled, and on a GPU captured as a CUDA graph; prompts run as they are. The graph is our own, not
that of torch.compile's mode reduce-overhead: a model is warmed up on the main thread and used on
another one, and that mode's graphs fail on any thread but their own (pytorch issue 123177).
"""

from __future__ import annotations

import hashlib
import importlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast
from weakref import WeakValueDictionary

import numpy as np

from samcam.engines.base import (
    Array,
    DeviceTensor,
    EngineError,
    Feed,
    GpuMemoryError,
    HostStamp,
    RowStack,
)
from samcam.engines.graph_table import (
    IMAGE_ENCODER,
    MASK_PROMPT,
    MEMORY_ATTENTION,
    MEMORY_ENCODER,
    NETWORKS,
    SINGLE_OBJECT_AXIS,
    NetworkSpec,
)
from samcam.engines.host_tensors import check_shapes
from samcam.engines.manifest import MANIFEST_NAME, Manifest, read_manifest
from samcam.engines.options import EngineOptions, TorchOptions
from samcam.engines.sam2_graphs import Sam2Networks
from samcam.system import install
from samcam.system.files import resolved

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

# Called with the model folder and its manifest; returns the five modules by name.
_LOADER: Final = "samcam.export.torch_models:load_modules"
# The decoder and the mask prompt stay in float32: they are a hundredth of the work, and rounding
# there flips the choice among candidates.
ROUNDED: Final = frozenset({IMAGE_ENCODER, MEMORY_ATTENTION, MEMORY_ENCODER})
_BFLOAT16_CAPABILITY: Final = (8, 0)

_log = logging.getLogger(__name__)


class NoTorchError(EngineError):
    """torch, its device, or a model's weights or definition are not here; says what is missing."""


@contextmanager
def _torch_errors(whose: str = "") -> Iterator[None]:
    """Turn what torch raises into an `EngineError` of one line."""
    try:
        yield
    except Exception as error:  # torch's exceptions have no common base of their own
        reason = " ".join(str(error).split())[:300]
        is_full = isinstance(error, import_torch().OutOfMemoryError)  # its text has the sizes
        kind = GpuMemoryError if is_full else EngineError
        raise kind(f"{whose}torch failed: {reason}") from error


class TorchTensor:
    """A `DeviceTensor` over a torch tensor; `owned` says that no later run writes into it."""

    __slots__ = ("_owned", "tensor")

    def __init__(self, tensor: Tensor, owned: bool) -> None:
        self.tensor = tensor
        self._owned = owned

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.tensor.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(str(self.tensor.dtype).removeprefix("torch."))

    def numpy(self) -> Array:
        with _torch_errors():  # also those of work that was asked for before
            values: Array = self.tensor.cpu().numpy()
        if self._owned or self.tensor.is_cuda:
            values.flags.writeable = False
        return values

    def copy(self) -> TorchTensor:
        return self if self._owned else TorchTensor(self.tensor.clone(), owned=True)


class TorchStamp:
    """A moment on a GPU's stream; see `engines.base.Stamp`."""

    __slots__ = ("_event",)

    def __init__(self, device: torch.device) -> None:
        torch = import_torch()
        with _torch_errors():
            self._event: Any = torch.cuda.Event(enable_timing=True)
            self._event.record(torch.cuda.current_stream(device))

    def ms_since(self, earlier: TorchStamp) -> float | None:
        """See `Stamp`."""
        with _torch_errors():
            if not self._event.query():
                return None
            passed_ms: float = earlier._event.elapsed_time(self._event)
            return passed_ms


class TorchNetwork:
    """One module as a backend."""

    def __init__(
        self, spec: NetworkSpec, module: nn.Module, manifest: Manifest, options: EngineOptions
    ) -> None:
        """Put the module on its device.

        Args:
            module: Takes and returns tensors in the order of `spec`.
            manifest: Its limits are the shapes of tracking.

        Raises:
            NoTorchError: torch or the device is missing.
            GpuMemoryError: The device has no room for the module.
            EngineError: It cannot be put there.
        """
        import_torch()
        settings = options.torch
        self._name = spec.name
        self._spec = spec
        self.inputs = {tensor.name: tensor for tensor in spec.inputs}
        self.outputs = {tensor.name: tensor for tensor in spec.outputs}
        self._device = resolve_device(settings.device)
        with _torch_errors(f"{spec.name}: "):
            self._module: nn.Module | None = module.to(self._device)
        precision = "bfloat16" if settings.precision == "bfloat16" else "float32"
        compiled = ", compiled" if settings.compile else ""
        self.how: Final = f"{self._device}, {precision}{compiled}"
        self._rounded = precision == "bfloat16" and spec.name in ROUNDED
        self._tracking: Mapping[str, int] = {
            SINGLE_OBJECT_AXIS: 1,
            "N": manifest.max_memories,
            "P": manifest.max_pointers,
            "T": 1,
        }
        compiles = settings.compile and spec.name != MASK_PROMPT  # no part of tracking
        self._step = _CompiledStep(spec.name, module, self._device) if compiles else None
        if self._device.type == "cpu":
            import_torch().set_num_threads(options.resolved_threads)

    def run(self, feeds: Mapping[str, Feed]) -> Mapping[str, DeviceTensor]:
        """Run once; see `Backend.run`. On a GPU it returns before that is done."""
        if self._module is None:
            raise EngineError(f"{self._name}: closed")
        lengths = check_shapes(self._name, self.inputs, feeds)
        step = self._step
        if step is not None and any(self._tracking.get(a, n) != n for a, n in lengths.items()):
            step = None
        with _torch_errors(f"{self._name}: "), ExitStack() as modes:
            for mode in _modes(self._device, self._rounded):
                modes.enter_context(mode)
            given = [_to_torch(feeds[name], self._device) for name in self.inputs]
            answer = self._module(*given) if step is None else step(given)
        tensors = answer if isinstance(answer, tuple) else (answer,)
        return {
            spec.name: TorchTensor(
                tensor.to(getattr(import_torch(), spec.dtype)),
                owned=step is None or not step.is_graph,
            )
            for spec, tensor in zip(self._spec.outputs, tensors, strict=True)
        }

    def stamp(self) -> HostStamp | TorchStamp:
        """See `StampingBackend`; on a CPU a run is done when it returns."""
        return HostStamp() if self._device.type == "cpu" else TorchStamp(self._device)

    def close(self) -> None:
        self._module = None
        self._step = None


class TorchBackend(TorchNetwork):
    """A network of a model folder whose weights are known."""

    def __init__(self, network: str, path: Path, options: EngineOptions) -> None:
        """Load the model's modules, once for all networks of the folder of `path`.

        Raises:
            EngineError: torch, the modules' definition or the weights are missing, or the device.
            ModelFileError: The manifest or the weights are damaged.
        """
        import_torch()
        manifest = read_manifest(path.parent)
        self._model: _Model | None = _shared_model(path.parent, manifest, options.torch)
        super().__init__(manifest.specs()[network], self._model.modules[network], manifest, options)

    def close(self) -> None:
        super().close()
        self._model = None


def networks_of(
    modules: Mapping[str, nn.Module], manifest: Manifest, options: EngineOptions
) -> Sam2Networks:
    """Return modules without a model folder as a model's networks.

    Raises:
        EngineError: torch or the device is missing.
    """
    specs = manifest.specs()
    return Sam2Networks(
        manifest,
        {n: TorchNetwork(specs[n], modules[n], manifest, options) for n in NETWORKS},
    )


class _CompiledStep:
    """A module compiled for one set of shapes; on a GPU a CUDA graph of it."""

    def __init__(self, name: str, module: nn.Module, device: torch.device) -> None:
        _log.info("%s: will be compiled at its first run, which takes up to minutes", name)
        self._compiled: Any = import_torch().compile(module, dynamic=False)
        self.is_graph = device.type == "cuda"
        self._graph: torch.cuda.CUDAGraph | None = None
        self._given: list[Tensor] = []
        self._answer: Any = None

    def __call__(self, given: list[Tensor]) -> Any:
        """Run; a graph's answers are overwritten by its next run."""
        if not self.is_graph:
            return self._compiled(*given)
        if self._graph is None:
            self._capture(given)
        for place, tensor in zip(self._given, given, strict=True):
            place.copy_(tensor)
        cast("torch.cuda.CUDAGraph", self._graph).replay()
        return self._answer

    def _capture(self, given: list[Tensor]) -> None:
        """Compile, then capture with inputs at fixed places."""
        torch = import_torch()
        self._given = [tensor.clone() for tensor in given]
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(2):  # compiles, then lets the libraries allocate what they keep
                self._compiled(*self._given)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._answer = self._compiled(*self._given)
        self._graph = graph


class _Model:
    """The modules of one model on one device, shared by its networks."""

    def __init__(self, modules: Mapping[str, nn.Module]) -> None:
        self.modules = modules


# Only the networks keep a model alive.
_models: WeakValueDictionary[tuple[str, ...], _Model] = WeakValueDictionary()


def _shared_model(folder: Path, manifest: Manifest, options: TorchOptions) -> _Model:
    """Return the model of a folder, loaded where no open network has it already."""
    digest = hashlib.sha256((folder / MANIFEST_NAME).read_bytes()).hexdigest()
    key = (str(resolved(folder)), digest, options.device)
    model = _models.get(key)
    if model is None:
        module, _, name = _LOADER.partition(":")
        try:
            load = getattr(importlib.import_module(module), name)
        except ImportError as error:
            raise NoTorchError(
                f"the modules for torch cannot be imported ({error})",
                f"{install('export')}, or use another --backend",
            ) from error
        model = _models[key] = _Model(load(folder, manifest))
    return model


def import_torch() -> Any:
    """Import torch.

    Raises:
        NoTorchError: It cannot be imported; says what to install.
    """
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a library of its own does not load
        reason = " ".join(str(error).split())
        raise NoTorchError(
            f"torch cannot be imported ({reason})", f"{install('export')}, or use another --backend"
        ) from error
    return torch


def resolve_device(name: str) -> torch.device:
    """Return the device that a name of `TORCH_DEVICES` means.

    Raises:
        NoTorchError: torch is missing, or does not see it.
    """
    library = import_torch()
    count = library.cuda.device_count() if library.cuda.is_available() else 0
    if name == "auto":
        name = "cuda" if count else "cpu"
    device: torch.device = library.device(name)
    if device.type == "cuda" and (device.index or 0) >= count:
        raise NoTorchError(
            f"torch device {name}: torch {library.__version__} sees {count} GPUs: install a torch "
            "with CUDA and a driver for it, or set engine.torch.device to cpu"
        )
    return device


def torch_on_gpu(manifest: Manifest, options: EngineOptions) -> EngineOptions:
    """Return the options with which torch runs a model on a GPU: rounded where that has bfloat16,
    unless they say otherwise.

    Raises:
        NoTorchError: The model has no weights for it, torch is missing, or it is to use a CPU.
    """
    if manifest.weights is None:
        raise NoTorchError("the model has no weights for it", "export the model again")
    device = resolve_device(options.torch.device)
    torch = import_torch()
    if device.type != "cuda":
        raise NoTorchError(f"torch {torch.__version__} sees no GPU, or is set to the CPU")
    precision = options.torch.precision
    if precision == "auto":
        has_bfloat16 = torch.cuda.get_device_capability(device) >= _BFLOAT16_CAPABILITY
        precision = "bfloat16" if has_bfloat16 else "float32"
    return replace(options, torch=replace(options.torch, device=str(device), precision=precision))


def _modes(device: torch.device, rounded: bool) -> Sequence[AbstractContextManager[Any]]:
    """Return what a run happens in."""
    torch = import_torch()
    modes: list[AbstractContextManager[Any]] = [torch.inference_mode()]
    if device.type == "cuda":
        # The device of new tensors and graphs; convolutions in TF32 would be another precision.
        modes.append(torch.cuda.device(device))
        modes.append(torch.backends.cudnn.flags(enabled=True, allow_tf32=False))
    if rounded:
        # Without the cache: a graph must not hold copies of weights that a cache may free.
        modes.append(torch.autocast(device.type, torch.bfloat16, cache_enabled=False))
    return modes


def _to_torch(feed: Feed, device: torch.device) -> Tensor:
    torch = import_torch()
    if isinstance(feed, TorchTensor):
        return feed.tensor.to(device)
    if isinstance(feed, RowStack):
        return _stack(feed, device)
    values = np.ascontiguousarray(feed if isinstance(feed, np.ndarray) else feed.numpy())
    # torch knows no read-only tensors and warns about such an array
    tensor: Tensor = torch.from_numpy(values if values.flags.writeable else values.copy())
    return tensor.to(device)


def _stack(stack: RowStack, device: torch.device) -> Tensor:
    """Return (1, total, ...): the rows where they are, those of the host sent in one go."""
    torch = import_torch()
    rows = stack.rows
    if not any(isinstance(row, TorchTensor) for row in rows):
        arrays = [row if isinstance(row, np.ndarray) else row.numpy() for row in rows]
        whole = _to_torch(np.stack(arrays, axis=1), device)
    else:
        whole = torch.stack([_to_torch(row, device) for row in rows], dim=1)
    missing = stack.total - len(rows)
    if not missing:
        return whole
    padding = whole.new_zeros((1, missing, *whole.shape[2:]))
    return cast("Tensor", torch.cat((whole, padding), dim=1))
