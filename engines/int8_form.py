"""Refuses INT8 weights that this processor cannot multiply.

ONNX Runtime multiplies an unsigned activation with a signed weight. With VNNI sums are exact; with
AVX2 alone two products are added in 16 bits, which saturate where weights have eight bits: every
mask is then empty, without an error. The exporter now writes seven bits, and notes it in the
manifest. One product is computed to test the processor: its name and flags say too little, for
example on a virtual machine, and another ONNX Runtime may have other kernels.
"""

from __future__ import annotations

import shlex
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np

from samcam.engines.base import EngineError
from samcam.engines.graph_table import IMAGE_ENCODER
from samcam.engines.manifest import Manifest
from samcam.system import exporter

WEIGHT_BITS: Final = "int8_weight_bits"  # among an encoder's `measured`
_SAFE_BITS: Final = 7
_FULL_BITS: Final = 8
# MatMulInteger of a (4, 64) uint8 and b (64, 16) int8 to c (4, 16) int32, as an ONNX file: the
# package that writes such files is not there where a model only runs.
_PRODUCT: Final = bytes.fromhex(
    "08083a5c0a180a01610a0162120163220d4d61744d756c496e7465676572120170"
    "5a130a0161120e0a0c080212080a0208040a0208405a130a0162120e0a0c080312"
    "080a0208400a02081062130a0163120e0a0c080612080a0208040a02081042040a"
    "00100d"
)


def check_int8_form(folder: Path, manifest: Manifest) -> None:
    """Refuse a model whose INT8 weights saturate here.

    Raises:
        EngineError: They do; ends with the line that exports the model again.
    """
    entry = manifest.files[IMAGE_ENCODER]
    if entry.precision != "int8" or _weight_bits(manifest) <= _SAFE_BITS or not products_saturate():
        return
    raise EngineError(
        f"{folder / entry.file}: INT8 weights of 8 bits: their products overflow on this processor "
        "(AVX2 without VNNI), and the model would see nothing; export it again, in 7 bits",
        f"run: {exporter()} {manifest.name} --precision int8 --out {shlex.quote(str(folder))}",
    )


def _weight_bits(manifest: Manifest) -> float:
    """Return what the exporter noted; before it did, only `nano` had seven bits."""
    unsaid = _SAFE_BITS if manifest.family == "nano" else _FULL_BITS
    return manifest.measured.get(IMAGE_ENCODER, {}).get(WEIGHT_BITS, unsaid)


@cache
def products_saturate() -> bool:
    """Whether ONNX Runtime's products of unsigned and signed bytes are wrong on this processor.

    Raises:
        EngineError: ONNX Runtime is not installed.
    """
    from samcam.engines.onnxruntime import import_onnxruntime

    session = import_onnxruntime().InferenceSession(_PRODUCT, providers=["CPUExecutionProvider"])
    a, b = np.full((4, 64), 255, np.uint8), np.full((64, 16), 127, np.int8)
    (product,) = session.run(None, {"a": a, "b": b})
    return not np.array_equal(product, a.astype(np.int32) @ b.astype(np.int32))
