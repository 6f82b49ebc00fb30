"""INT8 for CPUs: an image encoder's matrix products, or its convolutions.

Of SAM 2's encoder only products of an activation with a weight; ONNX Runtime scales the activations
of each run. Of `nano`'s all convolutions and products, their activations scaled by what a few
pictures gave. Attention products and the other networks stay fp32, where INT8 gains nothing
reliable.

Activations are unsigned bytes, weights signed ones of seven bits: with eight, processors without
VNNI would add two products beyond 16 bits, where they saturate, and the model would see nothing
(https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html). Signed activations
would not saturate either; ONNX Runtime's scales of each run, which SAM 2's encoder uses, are
unsigned, so both models keep to that.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
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

from samcam.engines import (
    IMAGE_ENCODER,
    U8,
    WEIGHT_BITS,
    EngineOptions,
    Manifest,
    open_model,
    write_manifest,
)
from samcam.engines.checks import NetworkCheck, compare_networks
from samcam.export.calibration import calibration_pictures
from samcam.export.errors import ExportError
from samcam.export.graphs import check_graph
from samcam.export.rounding import round_weights_of

PRECISIONS: Final = {IMAGE_ENCODER: "int8"}
BITS: Final = 7
ROUNDING_PICTURES: Final = 8


def quantise_encoder(
    folder: Path,
    manifest: Manifest,
    pictures: Sequence[U8],
    report: Callable[[str], None] = lambda line: None,
    calibration: Sequence[U8] = (),
) -> Manifest:
    """Replace a folder's fp32 image encoder by one with INT8 weights and write its manifest.

    Args:
        pictures: (H, W, 3) uint8 BGR, to compare the masks of both on.
        calibration: (S, S, 3) uint8 BGR, whose activations set scales and roundings; none: drawn.

    Returns:
        The manifest as written, with worst and mean mask IoU against fp32 in `measured`.

    Raises:
        ExportError: The quantised graph is not valid, or a mask is too far from fp32's; the folder
            then has the fp32 encoder still.
        EngineError: It does not run.
    """
    manifest = write_manifest(folder, manifest)
    path = folder / manifest.files[IMAGE_ENCODER].file
    before = path.stat().st_size
    kept = path.with_name(f"{path.name}.fp32")
    shutil.copy2(path, kept)
    try:
        with open_model("onnxruntime", folder, manifest, EngineOptions()) as reference:
            _quantise(path, manifest, calibration)
            figures = {WEIGHT_BITS: float(BITS)}
            made = write_manifest(folder, _with(manifest, figures), precision=PRECISIONS)
            with open_model("onnxruntime", folder, made, EngineOptions()) as candidate:
                (check,) = compare_networks(reference, candidate, pictures, [IMAGE_ENCODER])
        line = _describe(check, before, path.stat().st_size)
        if not check.passed:
            raise ExportError(
                f"{line}: expected at least {check.limit:g}, so it is not written; export without "
                "--precision int8"
            )
    except BaseException:
        os.replace(kept, path)
        write_manifest(folder, manifest)
        raise
    kept.unlink()
    report(line)
    figures |= {"int8_min_iou": check.min_iou, "int8_mean_iou": check.mean_iou}
    return write_manifest(folder, _with(manifest, figures), precision=PRECISIONS)


def _with(manifest: Manifest, figures: Mapping[str, float]) -> Manifest:
    merged = {**manifest.measured.get(IMAGE_ENCODER, {}), **figures}
    return replace(manifest, measured={**manifest.measured, IMAGE_ENCODER: merged})


def _quantise(path: Path, manifest: Manifest, calibration: Sequence[U8]) -> None:
    """Quantise an encoder in the way that suits its family."""
    if manifest.family == "nano":
        quantise_convolutions(path, calibration or calibration_pictures(manifest.image_size))
    else:
        drawn = calibration or calibration_pictures(manifest.image_size, ROUNDING_PICTURES)
        quantise_graph(path, drawn)


def quantise_graph(path: Path, pictures: Sequence[U8]) -> None:
    """Quantise the MatMul weights of a graph to seven bits, in place and in one step.

    The activations of `pictures`, (S, S, 3) uint8 BGR, say which roundings matter.

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
            reduce_range=True,
            weight_type=QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True},
        )
    round_weights_of(path, partial, pictures)
    check_graph(partial, IMAGE_ENCODER)
    os.replace(partial, path)


def quantise_convolutions(path: Path, pictures: Sequence[U8]) -> None:
    """Quantise an image encoder's convolutions and matrix weights, in place and in one step.

    The activations of `pictures`, (S, S, 3) uint8 BGR, set the scales.

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
