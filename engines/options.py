"""How a model is to be run; settings of the user, not of the model."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from samcam.engines.base import EngineError
from samcam.system import Checked, Setting

MAX_THREADS = 256
TORCH_PRECISIONS: Final = ("auto", "float32", "bfloat16")
TORCH_DEVICES: Final = "auto, cpu, cuda or cuda:N"
_TORCH_DEVICE: Final = "auto|cpu|cuda(:[0-9]{1,2})?"


def is_torch_device(text: str) -> bool:
    return re.fullmatch(_TORCH_DEVICE, text) is not None


@dataclass(frozen=True, slots=True)
class TorchOptions(Checked):
    """The torch backend (`--backend torch`)."""

    __error__: ClassVar = EngineError
    __of__: ClassVar = "torch "

    device: Annotated[
        str,
        Setting(
            "auto: a GPU where torch sees one; else cpu, cuda or cuda:N.",
            expected=TORCH_DEVICES,
            limits={"pattern": f"^({_TORCH_DEVICE})$"},
        ),
    ] = "auto"
    precision: Annotated[
        str,
        Setting(
            "float32 is exact; bfloat16 is faster on a GPU and rounds (autocast). auto: bfloat16 "
            "where --backend auto takes torch on a GPU that has it, else float32.",
            choices=TORCH_PRECISIONS,
        ),
    ] = "auto"
    compile: Annotated[
        bool,
        Setting("Compile the tracking step; the start then takes minutes. On a GPU: a CUDA graph."),
    ] = False


@dataclass(frozen=True, slots=True)
class EngineOptions(Checked):
    """How the networks run."""

    __error__: ClassVar = EngineError

    providers: Annotated[
        tuple[str, ...],
        Setting(
            "ONNX Runtime execution providers, best first; each must be there, nothing falls back.",
            limits={"min_length": 1},
        ),
    ] = ("CPUExecutionProvider",)
    threads: Annotated[
        int,
        Setting("Threads of one network on the CPU; 0: half the cores.", "threads", 0, MAX_THREADS),
    ] = 0
    torch: TorchOptions = TorchOptions()

    @property
    def resolved_threads(self) -> int:
        return self.threads or max(1, usable_cores() // 2)


def usable_cores() -> int:
    """Return the cores this process may run on, which in a container can be fewer than exist."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on Windows and macOS
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1
