"""Meta's tracking rules written down plainly, on transformers' own forward passes.

Shares nothing with the product but the weights' names: no bank, no bounds, every frame's output
is kept. For stories that the golden files do not tell. Source of the rules:
sam2_base.py:517-640 and sam2_video_predictor.py:227-262 @2b90b9f.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from transformers import Sam2VideoModel
from transformers.models.sam2_video.modeling_sam2_video import get_1d_sine_pe

from samcam.export.sam2.checkpoint import read_official, rename_keys, sam2_config

NUM_MEMORIES = 7
NUM_POINTERS = 16
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def library_model(checkpoint: Path, size: int) -> Sam2VideoModel:
    """Return transformers' model configured for a picture size."""
    config = sam2_config("tiny")
    grid = size // 16
    config.image_size = config.prompt_encoder_config.image_size = size
    config.vision_config.backbone_feature_sizes = [[grid * k, grid * k] for k in (4, 2, 1)]
    config.memory_attention_rope_feat_sizes = [grid, grid]
    model = Sam2VideoModel(config)
    model.load_state_dict(rename_keys(read_official(checkpoint)))
    return model.eval()


@dataclass
class Remembered:
    """What one frame left: flat memory, its position code, pointer."""

    features: Tensor
    position: Tensor
    pointer: Tensor


@dataclass
class ReferenceAnswer:
    """Low-resolution logits (L, L), object score, pointer (D,)."""

    low_res: NDArray[np.float32]
    score: float
    pointer: NDArray[np.float32]


class Reference:
    """One object."""

    def __init__(self, model: Sam2VideoModel, corrections_condition: bool = False) -> None:
        self.model = model
        self.corrections_condition = corrections_condition
        self.conditioning: dict[int, Remembered] = {}
        self.tracked: dict[int, Remembered] = {}

    @torch.no_grad()
    def step(
        self,
        index: int,
        image_bgr: NDArray[np.uint8],
        points: list[tuple[float, float]] | None = None,
        labels: list[int] | None = None,
    ) -> ReferenceAnswer | None:
        """Answer for a frame; None before the first prompt."""
        features, positions = self._encode(image_bgr)
        first = not self.conditioning
        if first and points is None:
            return None
        raw = features[-1]
        flat = (
            raw + self.model.no_memory_embedding
            if first
            else self._attend(index, features, positions)
        )
        maps = [_to_map(level) for level in (*features[:-1], flat)]
        previous = None
        if points is not None and not first:
            tracked = self._heads(maps, None, None, None).pred_masks
            previous = tracked.reshape(1, 1, *tracked.shape[-2:]).clamp(-32, 32)
        out = self._heads(maps, points, labels, previous)
        low_res = out.pred_masks.reshape(1, 1, *out.pred_masks.shape[-2:])
        high_res = F.interpolate(low_res, scale_factor=4, mode="bilinear", align_corners=False)
        memory, position = self.model._encode_new_memory(
            raw, high_res, out.object_score_logits.reshape(1, 1), points is not None
        )
        kept = Remembered(memory.float(), position, out.object_pointer.reshape(1, -1))
        condition = first or (points is not None and self.corrections_condition)
        (self.conditioning if condition else self.tracked)[index] = kept
        return ReferenceAnswer(
            low_res[0, 0].numpy(),
            float(out.object_score_logits),
            kept.pointer[0].numpy(),
        )

    def _encode(self, image_bgr: NDArray[np.uint8]) -> tuple[list[Tensor], list[Tensor]]:
        rgb = torch.from_numpy(image_bgr[..., ::-1].copy()).permute(2, 0, 1)[None] / 255
        pixels = (rgb - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)
        encoded = self.model.get_image_features(pixels, return_dict=True)
        return encoded.fpn_hidden_states, encoded.fpn_position_encoding

    def _heads(self, maps, points, labels, mask):
        count = 0 if points is None else len(points)
        return self.model._single_frame_forward(
            input_points=None if points is None else torch.tensor([[points]], dtype=torch.float32),
            input_labels=None if labels is None else torch.tensor([[labels]], dtype=torch.int32),
            input_masks=mask,
            image_embeddings=list(maps),
            multimask_output=count <= 1,
        )

    def _attend(self, index: int, features: list[Tensor], positions: list[Tensor]) -> Tensor:
        codes = self.model.memory_temporal_positional_encoding
        memories = [(kept, codes[NUM_MEMORIES - 1]) for kept in self.conditioning.values()]
        for t_pos in range(1, NUM_MEMORIES):
            kept = self.tracked.get(index - (NUM_MEMORIES - t_pos))
            if kept is not None:
                memories.append((kept, codes[NUM_MEMORIES - t_pos - 1]))
        pointers = [(index - step, kept.pointer) for step, kept in self.conditioning.items()]
        for distance in range(1, NUM_POINTERS):
            kept = self.tracked.get(index - distance)
            if kept is not None:
                pointers.append((distance, kept.pointer))
        offsets = torch.tensor([float(offset) for offset, _ in pointers]) / (NUM_POINTERS - 1)
        code = self.model.temporal_positional_encoding_projection_layer(
            get_1d_sine_pe(offsets, 256)
        )
        tokens = torch.stack([pointer for _, pointer in pointers]).reshape(-1, 1, 64)
        memory = torch.cat([*(kept.features for kept, _ in memories), tokens])
        position = torch.cat(
            [*(kept.position + c for kept, c in memories), code[:, None].repeat_interleave(4, 0)]
        )
        out = self.model.memory_attention(
            current_vision_features=features[-1],
            current_vision_position_embeddings=positions[-1],
            memory=memory,
            memory_posision_embeddings=position,
            num_object_pointer_tokens=len(tokens),
        )
        return out.squeeze(1).permute(1, 0, 2) if out.ndim == 4 else out


def _to_map(flat: Tensor) -> Tensor:
    """(H * W, 1, C) or (1, H * W, C) -> (1, C, H, W)."""
    rows = flat.reshape(-1, flat.shape[-1])
    side = round(rows.shape[0] ** 0.5)
    return rows.T.reshape(1, -1, side, side)
