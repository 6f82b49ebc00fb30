"""SAM 2.1's five networks on the engine contract, built of the parts of `Sam2VideoModel`.

Where transformers differs from Meta, these follow Meta (facebookresearch/sam2 @2b90b9f): every
token's answer comes out, nothing is chosen inside; the masks of memories are up-sampled from the
low resolution; prompted masks are binarised, per object.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Sam2VideoModel

from samcam.engines import (
    IMAGE_ENCODER,
    MASK_DECODER,
    MASK_PROMPT,
    MEMORY_ATTENTION,
    MEMORY_ENCODER,
    Manifest,
)
from samcam.export.sam2.attention import Constant, MemoryAttention

STRIDE: Final = 16  # of the feature grid: G = S / 16
MASK_STRIDE: Final = 4  # of the low-resolution masks: L = S / 4
MAX_COND: Final = 4
LICENCE: Final = "Apache-2.0"

_MEAN_RGB: Final = (0.485, 0.456, 0.406)
_STD_RGB: Final = (0.229, 0.224, 0.225)
# sigmoid_scale/bias_for_mem_enc, and of a mask prompt
MASK_SCALE: Final = 20.0
MASK_BIAS: Final = -10.0


class ImageEncoder(nn.Module):
    def __init__(self, model: Sam2VideoModel, size: int) -> None:
        super().__init__()
        trunk, neck = model.vision_encoder.backbone, model.vision_encoder.neck
        self.patches: nn.Conv2d = trunk.patch_embed.projection
        self.blocks = nn.ModuleList(trunk.blocks)
        self.stage_ends = frozenset(int(i) for i in trunk.stage_ends)
        cells = size // MASK_STRIDE
        # the bicubic stretch of the position embedding, once and for all
        self.position = Constant(trunk._get_pos_embed((cells, cells)))
        self.laterals = nn.ModuleList(neck.convs)
        self.high0: nn.Conv2d = model.mask_decoder.conv_s0
        self.high1: nn.Conv2d = model.mask_decoder.conv_s1
        self.no_memory = nn.Parameter(
            model.no_memory_embedding.detach().reshape(1, -1, 1, 1).clone(), requires_grad=False
        )
        shape = (1, 3, 1, 1)
        self.mean = Constant(255 * torch.tensor(_MEAN_RGB).view(shape))
        self.std = Constant(255 * torch.tensor(_STD_RGB).view(shape))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(1, S, S, 3) uint8 BGR -> pix_feat, pix_feat_no_mem, high_res_feat0, high_res_feat1."""
        rgb = image.float().permute(0, 3, 1, 2).flip(1)
        return self.features((rgb - self.mean.value) / self.std.value)

    def features(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(1, 3, S, S) RGB, normalised -> what `forward` returns."""
        dtype = self.patches.weight.dtype
        x = self.patches(pixels.to(dtype)).permute(0, 2, 3, 1)
        x = x + self.position.value.to(dtype)
        stages: list[Tensor] = []
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in self.stage_ends:
                stages.append(x.permute(0, 3, 1, 2))
        # laterals run from the coarsest level to the finest; only the third one is fed from above
        coarse = F.interpolate(self.laterals[0](stages[3]), scale_factor=2.0, mode="nearest")
        pix_feat = self.laterals[1](stages[2]) + coarse
        high1 = self.high1(self.laterals[2](stages[1]))
        high0 = self.high0(self.laterals[3](stages[0]))
        no_mem = pix_feat + self.no_memory
        return pix_feat.float(), no_mem.float(), high0.float(), high1.float()


class PromptTokens(nn.Module):
    """Points, box corners and a mask as what the decoder reads."""

    def __init__(self, model: Sam2VideoModel, size: int) -> None:
        super().__init__()
        prompts = model.prompt_encoder
        self.size = size
        self.fourier = Constant(prompts.shared_embedding.positional_embedding)
        # row 0 pads, rows 1..4 are labels 0..3
        table = torch.cat((prompts.not_a_point_embed.weight, prompts.point_embed.weight))
        self.labels = nn.Parameter(table.detach().clone(), requires_grad=False)
        self.mask_embed: nn.Module = prompts.mask_embed
        self.no_mask = nn.Parameter(
            prompts.no_mask_embed.weight.detach().reshape(1, -1, 1, 1).clone(), requires_grad=False
        )
        centres = (torch.arange(size // STRIDE).float() + 0.5) * STRIDE
        down, across = torch.meshgrid(centres, centres, indexing="ij")
        dense = self.position(torch.stack((across, down), dim=-1)).permute(2, 0, 1)
        self.dense_position = Constant(dense[None])

    def position(self, xy: Tensor) -> Tensor:
        """(..., 2) in pixels of the S x S picture -> (..., D) float32."""
        phase = (xy / self.size * 2 - 1) @ self.fourier.value * (2 * math.pi)
        return torch.cat((phase.sin(), phase.cos()), dim=-1)

    def points(self, coords: Tensor, labels: Tensor) -> Tensor:
        """(B, T, 2), (B, T) -> (B, T + 1, D): pixel centres, and the one pad point."""
        pad = torch.full_like(labels[:, :1], -1)
        kinds = torch.cat((labels, pad), dim=1)
        xy = torch.cat((coords.float() + 0.5, torch.zeros_like(coords[:, :1]).float()), dim=1)
        position = self.position(xy) * (kinds >= 0)[..., None]
        return F.embedding(kinds + 1, self.labels) + position.to(self.labels.dtype)

    def mask(self, mask_input: Tensor, has_mask_input: Tensor) -> Tensor:
        """(B, 1, L, L), (B,) bool -> (B, D, G, G)."""
        given = self.mask_embed(mask_input.to(self.labels.dtype))
        return torch.where(has_mask_input[:, None, None, None], given, self.no_mask)


class MaskDecoder(nn.Module):
    def __init__(self, model: Sam2VideoModel, size: int) -> None:
        super().__init__()
        self.prompts = PromptTokens(model, size)
        self.decoder = model.mask_decoder
        self.pointer: nn.Module = model.object_pointer_proj
        own = (self.decoder.obj_score_token, self.decoder.iou_token, self.decoder.mask_tokens)
        tokens = torch.cat([embedding.weight for embedding in own])
        self.tokens = nn.Parameter(tokens.detach().clone()[None], requires_grad=False)

    def forward(
        self,
        pix_feat_with_mem: Tensor,
        high_res_feat0: Tensor,
        high_res_feat1: Tensor,
        point_coords: Tensor,
        point_labels: Tensor,
        mask_input: Tensor,
        has_mask_input: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See `engines.graph_table`; low_res_masks, ious, obj_ptrs, object_score_logits.

        Source: sam/mask_decoder.py:162-246 and sam2_base.py:367-400 @2b90b9f, for every token.
        """
        image = pix_feat_with_mem.to(self.tokens.dtype)
        image = image + self.prompts.mask(mask_input, has_mask_input)
        return self.decode(image, (high_res_feat0, high_res_feat1), point_coords, point_labels)

    def decode(
        self, image: Tensor, finer: tuple[Tensor, Tensor], coords: Tensor, labels: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Decode features that the embedded mask prompt, or that of none, has been added to."""
        b = coords.shape[0]
        points = self.prompts.points(coords, labels)
        tokens = torch.cat((self.tokens.expand(b, -1, -1), points), dim=1)
        position = self.prompts.dense_position.value.to(image.dtype).expand(b, -1, -1, -1)
        queries, keys = self.decoder.transformer(tokens[:, None], image, position, None)
        hidden = queries[:, 0]
        mask_tokens = hidden[:, 2 : self.tokens.shape[1]]
        fine = self.upscale(keys[:, 0].transpose(1, 2).reshape(image.shape), *finer)
        heads = self.decoder.output_hypernetworks_mlps
        weights = torch.stack([head(mask_tokens[:, i]) for i, head in enumerate(heads)], dim=1)
        low_res = (weights @ fine.flatten(2)).reshape(b, -1, *fine.shape[2:])
        ious = self.decoder.iou_prediction_head(hidden[:, 1])
        score = self.decoder.pred_obj_score_head(hidden[:, 0])
        return low_res.float(), ious.float(), self.pointer(mask_tokens).float(), score.float()

    def upscale(self, image: Tensor, high0: Tensor, high1: Tensor) -> Tensor:
        """(B, D, G, G) and the finer maps -> (B, D / 8, L, L)."""
        part = self.decoder
        x = part.upscale_conv1(image) + high1.to(image.dtype)
        x = F.gelu(part.upscale_layer_norm(x))
        return F.gelu(part.upscale_conv2(x) + high0.to(image.dtype))


class MemoryEncoder(nn.Module):
    """The contract's `memory_encoder`; its answer is rounded to bfloat16, as Meta stores it."""

    def __init__(self, model: Sam2VideoModel) -> None:
        super().__init__()
        source = model.memory_encoder
        self.mask_down: nn.Module = source.mask_downsampler
        self.features: nn.Conv2d = source.feature_projection
        self.fuser: nn.Module = source.memory_fuser
        self.out: nn.Conv2d = source.projection
        absent = torch.as_tensor(model.occlusion_spatial_embedding_parameter).detach()
        self.no_object = nn.Parameter(absent.reshape(1, -1, 1, 1).clone(), requires_grad=False)

    def forward(
        self,
        pix_feat: Tensor,
        low_res_mask: Tensor,
        is_prompted: Tensor,
        object_score_logits: Tensor,
    ) -> Tensor:
        """See `engines.graph_table`. Source: sam2_base.py:691-742 @2b90b9f."""
        logits = F.interpolate(
            low_res_mask, scale_factor=float(MASK_STRIDE), mode="bilinear", align_corners=False
        )
        hard = (logits > 0).float()
        inside = torch.where(is_prompted[:, None, None, None], hard, torch.sigmoid(logits))
        memory = self.encode(pix_feat, inside * MASK_SCALE + MASK_BIAS, object_score_logits)
        return memory.to(torch.bfloat16).float()

    def encode(self, pix_feat: Tensor, mask: Tensor, object_score_logits: Tensor) -> Tensor:
        """(1, D, G, G), (B, 1, S, S) as the network wants masks, (B, 1) -> (B, M, G, G)."""
        dtype = self.no_object.dtype
        added = self.features(pix_feat.to(dtype)) + self.mask_down(mask.to(dtype))
        memory: Tensor = self.out(self.fuser(added))
        absent = (object_score_logits <= 0).to(dtype)[:, :, None, None]
        return memory + absent * self.no_object


class MaskPrompt(nn.Module):
    def __init__(self, model: Sam2VideoModel, size: int) -> None:
        super().__init__()
        self.learned: nn.Conv2d = model.mask_downsample
        ramp = (torch.arange(MASK_STRIDE) + 0.5) / MASK_STRIDE
        triangle = torch.cat((ramp, ramp.flip(0)))
        self.triangle = Constant(torch.outer(triangle, triangle)[None, None])
        # at the border a part of the triangle has nothing to weigh
        self.weight = Constant(self.shrink(torch.ones(1, 1, size, size)))

    def shrink(self, mask: Tensor) -> Tensor:
        """(1, 1, S, S) -> (1, 1, L, L): weighted sums of 8 x 8 pixels."""
        return F.conv2d(mask, self.triangle.value, stride=MASK_STRIDE, padding=MASK_STRIDE // 2)

    def forward(self, mask: Tensor) -> tuple[Tensor, Tensor]:
        """(1, 1, S, S) uint8 0/1 -> mask_input and low_res_mask, two (1, 1, L, L) logits.

        Source: `_use_mask_as_output`, sam2_base.py:419-446 @2b90b9f; its antialiased bilinear
        shrinking by 4 is a triangle of 8 pixels.
        """
        # cast first: TensorRT takes a uint8 input in a cast to a float type only
        inside = (mask.float() > 0).float()
        share = self.shrink(inside) / self.weight.value
        learned = self.learned(inside.to(self.learned.weight.dtype))
        return learned.float(), share * MASK_SCALE + MASK_BIAS


def build_modules(
    model: Sam2VideoModel, size: int, raw_values: bool = True
) -> dict[str, nn.Module]:
    """Return the five networks, by the names of `engines.graph_table.NETWORKS`.

    The parts of `model` are used, not copied. `size` is S, a multiple of 32; `raw_values`: see
    `export.sam2.attention.Attend`.
    """
    modules: dict[str, nn.Module] = {
        IMAGE_ENCODER: ImageEncoder(model, size),
        MEMORY_ATTENTION: MemoryAttention(model, size // STRIDE, raw_values),
        MASK_DECODER: MaskDecoder(model, size),
        MEMORY_ENCODER: MemoryEncoder(model),
        MASK_PROMPT: MaskPrompt(model, size),
    }
    return {name: module.eval() for name, module in modules.items()}


def sam2_manifest(
    model: Sam2VideoModel, variant: str, size: int, origin: str, form: str = "dynamic"
) -> Manifest:
    """Return what the model folder's manifest says, before the files are hashed."""
    return Manifest(
        name=f"sam2.1-{variant}@{size}",
        family="sam2.1",
        image_size=size,
        mask_size=size // MASK_STRIDE,
        grid=size // STRIDE,
        width=model.hidden_dim,
        memory_channels=model.mem_dim,
        candidates=model.mask_decoder.num_mask_tokens,
        max_cond=MAX_COND,
        no_obj_ptr=model.no_object_pointer.detach().numpy(),
        origin=origin,
        licence=LICENCE,
        form=form,
        memory_dtype="bfloat16",
    )
