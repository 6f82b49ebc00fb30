"""A network as its torch module: the reference of the other backends, and a GPU path of its own.

The modules are those that were exported. torch is imported where it is used, and the modules'
definition, which is in `export`, by name: without either the rest of the program works.

With `compile`, the step of tracking (one point, memories and pointers padded to a step of
`Manifest.row_steps`) is compiled for each of its shapes, and on a GPU captured as a CUDA graph;
prompts run as they are. The graph is our own, not that of torch.compile's mode reduce-overhead: a
model is warmed up on the main thread and used on another one, and that mode's graphs fail on any
thread but their own (pytorch issue 123177).
"""

from __future__ import annotations

import hashlib
import importlib
import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast
from weakref import WeakValueDictionary

from samcam.engines.base import (
    DeviceTensor,
    EngineError,
    Feed,
    HostStamp,
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
from samcam.engines.torch_tensors import (
    NoTorchError,
    TorchStamp,
    TorchTensor,
    import_torch,
    to_torch,
    torch_errors,
)
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
_log = logging.getLogger(__name__)


class TorchNetwork:
    """One module as a backend."""

    def __init__(
        self, spec: NetworkSpec, module: nn.Module, manifest: Manifest, options: EngineOptions
    ) -> None:
        """Put the module on its device.

        Args:
            module: Takes and returns tensors in the order of `spec`.
            manifest: Its `row_steps` are the shapes of tracking.

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
        with torch_errors(f"{spec.name}: "):
            self._module: nn.Module | None = module.to(self._device)
        precision = "bfloat16" if settings.precision == "bfloat16" else "float32"
        compiled = ", compiled" if settings.compile else ""
        self.how: Final = f"{self._device}, {precision}{compiled}"
        self._rounded = precision == "bfloat16" and spec.name in ROUNDED
        shapes = [
            {SINGLE_OBJECT_AXIS: 1, "N": memories, "P": pointers, "T": 1}
            for memories, pointers in manifest.row_steps
        ]
        if spec.name != MEMORY_ATTENTION:
            del shapes[1:]  # the others take no memories
        compiles = settings.compile and spec.name != MASK_PROMPT  # no part of tracking
        # by the shapes of tracking, of which memories and pointers are padded to
        self._steps = [
            (shape, _CompiledStep(spec.name, module, self._device))
            for shape in (shapes if compiles else ())
        ]
        if self._device.type == "cpu":
            import_torch().set_num_threads(options.resolved_threads)

    def run(self, feeds: Mapping[str, Feed]) -> Mapping[str, DeviceTensor]:
        """Run once; see `Backend.run`. On a GPU it returns before that is done."""
        if self._module is None:
            raise EngineError(f"{self._name}: closed")
        lengths = check_shapes(self._name, self.inputs, feeds)
        step = self._step_for(lengths)
        with torch_errors(f"{self._name}: "), ExitStack() as modes:
            for mode in _modes(self._device, self._rounded):
                modes.enter_context(mode)
            given = [to_torch(feeds[name], self._device) for name in self.inputs]
            answer = self._module(*given) if step is None else step(given)
            tensors = answer if isinstance(answer, tuple) else (answer,)
            return {
                spec.name: TorchTensor(
                    tensor.to(getattr(import_torch(), spec.dtype)),
                    owned=step is None or not step.is_graph,
                )
                for spec, tensor in zip(self._spec.outputs, tensors, strict=True)
            }

    def _step_for(self, lengths: Mapping[str, int]) -> _CompiledStep | None:
        """Return what is compiled for these lengths of free axes; None: the module is to run."""
        for shape, step in self._steps:
            if all(shape.get(axis, length) == length for axis, length in lengths.items()):
                return step
        return None

    def stamp(self) -> HostStamp | TorchStamp:
        """See `StampingBackend`; on a CPU a run is done when it returns."""
        return HostStamp() if self._device.type == "cpu" else TorchStamp(self._device)

    def close(self) -> None:
        self._module = None
        self._steps.clear()


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
