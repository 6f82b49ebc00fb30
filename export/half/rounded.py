"""Half-precision graphs on a CPU, rounded as a GPU would round them."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import onnx

from samcam.engines import EngineOptions, OnnxRuntimeBackend
from samcam.export.half.element_types import rounding_copy


def open_rounded(
    graphs: Mapping[str, onnx.ModelProto], options: EngineOptions
) -> dict[str, OnnxRuntimeBackend]:
    """Open networks on ONNX Runtime, in fp32 with every result rounded to its graph's type.

    As fast as fp32: neither the processor nor ONNX Runtime need to know the type.

    Args:
        graphs: The graph of each network, in any precision.

    Raises:
        EngineError: A graph does not load.
    """
    opened = {}
    with tempfile.TemporaryDirectory(prefix="samcam-rounded-") as scratch:
        for network, model in graphs.items():
            path = Path(scratch) / f"{network}.onnx"
            onnx.save(rounding_copy(model), str(path))
            opened[network] = OnnxRuntimeBackend(network, path, options)
    return opened
