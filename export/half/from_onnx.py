"""Half-precision graphs made from fp32 ONNX files, for models that no torch module is at hand of.

The large matrix products and convolutions become fp16, and what lies between two of them if it only
moves, adds, scales or cuts off. In fp32 stay: inputs and outputs of a network, LayerNorm, softmax,
reductions, divisions, sines, resizes, what reads the picture, and the networks that `LOWERED`
leaves out. There is no bf16 form: ONNX has no convolution in bf16 before opset 22, and what is left
to lower is small and loses masks (docs/accuracy.md).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from samcam.engines import IMAGE_ENCODER, MEMORY_ATTENTION, MEMORY_ENCODER
from samcam.export.half.element_types import FP16_MAX, element_types

# The mask decoder chooses among candidates, which half precision flips; the mask prompt is small.
LOWERED: Final = (IMAGE_ENCODER, MEMORY_ATTENTION, MEMORY_ENCODER)
_WORKERS: Final = frozenset({"MatMul", "Gemm", "Conv", "ConvTranspose"})
# Half where all that they read is half, and somebody wants it so: no cast there and back.
_PASSING: Final = frozenset(
    [
        "Add",
        "Concat",
        "DepthToSpace",
        "Expand",
        "Identity",
        "Mul",
        "Relu",
        "Reshape",
        "Slice",
        "Squeeze",
        "Sub",
        "Transpose",
        "Unsqueeze",
    ]
)


def half_from_onnx(model: onnx.ModelProto, network: str) -> onnx.ModelProto:
    """Return a network's graph in fp16; the given one, in fp32, is left as it is.

    A node whose weights leave fp16's range stays fp32. Whether the values inside fit is what
    `range_report` measures and what the comparison after a build shows.

    Raises:
        ValueError: The network is none of `LOWERED`.
    """
    if network not in LOWERED:
        raise ValueError(f"{network}: no fp16 form, expected one of {', '.join(LOWERED)}")
    kept = ""
    if network == IMAGE_ENCODER:  # a pixel has 8 bits of a range that fp16 gives 11
        kept = next(node.output[0] for node in model.graph.node if node.op_type in _WORKERS)
    return lower_nodes(model, lambda node: node.op_type in _WORKERS and node.output[0] != kept)


def lower_nodes(model: onnx.ModelProto, is_worker: Callable[[NodeProto], bool]) -> onnx.ModelProto:
    """Return a copy of a graph whose fp32 workers compute in fp16.

    Weights are stored in that type; a tensor is cast once, however many read it.
    """
    lowered = onnx.shape_inference.infer_shapes(model)
    _Rewriting(lowered).apply(_chosen(lowered, is_worker))
    del lowered.graph.value_info[:]  # of the types that were
    return lowered


def _chosen(model: onnx.ModelProto, is_worker: Callable[[NodeProto], bool]) -> set[int]:
    """Return the places of the nodes that shall compute in fp16."""
    nodes, types = model.graph.node, element_types(model)
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    there: set[str] = set()  # in fp16
    chosen: set[int] = set()
    for place, node in enumerate(nodes):
        if types.get(node.output[0]) != TensorProto.FLOAT or node.op_type == "Cast":
            continue
        read = [name for name in node.input if types.get(name) == TensorProto.FLOAT]
        passing = (
            node.op_type in _PASSING
            and any(name in there for name in read)
            and all(name in there or name in weights for name in read)
        )
        fits = all(_fits(weights[name]) for name in read if name in weights)
        if fits and (passing or is_worker(node)):
            chosen.add(place)
            there |= set(node.output)
    wanted: set[str] = set()  # by a node that computes in fp16
    for place in sorted(chosen, reverse=True):
        if is_worker(nodes[place]) or wanted & set(nodes[place].output):
            wanted |= set(nodes[place].input)
        else:
            chosen.discard(place)
    return chosen


def _fits(tensor: onnx.TensorProto) -> bool:
    return bool(np.abs(numpy_helper.to_array(tensor)).max(initial=0.0) <= FP16_MAX)


class _Rewriting:
    """Lowers nodes and puts casts between them and the others.

    A tensor keeps its name in fp32, and has another one in fp16.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self._graph = model.graph
        self._types = element_types(model)
        self._weights = {tensor.name: tensor for tensor in self._graph.initializer}
        self._nodes: list[NodeProto] = []
        self._lowered: set[str] = set()  # tensors that are in fp16 only, so far
        self._halves: set[str] = set()  # tensors that are in fp16, by their name in fp32

    def apply(self, chosen: set[int]) -> None:
        """Rewrite the graph in place; `chosen`: places of the nodes to lower."""
        for place, node in enumerate(self._graph.node):
            change = self._as_half if place in chosen else self._as_float
            for i, name in enumerate(node.input):
                node.input[i] = change(name)
            self._nodes.append(node)
            if place in chosen:
                for i, name in enumerate(node.output):
                    node.output[i] = _half_name(name)
                    self._halves.add(name)
                    self._lowered.add(name)
        for value in self._graph.output:
            self._as_float(value.name)
        self._replace_nodes()

    def _as_float(self, name: str) -> str:
        """Return the name of a tensor as a node that stays as it is reads it."""
        if name in self._lowered:
            self._lowered.discard(name)
            self._cast(_half_name(name), name, TensorProto.FLOAT)
        return name

    def _as_half(self, name: str) -> str:
        """Return the name of a tensor as a lowered node reads it."""
        if self._types.get(name) != TensorProto.FLOAT:
            return name
        target = _half_name(name)
        if name not in self._halves:
            self._halves.add(name)
            if name in self._weights:
                values = numpy_helper.to_array(self._weights[name]).astype(np.float16)
                self._graph.initializer.append(numpy_helper.from_array(values, target))
            else:
                self._cast(name, target, TensorProto.FLOAT16)
        return target

    def _cast(self, source: str, target: str, kind: int) -> None:
        self._nodes.append(helper.make_node("Cast", [source], [target], f"cast_{target}", to=kind))

    def _replace_nodes(self) -> None:
        """Put the new nodes in place, without those and without weights that nobody reads now."""
        read = {value.name for value in self._graph.output}
        kept: list[NodeProto] = []
        for node in reversed(self._nodes):
            if read & set(node.output):
                kept.append(node)
                read |= set(node.input)
        del self._graph.node[:]
        self._graph.node.extend(reversed(kept))
        weights = [tensor for tensor in self._graph.initializer if tensor.name in read]
        del self._graph.initializer[:]
        self._graph.initializer.extend(weights)


def _half_name(name: str) -> str:
    return f"{name}_float16"
