"""`nano`: SamCam's embedded promptable video segmentation model, on the engine contract.

Five networks with SAM 2's names and tensors (docs/architecture.md). The encoder is convolutional;
prompts enter the decoder as dense maps as well as tokens; memory is read by affinity in the manner
of STCN (arXiv 2106.05210) and XMem (arXiv 2207.07115): a memory token holds its key and its value
side by side in `maskmem_features`.

Masks are L x L with L = S/2. Any picture size S divisible by 32 works: nothing learned depends
on it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.finer import MaskRefiner
from training.layers import (
    Attention,
    ConvNorm,
    GlobalContext,
    Mlp,
    PromptGeometry,
    Residual,
    cell_centres,
    fourier_position,
    similarity_maps,
)

MASK_LOGIT_SCALE = 20.0  # sigmoid * 20 - 10, as sam2_base.py's sigmoid_scale/bias_for_mem_enc
MAX_POINTER_STEPS = 15.0
RECENT = 6
MAP_CHANNELS = 12
MASK_STRIDE = 2  # pixels of the picture per cell of a mask: L = S / 2
HIGH4, HIGH2 = 32, 16  # channels of the finer maps


@dataclass(frozen=True)
class NanoConfig:
    """Widths of `nano`; the defaults are the shipped model."""

    width: int = 128
    stages: tuple[int, ...] = (32, 64, 128, 192)
    blocks: tuple[int, ...] = (1, 2, 4, 2)
    stem: int = 24
    key: int = 32
    value: int = 64
    candidates: int = 4
    decoder_layers: int = 2

    @property
    def memory_channels(self) -> int:
        return self.key + self.value


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


def masked_mean(weight: Tensor, features: Tensor) -> Tensor:
    """Mean of (B, C, L, L) features under each of (B, K, L, L) weights: (B, K, C)."""
    total = torch.einsum("bkhw,bchw->bkc", weight, features.float())
    return total / (weight.sum(dim=(2, 3))[..., None] + 1)


class TwoWayLayer(nn.Module):
    """Tokens attend to themselves and the picture, the picture to the tokens (SAM's block)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.self_attention = Attention(width)
        self.to_image = Attention(width)
        self.to_tokens = Attention(width)
        self.mlp = Mlp(width, 2 * width, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(4))

    def forward(
        self, tokens: Tensor, image: Tensor, code: Tensor, token_code: Tensor
    ) -> tuple[Tensor, Tensor]:
        query = tokens + token_code
        tokens = self.norms[0](tokens + self.self_attention(query, query, tokens))
        tokens = self.norms[1](tokens + self.to_image(tokens + token_code, image + code, image))
        tokens = self.norms[2](tokens + self.mlp(tokens))
        image = self.norms[3](image + self.to_tokens(image + code, tokens + token_code, tokens))
        return tokens, image


@dataclass(frozen=True)
class Rough:
    """What the decoder knows before its masks are refined.

    Attributes:
        masks: (B, K, L/2, L/2) logits.
        ious, pointers, score: As the decoder returns them.
        fine: (B, 32, L/2, L/2), the map that the masks were made of.
        high4: (B or 1, 32, L/2, L/2), the encoder's features.
    """

    masks: Tensor
    ious: Tensor
    pointers: Tensor
    score: Tensor
    fine: Tensor
    high4: Tensor


class MaskDecoder(nn.Module):
    """Features and prompts to masks, predicted IoUs, pointers and the object score."""

    fourier: Tensor

    def __init__(self, cfg: NanoConfig) -> None:
        super().__init__()
        d, k = cfg.width, cfg.candidates
        self.cfg = cfg
        self.tokens = nn.Parameter(torch.randn(1, 1 + k, d) * 0.2)
        self.point_embed = nn.Parameter(torch.randn(5, d) * 0.2)  # labels -1, 0, 1, 2, 3
        self.register_buffer("fourier", torch.randn(2, d // 2))
        self.similarity16 = nn.Conv2d(d, 32, 1)
        self.similarity8 = nn.Conv2d(64, 24, 1)
        self.similarity4 = nn.Conv2d(32, 16, 1)
        self.maps16 = ConvNorm(MAP_CHANNELS, d, kernel=3)
        self.blend16 = Residual(d)
        self.layers = nn.ModuleList(TwoWayLayer(d) for _ in range(cfg.decoder_layers))
        self.up8 = nn.Conv2d(d, 64, 1)
        self.maps8 = nn.Conv2d(MAP_CHANNELS, 64, 1)
        self.norm8 = nn.BatchNorm2d(64)
        self.block8 = Residual(64)
        self.up4 = nn.Conv2d(64, 32, 1)
        self.maps4 = nn.Conv2d(MAP_CHANNELS, 32, 1)
        self.norm4 = nn.BatchNorm2d(32)
        self.block4 = Residual(32)
        self.hyper = nn.ModuleList(Mlp(d, d, 33) for _ in range(k))
        self.refiner = MaskRefiner(32, HIGH4, HIGH2)
        self.iou_head = Mlp(d + 3 + 64, 64, 1)
        self.pointer_head = Mlp(d, d, d)
        self.score_head = Mlp(d, 64, 1)

    def prompt_maps(
        self, prompts: PromptGeometry, features: Tensor, mask_input: Tensor, has_mask: Tensor
    ) -> Tensor:
        """Dense maps at the resolution of `features`: (B, MAP_CHANNELS, cells, cells)."""
        cells = features.shape[-1]
        factor = mask_input.shape[-1] // cells
        mask = torch.tanh(mask_input * 0.25) * has_mask[:, None, None, None]
        mask = F.avg_pool2d(mask, factor) if factor > 1 else mask
        b = mask.shape[0]
        flag = prompts.has_box[:, None, None, None].expand(b, 1, cells, cells)
        given = has_mask[:, None, None, None].expand(b, 1, cells, cells)
        maps = [
            prompts.gaussian(cells, 0.02, prompts.positive),
            prompts.gaussian(cells, 0.10, prompts.positive),
            prompts.gaussian(cells, 0.02, prompts.negative),
            prompts.gaussian(cells, 0.10, prompts.negative),
            prompts.box_map(cells),
            prompts.box_map(cells, 0.5),
            flag,
            similarity_maps(features, prompts),
            mask,
            given,
        ]
        return torch.cat(maps, dim=1)

    def token_inputs(self, prompts: PromptGeometry, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Output and prompt tokens with their position codes: two (B, 1 + K + T + 1, D)."""
        b = labels.shape[0]
        pad = torch.full((b, 1), -1, dtype=labels.dtype, device=labels.device)
        labels = torch.cat((labels, pad), dim=1)
        xy = torch.cat((prompts.xy, torch.zeros_like(prompts.xy[:, :1])), dim=1) / prompts.size
        real = (labels >= 0).float()[..., None]
        code = fourier_position(xy, self.fourier) * real
        points = self.point_embed[labels.long() + 1]
        tokens = torch.cat((self.tokens.expand(b, -1, -1), points), dim=1)
        own = torch.zeros_like(self.tokens).expand(b, -1, -1)
        return tokens, torch.cat((own, code), dim=1)

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
        """SPEC's `mask_decoder`: low_res_masks, ious, obj_ptrs, object_score_logits."""
        features = pix_feat_with_mem, high_res_feat0, high_res_feat1
        rough = self.rough(features, point_coords, point_labels, mask_input, has_mask_input)
        masks = self.refiner(rough.masks, rough.fine, rough.high4, high_res_feat0)
        return masks, rough.ious, rough.pointers, rough.score

    def rough(
        self,
        features: tuple[Tensor, Tensor, Tensor],
        point_coords: Tensor,
        point_labels: Tensor,
        mask_input: Tensor,
        has_mask_input: Tensor,
    ) -> Rough:
        """Everything but the refiner, of which training runs one candidate only."""
        pix_feat_with_mem, _, high_res_feat1 = features
        b, d, g, _ = pix_feat_with_mem.shape
        has_mask = has_mask_input.float()
        high4 = high_res_feat1[:, :HIGH4]
        high8 = F.pixel_unshuffle(high_res_feat1[:, HIGH4:], 2)
        prompts = PromptGeometry(point_coords.float(), point_labels, g * 16)
        maps16 = self.prompt_maps(
            prompts, self.similarity16(pix_feat_with_mem), mask_input, has_mask
        )
        x = self.blend16(pix_feat_with_mem + self.maps16(maps16))
        tokens, token_code = self.token_inputs(prompts, point_labels)
        centre = cell_centres(1, g, x.device)
        grid = torch.stack(
            (centre[None, :].expand(g, g), centre[:, None].expand(g, g)), dim=-1
        ).reshape(1, g * g, 2)
        code = fourier_position(grid, self.fourier)
        image = x.flatten(2).transpose(1, 2)
        for layer in self.layers:
            tokens, image = layer(tokens, image, code, token_code)
        x = x + image.transpose(1, 2).reshape(b, d, g, g)
        fine = self.upscale(x, high4, high8, prompts, mask_input, has_mask)
        score = self.score_head(tokens[:, 0])
        mask_tokens = tokens[:, 1 : 1 + self.cfg.candidates]
        weights = torch.stack([head(mask_tokens[:, i]) for i, head in enumerate(self.hyper)], dim=1)
        low_res = torch.einsum("bkc,bchw->bkhw", weights[..., :-1], fine)
        low_res = low_res.float() + weights[..., -1, None, None].float()
        ious = self.predict_iou(mask_tokens, low_res, fine)
        pointers = self.pointer_head(mask_tokens).float()
        return Rough(low_res, ious, pointers, score.float(), fine, high4)

    def upscale(
        self,
        x: Tensor,
        high4: Tensor,
        high8: Tensor,
        prompts: PromptGeometry,
        mask_input: Tensor,
        has_mask: Tensor,
    ) -> Tensor:
        """(B, D, G, G) to (B, 32, L/2, L/2): fine features and prompt maps are mixed in."""
        b = x.shape[0]
        maps8 = self.prompt_maps(
            prompts, self.similarity8(high8).expand(b, -1, -1, -1), mask_input, has_mask
        )
        x = F.interpolate(self.up8(x), scale_factor=2.0, mode="bilinear", align_corners=False)
        x = self.block8(F.relu(self.norm8(x + high8 + self.maps8(maps8))))
        maps4 = self.prompt_maps(
            prompts, self.similarity4(high4).expand(b, -1, -1, -1), mask_input, has_mask
        )
        x = F.interpolate(self.up4(x), scale_factor=2.0, mode="bilinear", align_corners=False)
        return torch.as_tensor(self.block4(F.relu(self.norm4(x + high4 + self.maps4(maps4)))))

    def predict_iou(self, mask_tokens: Tensor, low_res: Tensor, fine: Tensor) -> Tensor:
        """How good each candidate is: (B, K) in 0..1.

        Beside its token, a candidate is judged by how decided and how large its mask is, and by
        the mean of `fine` (B, 32, L/2, L/2) inside it and on a ring of 4 cells around it: an object
        differs from what surrounds it, a part of it does not.
        """
        prob = torch.sigmoid(low_res.detach())
        area = prob.mean(dim=(2, 3))
        doubt = (prob * (1 - prob)).mean(dim=(2, 3)) / (area + 1e-3)
        sure = (prob > 0.9).float().mean(dim=(2, 3)) / (area + 1e-3)
        stats = torch.stack((area.sqrt(), doubt, sure), dim=-1)
        ring = F.max_pool2d(prob, 9, stride=1, padding=4) - prob
        inside, around = masked_mean(prob, fine), masked_mean(ring, fine)
        seen = torch.cat((mask_tokens.float(), stats, inside, around), dim=-1)
        return torch.sigmoid(self.iou_head(seen)[..., 0].float())


class MaskPrompt(nn.Module):
    """A drawn mask to the decoder's `mask_input` and the low-resolution mask that is stored."""

    def forward(self, mask: Tensor) -> tuple[Tensor, Tensor]:
        """(1, 1, S, S) uint8 0/1 -> two (1, 1, L, L) logits in -10..10."""
        share = F.avg_pool2d((mask.float() > 0).float(), MASK_STRIDE)
        logits = share * MASK_LOGIT_SCALE - MASK_LOGIT_SCALE / 2
        return logits, logits.clone()


class Nano(nn.Module):
    """The five networks together; each attribute is one network of the contract."""

    def __init__(self, cfg: NanoConfig | None = None) -> None:
        super().__init__()
        self.cfg = cfg or NanoConfig()
        self.image_encoder = ImageEncoder(self.cfg)
        self.memory_attention = MemoryAttention(self.cfg)
        self.mask_decoder = MaskDecoder(self.cfg)
        self.memory_encoder = MemoryEncoder(self.cfg, self.memory_attention.key)
        self.mask_prompt = MaskPrompt()
        self.no_obj_ptr = nn.Parameter(torch.zeros(self.cfg.width))
