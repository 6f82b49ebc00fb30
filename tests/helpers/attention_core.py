"""The core of an attention as a graph: products, mask, softmax, in forms that networks have."""

from __future__ import annotations

from dataclasses import dataclass

import onnx
from onnx import TensorProto, helper

WIDTH = 256
_KINDS = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "bfloat16": TensorProto.BFLOAT16,
}


@dataclass(frozen=True)
class Form:
    """How it is written.

    Attributes:
        outside: Element type of queries, keys and values as they come and go.
        inside: Element type of the two products.
        value_width: Channels of the values; keys have `WIDTH`.
    """

    outside: str
    inside: str
    value_width: int


def attention_core(form: Form, queries: int, keys: int) -> onnx.ModelProto:
    """Return softmax(query @ key^T / 16 + mask) @ value, the softmax in fp32."""
    outside, inside = _KINDS[form.outside], _KINDS[form.inside]
    nodes = [
        helper.make_node("Cast", ["query"], ["query_in"], to=inside),
        helper.make_node("Cast", ["key"], ["key_in"], to=inside),
        helper.make_node("Cast", ["value"], ["value_in"], to=inside),
        helper.make_node("Cast", ["mask"], ["mask_in"], to=inside),
        helper.make_node("Mul", ["query_in", "scale"], ["scaled"]),
        helper.make_node("Transpose", ["key_in"], ["turned"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["scaled", "turned"], ["products"]),
        helper.make_node("Add", ["products", "mask_in"], ["scores"]),
        helper.make_node("Cast", ["scores"], ["scores_fp32"], to=TensorProto.FLOAT),
        helper.make_node("Softmax", ["scores_fp32"], ["weights_fp32"], axis=-1),
        helper.make_node("Cast", ["weights_fp32"], ["weights"], to=inside),
        helper.make_node("MatMul", ["weights", "value_in"], ["sum"]),
        helper.make_node("Cast", ["sum"], ["attended"], to=outside),
    ]
    tensor = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "attention_core",
        [
            tensor("query", outside, [1, queries, WIDTH]),
            tensor("key", outside, [1, keys, WIDTH]),
            tensor("value", outside, [1, keys, form.value_width]),
            tensor("mask", TensorProto.FLOAT, [1, 1, keys]),
        ],
        [tensor("attended", outside, [1, queries, form.value_width])],
        [helper.make_tensor("scale", inside, [], [WIDTH**-0.5])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
