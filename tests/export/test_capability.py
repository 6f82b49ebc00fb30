"""Graphs for GPUs without bf16, and without fp32 matrix products: the same answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper

from samcam.engines.base import Array
from samcam.engines.graph_table import MASK_DECODER
from samcam.export.half.capability import for_capability
from samcam.export.half.element_types import element_types

FP32, FP16, BF16 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16
TURING = (7, 5)
FREE_AXES = {"B": 1, "T": 3}


def graph_of(nodes: list[NodeProto], *inputs: tuple[str, list[int]]) -> onnx.ModelProto:
    """Return a graph of fp32 inputs whose result is `y`."""
    declared = [helper.make_tensor_value_info(name, FP32, shape) for name, shape in inputs]
    result = helper.make_tensor_value_info("y", FP32, None)
    graph = helper.make_graph(nodes, "g", declared, [result])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    inferred = onnx.shape_inference.infer_shapes(model)
    onnx.checker.check_model(inferred)
    return inferred


def cast(source: str, target: str, kind: int) -> NodeProto:
    return helper.make_node("Cast", [source], [target], to=kind)


def answer(model: onnx.ModelProto, feeds: dict[str, Array]) -> list[Array]:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return list(session.run(None, feeds))


def kinds_of(model: onnx.ModelProto) -> set[int]:
    return set(element_types(onnx.shape_inference.infer_shapes(model)).values())


def round_trip() -> onnx.ModelProto:
    nodes = [cast("x", "half", BF16), cast("half", "y", FP32)]
    return graph_of(nodes, ("x", [4]))


@pytest.mark.parametrize("capability", [(8, 0), (8, 9), (12, 0)])
def test_from_8_on_nothing_changes(capability: tuple[int, int]) -> None:
    model = round_trip()
    assert for_capability(model, capability) is model


def test_the_round_trip_to_bf16_is_dropped() -> None:
    changed = for_capability(round_trip(), TURING)
    assert kinds_of(changed) == {FP32}
    values = np.array([1.001, -3.3, 0, 7e6], np.float32)
    np.testing.assert_array_equal(answer(changed, {"x": values})[0], values)


def test_a_bf16_core_becomes_fp16() -> None:
    nodes = [
        cast("a", "a_half", BF16),
        cast("b", "b_half", BF16),
        helper.make_node("MatMul", ["a_half", "b_half"], ["scores"]),
        cast("scores", "wide", FP32),
        helper.make_node("Softmax", ["wide"], ["y"], axis=-1),
    ]
    model = graph_of(nodes, ("a", [3, 8]), ("b", [8, 5]))
    changed = for_capability(model, TURING)
    assert kinds_of(model) == {FP32, BF16}
    assert kinds_of(changed) == {FP32, FP16}
    assert [node.op_type for node in changed.graph.node] == [node.op_type for node in nodes]


def test_fp32_attention_of_a_half_graph_becomes_fp16() -> None:
    """Products of weights stay exact; those of activations are too many to be written as sums."""
    weight = np.ones((8, 8), np.float32)
    nodes = [
        helper.make_node("MatMul", ["a", "half"], ["query"]),
        helper.make_node("MatMul", ["wide", "exact"], ["key"]),
        helper.make_node("Transpose", ["key"], ["turned"], perm=[1, 0]),
        cast("query", "query_wide", FP32),
        helper.make_node("MatMul", ["query_wide", "turned"], ["y"]),
    ]
    nodes = [cast("x", "a", FP16), cast("x", "wide", FP32), *nodes]
    weights = {"half": weight.astype(np.float16), "exact": weight}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", FP32, [3, 8])],
        [helper.make_tensor_value_info("y", FP32, [3, 3])],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    changed = for_capability(model, TURING, fp32_products=False)
    onnx.checker.check_model(changed, full_check=True)
    types = element_types(onnx.shape_inference.infer_shapes(changed))
    products = [node for node in changed.graph.node if node.op_type == "MatMul"]
    assert [types[node.output[0]] for node in products] == [FP16, FP16]
    assert "ReduceSum" in [node.op_type for node in changed.graph.node]
    feeds = {"x": np.random.default_rng(1).random((3, 8), np.float32)}
    np.testing.assert_allclose(answer(changed, feeds)[0], answer(model, feeds)[0], rtol=5e-3)


@pytest.mark.parametrize(
    ("node", "shapes"),
    [
        (helper.make_node("MatMul", ["a", "b"], ["y"]), ([2, 3, 4], [4, 5])),
        (helper.make_node("MatMul", ["a", "b"], ["y"]), ([3, 4], [2, 1, 4, 5])),
        (helper.make_node("Gemm", ["a", "b", "c"], ["y"], transB=1), ([3, 4], [5, 4], [5])),
        (helper.make_node("Gemm", ["a", "b"], ["y"], transA=1), ([4, 3], [4, 5])),
        (
            helper.make_node("Einsum", ["a", "b"], ["y"], equation="bth,bchw->btcw"),
            ([2, 3, 4], [2, 5, 4, 6]),
        ),
        (
            helper.make_node("Einsum", ["a", "b", "c"], ["y"], equation="bh, bchw, bw->cb"),
            ([2, 4], [2, 5, 4, 6], [2, 6]),
        ),
    ],
)
def test_fp32_products_as_sums(node: NodeProto, shapes: tuple[list[int], ...]) -> None:
    model = graph_of([node], *zip("abc", shapes, strict=False))
    changed = for_capability(model, TURING, fp32_products=False)
    assert not {n.op_type for n in changed.graph.node} & {"MatMul", "Gemm", "Einsum"}
    rng = np.random.default_rng(3)
    feeds = {
        name: rng.standard_normal(shape).astype(np.float32)
        for name, shape in zip("abc", shapes, strict=False)
    }
    np.testing.assert_allclose(
        answer(changed, feeds)[0], answer(model, feeds)[0], rtol=1e-5, atol=1e-5
    )
    kept = for_capability(model, TURING)
    assert [n.op_type for n in kept.graph.node] == [node.op_type]


def test_nanos_decoder_without_products(nano_dir: Path) -> None:
    model = onnx.load(str(nano_dir / f"{MASK_DECODER}.onnx"))
    changed = for_capability(model, TURING, fp32_products=False)
    onnx.checker.check_model(changed, full_check=True)
    assert not {n.op_type for n in changed.graph.node} & {"MatMul", "Gemm", "Einsum"}
    rng = np.random.default_rng(1)
    feeds: dict[str, Array] = {}
    for value in model.graph.input:
        kind = value.type.tensor_type
        shape = [d.dim_value or FREE_AXES[d.dim_param] for d in kind.shape.dim]
        high = 2 if kind.elem_type == TensorProto.BOOL else 4
        dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type)
        feeds[value.name] = (rng.random(shape) * high).astype(dtype)
    for given, wanted in zip(answer(changed, feeds), answer(model, feeds), strict=True):
        np.testing.assert_allclose(given, wanted, rtol=1e-3, atol=1e-3)
