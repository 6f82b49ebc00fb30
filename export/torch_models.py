"""The torch modules of a model folder, with the weights that its manifest names."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from safetensors.torch import save_file
from torch import nn
from transformers import Sam2VideoModel

from samcam.engines import (
    NETWORKS,
    GraphFile,
    Manifest,
    ModelFileError,
    NoTorchError,
    describe_file,
    file_sha256,
    find_weights,
)
from samcam.export.errors import ExportError
from samcam.export.sam2.checkpoint import load_sam2
from samcam.export.sam2.modules import build_modules

WEIGHTS_NAME: Final = "model.safetensors"  # as transformers calls it: `load_sam2` reads the folder


def save_weights(model: Sam2VideoModel, folder: Path) -> GraphFile:
    """Write SAM 2.1's weights in float32 into a model folder; return the manifest's entry."""
    path = folder / WEIGHTS_NAME
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(state, path, metadata={"format": "pt"})
    path.chmod(0o644)  # safetensors keeps it to its owner; the other files are not
    return describe_file(path)


def load_modules(folder: Path, manifest: Manifest) -> dict[str, nn.Module]:
    """Return the five networks of a model folder by name, on the CPU, ready to evaluate.

    Raises:
        NoTorchError: The weights are missing, or nobody knows this family's definition.
        ModelFileError: The weights are another file, or do not fit.
    """
    weights = find_weights(folder, manifest)
    entry = manifest.weights
    if entry is not None and file_sha256(weights) != entry.sha256:
        raise ModelFileError(
            f"{weights}: not the weights of this model: expected SHA-256 {entry.sha256[:12]}…"
        )
    try:
        if manifest.family == "nano":
            return _nano_modules(weights)
        variant = manifest.name.partition("@")[0].removeprefix("sam2.1-")
        # torch's own fused attention wants values as wide as the keys
        return build_modules(
            load_sam2(variant, weights.parent), manifest.image_size, raw_values=False
        )
    except ExportError as error:
        raise ModelFileError(str(error)) from error


def _nano_modules(checkpoint: Path) -> dict[str, nn.Module]:
    try:
        from samcam.export.nano import load_checkpoint
    except ImportError as error:
        raise NoTorchError(
            f"nano: its torch definition is in the repository's training/ ({error}): use another "
            "--backend"
        ) from error
    model = load_checkpoint(checkpoint)
    return {network: getattr(model, network).eval() for network in NETWORKS}
