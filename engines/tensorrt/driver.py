"""The NVIDIA driver: its version, the CUDA that it runs, and the extra for it.

Asked of the driver's own libraries, so that it is known without any package, and where a package
is too new for the driver.
"""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from samcam.system import install

# What each CUDA needs: table 1 of NVIDIA's CUDA Compatibility, "Minor Version Compatibility",
# docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html (read in 2026-11).
LEAST_DRIVER: Final = {13: 580, 12: 525}
EXTRAS: Final = {13: "tensorrt", 12: "tensorrt-cu12"}
UNKNOWN_VERSION: Final = "of unknown version"

_CUDA_LIBRARY: Final = {"win32": "nvcuda.dll", "linux": "libcuda.so.1"}
_NVML_LIBRARY: Final = {"win32": "nvml.dll", "linux": "libnvidia-ml.so.1"}
_KERNEL_MODULE: Final = Path("/sys/module/nvidia/version")
_VERSION_BYTES: Final = 80  # NVML_SYSTEM_DRIVER_VERSION_BUFFER_SIZE


@dataclass(frozen=True, slots=True)
class NvidiaDriver:
    """An installed driver.

    Attributes:
        version: For example "580.65.06"; `UNKNOWN_VERSION` where nothing tells, as in a container
            without NVIDIA's "utility" capability.
        cuda: Newest CUDA version that it runs, for example (13, 0).
    """

    version: str
    cuda: tuple[int, int]

    def __str__(self) -> str:
        return f"driver {self.version}, CUDA {self.cuda_text}"

    @property
    def cuda_text(self) -> str:
        return ".".join(map(str, self.cuda))

    @property
    def way_out(self) -> str:
        """What to do where packages want a newer CUDA than this driver runs, or are missing."""
        newest = max(LEAST_DRIVER)
        if self.cuda[0] >= newest:
            return install(EXTRAS[newest])
        update = f"update the driver to {LEAST_DRIVER[newest]} or newer"
        extra = EXTRAS.get(self.cuda[0])
        return update if extra is None else f"{update}, or: {install(extra)}"

    def too_old_for(self, cuda: int) -> str:
        """Say what the driver is and what packages for a newer major version of CUDA need."""
        least = LEAST_DRIVER.get(cuda)
        needs = "" if least is None else f", which needs driver {least} or newer"
        return (
            f"NVIDIA driver {self.version} runs CUDA up to {self.cuda_text}; the installed "
            f"cuda-python is for CUDA {cuda}{needs}"
        )


def find_driver() -> NvidiaDriver | None:
    """Look for a driver; None where its library does not load or knows no CUDA."""
    library = _load(_CUDA_LIBRARY)
    if library is None:
        return None
    number = ctypes.c_int(0)
    if library.cuDriverGetVersion(ctypes.byref(number)) or not number.value:
        return None
    return NvidiaDriver(_version(), (number.value // 1000, number.value % 1000 // 10))


def _version() -> str:
    """Ask NVML, else the kernel module."""
    nvml = _load(_NVML_LIBRARY)
    if nvml is not None and not nvml.nvmlInit_v2():
        text = ctypes.create_string_buffer(_VERSION_BYTES)
        try:
            failed = nvml.nvmlSystemGetDriverVersion(text, ctypes.c_uint(_VERSION_BYTES))
        finally:
            nvml.nvmlShutdown()
        if not failed:
            return text.value.decode(errors="replace")
    try:
        return _KERNEL_MODULE.read_text(encoding="ascii").strip() or UNKNOWN_VERSION
    except (OSError, ValueError):
        return UNKNOWN_VERSION


def _load(names: dict[str, str]) -> Any:
    """Load a library of the driver, None where there is none for this system."""
    name = names.get(sys.platform)
    try:
        return None if name is None else ctypes.CDLL(name)
    except OSError:
        return None
