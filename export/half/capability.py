"""What a graph has that a GPU lacks, written with what it has.

Compute capability below 8.0 (RTX 20, GTX 16) has no bf16, and TensorRT for RTX no matrix product in
fp32 there, though all else in fp32.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import onnx
from onnx import NodeProto, TensorProto, helper

from samcam.engines.tensorrt import HAS_BFLOAT16
from samcam.export.half.element_types import change_types, element_types
from samcam.export.half.from_onnx import lower_nodes


def for_capability(
    model: onnx.ModelProto, capability: tuple[int, int], fp32_products: bool = True
) -> onnx.ModelProto:
    """Return a graph for GPUs of a compute capability: the given one from 8.0 on.

    Below it nothing is rounded to bf16 only to be fp32 again, and what computes in bf16 computes in
    fp16: attention, whose softmax stays fp32.

    Args:
        fp32_products: Whether the library multiplies fp32 matrices there. Where it does not, they
            are multiplied element by element and added up, which is the same in fp32: exact, and
            meant for small ones. Attention that a half-precision graph has in fp32 becomes fp16.
    """
    if capability >= HAS_BFLOAT16:
        return model
    changed = onnx.shape_inference.infer_shapes(model)
    _drop_round_trips(changed)
    change_types(changed, (TensorProto.BFLOAT16,), TensorProto.FLOAT16)
    if not fp32_products:
        weights = {tensor.name: tensor.data_type for tensor in changed.graph.initializer}
        if TensorProto.FLOAT16 in weights.values():
            lowered = lower_nodes(changed, lambda node: _is_attention(node, weights))
            changed = onnx.shape_inference.infer_shapes(lowered)
        _Sums(changed).apply()
    del changed.graph.value_info[:]  # of the types that were
    return changed


def _drop_round_trips(model: onnx.ModelProto) -> None:
    """Take out casts from fp32 to bf16 that are followed by nothing but casts back."""
    graph, types = model.graph, element_types(model)
    readers: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    for node in list(graph.node):
        if node.op_type != "Cast" or types.get(node.input[0]) != TensorProto.FLOAT:
            continue
        back = readers.get(node.output[0], [])
        if types.get(node.output[0]) != TensorProto.BFLOAT16 or not all(map(_is_widening, back)):
            continue
        graph.node.remove(node)
        for reader in back:
            reader.op_type = "Identity"
            del reader.attribute[:]
            reader.input[0] = node.input[0]


def _is_widening(node: NodeProto) -> bool:
    return node.op_type == "Cast" and node.attribute[0].i == TensorProto.FLOAT


def _is_attention(node: NodeProto, weights: Collection[str]) -> bool:
    """Whether a node multiplies two tensors of which neither is a weight."""
    return node.op_type == "MatMul" and not set(node.input) & set(weights)


class _Sums:
    """Writes fp32 matrix products as sums of products of elements."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._graph = model.graph
        self._types = element_types(model)
        self._nodes: list[NodeProto] = []
        self._axes: dict[str, onnx.TensorProto] = {}

    def apply(self) -> None:
        """Rewrite the graph in place; an Einsum of a kind that torch does not write stays."""
        for node in self._graph.node:
            if self._types.get(node.output[0]) != TensorProto.FLOAT or not self._rewrite(node):
                self._nodes.append(node)
        del self._graph.node[:]
        self._graph.node.extend(self._nodes)
        self._graph.initializer.extend(self._axes.values())

    def _rewrite(self, node: NodeProto) -> bool:
        """Write one node's sum and return True, or return False for what is none."""
        given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        target = node.output[0]
        if node.op_type == "MatMul":
            left = self._add("Unsqueeze", f"{target}:left", node.input[0], self._along(-1))
            right = self._add("Unsqueeze", f"{target}:right", node.input[1], self._along(-3))
            product = self._add("Mul", f"{target}:product", left, right)
            self._add("ReduceSum", target, product, self._along(-2), keepdims=0)
            return True
        if node.op_type == "Gemm" and given.get("alpha", 1) == given.get("beta", 1) == 1:
            left = "ki" if given.get("transA") else "ik"
            right = "jk" if given.get("transB") else "kj"
            biased = len(node.input) == 3
            total = f"{target}:total" if biased else target
            self._einsum(f"{left},{right}", "ij", node.input[:2], total)
            if biased:
                self._add("Add", target, total, node.input[2])
            return True
        equation = given.get("equation", b"").decode().replace(" ", "")
        terms, arrow, result = equation.partition("->")
        plain = all(len(set(term)) == len(term) for term in terms.split(","))
        if node.op_type == "Einsum" and arrow and plain and "." not in equation:
            self._einsum(terms, result, node.input, target)
            return True
        return False

    def _einsum(self, terms: str, result: str, sources: Sequence[str], target: str) -> None:
        """Multiply tensors, each brought to the axes of all, and add up those not in the result."""
        axes = [*result, *sorted(set(terms) - set(result) - {","})]
        product = ""
        for i, (term, name) in enumerate(zip(terms.split(","), sources, strict=True)):
            order = [term.index(axis) for axis in axes if axis in term]
            missing = [place for place, axis in enumerate(axes) if axis not in term]
            turned = self._add("Transpose", f"{target}:turned{i}", name, perm=order)
            if missing:
                turned = self._add("Unsqueeze", f"{turned}:wide", turned, self._along(*missing))
            product = self._add("Mul", f"{target}:{i}", product, turned) if product else turned
        summed = range(len(result), len(axes))
        self._add("ReduceSum", target, product, self._along(*summed), keepdims=0)

    def _add(self, op: str, target: str, *sources: str, **attributes: Any) -> str:
        self._nodes.append(helper.make_node(op, sources, [target], target, **attributes))
        return target

    def _along(self, *axes: int) -> str:
        """Return the name of a constant with these axes."""
        name = f"axes:{axes}"
        self._axes[name] = helper.make_tensor(name, TensorProto.INT64, [len(axes)], axes)
        return name
