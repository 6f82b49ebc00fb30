"""The backend protocol: one backend runs one network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Protocol, Self, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from samcam.system import FixableError

Array: TypeAlias = NDArray[Any]


class EngineError(FixableError, RuntimeError):
    """A model or engine cannot be loaded or run; names the network, tensor and file."""


class GpuMemoryError(EngineError):
    """The memory of the GPU is too small for what is asked of it.

    Attributes:
        asked_bytes: What this process has asked for, beside what libraries take by themselves such
            as weights; 0 where that is not known.
        free_bytes, total_bytes: The GPU's memory before; 0 where they are not known.
    """

    asked_bytes = 0
    free_bytes = 0
    total_bytes = 0


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, element type and shape of a network's input or output.

    Attributes:
        dtype: numpy dtype name, such as "float32" or "uint8".
        shape: An int per fixed axis, a str naming each free axis (for example "N").
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]


class DeviceTensor(Protocol):
    """A tensor where the backend keeps it; only the backend that made it looks inside."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    def numpy(self) -> Array:
        """Return the values on the host; a view where that costs nothing.

        A read-only array is never written again; a writeable one may be, by the next run.
        """

    def copy(self) -> DeviceTensor:
        """Return a copy that outlives the backend's next run, on the same device."""


@dataclass(frozen=True, slots=True, eq=False)
class RowStack:
    """A feed still in pieces: rows to be stacked along axis 1, then zeros.

    So a backend can gather memories where they are, without a way through the host.

    Attributes:
        rows: Tensors of one shape (1, ...) without axis 1; at most `total`.
        total: Length of axis 1 of the whole, (1, total, ...); at least 1.
    """

    rows: Sequence[DeviceTensor | Array]
    total: int

    def __post_init__(self) -> None:
        if not 0 < len(self.rows) <= self.total:
            raise ValueError(f"rows: expected 1 to {self.total} (total), got {len(self.rows)}")

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the whole, as the first row tells it."""
        first = self.rows[0].shape
        return (*first[:1], self.total, *first[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.rows[0].dtype


Feed: TypeAlias = DeviceTensor | Array | RowStack


class Stamp(Protocol):
    """A moment in a backend's work: when what was asked for so far is done."""

    def ms_since(self, earlier: Self) -> float | None:
        """Return the milliseconds between two moments; None where this one is not reached yet.

        The host never waits here.
        """


class HostStamp:
    """A moment of the host's clock: for backends that are done when their call returns."""

    __slots__ = ("_at_s",)

    def __init__(self) -> None:
        self._at_s = perf_counter()

    def ms_since(self, earlier: HostStamp) -> float:
        return (self._at_s - earlier._at_s) * 1e3


class Backend(Protocol):
    """Runs one network. Used by the inference thread only."""

    @property
    def inputs(self) -> Mapping[str, TensorSpec]: ...

    @property
    def outputs(self) -> Mapping[str, TensorSpec]: ...

    def run(self, feeds: Mapping[str, Feed]) -> Mapping[str, DeviceTensor]:
        """Run once; inputs are matched by name.

        Outputs stay valid until this backend's next run: whoever keeps one longer copies it.

        Raises:
            EngineError: Names the network, the tensor, the expected and the given shape or dtype.
        """

    def close(self) -> None:
        """Free everything. Idempotent. No method is called afterwards."""


@runtime_checkable
class StampingBackend(Protocol):
    """A backend whose calls return before their work is done, and which can tell when that is.

    All networks of a model put their work into one queue, so one of them tells for all.
    """

    def stamp(self) -> Stamp:
        """Note the moment at which everything asked for so far is done."""
