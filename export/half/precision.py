"""fp16 and bf16 forms of the networks: which part computes in what, and the modules that do.

TensorRT builds strongly typed networks only, so the precision of every operation stands in the
ONNX file. The large matrix products and convolutions are halved. In fp32 stay: inputs and outputs
of a network, every LayerNorm and softmax, sines and rotations, the residual streams, the mask
decoder, and what the range report found too large for fp16. Each part casts what it gets, so that
keeping one in fp32 needs no change elsewhere.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from transformers.models.sam2.modeling_sam2 import Sam2MultiScaleAttention, do_pool

from samcam.engines import (
    IMAGE_ENCODER,
    MASK_DECODER,
    MASK_PROMPT,
    MEMORY_ATTENTION,
    MEMORY_ENCODER,
)
from samcam.export.half.element_types import FUSED_QUERIES
from samcam.export.sam2.attention import Attend, MemoryAttention, Rotary

HALF_TYPES: Final[Mapping[str, torch.dtype]] = {"fp16": torch.float16, "bf16": torch.bfloat16}
# `--precision` to what manifests call it
ELEMENT_TYPES: Final[Mapping[str, str]] = {
    "fp32": "float32",
    "fp16": "float16",
    "bf16": "bfloat16",
    "int8": "int8",
}
CORE: Final = "core"  # the products and the softmax of an attention, as a part of it

FULL, HALF, WIDE = "fp32", "half", "wide"


@dataclass(frozen=True, slots=True)
class Rule:
    """Precision of some parts of a network.

    Attributes:
        parts: Regular expression for the whole path of a part: a linear map, a convolution, or
            the `core` of an attention.
        kind: "fp32"; "half", what was asked for; or "wide", half precision only where that has
            fp32's range: bf16 in the bf16 form, and in the fp16 form bf16 where it is fused, so
            that scores stay exact, and else fp32.
        why: One line.
    """

    parts: str
    kind: str
    why: str


_REST: Final = Rule(".*", HALF, "large matrix products and convolutions")

# The first rule that fits counts.
PRECISION_MAP: Final[Mapping[str, tuple[Rule, ...]]] = {
    IMAGE_ENCODER: (
        Rule("patches", FULL, "starts the residual stream, which stays fp32"),
        Rule(r"blocks\.\d+\.proj", FULL, "carries the residual stream into the next stage"),
        _REST,
    ),
    MEMORY_ATTENTION: (
        Rule(r"tokens\.pointer_code", FULL, "small; sines of time offsets"),
        Rule(rf".*\.memory\.{CORE}", WIDE, "rows of 41 036 keys at 1024 px: fp16 overflows fused"),
        _REST,
    ),
    MASK_DECODER: (Rule(".*", FULL, "small; half precision flips the choice among candidates"),),
    MEMORY_ENCODER: (_REST,),
    MASK_PROMPT: (Rule(".*", FULL, "small"),),
}


class WindowAttention(nn.Module):
    """Attention of the image encoder with its products in one precision, its softmax in fp32."""

    def __init__(self, source: Sam2MultiScaleAttention) -> None:
        super().__init__()
        self.qkv: nn.Linear = source.qkv
        self.proj: nn.Linear = source.proj
        self.heads = int(source.num_attention_heads)
        self.scale = float(source.scale)
        self.query_stride: Any = source.query_stride
        self.core: torch.dtype | None = None

    def forward(self, hidden_states: Tensor, **_: Any) -> Tensor:
        """(B, H, W, C) -> (B, H, W, D), or half as high and wide where queries are pooled."""
        b, height, width, _channels = hidden_states.shape
        qkv = self.qkv(hidden_states).reshape(b, height * width, 3, self.heads, -1)
        query, key, value = qkv.unbind(2)
        if self.query_stride:
            # in fp32, exact: ONNX has no pooling in bf16 before opset 22
            grid = query.reshape(b, height, width, -1).float()
            pooled = do_pool(grid, self.query_stride)
            height, width = pooled.shape[1:3]
            query = pooled.reshape(b, height * width, self.heads, -1)
        core = self.core or query.dtype
        query, key, value = (x.to(core).transpose(1, 2) for x in (query, key, value))
        scores = (query * self.scale) @ key.transpose(-2, -1)
        weights = torch.softmax(scores.float(), dim=-1).to(core)
        joined = (weights @ value).transpose(1, 2).reshape(b, height, width, -1)
        return torch.as_tensor(self.proj(joined))


ATTENTIONS: Final = (WindowAttention, Attend)
WEIGHTED: Final = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)


class _CastInput:
    """Forward pre-hook: a part gets its input in its own precision, whoever sends it."""

    def __init__(self, dtype: torch.dtype) -> None:
        self._dtype = dtype

    def __call__(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(x.to(self._dtype) for x in inputs)


def lower(
    module: nn.Module,
    network: str,
    precision: str,
    keep: frozenset[str] = frozenset(),
    rounded_only: bool = False,
) -> nn.Module:
    """Return a copy of an fp32 network that computes in half precision where the map says so.

    Args:
        precision: "fp16" or "bf16".
        keep: Paths of parts that stay fp32 besides, with all below them.
        rounded_only: The weights are rounded, but everything is computed in fp32: what the graph of
            the lowered network answers when it is read as fp32.
    """
    result = copy.deepcopy(module).eval()
    fused = False
    if isinstance(result, MemoryAttention) and result.cells >= FUSED_QUERIES:
        fused = True
        result.project_values_first()
    for path, part in list(result.named_modules()):
        if isinstance(part, Sam2MultiScaleAttention):
            result.set_submodule(path, WindowAttention(part))
    for path, part in list(result.named_modules()):
        if isinstance(part, ATTENTIONS):
            core = part_type(network, f"{path}.{CORE}", precision, keep, fused)
            part.core = torch.float32 if rounded_only else core
        elif isinstance(part, WEIGHTED):
            dtype = part_type(network, path, precision, keep)
            if dtype == torch.bfloat16 and not isinstance(part, nn.Linear):
                dtype = torch.float32  # small; ONNX has no convolution in bf16 before opset 22
            part.to(dtype)
            dtype = torch.float32 if rounded_only else dtype
            part.to(dtype).register_forward_pre_hook(_CastInput(dtype))
        elif isinstance(part, nn.LayerNorm | Rotary):
            part.register_forward_pre_hook(_CastInput(torch.float32))
    return result


def part_type(
    network: str,
    path: str,
    precision: str,
    keep: frozenset[str] = frozenset(),
    fused: bool = False,
) -> torch.dtype:
    """Return the element type that a part computes in.

    Args:
        path: Of a linear map or a convolution, or of an attention with `.core` after it.
        keep: See `lower`.
        fused: Whether attention to memories has so many queries that it is fused.
    """
    if any(path == kept or path.startswith(f"{kept}.") or not kept for kept in keep):
        return torch.float32
    kind = next(r.kind for r in PRECISION_MAP[network] if re.fullmatch(r.parts, path))
    half = HALF_TYPES[precision]
    wide = torch.bfloat16 if fused or half == torch.bfloat16 else torch.float32
    return {FULL: torch.float32, HALF: half, WIDE: wide}[kind]


def parts_of(module: nn.Module) -> frozenset[str]:
    """Return the paths that `lower` can keep in fp32: weighted parts and whole attentions."""
    kinds = (*WEIGHTED, *ATTENTIONS, Sam2MultiScaleAttention)
    return frozenset(path for path, part in module.named_modules() if isinstance(part, kinds))


def is_lowered(network: str) -> bool:
    """Whether half precision changes anything in this network."""
    return any(rule.kind != FULL for rule in PRECISION_MAP[network])
