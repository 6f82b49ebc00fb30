"""torch itself: its import, its errors, its tensors and its clock on a GPU.

torch is imported where it is used: without it the rest of the program works.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from samcam.engines.base import Array, EngineError, Feed, GpuMemoryError, RowStack
from samcam.system import install

if TYPE_CHECKING:
    import torch
    from torch import Tensor


_OTHERS = "use another engine.torch.device, or another --backend"


class NoTorchError(EngineError):
    """torch, its device, or a model's weights or definition are not here; says what is missing."""


@contextmanager
def torch_errors(whose: str = "") -> Iterator[None]:
    """Turn what torch raises into an `EngineError` of one line."""
    try:
        yield
    except Exception as error:  # torch's exceptions have no common base of their own
        reason = " ".join(str(error).split())[:300]
        is_full = isinstance(error, import_torch().OutOfMemoryError)  # its text has the sizes
        kind = GpuMemoryError if is_full else EngineError
        raise kind(f"{whose}torch failed: {reason}", _OTHERS) from error


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
        with torch_errors():  # also those of work that was asked for before
            values: Array = self.tensor.cpu().numpy()
        if self._owned or self.tensor.is_cuda:
            values.flags.writeable = False
        return values

    def copy(self) -> TorchTensor:
        if self._owned:
            return self
        with torch_errors():  # likewise
            return TorchTensor(self.tensor.clone(), owned=True)


class TorchStamp:
    """A moment on a GPU's stream; see `engines.base.Stamp`."""

    __slots__ = ("_event",)

    def __init__(self, device: torch.device) -> None:
        torch = import_torch()
        with torch_errors():
            self._event: Any = torch.cuda.Event(enable_timing=True)
            self._event.record(torch.cuda.current_stream(device))

    def ms_since(self, earlier: TorchStamp) -> float | None:
        """See `Stamp`."""
        with torch_errors():
            if not self._event.query():
                return None
            passed_ms: float = earlier._event.elapsed_time(self._event)
            return passed_ms


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


def to_torch(feed: Feed, device: torch.device) -> Tensor:
    """Return a feed on a device; a `RowStack` as a whole."""
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
        whole = to_torch(np.stack(arrays, axis=1), device)
    else:
        whole = torch.stack([to_torch(row, device) for row in rows], dim=1)
    missing = stack.total - len(rows)
    if not missing:
        return whole
    padding = whole.new_zeros((1, missing, *whole.shape[2:]))
    return cast("Tensor", torch.cat((whole, padding), dim=1))
