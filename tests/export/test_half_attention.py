"""Memory attention in the form that NVIDIA's compiler fuses, at the sizes where it does."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import NodeProto, TensorProto, helper

from samcam.engines.graph_table import MEMORY_ATTENTION
from samcam.export.half.capability import for_capability
from samcam.export.half.element_types import (
    FUSED_QUERIES,
    element_types,
    fused_scores,
    rounding_copy,
)
from samcam.export.sam2.attention import MemoryAttention
from tests.helpers.sam2_graphs import graph_of, half_module

FP32, FP16, BF16 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16
CORES = {
    # size and precision: type of the products with the memory, width of its values
    (1024, "fp16"): (BF16, 256),
    (1024, "bf16"): (BF16, 256),
    (512, "fp16"): (FP32, 64),
    (512, "bf16"): (BF16, 64),
}


def cores(model: onnx.ModelProto) -> list[tuple[NodeProto, NodeProto, NodeProto]]:
    """Return the two products and the softmax of every attention to the memory."""
    makers = {name: node for node in model.graph.node for name in node.output}

    def above(name: str, *passed: str) -> NodeProto:
        node = makers[name]
        return above(node.input[0], *passed) if node.op_type in passed else node

    found = []
    for weighted in (node for node in model.graph.node if node.op_type == "MatMul"):
        softmax = makers.get(weighted.input[0])
        softmax = above(weighted.input[0], "Cast") if softmax is not None else None
        if softmax is not None and softmax.op_type == "Softmax":
            scores = above(softmax.input[0], "Cast", "Add")
            masked = above(softmax.input[0], "Cast").op_type == "Add"
            found += [(scores, softmax, weighted)] if masked else []
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "precision"),
    [case if case[1] == "fp16" else pytest.param(*case, marks=pytest.mark.long) for case in CORES],
)
def test_the_core_is_what_the_compiler_fuses(size: int, precision: str) -> None:
    """At 1024 px both products in bf16, keys and values 256 wide, the softmax in fp32 between."""
    kind, width = CORES[size, precision]
    module = half_module(MEMORY_ATTENTION, size, precision)
    assert isinstance(module, MemoryAttention)
    module.layers = module.layers[:1]  # the four are alike
    model = graph_of(module, MEMORY_ATTENTION, size)
    inferred = onnx.shape_inference.infer_shapes(model)
    check_cores(inferred, kind, width)
    assert bool(fused_scores(inferred)) is ((size // 16) ** 2 >= FUSED_QUERIES)
    if (size, precision) == (1024, "fp16"):
        older = for_capability(model, (7, 5), fp32_products=False)
        inferred = onnx.shape_inference.infer_shapes(older)
        assert BF16 not in element_types(inferred).values()
        check_cores(inferred, FP16, width)


def check_cores(model: onnx.ModelProto, kind: int, width: int) -> None:
    types = element_types(model)
    shapes = {v.name: v.type.tensor_type.shape.dim for v in model.graph.value_info}
    found = cores(model)
    assert len(found) == 1
    for scores, softmax, weighted in found:
        products = {
            types[name] for node in (scores, weighted) for name in (*node.input, *node.output)
        }
        assert products == {kind}
        assert types[softmax.output[0]] == FP32
        assert shapes[scores.input[0]][-1].dim_value == 256
        assert shapes[weighted.output[0]][-1].dim_value == width


def attention(queries: int) -> onnx.ModelProto:
    """Return attention with fp16 products and an fp32 softmax."""
    nodes = [
        helper.make_node("Cast", ["q"], ["query"], to=FP16),
        helper.make_node("Cast", ["k"], ["key"], to=FP16),
        helper.make_node("MatMul", ["query", "key"], ["scores"]),
        helper.make_node("Cast", ["scores"], ["wide"], to=FP32),
        helper.make_node("Softmax", ["wide"], ["weights"], axis=-1),
        helper.make_node("Cast", ["weights"], ["narrow"], to=FP16),
        helper.make_node("Cast", ["narrow"], ["y"], to=FP32),
    ]
    shapes = {"q": [queries, 8], "k": [8, 5]}
    graph = helper.make_graph(
        nodes,
        "attention",
        [helper.make_tensor_value_info(name, FP32, shape) for name, shape in shapes.items()],
        [helper.make_tensor_value_info("y", FP32, [queries, 5])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


@pytest.mark.parametrize("queries", [FUSED_QUERIES - 1, FUSED_QUERIES])
def test_rounding_as_a_gpu_rounds(queries: int) -> None:
    """Products round their sums; scores only where attention is not fused."""
    rng = np.random.default_rng(0)
    q, k = (20 * rng.random(shape, np.float32) for shape in ((queries, 8), (8, 5)))
    scores = q.astype(np.float16).astype(np.float32) @ k.astype(np.float16).astype(np.float32)
    if queries < FUSED_QUERIES:
        scores = scores.astype(np.float16).astype(np.float32)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    wanted = (weights / weights.sum(axis=-1, keepdims=True)).astype(np.float16)
    copy = rounding_copy(attention(queries))
    onnx.checker.check_model(copy, full_check=True)
    assert set(element_types(copy).values()) >= {FP32}
    session = onnxruntime.InferenceSession(
        copy.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (given,) = session.run(None, {"q": q, "k": k})
    np.testing.assert_array_equal(given, given.astype(np.float16))
    np.testing.assert_allclose(given, wanted.astype(np.float32), rtol=2e-3, atol=1e-6)
