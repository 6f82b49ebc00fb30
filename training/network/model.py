"""`nano`: SamCam's embedded promptable video segmentation model, on the engine contract.

Five networks with SAM 2's names and tensors (docs/architecture.md). The encoder is convolutional;
prompts enter the decoder as dense maps as well as tokens; memory is read by affinity in the manner
of STCN (arXiv 2106.05210) and XMem (arXiv 2207.07115): a memory token holds its key and its value
side by side in `maskmem_features`.

Masks are L x L with L = S/2. Any picture size S divisible by 32 works: nothing learned depends
on it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.network.layers import ConvNorm, GlobalContext, Residual, cell_centres
from training.network.mask_decoder import MaskDecoder
from training.network.sizes import HIGH2, HIGH4, MASK_LOGIT_SCALE, MASK_STRIDE, NanoConfig

MAX_POINTER_STEPS = 15.0
RECENT = 6


class ImageEncoder(nn.Module):
    """Picture to `pix_feat` at S/16 and finer maps at S/2, S/4 and S/8.

    The contract has two finer maps: the one at S/4 carries that at S/8 in its last channels, each
    2 x 2 block one cell's (`nn.PixelShuffle`).
    """

    def __init__(self, cfg: NanoConfig) -> None:
        super().__init__()
        c4, c8, c16, c32 = cfg.stages
        self.stem = ConvNorm(3, cfg.stem, stride=2)
        widths = (cfg.stem, *cfg.stages)
        self.stages = nn.ModuleList(
            nn.Sequential(ConvNorm(a, b, stride=2), *(Residual(b) for _ in range(n)))
            for a, b, n in zip(widths[:-1], widths[1:], cfg.blocks, strict=True)
        )
        self.context = GlobalContext(c32)
        self.lateral32 = nn.Conv2d(c32, cfg.width, 1)
        self.lateral16 = nn.Conv2d(c16, cfg.width, 1)
        self.merge = Residual(cfg.width)
        self.high8 = nn.Conv2d(c8, 64, 1)
        self.high4 = nn.Conv2d(c4, HIGH4, 1)
        self.high2 = nn.Conv2d(cfg.stem, HIGH2, 1)
        self.no_mem_embed = nn.Parameter(torch.zeros(1, cfg.width, 1, 1))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(B, S, S, 3) uint8 BGR -> pix_feat, pix_feat_no_mem, high_res_feat0, high_res_feat1."""
        x = image.float().permute(0, 3, 1, 2) * (1 / 64.0) - 2.0
        x = finest = self.stem(x)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        coarse = self.lateral32(self.context(maps[3]))
        coarse = F.interpolate(coarse, scale_factor=2.0, mode="bilinear", align_corners=False)
        pix_feat = self.merge(self.lateral16(maps[2]) + coarse)
        packed = F.pixel_shuffle(self.high8(maps[1]), 2)
        high1 = torch.cat((self.high4(maps[0]), packed), dim=1)
        return pix_feat, pix_feat + self.no_mem_embed, self.high2(finest), high1


class MemoryEncoder(nn.Module):
    """A frame's features and its mask to memory: key and value side by side."""

    def __init__(self, cfg: NanoConfig, key: nn.Conv2d) -> None:
        super().__init__()
        self.key = [key]  # shared with the readout; a list keeps it out of this module's parameters
        self.mask_down = nn.Sequential(
            ConvNorm(1, 16, stride=2), ConvNorm(16, 32, stride=2), nn.Conv2d(32, cfg.width, 1)
        )
        self.feature = nn.Conv2d(cfg.width, cfg.width, 1)
        self.fuse = Residual(cfg.width)
        self.value = nn.Conv2d(cfg.width, cfg.value, 1)
        self.no_object = nn.Parameter(torch.zeros(1, cfg.value, 1, 1))

    def forward(
        self, pix_feat: Tensor, low_res_mask: Tensor, is_prompted: Tensor, score: Tensor
    ) -> Tensor:
        """(B or 1, D, G, G), (B, 1, L, L), (B,) bool, (B, 1) -> (B, M, G, G)."""
        hard = (low_res_mask > 0).float()
        soft = torch.sigmoid(low_res_mask)
        prob = torch.where(is_prompted[:, None, None, None], hard, soft)
        prob = F.avg_pool2d(prob, 2)
        mask = self.mask_down((prob * MASK_LOGIT_SCALE - MASK_LOGIT_SCALE / 2) * 0.1)
        value = self.value(self.fuse(F.relu(self.feature(pix_feat) + mask)))
        absent = (score <= 0).float()[:, :, None, None]
        value = value + absent * self.no_object
        # float32 first: in half precision the keys of look-alikes would round to the same point
        key = F.normalize(self.key[0](pix_feat).float(), dim=1, eps=1e-4)
        key = key.expand(value.shape[0], -1, -1, -1)
        return torch.cat((key.to(value.dtype), value), dim=1)


