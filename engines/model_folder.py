"""Model folders: where they are, whether they are complete, and how to load one."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from samcam.engines.base import Backend, EngineError, GpuMemoryError
from samcam.engines.checks.first_run import check_first_run
from samcam.engines.checks.model_checks import check_network, warm_up
from samcam.engines.graph_table import NETWORKS
from samcam.engines.int8_form import check_int8_form
from samcam.engines.manifest import (
    MANIFEST_NAME,
    Manifest,
    ModelFileError,
    file_sha256,
    read_manifest,
)
from samcam.engines.onnxruntime import OnnxRuntimeBackend
from samcam.engines.options import EngineOptions
from samcam.engines.sam2_graphs import Sam2Networks, close_all
from samcam.engines.tensorrt.backend import TensorRtBackend
from samcam.engines.tensorrt.cuda_runtime import NoGpuError
from samcam.engines.tensorrt.driver import find_driver
from samcam.engines.tensorrt.files import GRAPH_FOLDER, PRECISION_LADDER
from samcam.engines.tensorrt.library import LIBRARIES, NoTensorRtError
from samcam.engines.torch_backend import TorchBackend, TorchNetwork
from samcam.engines.torch_choice import torch_on_gpu
from samcam.engines.torch_tensors import NoTorchError
from samcam.system import check_type, checkout, exporter, lacks, name_or_path, reinstall
from samcam.system.files import (
    NoHomeError,
    is_file,
    is_folder,
    lenient_path,
    one_line,
    user_data_folder,
)

EMBEDDED_MODEL: Final = "nano"
SAM2_MODELS: Final = ("sam2.1-tiny", "sam2.1-small", "sam2.1-base+", "sam2.1-large")
SAM2_SIZES: Final = (1024, 512)  # the first one where none is given
BACKENDS: Final = ("auto", "tensorrt", "tensorrt-rtx", "onnxruntime", "torch")

_ENGINES_FOLDER: Final = Path(__file__).resolve().parent
# What "auto" tries, the fastest first, and what it takes where none of them works.
_GPU_BACKENDS: Final = (*LIBRARIES, "torch")
_ANYWHERE: Final = "onnxruntime"
# Something is not installed, or there is no GPU for it: as opposed to broken.
_ABSENT: Final = (NoGpuError, NoTensorRtError, NoTorchError)

_log = logging.getLogger(__name__)


class BackendClass(Protocol):
    """Opens one network of a model: its name, its ONNX file, how it is to be run."""

    def __call__(self, network: str, path: Path, options: EngineOptions) -> Backend: ...


_CLASSES: Final[Mapping[str, BackendClass]] = {
    **{name: partial(TensorRtBackend, library=library) for name, library in LIBRARIES.items()},
    "onnxruntime": OnnxRuntimeBackend,
    "torch": TorchBackend,
}


def user_model_folder() -> Path:
    """Return the folder for models that are not part of the program; see `user_data_folder`."""
    return user_data_folder() / "models"


def is_model_name(name: str) -> bool:
    return _folder_name(name) is not None


def find_model(name: str | os.PathLike[str]) -> Path:
    """Return the folder of a model: "nano", "sam2.1-SIZE" with or without "@512" or "@1024", or a
    path.

    Raises:
        EngineError: No such model or folder; says where it was looked for and what to run.
        TypeError: It is something else.
    """
    name = name_or_path("model", name, "a name such as nano, or the path of a folder")
    folder_name = _folder_name(name)
    if folder_name is None:
        folder = lenient_path(name)
        if is_folder(folder):
            return folder
        known = ", ".join((EMBEDDED_MODEL, *SAM2_MODELS))
        raise EngineError(
            f"model {name}: expected {known} (the last four with @512 or @1024), or the path of "
            f"a folder with {MANIFEST_NAME}; there is no folder of that name"
        )
    places = [_ENGINES_FOLDER / folder_name]
    homeless = ""
    try:
        places.append(user_model_folder() / folder_name)
    except NoHomeError as error:
        homeless = f"; {error}"
    for place in places:
        if is_folder(place):
            return place
    raise EngineError(
        f"model {name}: not installed (looked in {' and '.join(map(str, places))}{homeless})",
        rebuild_hint(folder_name),
    )


def rebuild_hint(name: str) -> str:
    """Return what to do to get a model's files back."""
    if name == EMBEDDED_MODEL:
        if checkout() is None:
            return f"install it again: {reinstall()}"
        return f"restore engines/nano/ from the repository, or run: {exporter()} nano"
    if name.partition("@")[0] in SAM2_MODELS:
        return f"run: {exporter()} {name}"
    return f"copy this folder again, or write it again: {exporter()} MODEL --out FOLDER"


