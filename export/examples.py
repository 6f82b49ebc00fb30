"""Inputs to export and to compare with: random ones, and ones that come from a real picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor, nn

from samcam.engines import (
    IMAGE_ENCODER,
    MASK_DECODER,
    MASK_PROMPT,
    MEMORY_ATTENTION,
    MEMORY_ENCODER,
    Manifest,
)
from samcam.live.sources.demo import GEAR_ID, DemoScene, demo_clicks

Inputs = dict[str, dict[str, Tensor]]

DYNAMIC_LENGTHS: Final = {"B": 2, "N": 3, "P": 4}
_FIRST, _LATER = 0, 40  # frames of the demo scene
_LOGIT_SPREAD: Final = 5.0


def lengths_of(manifest: Manifest) -> dict[str, int]:
    """Return B, N and P of the example inputs that a model's form wants."""
    if manifest.form == "dynamic":
        return dict(DYNAMIC_LENGTHS)
    return {"B": 1, "N": manifest.max_memories, "P": manifest.max_pointers}


def random_inputs(modules: Mapping[str, nn.Module], manifest: Manifest, seed: int = 0) -> Inputs:
    """Return noise for every network: by network, by input name.

    The encoders of `modules` make the features and memories.
    """
    rng = torch.Generator().manual_seed(seed)
    size, low = manifest.image_size, manifest.mask_size
    image = torch.randint(0, 256, (1, size, size, 3), dtype=torch.uint8, generator=rng)
    mask = torch.randint(0, 2, (1, 1, size, size), dtype=torch.uint8, generator=rng)
    lengths = lengths_of(manifest)
    masks = torch.randn(lengths["B"] * lengths["N"], 1, low, low, generator=rng) * _LOGIT_SPREAD
    pointers = torch.randn(lengths["B"], lengths["P"], manifest.width, generator=rng)
    with torch.no_grad():
        features = modules[IMAGE_ENCODER](image)
    inputs = _inputs(modules, features, masks, pointers)
    inputs[IMAGE_ENCODER] = {"image": image}
    inputs[MASK_PROMPT] = {"mask": mask}
    decoder = inputs[MASK_DECODER]
    b = lengths["B"]
    decoder["point_coords"] = torch.rand(b, 3, 2, generator=rng) * size
    decoder["point_labels"] = torch.tensor([[1, 0, -1], [2, 3, 1]], dtype=torch.int32)[:b]
    decoder["mask_input"] = torch.randn(b, 1, low, low, generator=rng)
    return inputs


def real_inputs(modules: Mapping[str, nn.Module], manifest: Manifest) -> Inputs:
    """Return what tracking a click through two frames of the demo scene feeds to the networks."""
    size = manifest.image_size
    scene = DemoScene((size, size))
    first, later = (torch.from_numpy(scene.render(index)[0])[None] for index in (_FIRST, _LATER))
    _, ids = scene.render(_FIRST)
    lengths = lengths_of(manifest)
    point = torch.tensor([[demo_clicks((size, size))[GEAR_ID]]], dtype=torch.float32)
    with torch.no_grad():
        _, no_mem, high0, high1 = modules[IMAGE_ENCODER](first)
        low = manifest.mask_size
        low_res, _, pointers, _ = modules[MASK_DECODER](
            no_mem,
            high0,
            high1,
            point,
            torch.ones(1, 1, dtype=torch.int32),
            torch.zeros(1, 1, low, low),
            torch.zeros(1, dtype=torch.bool),
        )
        features = modules[IMAGE_ENCODER](later)
    rows, columns = lengths["B"] * lengths["N"], lengths["B"] * lengths["P"]
    tokens = torch.arange(rows) % low_res.shape[1]
    inputs = _inputs(
        modules,
        features,
        low_res[0, tokens][:, None],
        pointers[0, torch.arange(columns) % pointers.shape[1]].view(
            lengths["B"], -1, manifest.width
        ),
    )
    inputs[IMAGE_ENCODER] = {"image": later}
    gear = torch.from_numpy((ids == GEAR_ID).astype("uint8"))[None, None]
    inputs[MASK_PROMPT] = {"mask": gear}
    b = lengths["B"]
    inputs[MASK_DECODER] |= {
        "point_coords": point.expand(b, -1, -1).contiguous(),
        "point_labels": torch.ones(b, 1, dtype=torch.int32),
        "mask_input": low_res[:, :1].clamp(-32, 32).expand(b, -1, -1, -1).contiguous(),
    }
    return inputs


def _inputs(
    modules: Mapping[str, nn.Module],
    features: tuple[Tensor, Tensor, Tensor, Tensor],
    masks: Tensor,
    pointers: Tensor,
) -> Inputs:
    """Put together what the two kinds share.

    Args:
        masks: (B * N, 1, L, L) logits: what is remembered.
        pointers: (B, P, D).
    """
    pix_feat, _, high0, high1 = features
    b, num_pointers = pointers.shape[:2]
    num_memories = masks.shape[0] // b
    prompted = torch.arange(masks.shape[0]) % num_memories == 0
    with torch.no_grad():
        memory = torch.cat(
            [
                modules[MEMORY_ENCODER](pix_feat, masks[i : i + 1], prompted[i : i + 1], score)
                for i, score in enumerate(
                    2.0 - 4.0 * (torch.arange(len(masks)) % 3 == 2)[:, None, None]
                )
            ]
        )
        memory = memory.reshape(b, num_memories, *memory.shape[1:])
        tpos = (torch.arange(num_memories) % 7).to(torch.int32).expand(b, -1).contiguous()
        memory_valid = torch.ones(b, num_memories, dtype=torch.bool)
        memory_valid[-1, 1:2] = False
        pointer_valid = torch.ones(b, num_pointers, dtype=torch.bool)
        pointer_valid[-1, 2:3] = False
    steps = torch.arange(num_pointers, dtype=torch.float32)
    attention = {
        "pix_feat": pix_feat,
        "maskmem_features": memory,
        "maskmem_tpos": tpos,
        "maskmem_valid": memory_valid,
        "obj_ptrs": pointers,
        "obj_ptr_tpos": torch.cat((steps.new_tensor([20.0]), steps[1:])).expand(b, -1).contiguous(),
        "obj_ptr_valid": pointer_valid,
    }
    with torch.no_grad():
        conditioned = modules[MEMORY_ATTENTION](*attention.values())
    return {
        MEMORY_ATTENTION: attention,
        MASK_DECODER: {
            "pix_feat_with_mem": conditioned,
            "high_res_feat0": high0,
            "high_res_feat1": high1,
            "has_mask_input": torch.arange(b) % 2 == 0,
        },
        MEMORY_ENCODER: {
            "pix_feat": pix_feat,
            "low_res_mask": masks[:b],
            "is_prompted": torch.arange(b) % 2 == 0,
            "object_score_logits": 2.0 - 4.0 * (torch.arange(b) % 2)[:, None].float(),
        },
    }
