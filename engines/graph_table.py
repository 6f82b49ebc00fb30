"""The one table of the five networks: names, element types and shapes of every tensor.

Axis names: S picture size, G grid, L mask size, H = L/2, D width, M memory channels, K candidates
are sizes of the model and become numbers through `network_specs`. B objects, N memories,
P pointers, T points and the channel counts C0, C1 stay free.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from samcam.engines.base import TensorSpec

IMAGE_ENCODER: Final = "image_encoder"
MEMORY_ATTENTION: Final = "memory_attention"
MASK_DECODER: Final = "mask_decoder"
MEMORY_ENCODER: Final = "memory_encoder"
MASK_PROMPT: Final = "mask_prompt"

SINGLE_OBJECT_AXIS: Final = "B"
CHANNEL_AXES: Final = ("C0", "C1")
PADDED_AXES: Final = ("N", "P")  # numbers, not free, in a model of the fixed form


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """Inputs and outputs of one network, in the order in which an exporter writes them."""

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


_PIX_FEAT = TensorSpec("pix_feat", "float32", (1, "D", "G", "G"))
_HIGH_RES_FEAT0 = TensorSpec("high_res_feat0", "float32", (1, "C0", "L", "L"))
_HIGH_RES_FEAT1 = TensorSpec("high_res_feat1", "float32", (1, "C1", "H", "H"))
_PIX_FEAT_WITH_MEM = TensorSpec("pix_feat_with_mem", "float32", ("B", "D", "G", "G"))
_OBJECT_SCORE_LOGITS = TensorSpec("object_score_logits", "float32", ("B", 1))

# The batch of `mask_prompt` is 1: a mask prompt belongs to one object.
NETWORKS: Final[Mapping[str, NetworkSpec]] = {
    spec.name: spec
    for spec in (
        NetworkSpec(
            IMAGE_ENCODER,
            inputs=(TensorSpec("image", "uint8", (1, "S", "S", 3)),),
            outputs=(
                _PIX_FEAT,
                TensorSpec("pix_feat_no_mem", "float32", (1, "D", "G", "G")),
                _HIGH_RES_FEAT0,
                _HIGH_RES_FEAT1,
            ),
        ),
        NetworkSpec(
            MEMORY_ATTENTION,
            inputs=(
                _PIX_FEAT,
                TensorSpec("maskmem_features", "float32", ("B", "N", "M", "G", "G")),
                TensorSpec("maskmem_tpos", "int32", ("B", "N")),
                TensorSpec("maskmem_valid", "bool", ("B", "N")),
                TensorSpec("obj_ptrs", "float32", ("B", "P", "D")),
                TensorSpec("obj_ptr_tpos", "float32", ("B", "P")),
                TensorSpec("obj_ptr_valid", "bool", ("B", "P")),
            ),
            outputs=(_PIX_FEAT_WITH_MEM,),
        ),
        NetworkSpec(
            MASK_DECODER,
            inputs=(
                _PIX_FEAT_WITH_MEM,
                _HIGH_RES_FEAT0,
                _HIGH_RES_FEAT1,
                TensorSpec("point_coords", "float32", ("B", "T", 2)),
                TensorSpec("point_labels", "int32", ("B", "T")),
                TensorSpec("mask_input", "float32", ("B", 1, "L", "L")),
                TensorSpec("has_mask_input", "bool", ("B",)),
            ),
            outputs=(
                TensorSpec("low_res_masks", "float32", ("B", "K", "L", "L")),
                TensorSpec("ious", "float32", ("B", "K")),
                TensorSpec("obj_ptrs", "float32", ("B", "K", "D")),
                _OBJECT_SCORE_LOGITS,
            ),
        ),
        NetworkSpec(
            MEMORY_ENCODER,
            inputs=(
                _PIX_FEAT,
                TensorSpec("low_res_mask", "float32", ("B", 1, "L", "L")),
                TensorSpec("is_prompted", "bool", ("B",)),
                _OBJECT_SCORE_LOGITS,
            ),
            outputs=(TensorSpec("maskmem_features", "float32", ("B", "M", "G", "G")),),
        ),
        NetworkSpec(
            MASK_PROMPT,
            inputs=(TensorSpec("mask", "uint8", (1, 1, "S", "S")),),
            outputs=(
                TensorSpec("mask_input", "float32", (1, 1, "L", "L")),
                TensorSpec("low_res_mask", "float32", (1, 1, "L", "L")),
            ),
        ),
    )
}


def network_specs(
    sizes: Mapping[str, int], memory_dtype: str = "float32"
) -> dict[str, NetworkSpec]:
    """Fill a model's sizes into the table.

    Args:
        sizes: Axis name to number; other axes stay free.
        memory_dtype: Element type of `maskmem_features` between networks.

    Returns:
        Network name to its specs, in the table's order.
    """

    def resolve(spec: TensorSpec) -> TensorSpec:
        shape = tuple(sizes.get(a, a) if isinstance(a, str) else a for a in spec.shape)
        dtype = memory_dtype if spec.name == "maskmem_features" else spec.dtype
        return TensorSpec(spec.name, dtype, shape)

    return {
        name: NetworkSpec(
            name, tuple(map(resolve, network.inputs)), tuple(map(resolve, network.outputs))
        )
        for name, network in NETWORKS.items()
    }
