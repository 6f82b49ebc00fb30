"""`nano`'s mask decoder: features and prompts to masks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.network.finer import MaskRefiner
from training.network.layers import (
    Attention,
    ConvNorm,
    Mlp,
    PromptGeometry,
    Residual,
    cell_centres,
    fourier_position,
    similarity_maps,
)
from training.network.sizes import HIGH2, HIGH4, NanoConfig

MAP_CHANNELS = 12


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
