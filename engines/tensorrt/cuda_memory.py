"""Memory and the one stream of an NVIDIA GPU; no TensorRT here.

Everything runs on the one stream of a `CudaDevice`, in the order in which it was queued. So a block
of device memory may be given to the next user as soon as the last one has queued its work, and only
the host ever waits. Blocks are reused: a steady state allocates nothing.

The host memory that travels is pinned (page-locked): copies to and from other memory would make
the host wait.
"""

from __future__ import annotations

import ctypes
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from samcam.engines.base import EngineError, GpuMemoryError
from samcam.engines.tensorrt.cuda_runtime import (
    CudaError,
    CudaEvent,
    CudaGraph,
    CudaStamp,
    Timeline,
    find_gpu,
    import_cudart,
    value_of,
)

_ALIGNMENT: Final = 256  # bytes; what cudaMalloc itself aligns to


class DeviceBlock:
    """A piece of device memory; it returns to its device when nobody refers to it any more."""

    __slots__ = ("_idle", "address", "size")

    def __init__(self, address: int, size: int, idle: deque[int]) -> None:
        self.address = address
        self.size = size
        self._idle = idle

    def __del__(self) -> None:
        # No call of CUDA here: this can run in any thread, also while a graph is being captured.
        self._idle.append(self.address)


class PinnedBlock:
    """A piece of page-locked host memory, (size,) uint8; it lives as long as its device is open."""

    __slots__ = ("address", "bytes")

    def __init__(self, address: int, size: int) -> None:
        self.address = address
        memory = (ctypes.c_uint8 * size).from_address(address)
        self.bytes: NDArray[np.uint8] = np.ctypeslib.as_array(memory)

    def view(self, shape: tuple[int, ...], dtype: np.dtype[Any], offset: int = 0) -> NDArray[Any]:
        """Return a part of it as an array that shares its memory."""
        size = int(np.prod(shape)) * dtype.itemsize
        return self.bytes[offset : offset + size].view(dtype).reshape(shape)


