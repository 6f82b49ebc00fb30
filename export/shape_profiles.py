"""The shapes an engine is built for, from the contract's table and a model's ranges."""

from __future__ import annotations

from collections.abc import Mapping

from samcam.engines import NETWORKS, EngineError


def profile_shapes(
    network: str, tensor: str, shape: tuple[int, ...], ranges: Mapping[str, list[int]]
) -> list[tuple[int, ...]]:
    """Return an input's smallest, most usual and largest shape.

    Raises:
        EngineError: The input or one of its free axes is not in the contract's table.
    """
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
