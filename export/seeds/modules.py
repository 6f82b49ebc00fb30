"""SAM 2.1's networks on the contract of SAM2-ONNX-TRT, which DeepStream's MaskTracker reads.

The same weights and functions as `export.sam2.modules`, with that contract's tensors and with the
decisions inside that `engines.host_rules` makes for the live contract. Two things differ from the
files that are around:

- No double sigmoid. There the decoder's `mask_for_mem` already is 20 * sigmoid(x) - 10, and the
  memory encoder applies that again: a logit of 0.5 enters memory as 8.4 instead of 2.4, so every
  uncertain mask is remembered as a certain one. Here the decoder alone does it.
- Masks of prompted frames (a label of 0 or more) are binarised for memory, as in Meta's tracker;
  those of tracked frames are not.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Sam2VideoModel

from samcam.engines import DEFAULT_TOKEN_RULE, NO_OBJECT_LOGIT
from samcam.export.sam2.attention import POSITION_WEIGHT, Constant, MemoryAttention
from samcam.export.sam2.modules import (
    MASK_BIAS,
    MASK_SCALE,
    MASK_STRIDE,
    STRIDE,
    ImageEncoder,
    MaskDecoder,
    MemoryEncoder,
)


class SeedsImageEncoder(nn.Module):
    """`image_encoder`: a normalised RGB picture to its features and their positions."""

    def __init__(self, model: Sam2VideoModel, size: int) -> None:
        super().__init__()
        self.encoder = ImageEncoder(model, size)
        grid = size // STRIDE
        position = model.vision_encoder.neck.position_encoding(
            torch.Size((1, model.hidden_dim, grid, grid)), torch.device("cpu"), torch.float32
        )
        self.position = Constant(position.flatten(2).permute(2, 0, 1))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """(1, 3, S, S) -> pix_feat, high_res_feat0, high_res_feat1, vision_feats and positions.

        `vision_feats` has the no-memory embedding added: it is what the first prompt's decoder
        reads, and what `memory_attention` takes it off again.
        """
        pix_feat, no_mem, high0, high1 = self.encoder.features(image)
        return pix_feat, high0, high1, no_mem, self.position.value.clone()


class SeedsMaskDecoder(nn.Module):
    """`mask_decoder`: prompts and features to one mask per object.

    The mask is chosen as `engines.host_rules` does: with at most one point the best of the three
    candidates, with a box or more points the single-mask token unless that is unstable.
    """

    def __init__(self, model: Sam2VideoModel, size: int) -> None:
        super().__init__()
        self.decoder = MaskDecoder(model, size)
        self.no_pointer = Constant(model.no_object_pointer.reshape(1, -1))

    def forward(
        self,
        point_coords: Tensor,
        point_labels: Tensor,
        image_embed: Tensor,
        high_res_feats_0: Tensor,
        high_res_feats_1: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """See `export.seeds.contract`; coordinates in pixels of the S x S picture."""
        labels = point_labels.to(torch.int32)
        masks, ious, pointers, score = self.decoder.decode(
            image_embed + self.decoder.prompts.no_mask,
            (high_res_feats_0, high_res_feats_1),
            point_coords,
            labels,
        )
        given = (labels >= 0).float().sum(dim=1, keepdim=True)
        mask_token, pointer_token = choose_tokens(masks, ious, given)
        present = score > 0
        low_res = torch.where(present[..., None, None], _pick(masks, mask_token), NO_OBJECT_LOGIT)
        pointer = torch.where(present, _pick(pointers, pointer_token)[:, 0], self.no_pointer.value)
        logits = F.interpolate(
            low_res, scale_factor=float(MASK_STRIDE), mode="bilinear", align_corners=False
        )
        hard = (logits > 0).float()
        inside = torch.where((given > 0)[..., None, None], hard, torch.sigmoid(logits))
        iou = ious.gather(1, mask_token)
        return pointer, inside * MASK_SCALE + MASK_BIAS, low_res, iou, score


class SeedsMemoryAttention(nn.Module):
    """`memory_attention`: features of a picture, conditioned on an object's memory."""

    def __init__(self, model: Sam2VideoModel, size: int) -> None:
        super().__init__()
        self.attention = MemoryAttention(model, size // STRIDE)
        self.no_memory = Constant(model.no_memory_embedding.reshape(1, -1, 1, 1))

    def forward(
        self,
        current_vision_feat: Tensor,
        current_vision_pos_embed: Tensor,
        memory_0: Tensor,
        memory_1: Tensor,
        memory_pos_embed: Tensor,
        cond_frame_id_diff: Tensor,
    ) -> Tensor:
        """See `export.seeds.contract`.

        Pointers are those of the conditioning frame, `cond_frame_id_diff` frames ago, and then of
        1, 2, 3, ... frames ago; their part of `memory_pos_embed` is made here and not looked at.
        """
        attention = self.attention
        tokens = attention.tokens
        offsets = torch.arange(memory_0.shape[1], device=memory_0.device, dtype=torch.float32)
        offsets = torch.where(offsets > 0, offsets, cond_frame_id_diff)
        pointer_values, pointer_keys = tokens.pointers(memory_0, offsets[None])
        values = memory_1.flatten(3).transpose(2, 3)
        position = memory_pos_embed[:, : values.shape[1] * values.shape[2]]
        keys = values + position.reshape(values.shape)
        x = (current_vision_feat - self.no_memory.value).flatten(2).transpose(1, 2)
        x = x + POSITION_WEIGHT * current_vision_pos_embed.transpose(0, 1)
        joined = torch.cat((values.flatten(1, 2), pointer_values), dim=1)
        for layer in attention.layers:
            x = layer(x, (keys, pointer_keys), joined, None, attention.rotary)
        normed: Tensor = attention.norm(x)
        return normed.transpose(1, 2).reshape(current_vision_feat.shape)


class SeedsMemoryEncoder(nn.Module):
    """`memory_encoder`: a mask, as the decoder prepared it, to a memory and its positions."""

    def __init__(self, model: Sam2VideoModel, size: int) -> None:
        super().__init__()
        self.encoder = MemoryEncoder(model)
        grid, channels = size // STRIDE, model.mem_dim
        position = model.memory_encoder.position_encoding(
            torch.Size((1, channels, grid, grid)), torch.device("cpu"), torch.float32
        )
        self.position = Constant(position.flatten(2).transpose(1, 2))
        # Meta's order: row t - 1 for a memory of t frames ago, the last row for conditioning ones
        self.temporal = Constant(model.memory_temporal_positional_encoding)

    def forward(
        self, mask_for_mem: Tensor, pix_feat: Tensor, occ_logit: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(1, 1, S, S), (1, D, G, G), (1, 1) -> the memory, its positions, the temporal codes."""
        memory = self.encoder.encode(pix_feat, mask_for_mem, occ_logit)
        return memory, self.position.value.clone(), self.temporal.value.clone()


def choose_tokens(masks: Tensor, ious: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """Choose tokens as `engines.host_rules.choose_token` does, for a batch.

    Args:
        masks: (B, K, L, L) logits of every token.
        ious: (B, K).
        points: (B, 1) number of points that the prompt has.

    Returns:
        Token of the mask and token of the pointer, (B, 1) int64.
    """
    rule = DEFAULT_TOKEN_RULE
    best = ious[:, 1:].argmax(dim=1, keepdim=True) + 1
    single = torch.zeros_like(best)
    logits = masks[:, 0].flatten(1)
    inner = (logits > rule.stability_delta).float().sum(dim=1, keepdim=True)
    outer = (logits > -rule.stability_delta).float().sum(dim=1, keepdim=True)
    stable = inner >= rule.stability_threshold * outer
    multimask = points <= rule.multimask_max_points
    mask_token = torch.where(multimask | ~stable, best, single)
    return mask_token, torch.where(multimask, best, single)


def _pick(values: Tensor, token: Tensor) -> Tensor:
    """(B, K, ...), (B, 1) -> (B, 1, ...)."""
    index = token.reshape(-1, *(1,) * (values.dim() - 1)).expand(-1, -1, *values.shape[2:])
    return values.gather(1, index)


def seeds_modules(model: Sam2VideoModel, size: int) -> dict[str, nn.Module]:
    """Return the four networks, by the names of `export.seeds.contract.networks`."""
    modules: dict[str, nn.Module] = {
        "image_encoder": SeedsImageEncoder(model, size),
        "mask_decoder": SeedsMaskDecoder(model, size),
        "memory_attention": SeedsMemoryAttention(model, size),
        "memory_encoder": SeedsMemoryEncoder(model, size),
    }
    return {name: module.eval() for name, module in modules.items()}
