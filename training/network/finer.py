"""The last step of `nano`'s mask decoder: candidates drawn anew at S/2, by what they look like.

A candidate at S/4 says roughly where the object is. The appearance inside it, on a ring around it
and outside of it is summed up by a few prototypes each, and every cell is asked which of them it
is nearer to: what GrabCut (Rother et al., SIGGRAPH 2004) does with colours and Gaussians, with
learned features and in one pass. The pooling under a mask is that of masked attention (Mask2Former,
arXiv 2112.01527).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PROTOTYPES = 4  # of each of the three sets
RING = 9  # side in cells of the window that grows a mask by its ring
HIDDEN = 16
DETAIL = 16
ASSUMED = 1e-3  # share of every set that no mask takes away; an empty mask still has a mean


class MaskRefiner(nn.Module):
    """Candidates (B, K, L/2, L/2) to (B, K, L, L) logits; begins as bilinear upsampling.

    `fine` are the channels of the decoder's map at S/4, `high1` and `high0` those of the encoder's
    features at S/4 and S/2.
    """

    def __init__(self, fine: int, high1: int, high0: int) -> None:
        super().__init__()
        self.appearance = nn.Conv2d(high1 + high0, HIDDEN, 1)
        self.seeds = nn.Parameter(torch.randn(3 * PROTOTYPES, HIDDEN) * 0.5)
        self.log_sharpness = nn.Parameter(torch.zeros(()))
        self.context = nn.Conv2d(fine, 8, 1)
        self.first = nn.Conv2d(8 + 3, HIDDEN, 3, padding=1)
        self.second = nn.Conv2d(HIDDEN, HIDDEN, 3, padding=1)
        # cells at S/2 are kept as channels of those at S/4 to the end: fewer, wider convolutions
        self.finer = nn.Conv2d(HIDDEN, DETAIL, 1)
        self.detail = nn.Conv2d(high0, DETAIL, 2, stride=2)
        self.last = nn.Conv2d(DETAIL, 4, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        if self.last.bias is not None:
            nn.init.zeros_(self.last.bias)

    def likelihoods(self, prob: Tensor, looks: Tensor) -> Tensor:
        """How much more a cell looks like the inside than like the ring and than like the rest: (B,
        K, 2, H, W) log-likelihood ratios.

        `prob` is (B, K, H, W) in 0..1, `looks` (B or 1, C, H, W); 1 where all objects share a
        picture.
        """
        b, k, h, w = prob.shape
        ring = F.max_pool2d(prob, RING, stride=1, padding=RING // 2) - prob
        sets = torch.stack((prob, ring, 1 - prob), dim=2).clamp(min=ASSUMED)
        flat = looks.float().flatten(2)  # (B or 1, C, H W)
        # a prototype takes the cells that its seed points to, as far as the set has them
        chosen = torch.softmax(self.seeds @ flat, dim=-1).view(-1, 1, 3, PROTOTYPES, h * w)
        weight = sets.view(b, k, 3, 1, h * w) * chosen
        cells = flat.transpose(1, 2)[:, None, None]  # (B or 1, 1, 1, H W, C)
        means = (weight @ cells) / (weight.sum(dim=-1, keepdim=True) + 1e-6)
        near = means @ flat[:, None, None] - 0.5 * (means * means).sum(dim=-1, keepdim=True)
        each = near.amax(dim=3).view(b, k, 3, h, w) * self.log_sharpness.exp()
        return each[:, :, :1] - each[:, :, 1:]

    def forward(self, coarse: Tensor, fine: Tensor, high1: Tensor, high0: Tensor) -> Tensor:
        """Logits (B, K, H, W), maps of B or 1 at H and, `high0`, at 2H, to (B, K, 2H, 2W)."""
        b, k, h, w = coarse.shape
        looks = self.appearance(torch.cat((high1, F.avg_pool2d(high0, 2)), dim=1))
        ratios = self.likelihoods(torch.sigmoid(coarse.detach()), looks)
        own = torch.cat((coarse[:, :, None] * 0.25, ratios), dim=2).tanh()
        shared = self.context(fine)[:, None].expand(-1, k, -1, -1, -1)
        x = torch.cat((own.to(shared.dtype), shared), dim=2).flatten(0, 1)
        x = F.relu(self.second(F.relu(self.first(x))))
        detail = self.detail(high0)[:, None]
        x = F.relu(self.finer(x).view(b, k, DETAIL, h, w) + detail).flatten(0, 1)
        x = F.pixel_shuffle(self.last(x), 2).view(b, k, 2 * h, 2 * w)
        smooth = F.interpolate(coarse, scale_factor=2.0, mode="bilinear", align_corners=False)
        return smooth + x.float()
