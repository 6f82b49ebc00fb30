"""Graphs of sam2.1-tiny in its true shapes, with random weights: what a compiler makes of them does
not depend on the weights."""

from __future__ import annotations

import tempfile
from functools import lru_cache
from pathlib import Path

import onnx
import torch
from torch import nn
from transformers import Sam2VideoModel

from samcam.engines import Manifest
from samcam.export.graphs import write_graph
from samcam.export.half.precision import is_lowered, lower
from samcam.export.sam2.checkpoint import sam2_config
from samcam.export.sam2.modules import build_modules, sam2_manifest

# Lengths of the free axes of examples: not 1, or they were none.
_FREE = {"B": 2, "N": 3, "P": 4, "T": 3, "C0": 32, "C1": 64}


@lru_cache(maxsize=1)
def random_model() -> Sam2VideoModel:
    """Return sam2.1-tiny with weights of no meaning."""
    torch.manual_seed(0)
    model = Sam2VideoModel(sam2_config("tiny"))
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    nn.Module.eval(model)  # the subclass's own is not typed
    return model


def random_manifest(size: int) -> Manifest:
    return sam2_manifest(random_model(), "tiny", size, "random weights")


def half_module(network: str, size: int, precision: str = "fp16") -> nn.Module:
    """Return a network as `python -m export sam2.1-tiny@SIZE --precision fp16` lowers it."""
    module = build_modules(random_model(), size)[network]
    return lower(module, network, precision) if is_lowered(network) else module


def graph_of(module: nn.Module, network: str, size: int) -> onnx.ModelProto:
    """Export a network of sam2.1-tiny."""
    inputs = {
        spec.name: torch.zeros(
            [_FREE[axis] if isinstance(axis, str) else axis for axis in spec.shape],
            dtype=getattr(torch, spec.dtype),
        )
        for spec in random_manifest(size).specs()[network].inputs
    }
    with tempfile.TemporaryDirectory(prefix="samcam-test-") as scratch:
        path = Path(scratch) / f"{network}.onnx"
        write_graph(module, network, inputs, path)
        return onnx.load(path)
