"""Tensors in host memory, and the check of what goes into a network; shared by CPU backends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from samcam.engines.base import Array, DeviceTensor, EngineError, Feed, RowStack, TensorSpec


class HostTensor:
    """A `DeviceTensor` over a numpy array, read-only by convention.

    `owned` says that no later run writes into it; then a copy costs nothing.
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


class StackBuffers:
    """Arrays that a CPU backend stacks rows into; each grows to the most rows ever asked for."""

    def __init__(self) -> None:
        self._buffers: dict[str, Array] = {}

    def fill(self, name: str, stack: RowStack) -> Array:
        """Return the array (1, total, ...) with the rows first and zeros after them; valid until
        the next call with this name."""
        first = stack.rows[0]
        buffer = self._buffers.get(name)
        if (
            buffer is None
            or buffer.shape[2:] != first.shape[1:]
            or buffer.dtype != first.dtype
            or buffer.shape[1] < stack.total
        ):
            buffer = self._buffers[name] = np.zeros((1, *stack.shape[1:]), first.dtype)
        filled = buffer[:, : stack.total]
        for i, row in enumerate(stack.rows):
            filled[:, i] = host_values(row)
        filled[:, len(stack.rows) :] = 0
        return filled


def host_values(feed: DeviceTensor | Array) -> Array:
    return feed if isinstance(feed, np.ndarray) else feed.numpy()


def check_feeds(
    network: str,
    specs: Mapping[str, TensorSpec],
    feeds: Mapping[str, Feed],
    stacks: StackBuffers,
) -> dict[str, Array]:
    """Return the feeds as host arrays after comparing them with the network's inputs.

    An axis name that occurs twice in `specs` must have one length; a `RowStack` becomes an array in
    `stacks`.

    Raises:
        EngineError: Names the network, the tensor, the expected and the given.
    """
    check_shapes(network, specs, feeds)
    return {
        name: stacks.fill(name, feed)
        if isinstance(feed := feeds[name], RowStack)
        else host_values(feed)
        for name in specs
    }


def check_shapes(
    network: str, specs: Mapping[str, TensorSpec], feeds: Mapping[str, Feed]
) -> dict[str, int]:
    """Compare names, element types and shapes of the feeds with a network's inputs.

    Returns:
        Length of each free axis.

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
    lengths: dict[str, int] = {}
    for name, spec in specs.items():
        feed = feeds[name]
        _check_rows(network, name, feed)
        if feed.dtype.name != spec.dtype:
            raise EngineError(
                f"{network}: input {name}: expected {spec.dtype}, got {feed.dtype.name}"
            )
        if len(feed.shape) != len(spec.shape) or not all(
            given == (axis if isinstance(axis, int) else lengths.setdefault(axis, given))
            for given, axis in zip(feed.shape, spec.shape, strict=True)
        ):
            known = {axis: n for axis, n in lengths.items() if axis in spec.shape}
            raise EngineError(
                f"{network}: input {name}: expected shape {_shape_text(spec.shape)}, "
                f"got {_shape_text(feed.shape)}" + (f" with {known}" if known else "")
            )
    return lengths


def _check_rows(network: str, name: str, feed: Feed) -> None:
    """Refuse rows that are not alike: the first one stands for all in the other checks."""
    if not isinstance(feed, RowStack):
        return
    first = feed.rows[0]
    for i, row in enumerate(feed.rows):
        if row.shape[:1] != (1,) or row.shape != first.shape or row.dtype != first.dtype:
            raise EngineError(
                f"{network}: input {name}: row {i}: expected {first.dtype.name} "
                f"{_shape_text((1, *first.shape[1:]))}, "
                f"got {row.dtype.name} {_shape_text(row.shape)}"
            )


def _shape_text(shape: tuple[int | str, ...]) -> str:
    return f"[{', '.join(map(str, shape))}]"
