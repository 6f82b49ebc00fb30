"""Whether `--backend auto` takes torch, and how; what can be known first without torch, is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from samcam.engines.manifest import Manifest
from samcam.engines.options import EngineOptions
from samcam.engines.tensorrt.library import HAS_BFLOAT16
from samcam.engines.torch_backend import resolve_device
from samcam.engines.torch_tensors import NoTorchError, import_torch, torch_errors
from samcam.system import checkout


def find_weights(folder: Path, manifest: Manifest) -> Path:
    """Return where the weights are that a manifest names; their content is not looked at.

    They are in the folder; nano's, which are half as large as all its graphs, only in the
    repository's training/checkpoint.

    Raises:
        NoTorchError: The manifest names none, or they are nowhere.
    """
    entry = manifest.weights
    if entry is None:
        raise NoTorchError(
            f"{folder}: the manifest names no weights, which the torch backend needs",
            "export the model again, or use another --backend",
        )
    places = [folder / entry.file]
    root = checkout()
    if manifest.family == "nano" and root is not None:
        places.append(root / "training" / "checkpoint" / entry.file)
    for path in places:
        if path.is_file():
            return path
    raise NoTorchError(
        f"{' and '.join(map(str, places))}: missing; the torch backend needs the model's weights"
    )


def torch_on_gpu(folder: Path, manifest: Manifest, options: EngineOptions) -> EngineOptions:
    """Return the options with which torch runs a model on a GPU: rounded where that has bfloat16,
    unless they say otherwise.

    Raises:
        NoTorchError: The model has no weights for it, torch is missing, or it is to use a CPU.
        EngineError: The GPU does not answer torch.
    """
    find_weights(folder, manifest)
    device = resolve_device(options.torch.device)
    torch = import_torch()
    if device.type != "cuda":
        raise NoTorchError(f"torch {torch.__version__} sees no GPU, or is set to the CPU")
    precision = options.torch.precision
    if precision == "auto":
        with torch_errors():  # here torch starts on the GPU
            has_bfloat16 = torch.cuda.get_device_capability(device) >= HAS_BFLOAT16
        precision = "bfloat16" if has_bfloat16 else "float32"
    return replace(options, torch=replace(options.torch, device=str(device), precision=precision))
