"""How a model is to be run; settings of the user, not of the model."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Final

from samcam.engines.base import EngineError

MAX_THREADS = 256
TORCH_PRECISIONS: Final = ("float32", "bfloat16")
TORCH_DEVICES: Final = "auto, cpu, cuda or cuda:N"


def is_torch_device(text: str) -> bool:
    return re.fullmatch(r"auto|cpu|cuda(:\d{1,2})?", text) is not None


@dataclass(frozen=True, slots=True)
class TorchOptions:
    """Settings of the torch backend.

    Attributes:
        device: One of `TORCH_DEVICES`; auto is the GPU where torch sees one.
        precision: "float32": exact, without TF32. "bfloat16": autocast.
        compile: torch.compile of the tracking step; on a GPU replayed as a CUDA graph.
    """

    device: str = "auto"
    precision: str = "float32"
    compile: bool = False

    def __post_init__(self) -> None:
        if not is_torch_device(self.device):
            raise EngineError(f"torch device: expected {TORCH_DEVICES}, got {self.device!r}")
        if self.precision not in TORCH_PRECISIONS:
            raise EngineError(
                f"torch precision: expected {' or '.join(TORCH_PRECISIONS)}, got {self.precision!r}"
            )


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Settings of the runtimes.

    Attributes:
        providers: ONNX Runtime execution providers, best first; nothing falls back silently.
        threads: Threads of one network; 0 for half the cores this process may use, at least 1.
    """

    providers: tuple[str, ...] = ("CPUExecutionProvider",)
    threads: int = 0
    torch: TorchOptions = TorchOptions()

    def __post_init__(self) -> None:
        if not self.providers:
            raise EngineError("providers: expected at least one, such as CPUExecutionProvider")
        if not 0 <= self.threads <= MAX_THREADS:
            raise EngineError(f"threads: expected 0..{MAX_THREADS}, got {self.threads}")

    @property
    def resolved_threads(self) -> int:
        return self.threads or max(1, usable_cores() // 2)


def usable_cores() -> int:
    """Return the cores this process may run on, which in a container can be fewer than exist."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on Windows and macOS
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1
