"""The backend protocol: one backend runs one network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]


class EngineError(RuntimeError):
    """A model or engine cannot be loaded or run; names the network, tensor and file."""


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
        """Return the values on the host; a view where that costs nothing."""

    def copy(self) -> DeviceTensor:
        """Return a copy that outlives the backend's next run, on the same device."""


class Backend(Protocol):
    """Runs one network. Used by the inference thread only."""

    @property
    def inputs(self) -> Mapping[str, TensorSpec]: ...

    @property
    def outputs(self) -> Mapping[str, TensorSpec]: ...

    def run(self, feeds: Mapping[str, DeviceTensor | Array]) -> Mapping[str, DeviceTensor]:
        """Run once; inputs are matched by name.

        Outputs stay valid until this backend's next run: whoever keeps one longer copies it.

        Raises:
            EngineError: Names the network, the tensor, the expected and the given shape or dtype.
        """

    def close(self) -> None:
        """Free everything. Idempotent. No method is called afterwards."""
