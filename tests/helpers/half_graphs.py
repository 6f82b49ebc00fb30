"""SAM 2.1's graphs with random weights, in any size and precision, in seconds: for compilers.

Nothing is compared: what the graphs answer is of no interest.
"""

from __future__ import annotations

from pathlib import Path

import onnx
import torch
from torch import Tensor
from transformers import Sam2VideoModel

from samcam.engines.graph_table import NETWORKS
from samcam.engines.manifest import Manifest
from samcam.export.graphs import write_graph
from samcam.export.half.precision import is_lowered, lower
from samcam.export.sam2.checkpoint import sam2_config
from samcam.export.sam2.modules import build_modules, sam2_manifest

_TYPES = {
    "float32": torch.float32,
    "uint8": torch.uint8,
    "int32": torch.int32,
    "bool": torch.bool,
}


def random_sam2(size: int) -> tuple[Manifest, Sam2VideoModel]:
    """Return sam2.1-tiny with random weights, and its manifest at a picture size."""
    torch.manual_seed(0)
    model = Sam2VideoModel(sam2_config("tiny")).eval()
    return sam2_manifest(model, "tiny", size, "random weights"), model


def example(manifest: Manifest, network: str) -> dict[str, Tensor]:
    """Return zeros of every input, two of every free axis."""
    channels = {"C0": manifest.width // 8, "C1": manifest.width // 4}
    return {
        tensor.name: torch.zeros(
            [channels.get(axis, 2) if isinstance(axis, str) else axis for axis in tensor.shape],
            dtype=_TYPES[tensor.dtype],
        )
        for tensor in manifest.specs()[network].inputs
    }


def random_graph(
    network: str, size: int, folder: Path, precision: str = "fp16", layers: int = 4
) -> tuple[Manifest, onnx.ModelProto]:
    """Write a network's graph as the exporter does, in fp32 where it has no other form; read it.

    `layers`: of the memory attention, which has four that are alike.
    """
    assert network in NETWORKS
    manifest, model = random_sam2(size)
    model.memory_attention.layers = model.memory_attention.layers[:layers]
    module = build_modules(model, size)[network]
    if precision != "fp32" and is_lowered(network):
        module = lower(module, network, precision)
    path = folder / f"{network}.{size}.{precision}.onnx"
    write_graph(module, network, example(manifest, network), path)
    return manifest, onnx.load(str(path))
