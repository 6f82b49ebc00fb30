"""Writes a SAM 2.1 model folder: five ONNX files, compared with torch, and the manifest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from torch import nn

from samcam.engines import MEMORY_ENCODER, NETWORKS, Manifest, file_sha256, write_manifest
from samcam.engines.checks import read_pictures
from samcam.export.download import CHECKPOINTS
from samcam.export.errors import ExportError
from samcam.export.examples import Inputs, random_inputs, real_inputs
from samcam.export.folder import fresh_folder
from samcam.export.graphs import TOLERANCE, compare_both, write_graph
from samcam.export.half.graphs import HalfOrder, add_half_graphs
from samcam.export.quantise import quantise_encoder
from samcam.export.sam2.checkpoint import load_sam2
from samcam.export.sam2.modules import build_modules, sam2_manifest
from samcam.export.torch_models import save_weights

SIZES: Final = (1024, 512, 256)  # 256 for tests: quick, and what the golden answers are at

# The memory encoder rounds to bfloat16: where torch and ONNX land on two sides of a step they
# differ by one, 2^-8 of the value.
_BFLOAT16_STEP: Final = 2.0**-7
_TOLERANCES: Final = {MEMORY_ENCODER: _BFLOAT16_STEP}

Report = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Sam2Export:
    """What to write.

    Attributes:
        variant: One of `export.sam2.checkpoint.VARIANTS`.
        size: S, one of `SIZES`.
        checkpoint: Meta's `.pt` or a transformers folder; None downloads Meta's.
        form: "dynamic" for ONNX Runtime, "fixed" for TensorRT and CUDA graphs.
        precision: "fp32"; "fp16" or "bf16" add graphs for TensorRT beside the fp32 ones; "int8"
            replaces the image encoder by one with INT8 weights.
    """

    variant: str
    size: int
    checkpoint: Path | None = None
    form: str = "dynamic"
    precision: str = "fp32"
    report: Report = field(default=lambda line: None)


def export_sam2(order: Sam2Export, folder: Path) -> Manifest:
    """Write the model folder; an old one is replaced only when everything agreed.

    Returns:
        The manifest as written, with the measured errors in it.

    Raises:
        ExportError: The weights are wrong, a graph cannot be written or differs from torch, or the
            folder cannot be replaced.
    """
    if order.size not in SIZES:
        raise ExportError(
            f"sam2.1-{order.variant}@{order.size}: expected a size of {', '.join(map(str, SIZES))}"
        )
    with fresh_folder(folder) as partial:
        model = load_sam2(order.variant, order.checkpoint)
        modules = build_modules(model, order.size)
        weights = save_weights(model, partial)
        manifest = sam2_manifest(model, order.variant, order.size, origin_of(order), order.form)
        manifest = replace(manifest, weights=weights)
        noise, real = random_inputs(modules, manifest), real_inputs(modules, manifest)
        measured = {}
        for network in NETWORKS:
            path = partial / f"{network}.onnx"
            write_graph(modules[network], network, noise[network], path, order.form)
            limit, both = _TOLERANCES.get(network, TOLERANCE), (noise[network], real[network])
            measured[network] = compare_both(modules[network], network, path, both, limit)
            order.report(describe(network, path, measured[network]))
        return _finish(order, partial, replace(manifest, measured=measured), modules, real)


def _finish(
    order: Sam2Export,
    folder: Path,
    manifest: Manifest,
    modules: Mapping[str, nn.Module],
    real: Inputs,
) -> Manifest:
    """Add what the precision wants to a folder of fp32 graphs, and write its manifest."""
    if order.precision == "fp32":
        return write_manifest(folder, manifest)
    pictures = read_pictures()
    if order.precision == "int8":
        return quantise_encoder(folder, manifest, pictures, order.report)
    half = HalfOrder(
        precision=order.precision,
        modules=modules,
        inputs=real,
        pictures=pictures,
        report=order.report,
    )
    return write_manifest(folder, add_half_graphs(folder, manifest, half))


def origin_of(order: Sam2Export) -> str:
    if order.checkpoint is None:
        known = CHECKPOINTS[order.variant]
        return f"Meta's checkpoint {known.url}, SHA-256 {known.sha256}"
    path = order.checkpoint
    weights = path / "model.safetensors" if path.is_dir() else path
    digest = file_sha256(weights) if weights.is_file() else "unknown"
    return f"{path.name}, SHA-256 {digest}"


def describe(network: str, path: Path, measured: Mapping[str, float]) -> str:
    return (
        f"{network}: {path.stat().st_size / 1e6:.1f} MB, torch against ONNX Runtime: "
        f"{measured['random_max_abs']:.1e} on noise, {measured['real_max_abs']:.1e} on a picture"
    )
