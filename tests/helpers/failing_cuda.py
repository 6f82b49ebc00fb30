"""The fake driver with an error in mid-stream, which stays: as a real GPU's does."""

from __future__ import annotations

from functools import partial
from typing import Any

from tests.helpers.fake_cuda import FakeCuda
from tests.helpers.fake_driver import Operation, Status

_HARMLESS = {"cudaGetErrorName", "cudaGetErrorString", "cudaRuntimeGetVersion"}
_VALUED = {
    "cudaMalloc",
    "cudaMallocHost",
    "cudaStreamCreateWithFlags",
    "cudaEventCreateWithFlags",
    "cudaEventElapsedTime",
    "cudaStreamEndCapture",
    "cudaGraphInstantiate",
}


class FailingCuda(FakeCuda):
    """Fails at one call; from then on every call gives the same error and nothing is done."""

    def fail_at(self, name: str, call: int, error: Status) -> None:
        """Fail at the call-th call of a function from now, counted from 1."""
        self.failing = name, self.calls[name] + call, error

    def fail_after(self, calls: int, error: Status) -> None:
        """Fail at the call after so many from now, whatever it is."""
        self.limit = self.calls.total() + calls, error

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        calls_driver = name.startswith("cuda") and callable(found) and not isinstance(found, type)
        if not calls_driver or name in _HARMLESS:
            return found
        return partial(self._call, name, found)

    def enqueue(self, stream: int, operation: Operation) -> None:
        if self.error is None:
            super().enqueue(stream, operation)

    def _call(self, name: str, function: Any, *given: Any) -> tuple[Any, ...]:
        failing = vars(self).get("failing")
        if failing is not None and failing[0] == name and self.calls[name] + 1 >= failing[1]:
            self.error = failing[2]
        limit = vars(self).get("limit")
        if limit is not None and self.calls.total() >= limit[0]:
            self.error = limit[1]
        if self.error is None:
            answer: tuple[Any, ...] = function(*given)
            return answer
        self.calls[name] += 1
        return (self.error, None) if name in _VALUED else (self.error,)
