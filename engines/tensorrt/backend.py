"""A network on TensorRT 11 or 10, or on TensorRT for RTX, on an NVIDIA GPU, without torch.

Inputs and outputs have fixed places on the device. A run copies its feeds there, most of them
from one place on the device to another, and starts the network. The shapes of tracking (one
point, memories and pointers padded to a step of `Manifest.row_steps`) have a profile each, which is
captured as a CUDA graph at its first run; prompts with more points run call by call in a context of
their own. All networks of a process share one stream (`engines.tensorrt.cuda_memory`), so nothing
waits between them: the host first waits when it reads a mask.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from samcam.engines.base import DeviceTensor, EngineError, Feed
from samcam.engines.graph_table import MASK_DECODER, MASK_PROMPT
from samcam.engines.host_tensors import check_shapes
from samcam.engines.options import EngineOptions
from samcam.engines.tensorrt.cuda_memory import open_device
from samcam.engines.tensorrt.cuda_runtime import CudaGraph, CudaStamp
from samcam.engines.tensorrt.cuda_tensors import CudaTensor, FixedInput, HostMirror
from samcam.engines.tensorrt.engine import Engine
from samcam.engines.tensorrt.files import MAX_POINTS, engine_path
from samcam.engines.tensorrt.library import TENSORRT, Library

# Every output of these is read on the host, so each run sends them there by itself.
HOST_OUTPUTS: Final = frozenset({MASK_DECODER, MASK_PROMPT})

_log = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class _Fixed:
    """A profile of one shape, which tracking runs with, and its graph once it is captured."""

    profile: int
    graph: CudaGraph | None = None
    ran: bool = False


class TensorRtBackend:
    """One engine with its buffers and graphs."""

    def __init__(
        self, network: str, path: Path, options: EngineOptions, library: Library = TENSORRT
    ) -> None:
        """Load the engine that belongs to a model's graph, FOLDER/NETWORK.onnx.

        Raises:
            NoGpuError, NoTensorRtError: This machine cannot run the library.
            EngineFileError: The engine is missing, damaged, stale or built elsewhere.
            ModelFileError: The model's manifest is damaged.
        """
        self._name = f"{network} ({engine_path(path.parent, library, network)})"
        self._network = network
        self._closed = False
        self._results: dict[str, DeviceTensor] = {}
        self._mirrors: list[HostMirror] = []
        self._engine: Engine | None = None
        self._places: dict[str, FixedInput] = {}
        self._fixed: dict[tuple[tuple[int, ...], ...], _Fixed] = {}  # by shapes, as in `inputs`
        self._free: int | None = None  # the profile of all other shapes
        # The device first: without a driver, TensorRT's objects end the process.
        self._device = open_device()
        try:
            with self._device.use():
                self._engine = Engine(library, self._device, path.parent, network)
                self._open(self._engine)
        except BaseException:
            self._let_go()
            raise

    @property
    def graphs(self) -> int:
        """Profiles that are captured."""
        return sum(one.graph is not None for one in self._fixed.values())

    def run(self, feeds: Mapping[str, Feed]) -> Mapping[str, DeviceTensor]:
        """Run once; see `Backend.run`. Returns before the GPU is done."""
        if self._closed or self._engine is None:
            raise EngineError(f"{self._name}: closed")
        lengths = check_shapes(self._name, self.inputs, feeds)
        if not 1 <= lengths.get("T", 1) <= MAX_POINTS:
            raise EngineError(
                f"{self._name}: expected 1 to {MAX_POINTS} points, got {lengths['T']}",
                "give an object fewer clicks on one picture",
            )
        shapes = {name: tuple(feeds[name].shape) for name in self.inputs}
        fixed = self._fixed.get(tuple(shapes.values()))
        if fixed is None and self._free is None:
            raise EngineError(
                f"{self._name}: expected {self._known_lengths()}, got {_text(lengths)}"
            )
        with self._device.use(self._network):
            for name, place in self._places.items():
                place.fill(feeds[name])
            if fixed is not None:
                self._run_fixed(self._engine, fixed)
            elif self._free is not None:  # call by call
                self._engine.set_shapes(self._free, shapes)
                self._start(self._engine, self._free)
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
                if self._engine is not None:
                    self._engine.keep()
        finally:
            self._let_go()

    def _let_go(self) -> None:
        with ExitStack() as leaving:  # from the last line to the first
            leaving.callback(self._device.release)
            leaving.callback(self._forget)
            graphs = [one.graph for one in self._fixed.values() if one.graph is not None]
            if graphs:
                leaving.enter_context(self._device.use())
                for graph in graphs:
                    leaving.callback(self._device.drop, graph)

    def _forget(self) -> None:
        self._fixed.clear()
        if self._engine is not None:
            self._engine.close()
        self._engine = None
        self._places.clear()
        self._results = {}
        self._mirrors.clear()

    def _open(self, engine: Engine) -> None:
        """Make buffers and specs; the device is in use."""
        self.inputs, self.outputs = engine.specs()
        for profile in range(engine.profiles):
            if engine.is_fixed(profile):
                shapes = engine.shapes(profile)
                self._fixed[tuple(shapes[name] for name in self.inputs)] = _Fixed(profile)
            else:
                self._free = profile
        for name, spec in self.inputs.items():
            dtype = np.dtype(spec.dtype)
            size = int(np.prod(engine.largest(name))) * dtype.itemsize
            self._places[name] = place = FixedInput(self._device, size, dtype)
            engine.set_address(name, place.address)
        self._arrived = self._device.make_event()
        for name, spec in self.outputs.items():
            shape, dtype = tuple(int(axis) for axis in spec.shape), np.dtype(spec.dtype)
            block = self._device.allocate(int(np.prod(shape)) * dtype.itemsize)
            mirror = None
            if self._network in HOST_OUTPUTS:
                mirror = HostMirror(self._device, block, shape, dtype, self._arrived)
                self._mirrors.append(mirror)
            self._results[name] = CudaTensor(self._device, block, shape, dtype, mirror)
            engine.set_address(name, block.address)

    def _run_fixed(self, engine: Engine, fixed: _Fixed) -> None:
        """Replay the profile's graph; the first time run call by call, then capture."""
        if fixed.graph is not None:
            fixed.graph.launch()
            return
        self._start(engine, fixed.profile)
        if fixed.ran:
            return
        fixed.ran = True
        engine.keep()  # here and when it closes: a run may end in other ways
        try:
            if not engine.may_capture(fixed.profile, self._device.stream):
                raise EngineError("it cannot be captured as it was built")
            fixed.graph = self._device.capture(lambda: self._start(engine, fixed.profile))
        except EngineError as error:
            self._device.wait()  # raises where it is the GPU that failed
            _log.warning("%s: runs without a CUDA graph, slower: %s", self._name, error)

    def _start(self, engine: Engine, profile: int) -> None:
        """Queue the network and the copies that every run makes."""
        engine.start(profile, self._device.stream)
        for mirror in self._mirrors:
            mirror.fetch()

    def _known_lengths(self) -> str:
        """Name the lengths of the free axes that there are profiles for."""
        known = []
        for shapes in self._fixed:
            axes = zip((s.shape for s in self.inputs.values()), shapes, strict=True)
            free = {a: n for shape, given in axes for a, n in zip(shape, given, strict=True)}
            known.append(_text({a: n for a, n in free.items() if isinstance(a, str)}))
        return " or ".join(known)


def _text(lengths: Mapping[str | int, int] | Mapping[str, int]) -> str:
    return ", ".join(f"{axis} {length}" for axis, length in lengths.items())
