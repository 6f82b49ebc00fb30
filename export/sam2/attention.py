"""SAM 2.1's memory attention on the engine contract, from the weights of transformers.

The same function as `MemoryAttention` of Meta's sam2/modeling/memory_attention.py @2b90b9f, written
for graphs: rotary positions with real sines and cosines, temporal codes and pointer offsets as
tensors, memories that are not there masked out, and attention over the 64 channels of the memory
itself instead of its projection to 256.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Sam2VideoModel

MAX_POINTER_STEPS: Final = 15.0  # max_obj_ptrs_in_encoder - 1, sam2_base.py:613 @2b90b9f
ABSENT: Final = -3.0e4  # added to a hidden score: exp() of it is 0, and half precision holds it
_SINE_BASE: Final = 10000.0
POSITION_WEIGHT: Final = 0.1  # memory_attention.py:138 @2b90b9f


class Constant(nn.Module):
    """A buffer that moves between devices but stays float32 when its module is halved."""

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.register_buffer("value", value.detach().float().clone(), persistent=False)
        self.value: Tensor

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Constant:
        self.value = self.value.to(fn(self.value[:0]).device)
        return self


class Rotary(nn.Module):
    """Axial rotary positions of a G x G grid, for channels sorted even before odd."""

    def __init__(self, inverse_frequencies: Tensor, grid: int) -> None:
        """Compute the angles from the (D / 4,) inverse frequencies of one axis."""
        super().__init__()
        cells = torch.arange(grid * grid)
        across, down = (cells % grid).float(), (cells // grid).float()
        angles = torch.cat(
            (across[:, None] * inverse_frequencies, down[:, None] * inverse_frequencies), dim=1
        )
        self.cosine = Constant(angles.cos())
        self.sine = Constant(angles.sin())

    def forward(self, x: Tensor) -> Tensor:
        """Rotate (..., G * G, D)."""
        even, odd = x.chunk(2, dim=-1)
        cosine, sine = self.cosine.value.to(x.dtype), self.sine.value.to(x.dtype)
        return torch.cat((even * cosine - odd * sine, even * sine + odd * cosine), dim=-1)


def _sorted_pairs(linear: nn.Linear) -> nn.Linear:
    """Return the projection with its even output channels before the odd ones.

    Queries and keys are permuted alike, so their products stay; rotating the pairs then needs two
    contiguous halves instead of strided ones.
    """
    width = linear.out_features
    order = torch.cat((torch.arange(0, width, 2), torch.arange(1, width, 2)))
    result = nn.Linear(linear.in_features, width)
    result.weight = nn.Parameter(linear.weight.detach()[order].clone(), requires_grad=False)
    result.bias = nn.Parameter(linear.bias.detach()[order].clone(), requires_grad=False)
    return result


class Attend(nn.Module):
    """One-head attention of one layer, to the picture itself or to the memory."""

    def __init__(self, source: Any, raw_values: bool) -> None:
        """Take the projections of a `Sam2VideoRoPEAttention`.

        `raw_values` weighs the values before they are projected: exact, as the weights of a row sum
        to 1, and cheaper where the values are narrower than their projection; torch's fused
        attention however needs equal widths.
        """
        super().__init__()
        self.query = _sorted_pairs(source.q_proj)
        self.key = _sorted_pairs(source.k_proj)
        self.value: nn.Linear = source.v_proj
        self.out: nn.Linear = source.o_proj
        self.scale = float(source.scaling)
        self.raw_values = raw_values
        self.core: torch.dtype | None = None  # of the products; None: that of the query

    def forward(self, query: Tensor, key: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        """(B, Q, D), (B, K, D), (B, K, C), (B, 1, K) added to the scores -> (B, Q, D)."""
        if not self.raw_values and self.core is None:
            fused = F.scaled_dot_product_attention(
                query[:, None].expand(key.shape[0], -1, -1, -1),
                key[:, None],
                self.value(values)[:, None],
                None if mask is None else mask[:, None].to(query.dtype),
                scale=self.scale,
            )
            return torch.as_tensor(self.out(fused[:, 0]))
        core = self.core or query.dtype
        scores = (query.to(core) * self.scale) @ key.to(core).transpose(1, 2)
        if mask is not None:
            scores = scores + mask.to(scores.dtype)
        weights = torch.softmax(scores.float(), dim=-1).to(core)
        if not self.raw_values:
            return torch.as_tensor(self.out(weights @ self.value(values).to(core)))
        return torch.as_tensor(self.out(self.value(weights @ values.to(core))))


class Layer(nn.Module):
    """One layer: attention to the picture itself, to the memory, and two linear maps."""

    def __init__(self, source: Any, raw_values: bool) -> None:
        super().__init__()
        self.itself = Attend(source.self_attn, raw_values=False)
        self.memory = Attend(source.cross_attn_image, raw_values)
        self.norms = nn.ModuleList((source.layer_norm1, source.layer_norm2, source.layer_norm3))
        self.widen: nn.Linear = source.linear1
        self.narrow: nn.Linear = source.linear2

    def forward(
        self,
        x: Tensor,
        keyed: tuple[Tensor, Tensor],
        values: Tensor,
        mask: Tensor | None,
        rotary: Rotary,
    ) -> Tensor:
        """Condition (1 or B, Q, D) features on the memory.

        Args:
            keyed: Of `MemoryTokens.memories` and `.pointers`.
            values: (B, K, M) of both.
            mask: (B, 1, K); None where every memory is there.
            rotary: Turns queries, and the keys that have a place in the picture: pointers have
                none.
        """
        normed = self.norms[0](x)
        query, key = rotary(self.itself.query(normed)), rotary(self.itself.key(normed))
        x = x + self.itself(query, key, normed, None)
        query = rotary(self.memory.query(self.norms[1](x)))
        memory_key = rotary(self.memory.key(keyed[0])).flatten(1, 2)
        key = torch.cat((memory_key, self.memory.key(keyed[1])), dim=1)
        x = x + self.memory(query, key, values, mask)
        return x + torch.as_tensor(self.narrow(F.relu(self.widen(self.norms[2](x)))))


class MemoryTokens(nn.Module):
    """Memories and pointers as keys, values and a mask, the same for every layer."""

    def __init__(self, model: Sam2VideoModel, grid: int) -> None:
        super().__init__()
        channels = model.mem_dim
        position = model.memory_encoder.position_encoding(
            torch.Size((1, channels, grid, grid)), torch.device("cpu"), torch.float32
        )
        self.position = Constant(position[0].flatten(1).T)
        codes = model.memory_temporal_positional_encoding.detach().reshape(-1, channels)
        # by tpos: Meta's last row is for conditioning memories, the others follow by distance
        self.temporal = nn.Parameter(codes.roll(1, dims=0), requires_grad=False)
        self.pointer_code: nn.Linear = model.temporal_positional_encoding_projection_layer
        half = self.pointer_code.in_features // 2
        exponents = 2 * (torch.arange(half) // 2).float() / half
        self.periods = Constant(_SINE_BASE**exponents)

    def memories(self, features: Tensor, tpos: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, M, G, G), (B, N) -> values and keyed values, each (B, N, G * G, M)."""
        values = features.to(self.temporal.dtype).flatten(3).transpose(2, 3)
        code = F.embedding(tpos, self.temporal)
        position = self.position.value.to(values.dtype)
        return values, values + (position + code[:, :, None])

    def pointers(self, pointers: Tensor, tpos: Tensor) -> tuple[Tensor, Tensor]:
        """(B, P, D), (B, P) -> values and keyed values, each (B, P * D / M, M)."""
        channels = self.temporal.shape[1]
        parts = pointers.shape[2] // channels
        phase = (tpos.float() / MAX_POINTER_STEPS)[..., None] / self.periods.value
        sines = torch.cat((phase.sin(), phase.cos()), dim=-1)
        code = self.pointer_code(sines.to(self.temporal.dtype))
        values = pointers.to(self.temporal.dtype)
        values = values.reshape(values.shape[0], -1, parts, channels)
        return values.flatten(1, 2), (values + code[:, :, None]).flatten(1, 2)

    def mask(self, memory_valid: Tensor, pointer_valid: Tensor, parts: int) -> Tensor:
        """(B, N), (B, P) bool -> (B, 1, N * G * G + P * parts): 0 or `ABSENT`."""
        cells = self.position.value.shape[0]
        valid = torch.cat(
            (
                memory_valid[..., None].expand(-1, -1, cells).flatten(1),
                pointer_valid[..., None].expand(-1, -1, parts).flatten(1),
            ),
            dim=1,
        )
        return ((~valid).float() * ABSENT)[:, None]


