"""Graphs that report how large their values get: every node's max |x| and reduction sums.

The graph is read as fp32 whatever its precision, so that what fp16 would cut off is seen. Each
network is run as usual by ONNX Runtime; the figures are extra outputs.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import onnx
from onnx import NodeProto, TensorProto, helper

from samcam.engines import DeviceTensor, EngineOptions, Feed, OnnxRuntimeBackend
from samcam.export.half.element_types import (
    FLOAT_TYPES,
    MOVING,
    NAMES,
    element_types,
    read_graph,
    to_float32,
)

_PREFIX: Final = "range:"
_SCOPES: Final = "pkg.torch.onnx.name_scopes"  # metadata of torch's exporter


@dataclass(frozen=True, slots=True)
class Probe:
    """One node that is measured.

    Attributes:
        op: Operation, for example "MatMul".
        part: Path of the torch module it is in, "" for the network itself or where unknown.
        precision: Of its result: "fp32", "fp16" or "bf16".
        output, inputs: Names of what it writes and reads.
    """

    node: str
    op: str
    part: str
    precision: str
    output: str
    inputs: tuple[str, ...]

    @property
    def max_name(self) -> str:
        """Output of the probing graph with max |x|."""
        return f"{_PREFIX}max:{self.output}"

    @property
    def sum_name(self) -> str:
        """Output of the probing graph with the largest reduction sum; not every node has one."""
        return f"{_PREFIX}sum:{self.output}"


def write_probing_graph(path: Path, target: Path) -> list[Probe]:
    """Write a copy of a network with measuring outputs; return what it measures, in the graph's
    order."""
    model = read_graph(path)
    types = element_types(model)
    probes = [
        Probe(
            node.name or node.output[0],
            node.op_type,
            part_of(node),
            NAMES[types[node.output[0]]],
            node.output[0],
            tuple(node.input),
        )
        for node in model.graph.node
        if _is_measured(node, types)
    ]
    to_float32(model)
    nodes = {node.output[0]: node for node in model.graph.node}
    for probe in probes:
        _measure(model.graph, nodes[probe.output], probe)
    onnx.save(model, str(target))
    return probes


def _is_measured(node: NodeProto, types: Mapping[str, int]) -> bool:
    """Whether a node computes floats; integers turned into fp32 are nothing that can overflow."""
    kind = types.get(node.output[0])
    if kind not in FLOAT_TYPES or node.op_type in MOVING:
        return False
    from_float = types.get(node.input[0]) in FLOAT_TYPES
    return node.op_type != "Cast" or from_float or kind != TensorProto.FLOAT


def part_of(node: NodeProto) -> str:
    """Return the path of the torch module that a node came from; "" where that is not known."""
    text = next((entry.value for entry in node.metadata_props if entry.key == _SCOPES), "[]")
    scopes = ast.literal_eval(text)
    return str(scopes[-2]) if len(scopes) > 1 and not scopes[0] else ""


def producers(path: Path) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return the part and the inputs of every node of a graph, by the names of its outputs."""
    model = onnx.load(str(path), load_external_data=False)
    return {
        output: (part_of(node), tuple(node.input))
        for node in model.graph.node
        for output in node.output
    }


def _measure(graph: onnx.GraphProto, node: NodeProto, probe: Probe) -> None:
    """Append max |x| of a node and, where it reduces, the sum of the magnitudes reduced."""
    name = f"{_PREFIX}abs:{probe.output}"
    graph.node.append(helper.make_node("Abs", [probe.output], [name]))
    _append_max(graph, name, probe.max_name)
    if node.op_type in ("MatMul", "Conv", "ConvTranspose", "Gemm"):
        magnitudes = []
        for source in node.input:
            magnitudes.append(f"{name}:{source}")
            graph.node.append(helper.make_node("Abs", [source], [magnitudes[-1]]))
        total = NodeProto()
        total.CopyFrom(node)
        del total.input[:], total.output[:], total.metadata_props[:]
        total.name = f"{name}:sum"
        total.input.extend(magnitudes)
        total.output.append(total.name)
        graph.node.append(total)
        _append_max(graph, total.name, probe.sum_name)
    elif node.op_type in ("LayerNormalization", "ReduceMean", "ReduceSum"):
        squared = node.op_type == "LayerNormalization"
        reduce = "ReduceSumSquare" if squared else "ReduceL1"
        axes = [] if squared or len(node.input) < 2 else [node.input[1]]
        if squared:
            axes = [f"{name}:axes"]
            graph.initializer.append(helper.make_tensor(axes[0], TensorProto.INT64, [1], [-1]))
        graph.node.append(helper.make_node(reduce, [node.input[0], *axes], [f"{name}:sum"]))
        _append_max(graph, f"{name}:sum", probe.sum_name)
    elif node.op_type == "Softmax":
        # the largest weight of a row is exp(0) over the row's sum
        axes_name = f"{name}:axes"
        graph.initializer.append(helper.make_tensor(axes_name, TensorProto.INT64, [1], [-1]))
        top, total_name = f"{name}:top", f"{name}:sum"
        graph.node.append(helper.make_node("ReduceMax", [probe.output, axes_name], [top]))
        graph.node.append(helper.make_node("Reciprocal", [top], [total_name]))
        _append_max(graph, total_name, probe.sum_name)


def _append_max(graph: onnx.GraphProto, source: str, target: str) -> None:
    graph.node.append(helper.make_node("ReduceMax", [source], [target], keepdims=0))
    graph.output.append(helper.make_tensor_value_info(target, TensorProto.FLOAT, []))


class ProbingBackend:
    """Runs a probing graph and keeps the largest figures of all runs."""

    def __init__(self, network: str, path: Path, folder: Path) -> None:
        """Open a network in any precision; the probing graph goes into `folder`."""
        target = folder / f"{network}.probe.onnx"
        self.probes = write_probing_graph(path, target)
        self._inner = OnnxRuntimeBackend(network, target, EngineOptions())
        target.unlink()  # it is in memory now
        self.inputs = self._inner.inputs
        found = self._inner.outputs.items()
        self.outputs = {name: spec for name, spec in found if not name.startswith(_PREFIX)}
        self.maxima: dict[str, float] = {}

    def run(self, feeds: Mapping[str, Feed]) -> Mapping[str, DeviceTensor]:
        results = self._inner.run(feeds)
        for name, value in results.items():
            if name not in self.outputs:
                now, before = float(value.numpy()), self.maxima.get(name, 0.0)
                self.maxima[name] = math.inf if math.isnan(now) else max(now, before)
        return {name: results[name] for name in self.outputs}

    def close(self) -> None:
        self._inner.close()
