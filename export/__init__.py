"""From torch to model folders: ONNX writers and their checks.

Loaded on first use: `python -m export` can say what is wrong before torch is there.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

import samcam.engines  # noqa: F401  # before ONNX Runtime: what it collects is switched off there

if TYPE_CHECKING:
    from samcam.export.build_tensorrt import BuildOrder, build_engines
    from samcam.export.sam2.checkpoint import load_sam2, sam2_config
    from samcam.export.sam2.modules import build_modules, sam2_manifest

__all__ = [
    "BuildOrder",
    "build_engines",
    "build_modules",
    "load_sam2",
    "sam2_config",
    "sam2_manifest",
]

_FILES = {
    "build_tensorrt": ("BuildOrder", "build_engines"),
    "sam2.checkpoint": ("load_sam2", "sam2_config"),
    "sam2.modules": ("build_modules", "sam2_manifest"),
}


def __getattr__(name: str) -> Any:
    for file, names in _FILES.items():
        if name in names:
            return getattr(import_module(f"samcam.export.{file}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