def smaller_model(name: str) -> str:
    """Return which model of ours needs less memory, the next one; "" where none is known."""
    base, _, size = (_folder_name(name) or EMBEDDED_MODEL).partition("@")
    if base == EMBEDDED_MODEL:
        return ""
    if base != SAM2_MODELS[0]:
        return f"{SAM2_MODELS[SAM2_MODELS.index(base) - 1]}@{size}"
    sizes = [s for s in SAM2_SIZES if s < int(size)]
    return f"{base}@{max(sizes)}" if sizes else EMBEDDED_MODEL


def load_model(
    name: str | os.PathLike[str],
    backend: str | BackendClass = "auto",
    options: EngineOptions | None = None,
) -> Sam2Networks:
    """Load, check and warm up a model, named as for `find_model`.

    Every file is compared with the size and SHA-256 in the manifest, every network with the table.
    Backend "auto" takes TensorRT, TensorRT for RTX or torch on CUDA where there is an NVIDIA driver
    and one of them works, and logs why the others do not; else ONNX Runtime.

    Raises:
        EngineError: One line that names the file or backend and what to do.
        TypeError: An argument is something else.
    """
    if isinstance(backend, str) and backend not in BACKENDS:
        raise EngineError(f"backend {backend}: expected one of {', '.join(BACKENDS)}")
    folder = find_model(name)
    if not isinstance(backend, str) and not callable(backend):
        raise TypeError(f"backend: expected a name or a class, got {type(backend).__name__}")
    settings = EngineOptions() if options is None else options
    check_type("options", settings, EngineOptions, "EngineOptions")
    title = _folder_name(str(name)) or folder.name
    try:
        manifest = read_manifest(folder)
        title = manifest.name
        verify_files(folder, manifest)
        networks, how = _open_first(backend, folder, manifest, settings)
    except ModelFileError as error:
        raise EngineError(f"{error}: {rebuild_hint(title)}") from error
    _log.info("model %s from %s: %s", manifest.name, folder, how)
    return networks


def verify_files(folder: Path, manifest: Manifest, half: bool = False) -> None:
    """Compare every file of a model with its manifest.

    Args:
        half: The graphs in half precision too: engines are built from them, nothing runs them.

    Raises:
        ModelFileError: Names the first file that is missing, truncated or another one.
    """
    places = [(folder / entry.file, entry) for entry in manifest.files.values()]
    for graphs in manifest.half.values() if half else ():
        places += [(folder / GRAPH_FOLDER / entry.file, entry) for entry in graphs.values()]
    for path, entry in places:
        if not is_file(path):
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


def _open_first(
    backend: str | BackendClass, folder: Path, manifest: Manifest, options: EngineOptions
) -> tuple[Sam2Networks, str]:
    """Open a model on the backend, or with "auto" on the first that works.

    Returns:
        The networks, and what runs them, for people.
    """
    if not isinstance(backend, str):
        return open_model(backend, folder, manifest, options), _title(backend)
    if backend != "auto":
        try:
            networks = _open_checked(backend, folder, manifest, options)
        except _ABSENT as error:
            raise EngineError(error.reason, error.fix, f"backend {backend}: ") from error
        return networks, _how(backend, networks, options)
    warned, last = False, ""
    # Without a driver there is nothing to say, and torch, which takes seconds, is not imported.
    for kind in _GPU_BACKENDS if find_driver() is not None else ():
        try:
            chosen = torch_on_gpu(folder, manifest, options) if kind == "torch" else options
            networks = _open_checked(kind, folder, manifest, chosen)
            return networks, _how(kind, networks, chosen)
        except EngineError as error:
            # Where GPU and library are there, the line says what makes them work.
            warn = not isinstance(error, _ABSENT)
            if kind in LIBRARIES and not any((folder / kind).glob("*.engine")):
                warn &= _may_have_engines(manifest) and not warned  # those of one library will do
            reason = str(error) if str(error) != last else "for the same reason"
            _log.log(logging.WARNING if warn else logging.INFO, "%s is not used: %s", kind, reason)
            warned, last = warned or warn, str(error)
    networks = _open_checked(_ANYWHERE, folder, manifest, options)
    return networks, _how(_ANYWHERE, networks, options)