class CudaDevice:
    """One GPU, its stream and its memory. One thread at a time; which one may change.

    Use `open_device` to get one and `release` to give it back.
    """

    def __init__(self, index: int = 0) -> None:
        """Open the GPU.

        Raises:
            NoGpuError: There is none that can be used.
            CudaError: It cannot be opened.
        """
        self.info = find_gpu(index)
        self.users = 0
        self.timeline = Timeline()
        self._cudart = import_cudart()
        self._guard = threading.RLock()
        self._bound: int | None = None
        self._at_work: dict[str, int] = {}  # network: the marks that were before its last run
        self._blocks: dict[int, int] = {}
        self._idle: defaultdict[int, deque[int]] = defaultdict(deque)
        self._pinned: dict[int, PinnedBlock] = {}
        self._events: list[Any] = []
        self._idle_stamps: deque[Any] = deque()
        self._graphs: list[CudaGraph] = []
        self._reader: PinnedBlock | None = None
        self._closed = False
        with self.use():
            flags = self._cudart.cudaStreamNonBlocking
            self._stream = self._call(
                "cudaStreamCreateWithFlags", self._cudart.cudaStreamCreateWithFlags(flags)
            )
            self._everything = self.make_event()
            memory = self._cudart.cudaMemGetInfo()
            self._free_bytes = int(self._call("cudaMemGetInfo", memory))

    @property
    def stream(self) -> int:
        return int(self._stream)

    @property
    def allocated_bytes(self) -> int:
        """Device memory held, in use or idle."""
        return sum(self._blocks.values())

    @contextmanager
    def use(self, network: str = "") -> Iterator[None]:
        """Make this device the calling thread's; around everything that runs on it.

        Args:
            network: Whose run this is; an error, which may come later, names it.

        Raises:
            EngineError: The device is closed, or another thread is inside `use`.
            CudaError: From inside, with the networks that the GPU may have been at work on.
        """
        if not self._guard.acquire(blocking=False):
            raise EngineError(
                f"GPU {self.info.index}: used by two threads at once "
                f"({threading.current_thread().name} is the second)"
            )
        try:
            if self._closed:
                raise EngineError(f"GPU {self.info.index}: closed")
            if self._bound != threading.get_ident():  # CUDA keeps the device per thread
                self._call("cudaSetDevice", self._cudart.cudaSetDevice(self.info.index))
                self._bound = threading.get_ident()
            if network:
                self._at_work.pop(network, None)  # the newest goes last
                self._at_work[network] = self.timeline.asked
            yield
        except CudaError as error:
            done = self.timeline.done
            networks = [name for name, before in self._at_work.items() if before >= done]
            if error.networks or not networks:
                raise
            raise error.during(networks) from error
        finally:
            self._guard.release()

    def allocate(self, size: int) -> DeviceBlock:
        """Return device memory with any content: an idle block of this size, else a new one."""
        rounded = max(1, -(-size // _ALIGNMENT)) * _ALIGNMENT
        idle = self._idle[rounded]
        with suppress(IndexError):
            return DeviceBlock(idle.popleft(), size, idle)
        try:
            address = int(self._call("cudaMalloc", self._cudart.cudaMalloc(rounded)))
        except GpuMemoryError as error:
            raise self.with_sizes(error, rounded) from None
        self._blocks[address] = rounded
        return DeviceBlock(address, size, idle)

    def with_sizes(self, error: GpuMemoryError, more: int = 0) -> GpuMemoryError:
        """Add to an error what is known: what was asked for with `more`, and what was free before
        the first of it."""
        error.asked_bytes = self.allocated_bytes + more
        error.free_bytes, error.total_bytes = self._free_bytes, self.info.memory_bytes
        return error

    def allocate_pinned(self, size: int) -> PinnedBlock:
        """Return page-locked host memory; it is kept until the device closes."""
        address = int(self._call("cudaMallocHost", self._cudart.cudaMallocHost(max(size, 1))))
        block = self._pinned[address] = PinnedBlock(address, max(size, 1))
        return block

    def copy(self, target: int, source: int, size: int) -> None:
        kind = self._cudart.cudaMemcpyKind.cudaMemcpyDeviceToDevice
        self._call(
            "cudaMemcpyAsync",
            self._cudart.cudaMemcpyAsync(target, source, size, kind, self._stream),
        )

    def send(self, target: int, source: int, size: int) -> None:
        """Copy from pinned host memory; it must not be written before an event after it."""
        kind = self._cudart.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call(
            "cudaMemcpyAsync",
            self._cudart.cudaMemcpyAsync(target, source, size, kind, self._stream),
        )

    def fetch(self, target: int, source: int, size: int) -> None:
        """Copy to pinned host memory; it must not be read before an event after it."""
        kind = self._cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call(
            "cudaMemcpyAsync",
            self._cudart.cudaMemcpyAsync(target, source, size, kind, self._stream),
        )

    def read(self, source: int, size: int) -> NDArray[np.uint8]:
        """Wait for device memory and return its bytes, in an array of their own."""
        if self._reader is None or len(self._reader.bytes) < size:
            if self._reader is not None:
                address = self._reader.address
                del self._pinned[address]
                self._reader = None
                self._call("cudaFreeHost", self._cudart.cudaFreeHost(address))
            self._reader = self.allocate_pinned(size)
        self.fetch(self._reader.address, source, size)
        self.wait()
        return self._reader.bytes[:size].copy()

    def clear(self, target: int, size: int) -> None:
        self._call("cudaMemsetAsync", self._cudart.cudaMemsetAsync(target, 0, size, self._stream))

    def make_event(self) -> CudaEvent:
        """Return an event; it lives until the device closes."""
        flags = self._cudart.cudaEventDisableTiming | self._cudart.cudaEventBlockingSync
        handle = self._call(
            "cudaEventCreateWithFlags", self._cudart.cudaEventCreateWithFlags(flags)
        )
        self._events.append(handle)
        return CudaEvent(self._cudart, handle, self._stream, self.timeline)

    def stamp(self) -> CudaStamp:
        """Note a moment on the stream, in an event that an earlier stamp gave back if there is one.

        Unlike those of `make_event`, which nobody times, it is recorded with the GPU's clock.
        """
        try:
            handle = self._idle_stamps.popleft()
        except IndexError:
            flags = self._cudart.cudaEventDefault
            handle = self._call(
                "cudaEventCreateWithFlags", self._cudart.cudaEventCreateWithFlags(flags)
            )
            self._events.append(handle)
        return CudaStamp(self._cudart, self._stream, handle, self._idle_stamps, self.use)

    def wait(self) -> None:
        """Wait until everything queued so far is done."""
        self._everything.record()
        self._everything.wait()

    def capture(self, work: Callable[[], None]) -> CudaGraph:
        """Record what `work` queues on the stream, without doing it.

        `work` uses fixed addresses, allocates nothing and waits for nothing.

        Raises:
            CudaError: Something in it cannot be recorded; the stream is usable afterwards.
        """
        graph = CudaGraph(self._cudart, self._stream, work)
        self._graphs.append(graph)
        return graph

    def drop(self, graph: CudaGraph) -> None:
        self._graphs.remove(graph)
        graph.close()

    def release(self) -> None:
        """Give the device back; the last user closes it. Tensors on it cannot be used then."""
        with _devices_lock:
            self.users -= 1
            if self.users > 0:
                return
            _devices.pop(self.info.index, None)
        with self.use():
            self._close()

    def _close(self) -> None:
        """Free everything, in the order that CUDA needs; the first error is raised at the end."""
        cudart = self._cudart
        errors: list[CudaError] = []
        steps: list[Callable[[], Any]] = [self.wait]
        steps += [graph.close for graph in self._graphs]
        steps += [partial(cudart.cudaEventDestroy, event) for event in self._events]
        steps += [partial(cudart.cudaStreamDestroy, self._stream)]
        steps += [partial(cudart.cudaFree, address) for address in self._blocks]
        steps += [partial(cudart.cudaFreeHost, address) for address in self._pinned]
        for step in steps:
            try:
                answer = step()
                if answer is not None:
                    self._call("closing the GPU", answer)
            except CudaError as error:
                errors.append(error)
        self._closed = True
        self._graphs.clear()
        self._blocks.clear()
        self._pinned.clear()
        if errors:
            raise errors[0]

    def _call(self, what: str, answer: tuple[Any, ...]) -> Any:
        return value_of(self._cudart, what, answer)


_devices: Final[dict[int, CudaDevice]] = {}
_devices_lock: Final = threading.Lock()


def open_device(index: int = 0) -> CudaDevice:
    """Return the process's device with this index, opened on its first use.

    All networks of a process share it, so that tensors pass from one to the next without
    waiting. Each caller owes one `release`.

    Raises:
        NoGpuError: There is none that can be used.
        CudaError: It cannot be opened.
    """
    with _devices_lock:
        device = _devices.get(index)
        if device is None:
            device = _devices[index] = CudaDevice(index)
        device.users += 1
        return device
