"""The shapes an engine is built for, from the contract's table and a model's ranges."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, TypeAlias

from samcam.engines import NETWORKS, EngineError

if TYPE_CHECKING:
    import onnx

# By input: its smallest, most usual and largest shape.
Profile: TypeAlias = dict[str, list[tuple[int, ...]]]


def make_profiles(
    network: str, model: onnx.ModelProto, profiles: Iterable[Mapping[str, list[int]]]
) -> list[Profile]:
    """Return profiles by input, from those by axis of the contract's table.

    Raises:
        EngineError: An input or one of its free axes is not in the contract's table.
    """
    inputs = {value.name: _shape(value) for value in model.graph.input}
    return [
        {name: _shapes(network, name, shape, ranges) for name, shape in inputs.items()}
        for ranges in profiles
    ]


def _shape(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    """Return an input's shape, -1 for a free axis."""
    dims = value.type.tensor_type.shape.dim
    return tuple(int(d.dim_value) if d.HasField("dim_value") else -1 for d in dims)


def _shapes(
    network: str, tensor: str, shape: tuple[int, ...], ranges: Mapping[str, list[int]]
) -> list[tuple[int, ...]]:
    table = {spec.name: spec.shape for spec in NETWORKS[network].inputs}
    axes = table.get(tensor, ())
    if len(axes) != len(shape):
        raise EngineError(f"{network}: input {tensor} {list(shape)}: not in the engine contract")
    shapes = []
    for end in range(3):
        lengths = []
        for length, axis in zip(shape, axes, strict=True):
            if length < 0 and axis not in ranges:
                raise EngineError(
                    f"{network}: input {tensor}: axis {axis} is free, expected a number"
                )
            lengths.append(ranges[str(axis)][end] if length < 0 else length)
        shapes.append(tuple(lengths))
    return shapes