def _how(kind: str, networks: Sam2Networks, options: EngineOptions) -> str:
    """Describe how a backend runs, for people."""
    if kind == "onnxruntime":
        threads = f"threads per network: {options.resolved_threads}"
        return f"{kind} ({', '.join(options.provider_options)}, {threads})"
    network = next(iter(networks.backends.values()))
    return f"{kind} ({network.how})" if isinstance(network, TorchNetwork) else kind


def _may_have_engines(manifest: Manifest) -> bool:
    """Whether engines can be built from a model: not from one in int8, which is for CPUs."""
    return all(entry.precision in PRECISION_LADDER for entry in manifest.files.values())


def _open_checked(
    kind: str, folder: Path, manifest: Manifest, options: EngineOptions
) -> Sam2Networks:
    """Open a model; engines for a GPU must have answered as ONNX Runtime does."""
    networks = open_model(kind, folder, manifest, options)
    if kind not in LIBRARIES:
        return networks
    exact = replace(options, providers=("cpu",))  # another accelerator may be as wrong
    try:
        check_first_run(
            folder,
            LIBRARIES[kind],
            networks,
            lambda: open_model("onnxruntime", folder, manifest, exact),
        )
    except BaseException as error:
        networks.close()
        if isinstance(error, GpuMemoryError):
            raise _no_room(error, folder / kind, manifest.name) from error
        raise
    return networks


def open_model(
    kind: str | BackendClass, folder: Path, manifest: Manifest, options: EngineOptions
) -> Sam2Networks:
    """Open, check and warm up a model on one backend (not "auto"), whatever its engines answer.

    Raises:
        GpuMemoryError: The model does not fit on the GPU; says what is smaller.
        EngineError: The backend cannot run here, or a file of the model is wrong.
    """
    own = {"torch": options.torch.compile, "onnxruntime": not options.on_cpu}
    if kind in LIBRARIES or (isinstance(kind, str) and own.get(kind)):
        # Each new shape would be compiled: memories and pointers are padded, whatever form the
        # graphs have.
        manifest = manifest.padded()
    if kind == "onnxruntime":
        check_int8_form(folder, manifest)
    try:
        return Sam2Networks(manifest, _open_networks(kind, folder, manifest, options))
    except GpuMemoryError as error:
        raise _no_room(error, folder / _title(kind), manifest.name) from error


def _no_room(error: GpuMemoryError, engines: Path, model: str) -> GpuMemoryError:
    """Say what a model needs, as far as it is known, what was free, and what needs less.

    Args:
        engines: Folder of the engines; where it has none, their size is not known.
    """
    on_disk = sum(path.stat().st_size for path in engines.glob("*.engine"))
    work = f", {_mb(error.asked_bytes)} to work in" if error.asked_bytes else ""
    needs = f"at least {_mb(on_disk + error.asked_bytes)} ({_mb(on_disk)} of engines{work})"
    known = f": it needs {needs}" if on_disk else ""
    free = f"; {_mb(error.free_bytes)} of {_mb(error.total_bytes)} were free"
    smaller = smaller_model(model)
    other = f"take --model {smaller}" if smaller else "use --backend onnxruntime"
    return GpuMemoryError(
        f"model {model} does not fit on the GPU{known}{free if error.total_bytes else ''} "
        f"({error.reason})",
        f"close other programs on the GPU, or {other}",
    )


def _mb(size: int) -> str:
    return f"{size / 1e6:.0f} MB"


def _open_networks(
    kind: str | BackendClass, folder: Path, manifest: Manifest, options: EngineOptions
) -> dict[str, Backend]:
    """Open and check the five networks; on an error close those that are open."""
    backend_class = _CLASSES[kind] if isinstance(kind, str) else kind
    specs = manifest.specs()
    opened: dict[str, Backend] = {}
    try:
        for network in NETWORKS:
            path = folder / manifest.files[network].file
            backend = backend_class(network, path, options)
            if missing := lacks(backend, Backend):
                raise EngineError(f"backend {_title(kind)}: has no {missing}")
            opened[network] = backend
            check_network(specs[network], backend.inputs, backend.outputs, str(path))
        warm_up(manifest, opened, folder)
    except BaseException as error:
        close_all(opened.values())
        known = (EngineError, ModelFileError)
        if isinstance(kind, str) or isinstance(error, known) or not isinstance(error, Exception):
            raise
        what = one_line(f"{type(error).__name__}: {error}")
        raise EngineError(f"backend {_title(kind)}: failed: {what}") from error
    return opened


def _title(backend: str | BackendClass) -> str:
    return str(getattr(backend, "__name__", backend))
