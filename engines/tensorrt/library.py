"""What differs between TensorRT and TensorRT for RTX, and their import."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, Final

from samcam.engines.base import EngineError
from samcam.engines.tensorrt.driver import find_driver
from samcam.system import install


class NoTensorRtError(EngineError):
    """TensorRT cannot be used here; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Library:
    """One of the two libraries that run engines.

    Attributes:
        name: Of the backend, and of the folder inside of a model's folder that has its engines.
        title: Its name in messages.
        modules: Those that are its Python binding; the first that there is is taken.
        versions: First numbers of the versions that our calls fit.
        extra: Of our package, that installs it.
        timing_cache: Whether a build measures on the GPU, and can keep that.
        runtime_cache: Whether it finishes an engine on the user's GPU, and can keep that.
        old_fp32_products: Whether it multiplies fp32 matrices below compute capability 8.0.
    """

    name: str
    title: str
    modules: tuple[str, ...]
    versions: tuple[int, ...]
    extra: str
    timing_cache: bool
    runtime_cache: bool
    old_fp32_products: bool


TENSORRT: Final = Library(
    name="tensorrt",
    title="TensorRT",
    modules=("tensorrt",),
    versions=(10, 11),
    extra="tensorrt",
    timing_cache=True,
    runtime_cache=False,
    old_fp32_products=True,
)
TENSORRT_RTX: Final = Library(
    name="tensorrt-rtx",
    title="TensorRT for RTX",
    modules=("tensorrt_rtx", "tensorrt_rtx_bindings"),
    versions=(1,),
    extra="tensorrt-rtx",
    timing_cache=False,
    runtime_cache=True,
    old_fp32_products=False,
)
# What TensorRT for RTX has compilers for: the members of its ComputeCapability, version 1.7.
_RTX_CAPABILITIES: Final = ("7.5", "8.0", "8.6", "8.9", "12.0", "12.1")
_INDEX: Final = "its libraries are fetched from NVIDIA's own index, https://pypi.nvidia.com"
HAS_BFLOAT16: Final = (8, 0)  # the least compute capability with bf16, and with TF32
LIBRARIES: Final = {library.name: library for library in (TENSORRT, TENSORRT_RTX)}


def import_library(library: Library) -> Any:
    """Import a library. Its Builder and its OnnxParser are safe anywhere; TensorRT's, and the
    Runtime of both, end the process where there is no driver: look for a GPU first.

    Raises:
        NoTensorRtError: It is not installed, does not load, or has another version. Its cause is
            the error of the last module tried.
    """
    errors: list[Exception] = []
    for name in library.modules:
        try:
            module = importlib.import_module(name)
        except (ImportError, OSError, RuntimeError) as error:
            errors.append(error)
            continue
        version = str(module.__version__)
        if version.partition(".")[0] not in map(str, library.versions):
            known = " or ".join(map(str, library.versions))
            raise NoTensorRtError(
                f"{library.name} {version} is installed, expected {known}", _way_to_get(library)
            )
        return module
    said = [*map(str, errors), *([_INDEX] if library is TENSORRT else [])]
    raise NoTensorRtError(
        f"{library.name} cannot be imported ({'; '.join(said)})", _way_to_get(library)
    ) from errors[-1]


def check_capability(library: Library, capability: str) -> None:
    """Refuse a GPU that a library is not made for at all.

    Raises:
        NoTensorRtError: Names its compute capability, and those that the library is for.
    """
    if library is TENSORRT_RTX and capability not in _RTX_CAPABILITIES:
        known = ", ".join(_RTX_CAPABILITIES)
        raise NoTensorRtError(
            f"compute capability {capability}: {library.title} is for {known} only",
            f"use --backend {TENSORRT.name}",
        )


def _way_to_get(library: Library) -> str:
    """Return what installs a library, in the form for the driver that is here."""
    driver = find_driver() if library is TENSORRT else None
    return install(library.extra) if driver is None else driver.way_out
