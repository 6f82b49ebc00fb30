"""ONNX graphs in half precision, read as fp32.

ONNX Runtime's CPU provider knows hardly any operation in bf16, and computes fp16 in fp32 inside.
For checks of a graph's structure, and for ranges that must not saturate, the same graph with the
same (rounded) weights is wanted in fp32 throughout.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HALF_TYPES: Final = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
FLOAT_TYPES: Final = (*HALF_TYPES, TensorProto.FLOAT)
NAMES: Final[Mapping[int, str]] = {
    TensorProto.FLOAT: "fp32",
    TensorProto.FLOAT16: "fp16",
    TensorProto.BFLOAT16: "bf16",
}


def read_graph(path: Path) -> onnx.ModelProto:
    """Read a graph with the element types and shapes of its inner tensors inferred."""
    return onnx.shape_inference.infer_shapes(onnx.load(str(path)))


def element_types(model: onnx.ModelProto) -> dict[str, int]:
    """Return the element type of every tensor that is known, by name."""
    graph = model.graph
    found = {tensor.name: int(tensor.data_type) for tensor in graph.initializer}
    for value in (*graph.input, *graph.output, *graph.value_info):
        found[value.name] = int(value.type.tensor_type.elem_type)
    return found


def to_float32(model: onnx.ModelProto) -> None:
    """Turn every half-precision tensor of a graph into fp32, in place; values stay rounded."""
    graph = model.graph
    for tensor in graph.initializer:
        _widen(tensor)
    for value in (*graph.input, *graph.output, *graph.value_info):
        kind = value.type.tensor_type
        if kind.elem_type in HALF_TYPES:
            kind.elem_type = TensorProto.FLOAT
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                _widen(attribute.t)
            elif node.op_type == "Cast" and attribute.name == "to" and attribute.i in HALF_TYPES:
                attribute.i = TensorProto.FLOAT


def float32_copy(path: Path, target: Path) -> None:
    """Write a graph as `to_float32` makes it."""
    model = onnx.load(str(path))
    to_float32(model)
    onnx.save(model, str(target))


def describe_types(path: Path) -> dict[str, int]:
    """Return how many nodes of a graph compute in fp32, fp16 and bf16."""
    model = read_graph(path)
    types = element_types(model)
    counts = dict.fromkeys(NAMES.values(), 0)
    for node in model.graph.node:
        kind = types.get(node.output[0])
        if kind in FLOAT_TYPES:
            counts[NAMES[kind]] += 1
    return counts


def _widen(tensor: onnx.TensorProto) -> None:
    if tensor.data_type in HALF_TYPES:
        values = numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(helper.make_tensor(tensor.name, TensorProto.FLOAT, values.shape, values))
