"""A stand-in for `cuda.bindings.runtime` that models what a GPU does not forgive.

Work is done as late as the rules allow: only when the host waits for it. So a result that is read
too early, or staging memory that is written too early, shows as wrong values. Memory that is not
written yet holds 0xFF (NaN). What a real driver would let pass into silent corruption raises
`DriverFault`: memory used after it was freed, a graph whose addresses are no longer what they
were, asynchronous copies of pageable memory, a thread that never chose its device.
"""

from __future__ import annotations

import ctypes
import threading
from collections import Counter
from enum import IntEnum
from itertools import count
from types import SimpleNamespace
from typing import Any

import numpy as np

from tests.helpers.fake_driver import (
    OK,
    UNWRITTEN,
    Block,
    DriverFault,
    Operation,
    Status,
    Stream,
)

FIRST_ADDRESS = 0x7F0000000000
PATIENCE = 20  # queries of an event that has not passed, until it has
GAP = 1 << 20  # between blocks: reading past the end hits nothing


class FakeCuda:
    """One process's view of the driver. Its methods have the names of the real functions."""

    cudaStreamNonBlocking = 1
    cudaEventDefault = 0
    cudaEventDisableTiming = 2
    cudaEventBlockingSync = 1
    cudaMemcpyKind = IntEnum(
        "cudaMemcpyKind",
        {"cudaMemcpyHostToDevice": 1, "cudaMemcpyDeviceToHost": 2, "cudaMemcpyDeviceToDevice": 3},
    )
    cudaStreamCaptureMode = IntEnum(
        "cudaStreamCaptureMode", {"cudaStreamCaptureModeThreadLocal": 1}
    )

    def __init__(self, name: str = "Fake GPU", capability: tuple[int, int] = (8, 9)) -> None:
        self.name = name
        self.capability = capability
        self.driver = 13000  # 0: none installed
        self.driver_version = "580.65.06"  # empty: NVML does not tell
        self.runtime = 13040
        self.devices = 1
        self.memory = 1 << 30
        self.calls: Counter[str] = Counter()
        self.moved: Counter[str] = Counter()  # bytes by kind of copy
        self.error: Status | None = None  # that of a GPU which is lost; see `FailingCuda`
        self._handles = count(1)
        self._next_address = FIRST_ADDRESS
        self._blocks: dict[int, Block] = {}
        self._pinned: dict[int, Any] = {}
        self._freed: list[Any] = []
        self._streams: dict[int, Stream] = {}
        self._events: dict[int, tuple[Stream, int] | None] = {}
        self._asked: Counter[int] = Counter()  # by event: times not passed
        self._untimed: set[int] = set()
        self._graphs: dict[int, list[Operation]] = {}
        self._executables: dict[int, list[Operation]] = {}
        self._threads: set[int] = set()

    # --- the driver's own libraries, as ctypes calls them

    def cuDriverGetVersion(self, version):
        version._obj.value = self.driver
        return 0

    def nvmlInit_v2(self):
        return 0 if self.driver_version else 9  # NVML_ERROR_DRIVER_NOT_LOADED

    def nvmlSystemGetDriverVersion(self, text, length):
        text.value = self.driver_version.encode()
        return 0

    def nvmlShutdown(self):
        return 0

    # --- probing: allowed in every thread, also without a driver

    def cudaRuntimeGetVersion(self):
        return OK, self.runtime

    def cudaGetDeviceCount(self):
        if self.driver // 1000 < self.runtime // 1000:
            return Status.cudaErrorInsufficientDriver, None
        return OK, self.devices

    def cudaGetDeviceProperties(self, device):
        if device >= self.devices:
            return Status.cudaErrorInvalidDevice, None
        return OK, SimpleNamespace(
            name=self.name.encode(),
            major=self.capability[0],
            minor=self.capability[1],
            totalGlobalMem=self.memory,
        )

    def cudaGetErrorName(self, error):
        return OK, Status(error).name.encode()

    def cudaGetErrorString(self, error):
        return OK, f"the fake driver says {Status(error)}".encode()

    def cudaSetDevice(self, device):
        if not self.driver or device >= self.devices:
            return (Status.cudaErrorInvalidDevice,)
        self._threads.add(threading.get_ident())
        return (OK,)

    # --- memory

    def cudaMalloc(self, size):
        self._enter("cudaMalloc")
        if self._capturing():
            return Status.cudaErrorStreamCaptureUnsupported, None
        if size + sum(b.data.size for b in self._blocks.values()) > self.memory:
            return Status.cudaErrorMemoryAllocation, None
        address = self._next_address
        self._next_address += size + GAP
        self._blocks[address] = Block(address, np.full(size, UNWRITTEN, np.uint8))
        return OK, address

    def cudaMemGetInfo(self):
        self._enter("cudaMemGetInfo")
        used = sum(block.data.size for block in self._blocks.values())
        return OK, self.memory - used, self.memory

    def cudaFree(self, devPtr):
        self._enter("cudaFree")
        if devPtr not in self._blocks:
            raise DriverFault(f"cudaFree: no block at {devPtr:#x}: freed twice?")
        for stream in self._streams.values():  # the real one waits too
            self._finish(stream)
        del self._blocks[devPtr]
        return (OK,)

    def cudaMallocHost(self, size):
        self._enter("cudaMallocHost")
        if self._capturing():
            return Status.cudaErrorStreamCaptureUnsupported, None
        memory = (ctypes.c_uint8 * size)()
        ctypes.memset(memory, UNWRITTEN, size)
        address = ctypes.addressof(memory)
        self._pinned[address] = memory
        return OK, address

    def cudaFreeHost(self, ptr):
        self._enter("cudaFreeHost")
        if ptr not in self._pinned:
            raise DriverFault(f"cudaFreeHost: no block at {ptr:#x}: freed twice?")
        if any(stream.pending for stream in self._streams.values()):
            raise DriverFault("cudaFreeHost: work is pending that may use it")
        # What still looks at the memory sees that it is gone.
        ctypes.memset(self._pinned[ptr], UNWRITTEN, len(self._pinned[ptr]))
        self._freed.append(self._pinned.pop(ptr))
        return (OK,)

    def cudaMemcpyAsync(self, dst, src, count, kind, stream):
        self._enter("cudaMemcpyAsync")
        blocks: list[Block] = []
        kinds = self.cudaMemcpyKind
        to_device, from_device = kind != kinds.cudaMemcpyDeviceToHost, kind != 1
        target = self._place(dst, count, to_device, blocks)
        source = self._place(src, count, from_device, blocks)

        def work() -> None:
            target[:] = source

        def asked() -> None:
            self.moved[kinds(kind).name] += count
            if not to_device:
                target[:] = UNWRITTEN

        self.enqueue(stream, Operation(work, blocks, asked))
        return (OK,)

    def cudaMemsetAsync(self, devPtr, value, count, stream):
        self._enter("cudaMemsetAsync")
        blocks: list[Block] = []
        target = self._place(devPtr, count, True, blocks)

        def work() -> None:
            target[:] = value

        self.enqueue(stream, Operation(work, blocks))
        return (OK,)

    # --- streams, events, graphs

    def cudaStreamCreateWithFlags(self, flags):
        self._enter("cudaStreamCreateWithFlags")
        stream = Stream(next(self._handles))
        stream.pending, stream.done, stream.captured = [], 0, None
        stream.capture_thread, stream.invalid = 0, False
        self._streams[int(stream)] = stream
        return OK, stream

    def cudaStreamDestroy(self, stream):
        self._enter("cudaStreamDestroy")
        self._finish(self._streams.pop(int(stream)))
        return (OK,)

    def cudaEventCreateWithFlags(self, flags):
        self._enter("cudaEventCreateWithFlags")
        handle = next(self._handles)
        self._events[handle] = None
        if flags & self.cudaEventDisableTiming:
            self._untimed.add(handle)
        return OK, handle

    def cudaEventDestroy(self, event):
        self._enter("cudaEventDestroy")
        del self._events[event]
        return (OK,)

    def cudaEventRecord(self, event, stream):
        self._enter("cudaEventRecord")
        found = self._streams[int(stream)]
        if event not in self._events:
            raise DriverFault("cudaEventRecord: the event was destroyed")
        self._events[event] = found, found.done + len(found.pending)
        self._asked[event] = 0
        return (OK,)

    def cudaEventSynchronize(self, event):
        self._enter("cudaEventSynchronize")
        if self._capturing():
            return (Status.cudaErrorStreamCaptureUnsupported,)
        mark = self._events[event]
        if mark is not None:
            self._finish(*mark)
        return (OK,)

    def cudaEventQuery(self, event):
        self._enter("cudaEventQuery")
        if self._capturing():
            return (Status.cudaErrorStreamCaptureUnsupported,)
        mark = self._events[event]
        passed = mark is None or mark[0].done >= mark[1]
        if not passed:  # a GPU goes on by itself: whoever asks on and on sees that
            self._asked[event] += 1
            if self._asked[event] >= PATIENCE:
                self._finish(*mark)
        return (OK if passed else Status.cudaErrorNotReady,)

    def cudaEventElapsedTime(self, start, end):
        """One millisecond for each operation in between."""
        self._enter("cudaEventElapsedTime")
        first, last = self._events[start], self._events[end]
        if {start, end} & self._untimed or first is None or last is None:
            return Status.cudaErrorInvalidResourceHandle, None
        if last[0].done < last[1]:
            return Status.cudaErrorNotReady, None
        return OK, float(last[1] - first[1])

    def cudaStreamBeginCapture(self, stream, mode):
        self._enter("cudaStreamBeginCapture")
        found = self._streams[int(stream)]
        found.captured, found.capture_thread = [], threading.get_ident()
        found.invalid = False
        return (OK,)

    def cudaStreamEndCapture(self, stream):
        self._enter("cudaStreamEndCapture")
        found = self._streams[int(stream)]
        if found.capture_thread != threading.get_ident():
            raise DriverFault("cudaStreamEndCapture: in another thread than the beginning")
        operations, found.captured = found.captured, None
        if found.invalid or operations is None:
            return Status.cudaErrorStreamCaptureInvalidated, None
        handle = next(self._handles)
        self._graphs[handle] = operations
        return OK, handle

    def cudaGraphInstantiate(self, graph, flags):
        self._enter("cudaGraphInstantiate")
        handle = next(self._handles)
        self._executables[handle] = list(self._graphs[graph])
        return OK, handle

    def cudaGraphLaunch(self, graphExec, stream):
        self._enter("cudaGraphLaunch")
        if graphExec not in self._executables:
            raise DriverFault("cudaGraphLaunch: the graph was destroyed")
        for operation in self._executables[graphExec]:
            for block in operation.blocks:
                if self._blocks.get(block.address) is not block:
                    raise DriverFault(
                        f"cudaGraphLaunch: the memory at {block.address:#x} was freed after capture"
                    )
            if operation.check is not None:
                operation.check()
            self.enqueue(stream, operation)
        return (OK,)

    def cudaGraphExecDestroy(self, graphExec):
        self._enter("cudaGraphExecDestroy")
        del self._executables[graphExec]
        return (OK,)

    def cudaGraphDestroy(self, graph):
        self._enter("cudaGraphDestroy")
        del self._graphs[graph]
        return (OK,)

    # --- for the fake TensorRT and for tests

    def enqueue(self, stream: int, operation: Operation) -> None:
        """Ask for an operation, or capture it."""
        found = self._streams[int(stream)]
        if found.captured is not None:
            if found.capture_thread != threading.get_ident():
                raise DriverFault("another thread uses a stream that is being captured")
            found.captured.append(operation)
            return
        if operation.asked is not None:
            operation.asked()
        found.pending.append(operation)

    def device_bytes(self, address: int, size: int) -> tuple[np.ndarray[Any, Any], Block]:
        """Return device memory and the block it is in."""
        for block in self._blocks.values():
            if block.address <= address < block.address + block.data.size:
                start = address - block.address
                if start + size > block.data.size:
                    raise DriverFault(f"{size} bytes at {address:#x} pass the end of their block")
                return block.data[start : start + size], block
        raise DriverFault(f"no device memory at {address:#x}: used after free?")

    def alive(self) -> dict[str, int]:
        """Return how many objects of each kind are not freed."""
        kinds = {
            "device blocks": self._blocks,
            "pinned blocks": self._pinned,
            "streams": self._streams,
            "events": self._events,
            "graphs": self._graphs,
            "executables": self._executables,
        }
        return {kind: len(items) for kind, items in kinds.items() if items}

    def _place(self, address: int, size: int, on_device: bool, blocks: list[Block]):
        if on_device:
            data, block = self.device_bytes(address, size)
            blocks.append(block)
            return data
        for start, memory in self._pinned.items():
            if start <= address and address + size <= start + len(memory):
                offset = address - start
                return np.ctypeslib.as_array(memory)[offset : offset + size]
        raise DriverFault("asynchronous copy of host memory that is not pinned")

    def _enter(self, name: str) -> None:
        self.calls[name] += 1
        if threading.get_ident() not in self._threads:
            raise DriverFault(f"{name}: foreign thread: it never chose its device")

    def _capturing(self) -> bool:
        """Whether this thread captures; if so, what it does now spoils the capture."""
        for stream in self._streams.values():
            if stream.captured is not None and stream.capture_thread == threading.get_ident():
                stream.invalid = True
                return True
        return False

    def _finish(self, stream: Stream, upto: int | None = None) -> None:
        """Do what is pending."""
        total = stream.done + len(stream.pending) if upto is None else upto
        while stream.done < total:
            operation = stream.pending.pop(0)
            stream.done += 1
            for block in operation.blocks:
                if self._blocks.get(block.address) is not block:
                    raise DriverFault(f"pending work uses freed memory at {block.address:#x}")
            operation.work()