class MemoryAttention(nn.Module):
    """The contract's `memory_attention`."""

    def __init__(self, model: Sam2VideoModel, grid: int, raw_values: bool = True) -> None:
        """Take the weights; `raw_values`: True for ONNX, False for torch's fused attention (see
        `Attend`)."""
        super().__init__()
        source = model.memory_attention
        self.tokens = MemoryTokens(model, grid)
        self.rotary = Rotary(source.rotary_emb.inv_freq, grid)
        position = model.vision_encoder.neck.position_encoding(
            torch.Size((1, model.hidden_dim, grid, grid)), torch.device("cpu"), torch.float32
        )
        self.position = Constant(POSITION_WEIGHT * position[0].flatten(1).T)
        self.layers = nn.ModuleList(Layer(layer, raw_values) for layer in source.layers)
        self.norm: nn.LayerNorm = source.layer_norm

    @property
    def cells(self) -> int:
        """Of the feature grid: as many queries as the attention has."""
        return int(self.position.value.shape[0])

    def project_values_first(self) -> None:
        """Give the attention to memories values as wide as its keys (see `Attend`)."""
        for part in self.modules():
            if isinstance(part, Attend):
                part.raw_values = False

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
        """See `engines.graph_table`; returns pix_feat_with_mem (B, D, G, G) float32."""
        dtype = self.tokens.temporal.dtype
        memory_values, memory_keys = self.tokens.memories(maskmem_features, maskmem_tpos)
        pointer_values, pointer_keys = self.tokens.pointers(obj_ptrs, obj_ptr_tpos)
        values = torch.cat((memory_values.flatten(1, 2), pointer_values), dim=1)
        parts = obj_ptrs.shape[2] // values.shape[2]
        mask = self.tokens.mask(maskmem_valid, obj_ptr_valid, parts)
        x = pix_feat.flatten(2).transpose(1, 2) + self.position.value
        x = x.to(dtype)
        for layer in self.layers:
            x = layer(x, (memory_keys, pointer_keys), values, mask, self.rotary)
        b, grid = maskmem_features.shape[0], pix_feat.shape[2]
        normed: Tensor = self.norm(x).float()
        return normed.transpose(1, 2).reshape(b, -1, grid, grid)
