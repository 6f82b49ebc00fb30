"""SAM 2.1 weights: Meta's checkpoints and transformers folders, as one `Sam2VideoModel`.

Meta's 471 keys become the 469 of transformers: four point embeddings are one table there, and the
Fourier matrix of the coordinates stands there twice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor
from transformers import Sam2HieraDetConfig, Sam2VideoConfig, Sam2VideoModel, Sam2VisionConfig

from samcam.export.download import download_checkpoint
from samcam.export.errors import ExportError

VARIANTS: Final = ("tiny", "small", "base+", "large")
OFFICIAL_KEYS: Final = 471
_SHOWN_KEYS: Final = 3
_POINT_LABELS: Final = 4

# Trunk sizes: sam2/configs/sam2.1/*.yaml @2b90b9f; what is not named there is Hiera's default.
_TRUNKS: Final[Mapping[str, dict[str, Any]]] = {
    "tiny": {
        "hidden_size": 96,
        "blocks_per_stage": [1, 2, 7, 2],
        "global_attention_blocks": [5, 7, 9],
    },
    "small": {
        "hidden_size": 96,
        "blocks_per_stage": [1, 2, 11, 2],
        "global_attention_blocks": [7, 10, 13],
    },
    "base+": {
        "hidden_size": 112,
        "blocks_per_stage": [2, 3, 16, 3],
        "global_attention_blocks": [12, 16, 20],
        "num_attention_heads_per_stage": [2, 4, 8, 16],
        "window_positional_embedding_background_size": [14, 14],
    },
    "large": {
        "hidden_size": 144,
        "blocks_per_stage": [2, 6, 36, 4],
        "global_attention_blocks": [23, 33, 43],
        "num_attention_heads_per_stage": [2, 4, 8, 16],
        "window_size_per_stage": [8, 4, 16, 8],
    },
}

_POINT_KEY: Final = "prompt_encoder.point_embed.{}.weight"
_FOURIER_KEY: Final = "prompt_encoder.shared_embedding.positional_embedding"
_FOURIER_COPY: Final = "shared_image_embedding.positional_embedding"
_THREE_LAYERS: Final = {"0": "proj_in", "1": "layers.0", "2": "proj_out"}
_TWO_LAYERS: Final = {"0": "proj_in", "1": "proj_out"}

# From Meta's names to those of transformers; each rule that matches is applied, in this order.
_RENAMES: Final = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"^image_encoder\.trunk\.", "vision_encoder.backbone."),
        (r"^image_encoder\.neck\.convs\.(\d+)\.conv\.", r"vision_encoder.neck.convs.\1."),
        (r"patch_embed\.proj\.", "patch_embed.projection."),
        (r"^sam_prompt_encoder\.", "prompt_encoder."),
        (r"^sam_mask_decoder\.", "mask_decoder."),
        (
            r"pe_layer\.positional_encoding_gaussian_matrix$",
            "shared_embedding.positional_embedding",
        ),
        (r"point_embeddings\.", "point_embed."),
        (r"mask_downscaling\.0\.", "mask_embed.conv1."),
        (r"mask_downscaling\.1\.", "mask_embed.layer_norm1."),
        (r"mask_downscaling\.3\.", "mask_embed.conv2."),
        (r"mask_downscaling\.4\.", "mask_embed.layer_norm2."),
        (r"mask_downscaling\.6\.", "mask_embed.conv3."),
        (r"output_upscaling\.0\.", "upscale_conv1."),
        (r"output_upscaling\.1\.", "upscale_layer_norm."),
        (r"output_upscaling\.3\.", "upscale_conv2."),
        (r"^memory_encoder\.out_proj\.", "memory_encoder.projection."),
        (r"^memory_encoder\.pix_feat_proj\.", "memory_encoder.feature_projection."),
        (r"^memory_encoder\.fuser\.", "memory_encoder.memory_fuser."),
        (r"\.dwconv\.", ".depthwise_conv."),
        (r"\.pwconv(\d)\.", r".pointwise_conv\1."),
        (r"\.gamma$", ".scale"),
        (r"\.norm(?=[\d_.])", ".layer_norm"),
        (r"\.out_proj\.", ".o_proj."),
        (r"^maskmem_tpos_enc$", "memory_temporal_positional_encoding"),
        (r"^no_mem_embed$", "no_memory_embedding"),
        (r"^no_mem_pos_enc$", "no_memory_positional_encoding"),
        (r"^no_obj_ptr$", "no_object_pointer"),
        (r"^no_obj_embed_spatial$", "occlusion_spatial_embedding_parameter"),
        (r"^obj_ptr_proj\.", "object_pointer_proj."),
        (r"^obj_ptr_tpos_proj\.", "temporal_positional_encoding_projection_layer."),
    )
)
_MLP_TWO: Final = re.compile(r"(\.mlp\.)layers\.([01])\.")
_MLP_THREE: Final = re.compile(
    r"((?:output_hypernetworks_mlps\.\d|iou_prediction_head|pred_obj_score_head|object_pointer_proj)\.)"
    r"layers\.([012])\."
)
_MASK_LAYER: Final = re.compile(r"(mask_downsampler\.)encoder\.(\d+)\.")


def load_sam2(variant: str, checkpoint: Path | None) -> Sam2VideoModel:
    """Load SAM 2.1 in fp32 on the CPU, ready to evaluate.

    Args:
        variant: One of `VARIANTS`.
        checkpoint: Meta's `.pt`, or a transformers folder (`config.json`, `model.safetensors`);
            None downloads Meta's.

    Raises:
        ExportError: The file is missing, unreadable, or not this variant's weights: every key
            must be there once, with its shape.
    """
    if variant not in VARIANTS:
        raise ExportError(f"sam2.1-{variant}: expected one of {', '.join(VARIANTS)}")
    path = download_checkpoint(variant) if checkpoint is None else checkpoint
    if path.is_dir():
        return _load_folder(variant, path)
    official = read_official(path)
    _check_official(variant, official, path)
    model = _empty_model(variant)
    model.load_state_dict(rename_keys(official), strict=True, assign=True)
    return _ready(model)


def sam2_config(variant: str) -> Sam2VideoConfig:
    """Return the configuration of a variant at its native 1024 px."""
    trunk = dict(_TRUNKS[variant])
    widths = [trunk["hidden_size"] << stage for stage in range(4)]
    vision = Sam2VisionConfig(
        backbone_config=Sam2HieraDetConfig(embed_dim_per_stage=widths, **trunk),
        backbone_channel_list=widths[::-1],
    )
    return Sam2VideoConfig(vision_config=vision)


def read_official(path: Path) -> dict[str, Tensor]:
    """Read Meta's `{'model': state_dict}`, running no code from the file.

    Raises:
        ExportError: It is missing, cut short, not a torch file, or holds something else.
    """
    if not path.is_file():
        raise ExportError(f"{path}: no such checkpoint; leave out --checkpoint to download Meta's")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle raises whatever its bytes happen to ask for
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ExportError(
            f"{path}: not a readable checkpoint (truncated, damaged or not a torch file): {reason}"
        ) from error
    state = content.get("model") if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ExportError(f"{path}: expected Meta's checkpoint {{'model': tensors}}")
    return {str(key): value.float() for key, value in state.items()}


def rename_keys(official: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Turn Meta's state into that of `Sam2VideoModel`; a key no rule knows keeps its name."""
    state = {_renamed(key): value for key, value in official.items()}
    points = [_POINT_KEY.format(label) for label in range(_POINT_LABELS)]
    if all(key in state for key in points):
        state["prompt_encoder.point_embed.weight"] = torch.cat([state.pop(key) for key in points])
    if _FOURIER_KEY in state:
        state[_FOURIER_COPY] = state[_FOURIER_KEY].clone()
    return state


