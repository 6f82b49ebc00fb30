"""Writes the embedded model's folder: five ONNX files, checked against torch, and the manifest."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from samcam.engines import NETWORKS, Manifest, TokenRule, describe_file, write_manifest
from samcam.engines.checks import read_pictures
from samcam.export.calibration import calibration_pictures
from samcam.export.errors import ExportError
from samcam.export.examples import Inputs, random_inputs, real_inputs
from samcam.export.folder import fresh_folder
from samcam.export.graphs import compare_both, write_graph
from samcam.export.quantise import quantise_encoder
from training.network.model import Nano
from training.network.sizes import MASK_STRIDE

MAX_COND, NUM_RECENT, MAX_RECENT_PTRS = 4, 6, 15
ORIGIN = "trained by training/ on generated clips; see training/README.md"
LICENCE = "Apache-2.0"


def load_checkpoint(path: Path) -> Nano:
    """Read a shipped (half-precision) checkpoint.

    Raises:
        ExportError: It is missing or holds another model.
    """
    if not path.is_file():
        raise ExportError(f"{path}: no such checkpoint; train one (training/README.md)")
    model = Nano()
    state = torch.load(path, weights_only=True, map_location="cpu")
    try:
        model.load_state_dict({name: value.float() for name, value in state["model"].items()})
    except (KeyError, RuntimeError) as error:
        raise ExportError(f"{path}: not a checkpoint of this nano: {error}") from error
    return model.eval()


def nano_modules(model: Nano) -> dict[str, nn.Module]:
    return {network: getattr(model, network) for network in NETWORKS}


def example_inputs(model: Nano, size: int, seed: int = 0) -> Inputs:
    """Return random inputs of every network by name, with B = 2, N = 3, P = 4, T = 3."""
    return random_inputs(nano_modules(model), nano_manifest(model, size), seed)


def export_nano(
    checkpoint: Path,
    folder: Path,
    size: int,
    int8: bool = False,
    report: Callable[[str], None] = lambda line: None,
) -> dict[str, dict[str, float]]:
    """Write the model folder; the old one is replaced only when everything agreed.

    Args:
        checkpoint: Of `training.train`.
        folder: Target, for example engines/nano.
        size: Picture side S in pixels, a multiple of 32.
        int8: The image encoder in INT8 (`export.quantise`), scaled by pictures that the training's
            generator draws.

    Returns:
        What the fp32 graphs differ by from torch.

    Raises:
        ExportError: See `load_checkpoint`, `compare` and `quantise_encoder`.
        EngineError: The INT8 graph does not run.
    """
    model = load_checkpoint(checkpoint)
    manifest = replace(nano_manifest(model, size), weights=describe_file(checkpoint, "float16"))
    modules = nano_modules(model)
    noise, real = random_inputs(modules, manifest), real_inputs(modules, manifest)
    measured = {}
    with fresh_folder(folder) as partial:
        for network, module in modules.items():
            path = partial / f"{network}.onnx"
            write_graph(module, network, noise[network], path)
            both = noise[network], real[network]
            measured[network] = compare_both(module, network, path, both)
        complete = write_manifest(partial, replace(manifest, measured=measured))
        if int8:
            drawn = calibration_pictures(size)
            quantise_encoder(partial, complete, read_pictures(), report, drawn)
        card = folder / "MODEL_CARD.md"
        if card.exists():
            shutil.copy2(card, partial / card.name)
    return measured


def nano_manifest(model: Nano, size: int) -> Manifest:
    """What engines/nano/manifest.json says, before the files are hashed."""
    cfg = model.cfg
    return Manifest(
        name="nano",
        family="nano",
        image_size=size,
        mask_size=size // MASK_STRIDE,
        grid=size // 16,
        width=cfg.width,
        memory_channels=cfg.memory_channels,
        candidates=cfg.candidates,
        max_cond=MAX_COND,
        num_recent=NUM_RECENT,
        max_recent_ptrs=MAX_RECENT_PTRS,
        no_obj_ptr=model.no_obj_ptr.detach().numpy(),
        origin=ORIGIN,
        licence=LICENCE,
        # nano's single-mask token is trained to answer every prompt, one click too, without the
        # stability fallback: on held-out stills it is a better guess than the best of three by
        # predicted IoU. While tracking the candidates compete, as in SAM 2.
        token_rule=TokenRule(stability_threshold=0.0, multimask_max_points=0),
    )


def describe(measured: Mapping[str, Mapping[str, float]]) -> str:
    rows = ({"network": n, "max_abs": found["random_max_abs"]} for n, found in measured.items())
    return "\n".join(map(json.dumps, rows))