class MemoryAttention(nn.Module):
    """Reads the memories by affinity and adds what they say to the present features."""

    def __init__(self, cfg: NanoConfig) -> None:
        super().__init__()
        self.cfg = cfg
        self.key = nn.Conv2d(cfg.width, cfg.key, 1)
        self.log_temperature = nn.Parameter(torch.tensor(2.3))
        self.locality = nn.Parameter(torch.tensor([0.0, 2.0]))  # conditioning, recent
        self.recency = nn.Parameter(torch.zeros(RECENT + 1))
        self.pointer_decay = nn.Parameter(torch.tensor(1.0))
        self.pointer_query = nn.Linear(cfg.width, cfg.key)
        self.pointer_bias = nn.Linear(cfg.width, cfg.width)
        self.fuse_in = nn.Conv2d(cfg.width + 2 * cfg.value + 3, cfg.width, 1)
        self.fuse = nn.Sequential(Residual(cfg.width), Residual(cfg.width))

    def affinity(
        self, query: Tensor, keys: Tensor, tpos: Tensor, valid: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Softmax over all memory tokens: (B, Q, N * Q) weights and the best cosine (B, Q)."""
        b, n, _, g, _ = keys.shape
        cells = g * g
        flat = keys.permute(0, 2, 1, 3, 4).reshape(b, -1, n * cells)
        cosine = query.transpose(1, 2) @ flat  # (B, Q, N * cells)
        centre = cell_centres(1, g, query.device)
        dy = (centre[:, None] - centre[None, :]) ** 2
        # squared distance between cells i and j of the unit square: (Q, cells)
        distance = (dy[:, None, :, None] + dy[None, :, None, :]).reshape(cells, cells)
        recent = (tpos > 0).float()
        strength = self.locality[0] * (1 - recent) + self.locality[1] * recent
        strength = F.softplus(strength) * 4.0
        bias = self.recency[tpos.long().clamp(0, RECENT)]
        hidden = (1 - valid.float()) * -1e4
        logits = (cosine * self.log_temperature.exp()).view(b, cells, n, cells)
        logits = logits - strength[:, None, :, None] * distance[None, :, None, :]
        logits = logits + (bias + hidden)[:, None, :, None]
        best = (cosine.view(b, cells, n, cells) + hidden[:, None, :, None]).amax(dim=(2, 3))
        return torch.softmax(logits.view(b, cells, n * cells), dim=-1), best.clamp(min=-1.0)

    def forward(
        self,
        pix_feat: Tensor,
        maskmem_features: Tensor,
        maskmem_tpos: Tensor,
        maskmem_valid: Tensor,
        obj_ptrs: Tensor,
        obj_ptr_tpos: Tensor,
        obj_ptr_valid: Tensor,
    ) -> Tensor:
        """SPEC's `memory_attention`; returns pix_feat_with_mem (B, D, G, G)."""
        b, n, m, g, _ = maskmem_features.shape
        k = self.cfg.key
        memory = maskmem_features.float()
        query = F.normalize(self.key(pix_feat).float(), dim=1, eps=1e-4)
        query = query.expand(b, -1, -1, -1).flatten(2)
        weights, best = self.affinity(query, memory[:, :, :k], maskmem_tpos, maskmem_valid)
        values = memory[:, :, k:]
        flat = values.permute(0, 1, 3, 4, 2).reshape(b, n * g * g, m - k)
        readout = (weights @ flat).transpose(1, 2).reshape(b, m - k, g, g)
        newest = ((maskmem_tpos == 1) & maskmem_valid).float()
        in_place = (values * newest[:, :, None, None, None]).sum(1)
        has_newest = newest.amax(1)[:, None, None, None].expand(b, 1, g, g)
        age = obj_ptr_tpos.abs().clamp(max=MAX_POINTER_STEPS) / MAX_POINTER_STEPS
        weight = torch.softmax(
            -F.softplus(self.pointer_decay) * age - (1 - obj_ptr_valid.float()) * 1e4, dim=1
        )
        pointer = (obj_ptrs.float() * weight[..., None]).sum(1)
        pointer_key = F.normalize(self.pointer_query(pointer).float(), dim=1, eps=1e-4)
        match = (pointer_key[:, :, None] * query).sum(1).view(b, 1, g, g)
        stacked = torch.cat(
            (
                pix_feat.float().expand(b, -1, -1, -1),
                readout,
                in_place,
                best.view(b, 1, g, g),
                match,
                has_newest,
            ),
            dim=1,
        )
        fused = self.fuse_in(stacked) + self.pointer_bias(pointer)[:, :, None, None]
        return torch.as_tensor(self.fuse(F.relu(fused) + pix_feat))


class MaskPrompt(nn.Module):
    """A drawn mask to the decoder's `mask_input` and the low-resolution mask that is stored."""

    def forward(self, mask: Tensor) -> tuple[Tensor, Tensor]:
        """(1, 1, S, S) uint8 0/1 -> two (1, 1, L, L) logits in -10..10."""
        share = F.avg_pool2d((mask.float() > 0).float(), MASK_STRIDE)
        logits = share * MASK_LOGIT_SCALE - MASK_LOGIT_SCALE / 2
        return logits, logits.clone()


class Nano(nn.Module):
    def __init__(self, cfg: NanoConfig | None = None) -> None:
        super().__init__()
        self.cfg = cfg or NanoConfig()
        self.image_encoder = ImageEncoder(self.cfg)
        self.memory_attention = MemoryAttention(self.cfg)
        self.mask_decoder = MaskDecoder(self.cfg)
        self.memory_encoder = MemoryEncoder(self.cfg, self.memory_attention.key)
        self.mask_prompt = MaskPrompt()
        self.no_obj_ptr = nn.Parameter(torch.zeros(self.cfg.width))
