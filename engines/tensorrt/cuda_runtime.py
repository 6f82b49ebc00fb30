"""The CUDA runtime through cuda-python: its statuses as errors, GPUs, events and graphs."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from samcam.engines.base import EngineError, GpuMemoryError
from samcam.engines.tensorrt.driver import NvidiaDriver, find_driver

if TYPE_CHECKING:
    from cuda.bindings import runtime as cudart

_NO_DRIVER: Final = "no NVIDIA driver is installed"
_OUT_OF_MEMORY: Final = 2  # cudaErrorMemoryAllocation
_MORE_MEMORY: Final = "close other programs on the GPU, or take a smaller model"
_START_AGAIN: Final = (
    "start again; where it comes back, update the driver, or use --backend onnxruntime"
)
_NOT_READY: Final = 600  # cudaErrorNotReady: no error, the stream has not come that far


class NoGpuError(EngineError):
    """No NVIDIA GPU can be used here; the message says what is missing."""


class CudaError(EngineError):
    """A call to CUDA failed.

    Attributes:
        networks: Those that the GPU may have been at work on: it tells of an error when it is asked
            next, which can be some calls later.
    """

    networks: tuple[str, ...] = ()

    def during(self, networks: Sequence[str]) -> CudaError:
        """Return it with the networks named."""
        named = type(self)(f"{', '.join(networks)}: {self.reason}", self.fix)
        vars(named).update(vars(self) | vars(named))  # sizes
        named.networks = tuple(networks)
        return named


class CudaMemoryError(CudaError, GpuMemoryError):
    """A call to CUDA failed: there is not enough memory."""


@dataclass(frozen=True, slots=True)
class GpuInfo:
    """One GPU.

    Attributes:
        compute_capability: For example "8.9".
        driver: Version of the installed driver, for example "580.65.06".
        cuda: Newest CUDA version that it runs, for example "13.0".
    """

    index: int
    name: str
    compute_capability: str
    driver: str
    cuda: str
    memory_bytes: int

    @property
    def capability(self) -> tuple[int, int]:
        """The compute capability as numbers, which can be compared."""
        major, minor = map(int, self.compute_capability.split("."))
        return major, minor


def import_cudart() -> Any:
    """Import cuda-python's binding of the CUDA runtime.

    Raises:
        NoGpuError: There is no driver, or cuda-python is not installed, or does not load.
    """
    try:
        from cuda.bindings import runtime
    except (ImportError, OSError, RuntimeError) as error:
        fix = _need_driver().way_out  # without a driver, installing a package would not help
        raise NoGpuError(f"cuda-python cannot be imported ({error})", fix) from error
    return runtime


def find_gpu(index: int = 0) -> GpuInfo:
    """Look for a GPU; safe on a machine without one, or without a driver.

    Raises:
        NoGpuError: Says what is missing.
    """
    driver = _need_driver()
    cudart = import_cudart()
    try:
        cuda = value_of(cudart, "cudaRuntimeGetVersion", cudart.cudaRuntimeGetVersion()) // 1000
        if driver.cuda[0] < cuda:  # every other call would fail: error 35
            raise NoGpuError(driver.too_old_for(cuda), driver.way_out)
        count = value_of(cudart, "cudaGetDeviceCount", cudart.cudaGetDeviceCount())
        if index >= count:
            raise NoGpuError(f"no NVIDIA GPU with index {index}: {count} found")
        properties = value_of(
            cudart, "cudaGetDeviceProperties", cudart.cudaGetDeviceProperties(index)
        )
    except (CudaError, RuntimeError) as error:
        if isinstance(error, NoGpuError):
            raise
        raise NoGpuError(f"no NVIDIA GPU can be used: {error} ({driver})") from error
    return _describe(properties, index, driver)


def _need_driver() -> NvidiaDriver:
    driver = find_driver()
    if driver is None:
        raise NoGpuError(_NO_DRIVER)
    return driver


def _describe(properties: cudart.cudaDeviceProp, index: int, driver: NvidiaDriver) -> GpuInfo:
    return GpuInfo(
        index,
        properties.name.decode(errors="replace").strip("\0 "),
        f"{properties.major}.{properties.minor}",
        driver.version,
        driver.cuda_text,
        int(properties.totalGlobalMem),
    )


def value_of(cudart: Any, what: str, answer: tuple[Any, ...]) -> Any:
    """Return the value of a call, None where it has none.

    Raises:
        CudaError: Its status is not success.
    """
    status = int(answer[0])
    if status:
        text = cudart.cudaGetErrorString(answer[0])[1].decode(errors="replace")
        name = cudart.cudaGetErrorName(answer[0])[1].decode(errors="replace")
        reason = f"{what}: {text} ({name}, CUDA error {status})"
        if status == _OUT_OF_MEMORY:
            raise CudaMemoryError(reason, _MORE_MEMORY)
        raise CudaError(reason, _START_AGAIN)
    return answer[1] if len(answer) > 1 else None


class Timeline:
    """How far the host knows that the one stream has come, from its own waits.

    Attributes:
        asked: Number of the newest mark.
        done: Number of the newest mark that the stream is known to have passed.
    """

    __slots__ = ("asked", "done")

    def __init__(self) -> None:
        self.asked = 0
        self.done = 0

    def mark(self) -> int:
        """Return the number of a new mark, behind everything queued so far."""
        self.asked += 1
        return self.asked


class CudaEvent:
    """A mark in the stream that the host can wait for."""

    __slots__ = ("_cudart", "_handle", "_mark", "_stream", "_timeline")

    def __init__(self, cudart: Any, handle: Any, stream: Any, timeline: Timeline) -> None:
        self._cudart = cudart
        self._handle = handle
        self._stream = stream
        self._timeline = timeline
        self._mark = 0

    def record(self) -> None:
        cudart = self._cudart
        value_of(cudart, "cudaEventRecord", cudart.cudaEventRecord(self._handle, self._stream))
        self._mark = self._timeline.mark()

    def wait(self) -> None:
        """Wait until the stream has passed the mark; at once where that is known."""
        if self._mark > self._timeline.done:
            cudart = self._cudart
            value_of(cudart, "cudaEventSynchronize", cudart.cudaEventSynchronize(self._handle))
            self._timeline.done = self._mark


class CudaStamp:
    """A moment on the stream; see `engines.base.Stamp`. Its event goes back when it is dropped."""

    __slots__ = ("_cudart", "_handle", "_idle", "_use")

    def __init__(
        self,
        cudart: Any,
        stream: Any,
        handle: Any,
        idle: deque[Any],
        use: Callable[[], AbstractContextManager[None]],
    ) -> None:
        """Record the event `handle`, which was made with timing; `use` is `CudaDevice.use`."""
        self._cudart = cudart
        self._use = use
        self._handle = handle
        self._idle = idle
        value_of(cudart, "cudaEventRecord", cudart.cudaEventRecord(handle, stream))

    def __del__(self) -> None:
        self._idle.append(self._handle)

    def ms_since(self, earlier: CudaStamp) -> float | None:
        """See `Stamp`."""
        cudart = self._cudart
        with self._use():  # as a rule the first call after a step: an error names the networks
            answer = cudart.cudaEventQuery(self._handle)
            if int(answer[0]) == _NOT_READY:
                return None
            value_of(cudart, "cudaEventQuery", answer)
            passed = cudart.cudaEventElapsedTime(earlier._handle, self._handle)
            return float(value_of(cudart, "cudaEventElapsedTime", passed))


class CudaGraph:
    """Recorded work that is started with one call."""

    def __init__(self, cudart: Any, stream: Any, work: Callable[[], None]) -> None:
        """Record `work`; see `CudaDevice.capture`."""
        self._cudart = cudart
        self._stream = stream
        # Calls of other threads, such as another library's allocations, do not spoil it.
        mode = cudart.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        value_of(cudart, "cudaStreamBeginCapture", cudart.cudaStreamBeginCapture(stream, mode))
        try:
            work()
        except BaseException:
            # Ended, or the stream stays in capture; the error of `work` says what was wrong.
            status, graph = cudart.cudaStreamEndCapture(stream)
            if not int(status):
                value_of(cudart, "cudaGraphDestroy", cudart.cudaGraphDestroy(graph))
            raise
        self._graph = value_of(cudart, "cudaStreamEndCapture", cudart.cudaStreamEndCapture(stream))
        try:
            self._executable = value_of(
                cudart, "cudaGraphInstantiate", cudart.cudaGraphInstantiate(self._graph, 0)
            )
        except CudaError:
            value_of(cudart, "cudaGraphDestroy", cudart.cudaGraphDestroy(self._graph))
            raise

    def launch(self) -> None:
        cudart = self._cudart
        value_of(cudart, "cudaGraphLaunch", cudart.cudaGraphLaunch(self._executable, self._stream))

    def close(self) -> None:
        cudart = self._cudart
        value_of(cudart, "cudaGraphExecDestroy", cudart.cudaGraphExecDestroy(self._executable))
        value_of(cudart, "cudaGraphDestroy", cudart.cudaGraphDestroy(self._graph))
