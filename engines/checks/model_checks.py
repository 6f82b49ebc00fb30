"""Checks of a freshly opened model: its networks declare and answer what the table says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np

from samcam.engines.base import (
    Array,
    Backend,
    DeviceTensor,
    EngineError,
    GpuMemoryError,
    TensorSpec,
)
from samcam.engines.graph_table import (
    CHANNEL_AXES,
    IMAGE_ENCODER,
    MASK_DECODER,
    MEMORY_ATTENTION,
    SINGLE_OBJECT_AXIS,
    NetworkSpec,
)
from samcam.engines.manifest import Manifest, ModelFileError

_MEMORY_COUNTS: Final = (1, 2)  # two lengths show a graph whose free axes were frozen on export
_POINT_COUNTS: Final = (1, 3)


def check_network(
    expected: NetworkSpec,
    inputs: Mapping[str, TensorSpec],
    outputs: Mapping[str, TensorSpec],
    where: str,
) -> None:
    """Compare what a graph declares with the table (`expected`, with the model's sizes filled in).

    A number in the table fits the same number or a free axis of the graph (the warm-up run then
    shows its value). A free axis of the table must be free in the graph, but B may be 1 and channel
    counts any number.

    Raises:
        ModelFileError: Names the file (`where`), the network, the tensor, the expected and the
            found.
    """
    for side, wanted, found in (
        ("input", expected.inputs, inputs),
        ("output", expected.outputs, outputs),
    ):
        names = [spec.name for spec in wanted]
        if set(names) != set(found):
            article = "an" if expected.name.startswith("image") else "a"
            raise ModelFileError(
                f"{where}: not {article} {expected.name} network: "
                f"expected {side}s {', '.join(names)}, found {', '.join(found) or 'none'}"
            )
        for spec in wanted:
            given = found[spec.name]
            if given.dtype != spec.dtype or not _shape_fits(spec.shape, given.shape):
                raise ModelFileError(
                    f"{where}: {expected.name} {side} {spec.name}: "
                    f"expected {_describe(spec)}, found {_describe(given)}"
                )


def warm_up(manifest: Manifest, backends: Mapping[str, Backend], folder: Path) -> None:
    """Run every network on zeros, the decoder on the encoder's features.

    Raises:
        ModelFileError: A network does not run, or answers with other shapes or element types than
            the table says, or with values that are not finite. Names `folder`.
        GpuMemoryError: The GPU has too little memory to run a network.
        EngineError: Something else than the file is wrong; says what to do.
    """
    features: dict[str, DeviceTensor] = {}
    for name, network in manifest.specs().items():
        where = f"{folder / manifest.files[name].file}: {name}"
        for axes in _axis_choices(name, manifest):
            lengths = {SINGLE_OBJECT_AXIS: 1} | axes
            feeds: dict[str, DeviceTensor | Array] = {
                spec.name: features.get(spec.name) or _zeros(spec, lengths)
                for spec in network.inputs
            }
            try:
                outputs = backends[name].run(feeds)
            except EngineError as error:
                if error.fix or isinstance(error, GpuMemoryError):
                    raise  # the file is right
                raise ModelFileError(f"{where}: first run failed ({axes}): {error}") from error
            _check_outputs(where, network, outputs, lengths)
            if name == IMAGE_ENCODER:
                features = {key: value.copy() for key, value in outputs.items()}


def _zeros(spec: TensorSpec, lengths: Mapping[str, int]) -> Array:
    shape = tuple(lengths[axis] if isinstance(axis, str) else axis for axis in spec.shape)
    return np.zeros(shape, spec.dtype)


def _describe(spec: TensorSpec) -> str:
    return f"{spec.dtype} [{', '.join(map(str, spec.shape))}]"


def _shape_fits(wanted: tuple[int | str, ...], given: tuple[int | str, ...]) -> bool:
    return len(wanted) == len(given) and all(map(_axis_fits, wanted, given))


def _axis_fits(wanted: int | str, given: int | str) -> bool:
    if isinstance(wanted, int):
        return isinstance(given, str) or given == wanted
    if isinstance(given, str) or wanted in CHANNEL_AXES:
        return True
    return wanted == SINGLE_OBJECT_AXIS and given == 1


def _axis_choices(name: str, manifest: Manifest) -> list[dict[str, int]]:
    """Return the lengths of free axes to run a network with: all that tracking gives, where it
    compiles or captures for each."""
    if name == MEMORY_ATTENTION and manifest.form == "dynamic":
        return [{"N": count, "P": count + 1} for count in _MEMORY_COUNTS]
    if name == MEMORY_ATTENTION:
        return [{"N": memories, "P": pointers} for memories, pointers in manifest.row_steps]
    if name == MASK_DECODER:
        return [{"T": count} for count in _POINT_COUNTS]
    return [{}]


def _check_outputs(
    where: str,
    network: NetworkSpec,
    outputs: Mapping[str, DeviceTensor],
    lengths: Mapping[str, int],
) -> None:
    for spec in network.outputs:
        output = outputs[spec.name]
        expected = tuple(lengths.get(a, a) if isinstance(a, str) else a for a in spec.shape)
        fits = len(expected) == len(output.shape) and all(
            want == got or want in CHANNEL_AXES
            for want, got in zip(expected, output.shape, strict=False)
        )
        if not fits or output.dtype.name != spec.dtype:
            raise ModelFileError(
                f"{where}: output {spec.name}: expected {spec.dtype} {list(expected)}, "
                f"got {output.dtype.name} {list(output.shape)} with {dict(lengths)}"
            )
        if not np.isfinite(output.numpy()).all():
            raise ModelFileError(f"{where}: output {spec.name}: not finite on a black picture")
