"""Writes SAM 2.1 on the contract of SAM2-ONNX-TRT: `--contract sam2-onnx-trt`.

Four ONNX files with that project's tensor names, order and shapes, for DeepStream's MaskTracker.
They are not a model folder of this program: its own contract hands every candidate out and keeps
the decisions on the host. What is inside, and what differs from that project's own files, is in
`export.seeds.modules`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

import onnx
import torch
from torch import Tensor, nn
from torch.export import Dim

from samcam.engines import NetworkSpec, TensorSpec, file_sha256
from samcam.export.errors import ExportError
from samcam.export.folder import fresh_folder
from samcam.export.graphs import MAX_AXIS, compare, export_module
from samcam.export.sam2.checkpoint import load_sam2
from samcam.export.sam2.modules import LICENCE
from samcam.export.seeds.modules import seeds_modules

CONTRACT: Final = "sam2-onnx-trt"
MARKER: Final = "contract.json"
NATIVE_SIZE: Final = 1024  # what the contract's documentation names; other sizes scale its shapes
DYNAMIC: Final = -1
MEAN_RGB: Final = (123.675, 116.28, 103.53)  # 255 * mean and std of ImageNet
STD_RGB: Final = (58.395, 57.12, 57.375)

# By name. Free axes: B objects, T points, P pointers, N memories, K all tokens of the memory.
_Shapes: TypeAlias = dict[str, tuple[int | str, ...]]
Inputs: TypeAlias = dict[str, dict[str, Tensor]]


@dataclass(frozen=True, kw_only=True)
class SeedsExport:
    """What to write.

    Attributes:
        variant: One of `export.sam2.checkpoint.VARIANTS`.
        size: S; the contract's own is 1024.
        checkpoint: Meta's `.pt` or a transformers folder; None downloads Meta's.
    """

    variant: str
    size: int
    checkpoint: Path | None = None
    report: Callable[[str], None] = field(default=lambda line: None)


def networks(size: int = NATIVE_SIZE) -> dict[str, NetworkSpec]:
    """Return the contract's table for a picture size; at 1024 it is the documented one."""
    g, low = size // 16, size // 4
    pix_feat = (1, 256, g, g)
    finer = (1, 32, low, low), (1, 64, low // 2, low // 2)
    rows: dict[str, tuple[_Shapes, _Shapes]] = {
        "image_encoder": (
            {"image": (1, 3, size, size)},
            {
                "pix_feat": pix_feat,
                "high_res_feat0": finer[0],
                "high_res_feat1": finer[1],
                "vision_feats": pix_feat,
                "vision_pos_embed": (g * g, 1, 256),
            },
        ),
        "mask_decoder": (
            {
                "point_coords": ("B", "T", 2),
                "point_labels": ("B", "T"),
                "image_embed": ("B", 256, g, g),
                "high_res_feats_0": finer[0],
                "high_res_feats_1": finer[1],
            },
            {
                "obj_ptr": ("B", 256),
                "mask_for_mem": ("B", 1, size, size),
                "pred_mask": ("B", 1, low, low),
                "iou": ("B", 1),
                "occ_logit": ("B", 1),
            },
        ),
        "memory_attention": (
            {
                "current_vision_feat": pix_feat,
                "current_vision_pos_embed": (g * g, 1, 256),
                "memory_0": (1, "P", 256),
                "memory_1": (1, "N", 64, g, g),
                "memory_pos_embed": (1, "K", 64),
                "cond_frame_id_diff": (),
            },
            {"image_embed": pix_feat},
        ),
        "memory_encoder": (
            {"mask_for_mem": (1, 1, size, size), "pix_feat": pix_feat, "occ_logit": (1, 1)},
            {
                "maskmem_features": (1, 64, g, g),
                "maskmem_pos_enc": (1, g * g, 64),
                "temporal_code": (7, 1, 1, 64),
            },
        ),
    }
    return {
        name: NetworkSpec(name, _specs(inputs), _specs(outputs))
        for name, (inputs, outputs) in rows.items()
    }


def _specs(shapes: _Shapes) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(name, "float32", shape) for name, shape in shapes.items())


