"""Tensors that stay on ONNX Runtime's device between networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

import numpy as np

from samcam.engines.base import Array, RowStack

_ELEMENTS: Final = {"float32": 1, "float16": 10}  # ONNX's numbers; what memories are made of
_IR_VERSION: Final = 7
_OPSET: Final = 11  # has Unsqueeze's axes as an attribute
_INT, _INTS = 2, 7  # kinds of an attribute
_Key: TypeAlias = tuple[tuple[int, ...], str]


class OrtTensor:
    """A `DeviceTensor` over an `OrtValue`, which no later run writes into."""

    __slots__ = ("dtype", "shape", "value")

    def __init__(self, value: Any, dtype: str) -> None:
        self.value = value
        self.shape: tuple[int, ...] = tuple(value.shape())
        self.dtype: np.dtype[Any] = np.dtype(dtype)

    def numpy(self) -> Array:
        """Return a copy on the host."""
        array: Array = self.value.numpy()
        array.flags.writeable = False
        return array

    def copy(self) -> OrtTensor:
        return self


class DeviceStacks:
    """Stacks rows where they are, as a network of its own: ONNX Runtime joins no other tensors."""

    def __init__(self, open_session: Callable[[bytes], Any], memory: tuple[str, int]) -> None:
        """Take what opens a session on the rows' device, and the kind and number of that."""
        self._open = open_session
        self._memory = memory
        self._stacks: dict[_Key, tuple[Any, Array]] = {}  # one per length that is in use

    def fill(self, stack: RowStack) -> Any:
        """Return an `OrtValue` (1, total, ...): the rows, each an `OrtTensor`, then zeros."""
        key = stack.shape, stack.dtype.name
        if key not in self._stacks:
            made = self._open(stack_graph(*key))
            self._stacks[key] = made, np.zeros(stack.rows[0].shape, stack.dtype)
        session, zeros = self._stacks[key]
        binding = session.io_binding()
        for i in range(stack.total):
            if i < len(stack.rows):
                binding.bind_ortvalue_input(f"row{i}", stack.rows[i].value)  # type: ignore[union-attr]
            else:
                binding.bind_cpu_input(f"row{i}", zeros)
        binding.bind_output("stack", *self._memory)
        session.run_with_iobinding(binding)
        return binding.get_outputs()[0]


def stack_graph(shape: tuple[int, ...], dtype: str) -> bytes:
    """Return an ONNX file that makes `stack`, (1, total, ...) as `shape`, of `row0`, `row1` and so
    on, (1, ...) each.

    Written here, field by field (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto): the
    package that writes such files is not there where a model only runs.
    """
    rows = [f"row{i}" for i in range(shape[1])]
    axis = _message((1, "axis"), (3, 0), (20, _INT))
    axes = _message((1, "axes"), (8, 0), (20, _INTS))
    join = _message(*((1, row) for row in rows), (2, "joined"), (4, "Concat"), (5, axis))
    whole = _message((1, "joined"), (2, "stack"), (4, "Unsqueeze"), (5, axes))
    inputs = ((11, _value(row, (1, *shape[2:]), dtype)) for row in rows)
    output = 12, _value("stack", shape, dtype)
    graph = _message((1, join), (1, whole), (2, "stack"), *inputs, output)
    return _message((1, _IR_VERSION), (7, graph), (8, _message((2, _OPSET))))


def _value(name: str, shape: tuple[int, ...], dtype: str) -> bytes:
    """Return a ValueInfoProto."""
    sizes = _message(*((1, _message((1, size))) for size in shape))
    tensor = _message((1, _ELEMENTS[dtype]), (2, sizes))
    return _message((1, name), (2, _message((1, tensor))))


def _message(*fields: tuple[int, int | str | bytes]) -> bytes:
    """Return a message of Protocol Buffers with these fields, by number."""
    made = bytearray()
    for number, value in fields:
        if isinstance(value, int):
            made += _varint(number << 3) + _varint(value)
        else:
            data = value.encode() if isinstance(value, str) else value
            made += _varint(number << 3 | 2) + _varint(len(data)) + data
    return bytes(made)


def _varint(value: int) -> bytes:
    made = bytearray()
    while value > 127:
        made.append(value & 127 | 128)
        value >>= 7
    made.append(value)
    return bytes(made)