def _renamed(key: str) -> str:
    for pattern, replacement in _RENAMES:
        key = pattern.sub(replacement, key)
    key = _MLP_TWO.sub(lambda m: f"{m[1]}{_TWO_LAYERS[m[2]]}.", key)
    key = _MLP_THREE.sub(lambda m: f"{m[1]}{_THREE_LAYERS[m[2]]}.", key)
    return _MASK_LAYER.sub(_mask_layer, key)


def _mask_layer(match: re.Match[str]) -> str:
    """Name a layer of the mask down-sampler: conv, norm, activation four times, then a conv."""
    layer, part = divmod(int(match[2]), 3)
    if layer == _POINT_LABELS:
        return f"{match[1]}final_conv."
    return f"{match[1]}layers.{layer}.{'conv' if part == 0 else 'layer_norm'}."


def _empty_model(variant: str) -> Sam2VideoModel:
    """Return the model with no weights yet but its computed buffers in place."""
    return Sam2VideoModel(sam2_config(variant))


def _ready(model: Sam2VideoModel) -> Sam2VideoModel:
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    torch.nn.Module.eval(model)  # the subclass's own is not typed
    return model


def _check_official(variant: str, official: Mapping[str, Tensor], path: Path) -> None:
    """Compare keys and shapes with the variant's.

    Raises:
        ExportError: Says which variant the file seems to be, or names the keys.
    """
    with torch.device("meta"):
        wanted = {key: value.shape for key, value in _empty_model(variant).state_dict().items()}
    given = {key: value.shape for key, value in rename_keys(official).items()}
    origin = {_renamed(key): key for key in official}
    missing = sorted(wanted.keys() - given.keys())
    unknown = sorted(origin.get(key, key) for key in given.keys() - wanted.keys())
    shapes = sorted(key for key in wanted.keys() & given.keys() if wanted[key] != given[key])
    if not (missing or unknown or shapes):
        return
    parts = [f"{len(official)} keys"]
    if missing:
        parts.append(f"{len(missing)} missing: {_some(missing)}")
    if unknown:
        parts.append(f"{len(unknown)} unknown: {_some(unknown)}")
    if shapes:
        key = shapes[0]
        parts.append(
            f"{len(shapes)} of another shape: {key} {list(given[key])} instead of "
            f"{list(wanted[key])}"
        )
    raise ExportError(
        f"{path}: not a sam2.1-{variant} checkpoint ({'; '.join(parts)}){_guess(official, variant)}"
    )


