"""SAM 2.1 with weights of our own: never trained, but lively, and the same on every machine.

Trained weights are a download, and those of a fresh model answer with empty masks, which nothing
can be compared on. These keep the spread of the values through every layer, so masks come and go
with the picture, the prompt and the memory; the few gains below make prompts and memories count.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from samcam.engines import F32, import_torch

if TYPE_CHECKING:
    from transformers import Sam2VideoModel

WEIGHTS_NAME: Final = "model.safetensors"  # as transformers calls it

_BIAS: Final = 0.1
_EMBEDDING: Final = 0.5  # spread of learned rows: tokens, positions, what stands for nothing
_LAYER_SCALE: Final = 0.5
_FOURIER: Final = "positional_embedding"  # of the coordinates; stands in the model twice
_EMBEDDINGS: Final = (
    *("pos_embed", "token.", "tokens.", "_embed.weight", "no_mask_embed", "no_object_pointer"),
    *("no_memory", "memory_temporal", "occlusion_spatial"),
)
# Times the spread that keeps its layer's output as wide as its input.
_GAINS: Final[Mapping[str, float]] = {
    "point_embed.weight": 2,
    "token_to_image.q_proj.weight": 2,
    "token_to_image.v_proj.weight": 2,
    "image_to_token.q_proj.weight": 2,
    "image_to_token.v_proj.weight": 2,
    "cross_attn_image.q_proj.weight": 2,
    "cross_attn_image.v_proj.weight": 2,
    "mask_downsampler.final_conv.weight": 4,
    "object_pointer_proj.proj_out": 2,
    "iou_prediction_head.proj_out.weight": 2,
    "pred_obj_score_head.proj_out.weight": 2,
}
# The object is there as a rule, and one candidate is the best by more than rounding.
_FIXED: Final[Mapping[str, tuple[float, ...]]] = {
    "mask_decoder.pred_obj_score_head.proj_out.bias": (2.0,),
    "mask_decoder.iou_prediction_head.proj_out.bias": (0.0, 0.6, 0.0, 0.3),
}


def lively_model(variant: str = "tiny") -> Sam2VideoModel:
    """Return SAM 2.1 in fp32 on the CPU, ready to evaluate. Needs torch and transformers."""
    from transformers import Sam2VideoModel

    from samcam.export import sam2_config

    torch = import_torch()
    model = Sam2VideoModel(sam2_config(variant))
    state = {
        key: torch.from_numpy(_values(key, tuple(value.shape)))
        for key, value in model.state_dict().items()
    }
    model.load_state_dict(state)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    torch.nn.Module.eval(model)
    return model


def write_weights(folder: Path, variant: str = "tiny") -> Path:
    """Write the model as a folder that `python -m export --checkpoint` takes; return it."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    state = lively_model(variant).state_dict()
    save_file({key: value.contiguous() for key, value in state.items()}, folder / WEIGHTS_NAME)
    return folder


def _values(key: str, shape: tuple[int, ...]) -> F32:
    if key in _FIXED:
        return np.array(_FIXED[key], np.float32)
    if "norm" in key and key.endswith(".weight"):
        return np.ones(shape, np.float32)
    name = key.rsplit(".", 1)[-1] if key.endswith(_FOURIER) else key
    drawn = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape, np.float32)
    gain = math.prod(times for part, times in _GAINS.items() if part in key)
    scaled: np.ndarray[Any, np.dtype[np.float32]] = drawn * np.float32(gain * _spread(key, shape))
    return scaled


def _spread(key: str, shape: tuple[int, ...]) -> float:
    """Return the standard deviation of a parameter's values."""
    if key.endswith(_FOURIER):
        return 1.0
    if key.endswith(".bias"):
        return _BIAS
    if key.endswith(".scale"):
        return _LAYER_SCALE
    if any(part in key for part in _EMBEDDINGS):
        return _EMBEDDING
    # A transposed convolution has its inputs first, and its 2 x 2 kernels do not overlap.
    inputs = shape[0] if "upscale_conv" in key else math.prod(shape[1:])
    return 1 / math.sqrt(inputs)
