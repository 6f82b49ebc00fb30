"""Model folders: where they are, whether they are whole, and how one becomes running networks."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol, cast

from engines.base import Backend, EngineError
from engines.graph_table import NETWORKS
from engines.manifest import (
    MANIFEST_NAME,
    GraphFile,
    Manifest,
    ModelFileError,
    file_sha256,
    read_manifest,
    write_manifest,
)
from engines.model_checks import check_network, warm_up
from engines.options import EngineOptions
from engines.sam2_graphs import Sam2Networks

__all__ = [
    "EngineOptions",
    "GraphFile",
    "Manifest",
    "ModelFileError",
    "find_model",
    "load_model",
    "rebuild_hint",
    "user_model_folder",
    "write_manifest",
]

EMBEDDED_MODEL: Final = "nano"
SAM2_MODELS: Final = ("sam2.1-tiny", "sam2.1-small", "sam2.1-base+", "sam2.1-large")
SAM2_SIZES: Final = (1024, 512)  # the first one where none is given
BACKENDS: Final = ("auto", "tensorrt", "onnxruntime", "torch")

_ENGINES_FOLDER: Final = Path(__file__).resolve().parent
_AUTO_ORDER: Final = ("tensorrt", "onnxruntime")
_CLASSES: Final[Mapping[str, str]] = {
    "onnxruntime": "engines.onnxruntime_backend:OnnxRuntimeBackend"
}
_UNAVAILABLE: Final[Mapping[str, str]] = {
    "tensorrt": "not available in this release",
    "torch": "not available in this release",
}

_log = logging.getLogger(__name__)


class _BackendClass(Protocol):
    def __call__(self, network: str, path: Path, options: EngineOptions) -> Backend: ...


def user_model_folder() -> Path:
    """Return the folder for models that are not part of the program; it need not exist."""
    home = Path.home()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = home / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    return base / "samcam" / "models"


def find_model(name: str) -> Path:
    """Return the folder of a model.

    Args:
        name: "nano", "sam2.1-SIZE" with or without "@512" or "@1024", or a path to a folder.

    Raises:
        EngineError: No such model or folder; says where it was looked for and what to run.
    """
    folder_name = _folder_name(name)
    if folder_name is None:
        folder = Path(name).expanduser()
        if folder.is_dir():
            return folder
        known = ", ".join((EMBEDDED_MODEL, *SAM2_MODELS))
        raise EngineError(
            f"model {name}: expected {known} (the last four with @512 or @1024), or the path of "
            f"a folder with {MANIFEST_NAME}; there is no folder of that name"
        )
    places = [_ENGINES_FOLDER / folder_name, user_model_folder() / folder_name]
    for place in places:
        if place.is_dir():
            return place
    raise EngineError(
        f"model {name}: not installed (looked in {' and '.join(map(str, places))}): "
        f"{rebuild_hint(folder_name)}"
    )


def rebuild_hint(name: str) -> str:
    """Return what to do to get a model's files back, in the imperative."""
    if name == EMBEDDED_MODEL:
        return "restore engines/nano/ from the repository, or run: python -m export nano"
    return f"run: python -m export {name}"


def load_model(
    name: str, backend: str = "auto", options: EngineOptions | None = None
) -> Sam2Networks:
    """Load, check and warm up a model.

    Args:
        name: As for `find_model`.
        backend: "auto" takes the first that works and logs why it refused the others.
        options: How to run it.

    Raises:
        EngineError: One line that names the file or backend and what to do. Every file is
            compared with the size and SHA-256 in the manifest, every network with the table.
    """
    if backend not in BACKENDS:
        raise EngineError(f"backend {backend}: expected one of {', '.join(BACKENDS)}")
    if backend in _UNAVAILABLE:
        raise EngineError(
            f"backend {backend}: {_UNAVAILABLE[backend]}: use --backend onnxruntime or auto"
        )
    folder = find_model(name)
    chosen, refused = _choose_backend(backend)
    settings = options or EngineOptions()
    title = _folder_name(name) or folder.name
    try:
        manifest = read_manifest(folder)
        title = manifest.name
        verify_files(folder, manifest)
        networks = Sam2Networks(manifest, _open_networks(chosen, folder, manifest, settings))
    except ModelFileError as error:
        raise EngineError(f"{error}: {rebuild_hint(title)}") from error
    reasons = "".join(f"; {kind} refused: {reason}" for kind, reason in refused.items())
    _log.info(
        "model %s from %s: %s (%s, threads per network: %d)%s",
        manifest.name,
        folder,
        chosen,
        ", ".join(settings.providers),
        settings.resolved_threads,
        reasons,
    )
    return networks


def verify_files(folder: Path, manifest: Manifest) -> None:
    """Compare every file of a model with its manifest.

    Raises:
        ModelFileError: Names the first file that is missing, cut short or another one.
    """
    for entry in manifest.files.values():
        path = folder / entry.file
        if not path.is_file():
            raise ModelFileError(f"{path}: missing")
        size = path.stat().st_size
        if size != entry.bytes:
            what = "truncated" if size < entry.bytes else "not the model's file"
            raise ModelFileError(f"{path}: {what}: expected {entry.bytes} bytes, got {size}")
        digest = file_sha256(path)
        if digest != entry.sha256:
            raise ModelFileError(
                f"{path}: not the model's file: expected SHA-256 {entry.sha256[:12]}…, "
                f"got {digest[:12]}…"
            )


def _folder_name(name: str) -> str | None:
    """Return NAME or NAME@SIZE for the name of a known model, None for anything else."""
    if name == EMBEDDED_MODEL:
        return name
    base, _, size = name.partition("@")
    if base not in SAM2_MODELS:
        return None
    size = size or str(SAM2_SIZES[0])
    return f"{base}@{size}" if size in map(str, SAM2_SIZES) else None


def _choose_backend(backend: str) -> tuple[str, dict[str, str]]:
    """Return the backend to take and why those before it were refused."""
    refused: dict[str, str] = {}
    for kind in _AUTO_ORDER if backend == "auto" else (backend,):
        if kind not in _UNAVAILABLE:
            return kind, refused
        refused[kind] = _UNAVAILABLE[kind]
    raise EngineError(f"no backend: {refused}")


def _open_networks(
    kind: str, folder: Path, manifest: Manifest, options: EngineOptions
) -> dict[str, Backend]:
    """Open and check the five networks; on an error close those that are open."""
    module, _, class_name = _CLASSES[kind].partition(":")
    backend_class = cast(_BackendClass, getattr(importlib.import_module(module), class_name))
    specs = manifest.specs()
    opened: dict[str, Backend] = {}
    try:
        for network in NETWORKS:
            path = folder / manifest.files[network].file
            backend = opened[network] = backend_class(network, path, options)
            check_network(specs[network], backend.inputs, backend.outputs, str(path))
        warm_up(manifest, opened, folder)
    except EngineError:
        for backend in opened.values():
            backend.close()
        raise
    return opened
