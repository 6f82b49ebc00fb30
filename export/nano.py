"""Writes the embedded model's folder: five ONNX files, checked against torch, and the manifest."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn
from torch.export import Dim

from engines.graph_table import (
    IMAGE_ENCODER,
    MASK_DECODER,
    MASK_PROMPT,
    MEMORY_ATTENTION,
    MEMORY_ENCODER,
    NETWORKS,
)
from engines.host_rules import TokenRule
from engines.manifest import Manifest, write_manifest
from training.model import Nano

OPSET = 20
MAX_COND, NUM_RECENT, MAX_RECENT_PTRS = 4, 6, 15
TOLERANCE = 2e-3  # of fp32 logits of up to about 30; measured errors stay near 1e-4
ORIGIN = "trained by training/ on generated clips; see training/README.md"
LICENCE = "Apache-2.0"


class ExportError(RuntimeError):
    """A graph could not be written or does not agree with torch."""


@dataclass(frozen=True)
class NetworkError:
    """Largest differences of one network's outputs between torch and ONNX Runtime."""

    network: str
    max_abs: float


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


def example_inputs(model: Nano, size: int, seed: int = 0) -> dict[str, dict[str, Tensor]]:
    """Inputs of every network by name, with B = 2, N = 3, P = 4, T = 3."""
    low = size // 4
    rng = torch.Generator().manual_seed(seed)
    cfg = model.cfg

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=rng)

    image = torch.randint(0, 256, (1, size, size, 3), dtype=torch.uint8, generator=rng)
    with torch.no_grad():
        pix, _, high0, high1 = model.image_encoder(image)
        memory = torch.cat(
            [
                model.memory_encoder(pix, normal(2, 1, low, low), b, normal(2, 1))[:, None]
                for b in (
                    torch.tensor([True, True]),
                    torch.tensor([False, False]),
                    torch.tensor([False, False]),
                )
            ],
            dim=1,
        )
    return {
        IMAGE_ENCODER: {"image": image},
        MEMORY_ATTENTION: {
            "pix_feat": pix,
            "maskmem_features": memory,
            "maskmem_tpos": torch.tensor([[0, 2, 1]] * 2, dtype=torch.int32),
            "maskmem_valid": torch.tensor([[True, True, True], [True, False, True]]),
            "obj_ptrs": normal(2, 4, cfg.width),
            "obj_ptr_tpos": torch.tensor([[9.0, 1.0, 2.0, 3.0]] * 2),
            "obj_ptr_valid": torch.tensor([[True] * 4, [True, True, False, True]]),
        },
        MASK_DECODER: {
            "pix_feat_with_mem": pix.repeat(2, 1, 1, 1),
            "high_res_feat0": high0,
            "high_res_feat1": high1,
            "point_coords": torch.rand(2, 3, 2, generator=rng) * size,
            "point_labels": torch.tensor([[1, 0, -1], [2, 3, 1]], dtype=torch.int32),
            "mask_input": normal(2, 1, low, low),
            "has_mask_input": torch.tensor([True, False]),
        },
        MEMORY_ENCODER: {
            "pix_feat": pix,
            "low_res_mask": normal(2, 1, low, low) * 5,
            "is_prompted": torch.tensor([True, False]),
            "object_score_logits": torch.tensor([[2.0], [-2.0]]),
        },
        MASK_PROMPT: {
            "mask": torch.randint(0, 2, (1, 1, size, size), dtype=torch.uint8, generator=rng)
        },
    }


def _dynamic_axes(network: str) -> dict[str, dict[int, Dim]]:
    """The free axes (B, N, P, T) of the contract's table, as torch.export names them."""
    dims = {
        name: Dim(name, min=1, max=limit)
        for name, limit in (("B", 64), ("N", 64), ("P", 64), ("T", 64))
    }
    return {
        spec.name: {i: dims[axis] for i, axis in enumerate(spec.shape) if axis in dims}
        for spec in NETWORKS[network].inputs
    }


def write_graph(module: nn.Module, network: str, inputs: Mapping[str, Tensor], path: Path) -> None:
    """Export one network with the contract's names and check the file."""
    names = [spec.name for spec in NETWORKS[network].inputs]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # exporter chatter; the comparison below judges
        program = torch.onnx.export(
            module,
            tuple(inputs[name] for name in names),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=names,
            output_names=[spec.name for spec in NETWORKS[network].outputs],
            dynamic_shapes=tuple(_dynamic_axes(network)[name] for name in names),
        )
    if program is None:
        raise ExportError(f"{network}: torch.onnx.export gave no program")
    program.save(str(path), external_data=False)
    onnx.checker.check_model(str(path), full_check=True)


def compare(
    module: nn.Module, network: str, inputs: Mapping[str, Tensor], path: Path
) -> NetworkError:
    """Run the same inputs through torch and ONNX Runtime.

    Raises:
        ExportError: An output differs by more than `TOLERANCE`, relative above 1.
    """
    names = [spec.name for spec in NETWORKS[network].inputs]
    with torch.no_grad():
        wanted = module(*(inputs[name] for name in names))
    wanted = wanted if isinstance(wanted, tuple) else (wanted,)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    given = session.run(None, {name: inputs[name].numpy() for name in names})
    worst = 0.0
    for spec, a, b in zip(NETWORKS[network].outputs, wanted, given, strict=True):
        if a.shape != b.shape:
            raise ExportError(f"{network} {spec.name}: torch {tuple(a.shape)}, ONNX {b.shape}")
        error = np.abs(a.numpy() - b)
        relative = float((error / np.maximum(1.0, np.abs(a.numpy()))).max())
        if not relative <= TOLERANCE:
            raise ExportError(
                f"{network} {spec.name}: torch and ONNX differ by {relative:.2g}, "
                f"at most {TOLERANCE:g} is expected"
            )
        worst = max(worst, float(error.max()))
    return NetworkError(network, worst)


def export_nano(checkpoint: Path, folder: Path, size: int) -> list[NetworkError]:
    """Write the model folder; the old one is replaced only when everything agreed.

    Args:
        checkpoint: Of `training.train`.
        folder: Target, for example engines/nano.
        size: Picture side S in pixels, a multiple of 32.

    Raises:
        ExportError: See `load_checkpoint` and `compare`.
    """
    model = load_checkpoint(checkpoint)
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    errors = []
    inputs = example_inputs(model, size)
    for network in NETWORKS:
        module = getattr(model, network)
        path = partial / f"{network}.onnx"
        write_graph(module, network, inputs[network], path)
        errors.append(compare(module, network, inputs[network], path))
    write_manifest(partial, nano_manifest(model, size))
    card = folder / "MODEL_CARD.md"
    if card.exists():
        shutil.copy2(card, partial / card.name)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    return errors


def nano_manifest(model: Nano, size: int) -> Manifest:
    """What engines/nano/manifest.json says, before the files are hashed."""
    cfg = model.cfg
    return Manifest(
        name="nano",
        family="nano",
        image_size=size,
        mask_size=size // 4,
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


def describe(errors: list[NetworkError]) -> str:
    """One line per network for the terminal."""
    return "\n".join(json.dumps({"network": e.network, "max_abs": e.max_abs}) for e in errors)
