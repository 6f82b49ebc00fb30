"""What the INT8 weights of a graph are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

_PRODUCTS = ("MatMulInteger", "ConvInteger", "QLinearMatMul", "QLinearConv")
_FLOAT_PRODUCTS = ("MatMul", "Gemm", "Conv")


def signed_bits(path: Path) -> int:
    """Return how many bits the signed weights have that a graph multiplies with activations.

    Weights of dynamic products, and those behind the DequantizeLinear of a product in the QDQ form.
    From -64 to 64 is seven bits: twice 255 * 64 fits into 16.
    """
    graph = onnx.load(str(path)).graph
    constants = {item.name: item for item in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    largest = 0
    for node in graph.node:
        if node.op_type in _PRODUCTS:
            name = node.input[1 if node.op_type.endswith("Integer") else 3]
        elif node.op_type in _FLOAT_PRODUCTS and node.input[1] in makers:
            maker = makers[node.input[1]]
            name = maker.input[0] if maker.op_type == "DequantizeLinear" else ""
        else:
            continue
        if name in constants and constants[name].data_type == onnx.TensorProto.INT8:
            weights = numpy_helper.to_array(constants[name]).astype(np.int16)
            largest = max(largest, int(np.abs(weights).max()))
    assert largest, f"{path}: no INT8 weights"
    return 7 if largest <= 64 else 8
