"""Tensors in host memory, and the check of what goes into a network; shared by CPU backends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from engines.base import Array, DeviceTensor, EngineError, TensorSpec


class HostTensor:
    """A `DeviceTensor` over a numpy array. Read-only by convention.

    Args:
        array: The values.
        owned: True where no later run writes into `array`; then a copy costs nothing.
    """

    __slots__ = ("_array", "_owned")

    def __init__(self, array: Array, owned: bool) -> None:
        self._array = array
        self._owned = owned

    @property
    def shape(self) -> tuple[int, ...]:
        return self._array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._array.dtype

    def numpy(self) -> Array:
        return self._array

    def copy(self) -> HostTensor:
        return self if self._owned else HostTensor(self._array.copy(), owned=True)


def check_feeds(
    network: str, specs: Mapping[str, TensorSpec], feeds: Mapping[str, DeviceTensor | Array]
) -> dict[str, Array]:
    """Return the feeds as host arrays after comparing them with the network's inputs.

    Args:
        network: For messages.
        specs: The inputs; an axis name that occurs twice must have one length.
        feeds: By name.

    Raises:
        EngineError: Names the network, the tensor, the expected and the given.
    """
    if feeds.keys() != specs.keys():
        unknown = sorted(feeds.keys() - specs.keys())
        missing = sorted(specs.keys() - feeds.keys())
        raise EngineError(
            f"{network}: expected inputs {', '.join(specs)}; "
            f"missing: {', '.join(missing) or 'none'}; unknown: {', '.join(unknown) or 'none'}"
        )
    arrays: dict[str, Array] = {}
    lengths: dict[str, int] = {}
    for name, spec in specs.items():
        feed = feeds[name]
        array = feed if isinstance(feed, np.ndarray) else feed.numpy()
        if array.dtype.name != spec.dtype:
            raise EngineError(
                f"{network}: input {name}: expected {spec.dtype}, got {array.dtype.name}"
            )
        if len(array.shape) != len(spec.shape) or not all(
            given == (axis if isinstance(axis, int) else lengths.setdefault(axis, given))
            for given, axis in zip(array.shape, spec.shape, strict=True)
        ):
            known = {axis: n for axis, n in lengths.items() if axis in spec.shape}
            raise EngineError(
                f"{network}: input {name}: expected shape {_shape_text(spec.shape)}, "
                f"got {_shape_text(array.shape)}" + (f" with {known}" if known else "")
            )
        arrays[name] = array
    return arrays


def _shape_text(shape: tuple[int | str, ...]) -> str:
    return f"[{', '.join(map(str, shape))}]"
