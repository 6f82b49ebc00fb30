"""INT8 weights for CPUs: the image encoder's matrix products, quantised as they run.

Only products of an activation with a weight; convolutions, attention products and the other
networks stay fp32, where INT8 gains nothing reliable. ONNX Runtime scales the activations of each
run, so no calibration pictures are needed.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from onnxruntime.quantization import QuantType, quantize_dynamic

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
) -> Manifest:
    """Replace a folder's fp32 image encoder by one with INT8 weights and write its manifest.

    Args:
        folder: Has NETWORK.onnx of every network, in fp32.
        manifest: Of the model.
        pictures: (H, W, 3) uint8 BGR, to compare the masks of both on.
        report: Takes one line.

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
