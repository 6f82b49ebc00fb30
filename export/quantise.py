"""INT8 for CPUs: an image encoder's matrix products, or its convolutions.

Of SAM 2's encoder only products of an activation with a weight; ONNX Runtime scales the activations
of each run, so no calibration pictures are needed. Of `nano`'s all convolutions and products, their
activations scaled by what a few pictures gave. Attention products and the other networks stay fp32,
where INT8 gains nothing reliable.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from engines.graph_table import IMAGE_ENCODER
from engines.manifest import Manifest, write_manifest
from engines.model_folder import open_model
from engines.options import EngineOptions
from engines.sam2_graphs import U8
from engines.self_check import NetworkCheck, compare_networks
from export.graphs import check_graph

PRECISIONS: Final = {IMAGE_ENCODER: "int8"}


def quantise_encoder(
    folder: Path,
    manifest: Manifest,
    pictures: Sequence[U8],
    report: Callable[[str], None] = lambda line: None,
    calibration: Sequence[U8] = (),
) -> Manifest:
    """Replace a folder's fp32 image encoder by one with INT8 weights and write its manifest.

    Args:
        folder: Has NETWORK.onnx of every network, in fp32.
        manifest: Of the model.
        pictures: (H, W, 3) uint8 BGR, to compare the masks of both on.
        report: Takes one line.
        calibration: (S, S, 3) uint8 BGR, for an encoder of convolutions; none for SAM 2's.

    Returns:
        The manifest as written, with worst and mean mask IoU against fp32 in `measured`.

    Raises:
        ExportError: The quantised graph is not valid.
        EngineError: It does not run.
    """
    manifest = write_manifest(folder, manifest)
    path = folder / manifest.files[IMAGE_ENCODER].file
    before = path.stat().st_size
    with open_model("onnxruntime", folder, manifest, EngineOptions()) as reference:
        if calibration:
            quantise_convolutions(path, calibration)
        else:
            quantise_graph(path)
        manifest = write_manifest(folder, manifest, precision=PRECISIONS)
        with open_model("onnxruntime", folder, manifest, EngineOptions()) as candidate:
            (check,) = compare_networks(reference, candidate, pictures, [IMAGE_ENCODER])
    report(_describe(check, before, path.stat().st_size))
    figures = {
        **manifest.measured.get(IMAGE_ENCODER, {}),
        "int8_min_iou": check.min_iou,
        "int8_mean_iou": check.mean_iou,
    }
    measured = {**manifest.measured, IMAGE_ENCODER: figures}
    return write_manifest(folder, replace(manifest, measured=measured), precision=PRECISIONS)


def quantise_graph(path: Path) -> None:
    """Quantise the MatMul weights of a graph, in place and in one step.

    Raises:
        ExportError: The result is not valid ONNX.
    """
    partial = path.with_name(f"{path.name}.partial")
    with _quiet():
        quantize_dynamic(
            path,
            partial,
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            weight_type=QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True},
        )
    check_graph(partial, IMAGE_ENCODER)
    os.replace(partial, path)


def quantise_convolutions(path: Path, pictures: Sequence[U8]) -> None:
    """Quantise an image encoder's convolutions and matrix weights, in place and in one step.

    Weights get 7 bits: processors without VNNI add two products of 8 bits in 16, which overflows
    (https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html).

    Args:
        path: The fp32 graph.
        pictures: (S, S, 3) uint8 BGR, whose activations set the scales.

    Raises:
        ExportError: The result is not valid ONNX.
    """
    partial, prepared = (path.with_name(f"{path.name}.{word}") for word in ("partial", "prepared"))
    try:
        with _quiet():
            quant_pre_process(str(path), str(prepared), skip_symbolic_shape=True)
            quantize_static(
                prepared,
                partial,
                _Pictures(pictures),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=["Conv", "MatMul", "Gemm"],
                per_channel=True,
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
    finally:
        prepared.unlink(missing_ok=True)
    check_graph(partial, IMAGE_ENCODER)
    os.replace(partial, path)


class _Pictures(CalibrationDataReader):  # type: ignore[misc]  # untyped
    """Feeds an image encoder with one picture after the other."""

    def __init__(self, pictures: Sequence[U8]) -> None:
        self._pictures = iter(pictures)

    def get_next(self) -> dict[str, U8] | None:
        picture = next(self._pictures, None)
        return None if picture is None else {"image": np.ascontiguousarray(picture[None])}


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the advice to optimise the graph first: the exporter has."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _describe(check: NetworkCheck, before: int, after: int) -> str:
    return (
        f"{IMAGE_ENCODER} int8: {before / 1e6:.1f} -> {after / 1e6:.1f} MB; against fp32 mask IoU "
        f"{check.mean_iou:.4f}, worst {check.min_iou:.4f} ({check.worst})"
    )