def export_seeds(order: SeedsExport, folder: Path) -> dict[str, float]:
    """Write the four files and `contract.json`; an old folder is replaced only at the end.

    Returns:
        Largest difference between torch and ONNX Runtime of each network.

    Raises:
        ExportError: The weights are wrong, a graph cannot be written or differs from torch, or the
            folder cannot be replaced.
    """
    if order.size % 32:
        raise ExportError(f"sam2.1-{order.variant}@{order.size}: expected a multiple of 32")
    with fresh_folder(folder, MARKER) as partial:
        model = load_sam2(order.variant, order.checkpoint)
        modules = seeds_modules(model, order.size)
        inputs = example_inputs(modules, order.size)
        errors: dict[str, float] = {}
        for name, spec in networks(order.size).items():
            path = partial / f"{name}.onnx"
            export_module(modules[name], spec, inputs[name], path, _free_axes(spec))
            name_constant_outputs(path)
            errors[name] = compare(modules[name], spec, inputs[name], path)
            order.report(
                f"{name}: {path.stat().st_size / 1e6:.1f} MB, torch against ONNX Runtime: "
                f"{errors[name]:.1e}"
            )
        text = json.dumps(_description(order, partial, errors), indent=2) + "\n"
        (partial / MARKER).write_text(text, encoding="utf-8")
    return errors


def example_inputs(modules: Mapping[str, nn.Module], size: int, seed: int = 0) -> Inputs:
    """Return noise for every network, by network and input name; free axes are longer than 1."""
    rng = torch.Generator().manual_seed(seed)
    image = torch.randn(1, 3, size, size, generator=rng)
    with torch.no_grad():
        pix_feat, high0, high1, vision_feats, position = modules["image_encoder"](image)
        decoder = {
            "point_coords": torch.rand(3, 2, 2, generator=rng) * size,
            "point_labels": torch.tensor([[2.0, 3.0], [1.0, -1.0], [-1.0, -1.0]]),
            "image_embed": vision_feats.expand(3, -1, -1, -1).contiguous(),
            "high_res_feats_0": high0,
            "high_res_feats_1": high1,
        }
        pointers, masks, _, _, scores = modules["mask_decoder"](*decoder.values())
        encoder = {"mask_for_mem": masks[:1], "pix_feat": pix_feat, "occ_logit": scores[:1]}
        memory, place, temporal = modules["memory_encoder"](*encoder.values())
    steps = (6, 0)  # a conditioning frame and the frame before this one
    places = [place + temporal[step].reshape(1, 1, -1) for step in steps]
    tail = torch.zeros(1, 4 * len(pointers), place.shape[2])
    attention = {
        "current_vision_feat": vision_feats,
        "current_vision_pos_embed": position,
        "memory_0": pointers[None],
        "memory_1": torch.stack((memory, memory.flip(3)), dim=1),
        "memory_pos_embed": torch.cat((*places, tail), dim=1),
        "cond_frame_id_diff": torch.tensor(10.0),
    }
    return {
        "image_encoder": {"image": image},
        "mask_decoder": decoder,
        "memory_attention": attention,
        "memory_encoder": encoder,
    }


def name_constant_outputs(path: Path) -> None:
    """Give every constant that is an output a node of its own: not every parser takes others."""
    model = onnx.load(str(path))
    graph = model.graph
    outputs = {output.name for output in graph.output}
    bare = [tensor for tensor in graph.initializer if tensor.name in outputs]
    for tensor in bare:
        name = tensor.name
        tensor.name = f"{name}.value"
        graph.node.append(onnx.helper.make_node("Identity", [tensor.name], [name]))
    if bare:
        onnx.save(model, str(path))


def _free_axes(spec: NetworkSpec) -> dict[str, dict[int, Dim]]:
    names = {axis for tensor in spec.inputs for axis in tensor.shape if isinstance(axis, str)}
    dims = {name: Dim(name, min=1, max=MAX_AXIS) for name in names - {"K"}}
    # all tokens: a picture's worth for every memory
    dims |= {"K": Dim("K", min=1)} if "K" in names else {}
    return {
        tensor.name: {i: dims[axis] for i, axis in enumerate(tensor.shape) if axis in dims}
        for tensor in spec.inputs
    }


def _description(
    order: SeedsExport, folder: Path, errors: Mapping[str, float]
) -> dict[str, object]:

    def shapes(tensors: tuple[TensorSpec, ...]) -> dict[str, list[int]]:
        return {
            tensor.name: [axis if isinstance(axis, int) else DYNAMIC for axis in tensor.shape]
            for tensor in tensors
        }

    return {
        "contract": CONTRACT,
        "model": f"sam2.1-{order.variant}@{order.size}",
        "licence": LICENCE,
        "image": {
            "channels": "RGB",
            "values": "(pixel - mean) / std, pixels 0..255",
            "mean": MEAN_RGB,
            "std": STD_RGB,
        },
        "networks": {
            name: {
                "file": f"{name}.onnx",
                "sha256": file_sha256(folder / f"{name}.onnx"),
                "inputs": shapes(spec.inputs),
                "outputs": shapes(spec.outputs),
                "max_abs": errors[name],
            }
            for name, spec in networks(order.size).items()
        },
    }
