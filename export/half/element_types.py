"""ONNX graphs in half precision, read as fp32.

ONNX Runtime's CPU provider knows hardly any operation in bf16, and computes fp16 in fp32 inside.
For checks of a graph's structure, and for ranges that must not saturate, the same graph with the
same (rounded) weights is wanted in fp32 throughout; for what half precision makes of the masks,
the same with every result rounded to the type that it has.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

import onnx
from onnx import TensorProto, helper, numpy_helper

HALF_TYPES: Final = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
FLOAT_TYPES: Final = (*HALF_TYPES, TensorProto.FLOAT)
NAMES: Final[Mapping[int, str]] = {
    TensorProto.FLOAT: "fp32",
    TensorProto.FLOAT16: "fp16",
    TensorProto.BFLOAT16: "bf16",
}

# From so many queries on, NVIDIA's compiler fuses attention in half precision where keys and values
# are as wide as each other: memory attention at 1024 px then needs 0.2 GB of scratch memory instead
# of 1.4. Below (512 px: 1024 queries) it fuses neither form, and narrow values are less work.
FUSED_QUERIES: Final = 2048
FP16_MAX: Final = 65504.0
# They only move values: what moved was rounded, and is measured, where it was computed.
MOVING: Final = frozenset(
    [
        "Reshape",
        "Transpose",
        "Slice",
        "Squeeze",
        "Unsqueeze",
        "Concat",
        "Expand",
        "Gather",
        "Split",
        "Identity",
        "Pad",
        "Tile",
        "Shape",
        "Constant",
        "ConstantOfShape",
        "Flatten",
    ]
)


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


def change_types(model: onnx.ModelProto, given: Collection[int], wanted: int) -> None:
    """Turn every tensor of some element types into another, in place; values are rounded."""
    graph = model.graph
    for tensor in graph.initializer:
        _convert(tensor, given, wanted)
    for value in (*graph.input, *graph.output, *graph.value_info):
        kind = value.type.tensor_type
        if kind.elem_type in given:
            kind.elem_type = wanted
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                _convert(attribute.t, given, wanted)
            elif node.op_type == "Cast" and attribute.name == "to" and attribute.i in given:
                attribute.i = wanted


def to_float32(model: onnx.ModelProto) -> None:
    """Turn every half-precision tensor of a graph into fp32, in place; values stay rounded."""
    change_types(model, HALF_TYPES, TensorProto.FLOAT)


def float32_copy(path: Path, target: Path) -> None:
    """Write a graph as `to_float32` makes it."""
    model = onnx.load(str(path))
    to_float32(model)
    onnx.save(model, str(target))


def rounding_copy(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a graph in fp32 that rounds every result as the half-precision graph does.

    A GPU adds up its products in fp32 and rounds the sum, as here. The scores of attention that is
    fused stay in fp32: they never leave the chip.
    """
    copy = onnx.shape_inference.infer_shapes(model)
    types = element_types(copy)
    fused = fused_scores(copy)
    to_float32(copy)
    nodes = list(copy.graph.node)
    del copy.graph.node[:]
    for node in nodes:
        copy.graph.node.append(node)
        half = types.get(node.output[0])
        if half not in HALF_TYPES or node.op_type in MOVING or node.output[0] in fused:
            continue
        name = node.output[0]
        exact, rounded = f"{name}:exact", f"{name}:rounded"
        copy.graph.node[-1].output[0] = exact
        copy.graph.node.append(helper.make_node("Cast", [exact], [rounded], to=half))
        copy.graph.node.append(helper.make_node("Cast", [rounded], [name], to=TensorProto.FLOAT))
    return copy


def fused_scores(model: onnx.ModelProto) -> set[str]:
    """Return the half-precision tensors between a product and its softmax where they are fused.

    `model` has its shapes inferred.
    """
    types = element_types(model)
    rows = {
        value.name: value.type.tensor_type.shape.dim[-2].dim_value
        for value in model.graph.value_info
        if len(value.type.tensor_type.shape.dim) > 1
    }
    makers = {name: node for node in model.graph.node for name in node.output}
    found: set[str] = set()
    for softmax in (node for node in model.graph.node if node.op_type == "Softmax"):
        name = softmax.input[0]
        if rows.get(name, 0) < FUSED_QUERIES:
            continue
        chain = []
        while name in makers and makers[name].op_type in ("Add", "Cast", "MatMul"):
            chain.append(name)
            if makers[name].op_type == "MatMul":
                found |= {part for part in chain if types.get(part) in HALF_TYPES}
                break
            name = makers[name].input[0]
    return found


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


def _convert(tensor: onnx.TensorProto, given: Collection[int], wanted: int) -> None:
    if tensor.data_type in given:
        values = numpy_helper.to_array(tensor).astype(helper.tensor_dtype_to_np_dtype(wanted))
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
