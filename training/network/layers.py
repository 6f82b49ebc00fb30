"""Small building blocks of `nano`: convolutions, residual blocks, attention, dense prompt maps."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ConvNorm(nn.Sequential):
    """3x3 or 1x1 convolution, batch norm and (optionally) ReLU; (B, C, H, W) in and out."""

    def __init__(
        self, c_in: int, c_out: int, kernel: int = 3, stride: int = 1, relu: bool = True
    ) -> None:
        convolution = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, bias=False)
        norm = nn.BatchNorm2d(c_out)
        super().__init__(convolution, norm, *([nn.ReLU(inplace=True)] if relu else []))

    @property
    def norm(self) -> nn.BatchNorm2d:
        norm = self[1]
        assert isinstance(norm, nn.BatchNorm2d)
        return norm


class Residual(nn.Module):
    """Two 3x3 convolutions around an identity; the second norm starts at zero."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        second = ConvNorm(channels, channels, relu=False)
        self.body = nn.Sequential(ConvNorm(channels, channels), second)
        nn.init.zeros_(second.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.body(x))


class Mlp(nn.Sequential):
    def __init__(self, *widths: int) -> None:
        layers: list[nn.Module] = []
        for i, (a, b) in enumerate(pairwise(widths)):
            layers += [nn.ReLU()] if i else []
            layers.append(nn.Linear(a, b))
        super().__init__(*layers)


class Attention(nn.Module):
    """Multi-head attention of queries (B, Q, C) over keys (B, K, C), written out for export."""

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        b, nq, c = query.shape
        head = c // self.heads
        q = self.q(query).view(b, nq, self.heads, head).transpose(1, 2)
        k = self.k(key).view(b, -1, self.heads, head).transpose(1, 2)
        v = self.v(value).view(b, -1, self.heads, head).transpose(1, 2)
        weights = torch.softmax((q * head**-0.5) @ k.transpose(2, 3), dim=-1)
        return torch.as_tensor(self.out((weights @ v).transpose(1, 2).reshape(b, nq, c)))


class GlobalContext(nn.Module):
    """One pre-norm transformer layer over a coarse map (B, C, H, W): each cell sees all others."""

    def __init__(self, channels: int, heads: int = 4) -> None:
        super().__init__()
        self.position = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.attention = Attention(channels, heads)
        self.mlp = Mlp(channels, 2 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.position(x)
        b, c, h, w = x.shape
        tokens = x.flatten(2).transpose(1, 2)
        normed = self.norm1(tokens)
        tokens = tokens + self.attention(normed, normed, normed)
        tokens = tokens + self.mlp(self.norm2(tokens))
        return torch.as_tensor(tokens.transpose(1, 2).reshape(b, c, h, w))


def cell_centres(size: int, cells: int, device: torch.device) -> Tensor:
    """Pixel coordinate of each cell's centre along one axis: (cells,) float32."""
    return (torch.arange(cells, device=device, dtype=torch.float32) + 0.5) * (size / cells)


def fourier_position(xy: Tensor, matrix: Tensor) -> Tensor:
    """Random Fourier code of coordinates in 0..1: (..., 2) -> (..., 2 * columns of matrix).

    Source: SAM's PositionEmbeddingRandom (sam2/modeling/position_encoding.py).
    """
    angle = (2 * xy - 1) @ matrix * (2 * torch.pi)
    return torch.cat((angle.sin(), angle.cos()), dim=-1)


class PromptGeometry:
    """Prompts as smooth maps over a grid; computed once per scale.

    Attributes are (B, T) or (B, T, cells) tensors in pixels of the S x S picture. Labels: 1 and 0
    clicks, 2 and 3 box corners, -1 nothing.
    """

    def __init__(self, coords: Tensor, labels: Tensor, size: int) -> None:
        self.size = size
        self.xy = coords + 0.5  # a click means the centre of its pixel, as in SAM
        self.positive = (labels == 1).float()
        self.negative = (labels == 0).float()
        self.corner1 = (labels == 2).float()
        self.corner2 = (labels == 3).float()
        self.has_box = self.corner2.amax(dim=1)
        self.x1y1 = (self.xy * self.corner1[..., None]).sum(1)
        self.x2y2 = (self.xy * self.corner2[..., None]).sum(1)

    def tents(self, cells: int) -> tuple[Tensor, Tensor]:
        """Bilinear sampling weights of each point along y and x: two (B, T, cells)."""
        centres = cell_centres(self.size, cells, self.xy.device)
        stride = self.size / cells
        low, high = 0.5 * stride, self.size - 0.5 * stride
        xy = self.xy.clamp(low, high)
        x, y = xy[..., 0:1], xy[..., 1:2]
        return (
            F.relu(1 - (y - centres).abs() / stride),
            F.relu(1 - (x - centres).abs() / stride),
        )

    def gaussian(self, cells: int, sigma: float, which: Tensor) -> Tensor:
        """Highest Gaussian of the chosen points per cell: (B, 1, cells, cells)."""
        centres = cell_centres(self.size, cells, self.xy.device)
        scale = -0.5 / (sigma * self.size) ** 2
        gy = torch.exp((self.xy[..., 1:2] - centres) ** 2 * scale) * which[..., None]
        gx = torch.exp((self.xy[..., 0:1] - centres) ** 2 * scale)
        return (gy[..., :, None] * gx[..., None, :]).amax(dim=1, keepdim=True)

    def box_axes(self, cells: int, shrink: float) -> tuple[Tensor, Tensor]:
        """Soft membership of rows and columns in the box, shrunk about its centre: (B, cells)."""
        centres = cell_centres(self.size, cells, self.xy.device)
        centre = (self.x1y1 + self.x2y2) / 2
        half = ((self.x2y2 - self.x1y1) / 2 * shrink).clamp(min=1.0)
        soft = self.size / cells * 0.5
        x = torch.sigmoid((half[:, 0:1] - (centres - centre[:, 0:1]).abs()) / soft)
        y = torch.sigmoid((half[:, 1:2] - (centres - centre[:, 1:2]).abs()) / soft)
        return y * self.has_box[:, None], x

    def box_map(self, cells: int, shrink: float = 1.0) -> Tensor:
        """Soft filled box: (B, 1, cells, cells); zero without a box."""
        y, x = self.box_axes(cells, shrink)
        return (y[:, :, None] * x[:, None, :])[:, None]


def similarity_maps(features: Tensor, prompts: PromptGeometry) -> Tensor:
    """Cosine similarity of every cell to the clicked cells and to the middle of the box.

    Returns:
        (B, 3, cells, cells): best positive, best negative, box middle; zero where not prompted.
    """
    features = F.normalize(features.float(), dim=1, eps=1e-4)
    wy, wx = prompts.tents(features.shape[-1])
    rows = torch.einsum("bth,bchw->btcw", wy, features)
    at_points = F.normalize(torch.einsum("btcw,btw->btc", rows, wx), dim=2, eps=1e-4)
    similarity = torch.einsum("btc,bchw->bthw", at_points, features)
    maps = []
    for which in (prompts.positive, prompts.negative):
        masked = (similarity + 1) * which[..., None, None]
        maps.append(masked.amax(dim=1, keepdim=True) - which.amax(dim=1)[:, None, None, None])
    by, bx = prompts.box_axes(features.shape[-1], 0.5)
    pooled = torch.einsum("bh,bchw,bw->bc", by, features, bx)
    inside = torch.einsum("bc,bchw->bhw", F.normalize(pooled, dim=1, eps=1e-4), features)
    return torch.cat((*maps, inside[:, None]), dim=1)
