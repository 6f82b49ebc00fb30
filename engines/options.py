"""How a model is to be run; settings of the user, not of the model."""

from __future__ import annotations

import os
from dataclasses import dataclass

from engines.base import EngineError

MAX_THREADS = 256


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Settings of the runtimes.

    Attributes:
        providers: ONNX Runtime execution providers, best first. Each one must be there: nothing
            falls back silently.
        threads: Threads of one network; 0 for half the cores this process may use, at least 1.
    """

    providers: tuple[str, ...] = ("CPUExecutionProvider",)
    threads: int = 0

    def __post_init__(self) -> None:
        if not self.providers:
            raise EngineError("providers: expected at least one, such as CPUExecutionProvider")
        if not 0 <= self.threads <= MAX_THREADS:
            raise EngineError(f"threads: expected 0..{MAX_THREADS}, got {self.threads}")

    @property
    def resolved_threads(self) -> int:
        """Number of threads with 0 resolved."""
        return self.threads or max(1, usable_cores() // 2)


def usable_cores() -> int:
    """Return the cores this process may run on, which in a container can be fewer than exist."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on Windows and macOS
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1
