"""What TensorRT wants of an ONNX graph besides that it is valid."""

from __future__ import annotations

import onnx
from onnx import TensorProto

_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16)


def uint8_faults(model: onnx.ModelProto) -> list[str]:
    """Return what reads a uint8 input without casting it to float or half first.

    TensorRT has no other operation for uint8 (its operator reference, Cast): a graph that breaks
    this parses and does not build.
    """
    graph = model.graph
    bytes_in = {
        value.name for value in graph.input if value.type.tensor_type.elem_type == TensorProto.UINT8
    }
    faults = []
    for node in graph.node:
        targets = [attribute.i for attribute in node.attribute if attribute.name == "to"]
        if node.op_type != "Cast" or targets[0] not in _FLOATS:
            faults += [f"{name} -> {node.op_type}" for name in node.input if name in bytes_in]
    return faults
