"""Real ONNX files of the five networks, small and without weights, in a real model folder.

Every output is filled with one number, `probe` of the inputs plus the output's place: wrong
values, inputs fed to the wrong name and stale buffers all show.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from samcam.engines.base import Array
from samcam.engines.fake_backend import fake_manifest
from samcam.engines.graph_table import CHANNEL_AXES, NETWORKS, NetworkSpec
from samcam.engines.manifest import Manifest, describe_file, read_manifest, write_manifest
from samcam.engines.tensorrt.files import graph_path

CHANNELS = 3  # of the high-resolution features
OPSET, IR_VERSION = 17, 10
_TYPES = {
    "float32": TensorProto.FLOAT,
    "uint8": TensorProto.UINT8,
    "int32": TensorProto.INT32,
    "bool": TensorProto.BOOL,
}


def tiny_manifest(form: str = "dynamic") -> Manifest:
    """S 64, G 4, L 16, D 8, M 8, K 4."""
    return fake_manifest(image_size=64, width=8, memory_channels=8, form=form)


def probe(spec: NetworkSpec, feeds: Mapping[str, Array]) -> float:
    """Return the sum over the inputs of (place + 1) * mean."""
    return sum(
        (i + 1) * float(feeds[t.name].astype(np.float32).mean()) for i, t in enumerate(spec.inputs)
    )


def probe_outputs(spec: NetworkSpec, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """Return what a network of `build_network` answers."""
    value = probe(spec, feeds)
    return {
        tensor.name: np.full(output_shape(tensor.shape), value + place, np.float32)
        for place, tensor in enumerate(spec.outputs)
    }


def output_shape(shape: tuple[int | str, ...]) -> tuple[int, ...]:
    """Fill in one object and the number of channels."""
    free = {"B": 1, "C0": CHANNELS, "C1": CHANNELS}
    return tuple(free[axis] if isinstance(axis, str) else axis for axis in shape)


def input_shape(shape: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Fill in the number of channels, which is never free in a model's file."""
    return tuple(CHANNELS if axis in CHANNEL_AXES else axis for axis in shape)


def example_feeds(spec: NetworkSpec, rng: np.random.Generator, rows: int = 2) -> dict[str, Array]:
    """Return random inputs of the right types; `rows` memories, pointers and points."""
    free = {"B": 1, "C0": CHANNELS, "C1": CHANNELS, "N": rows, "P": rows, "T": rows}
    feeds: dict[str, Array] = {}
    for tensor in spec.inputs:
        shape = tuple(free[axis] if isinstance(axis, str) else axis for axis in tensor.shape)
        feeds[tensor.name] = rng.integers(0, 2 if tensor.dtype == "bool" else 9, shape).astype(
            tensor.dtype
        )
    return feeds


def build_network(
    spec: NetworkSpec, frozen: str | None = None, bias: float = 0.0
) -> onnx.ModelProto:
    """Build a network.

    Args:
        spec: Inputs and outputs with the sizes filled in.
        frozen: Input that only runs with one row although the file declares any number.
        bias: Added to every output.
    """
    nodes, terms = [], []
    constants = [numpy_helper.from_array(np.array(bias, np.float32), "bias")]
    for i, tensor in enumerate(spec.inputs):
        source = tensor.name
        if source == frozen:
            shape = [1 if isinstance(axis, str) else axis for axis in tensor.shape]
            constants.append(numpy_helper.from_array(np.array(shape, np.int64), "one_row"))
            nodes.append(helper.make_node("Reshape", [source, "one_row"], ["reshaped"]))
            source = "reshaped"
        constants.append(numpy_helper.from_array(np.array(i + 1, np.float32), f"weight{i}"))
        nodes += [
            helper.make_node("Cast", [source], [f"cast{i}"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", [f"cast{i}"], [f"mean{i}"], keepdims=0),
            helper.make_node("Mul", [f"mean{i}", f"weight{i}"], [f"term{i}"]),
        ]
        terms.append(f"term{i}")
    nodes.append(helper.make_node("Sum", [*terms, "bias"], ["probe"]))
    for place, tensor in enumerate(spec.outputs):
        full = np.full(output_shape(tensor.shape), place, np.float32)
        constants.append(numpy_helper.from_array(full, f"place{place}"))
        nodes.append(helper.make_node("Add", ["probe", f"place{place}"], [tensor.name]))
    graph = helper.make_graph(
        nodes,
        spec.name,
        [
            helper.make_tensor_value_info(t.name, _TYPES[t.dtype], input_shape(t.shape))
            for t in spec.inputs
        ],
        [
            helper.make_tensor_value_info(t.name, _TYPES[t.dtype], output_shape(t.shape))
            for t in spec.outputs
        ],
        constants,
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
    )
    onnx.checker.check_model(model)
    return model


def write_tiny_model(folder: Path, form: str = "dynamic") -> Manifest:
    """Write the five files and the manifest."""
    manifest = tiny_manifest(form)
    folder.mkdir(parents=True, exist_ok=True)
    specs = manifest.specs()
    for name in NETWORKS:
        onnx.save(build_network(specs[name]), folder / f"{name}.onnx")
    return write_manifest(folder, manifest)


def add_graphs(folder: Path, network: str, *precisions: str) -> None:
    """Put graphs in other precisions where the exporter puts them, and name them as it does."""
    manifest = read_manifest(folder)
    half = {name: dict(graphs) for name, graphs in manifest.half.items()}
    for precision in precisions:
        path = graph_path(folder, network, precision)
        path.parent.mkdir(exist_ok=True)
        model = onnx.load(folder / f"{network}.onnx")
        model.doc_string = precision
        onnx.save(model, path)
        half.setdefault(network, {})[precision] = describe_file(path, precision)
    write_manifest(folder, replace(manifest, half=half))