def _guess(official: Mapping[str, Tensor], variant: str) -> str:
    """Say what the file looks like, if it looks like something known."""
    trunk = "image_encoder.trunk."
    blocks = {key.split(".")[3] for key in official if key.startswith(f"{trunk}blocks.")}
    width = official.get(f"{trunk}pos_embed", torch.empty(0, 0)).shape[1]
    for name, sizes in _TRUNKS.items():
        if name != variant and (sizes["hidden_size"], sum(sizes["blocks_per_stage"])) == (
            width,
            len(blocks),
        ):
            return f": it looks like sam2.1-{name}"
    if blocks and "no_obj_embed_spatial" not in official:
        return ": it looks like SAM 2.0, and SAM 2.1 is expected"
    return ""


def _some(keys: list[str]) -> str:
    more = len(keys) - _SHOWN_KEYS
    return ", ".join(keys[:_SHOWN_KEYS]) + (f" and {more} more" if more > 0 else "")


def _load_folder(variant: str, folder: Path) -> Sam2VideoModel:
    """Load a transformers folder with this variant's configuration, whatever its own says.

    Raises:
        ExportError: No weights there, or not this variant's.
    """
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise ExportError(f"{folder}: expected a transformers folder with model.safetensors in it")
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state = {key: value.float() for key, value in load_file(weights).items()}
    except (SafetensorError, OSError) as error:
        raise ExportError(f"{weights}: not readable (truncated or damaged): {error}") from error
    model = _empty_model(variant)
    wanted = {key: value.shape for key, value in model.state_dict().items()}
    wrong = sorted(wanted.keys() ^ state.keys()) or sorted(
        key for key, shape in wanted.items() if state[key].shape != shape
    )
    if wrong:
        raise ExportError(
            f"{weights}: not the sam2.1-{variant} video model of transformers: missing, unknown or "
            f"of another shape: {_some(wrong)}"
        )
    model.load_state_dict(state, strict=True, assign=True)
    return _ready(model)
