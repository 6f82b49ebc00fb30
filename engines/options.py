"""How a model is to be run; settings of the user, not of the model."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, TypeAlias

from samcam.engines.base import EngineError
from samcam.system import Checked, Setting

MAX_THREADS = 256
TORCH_PRECISIONS: Final = ("auto", "float32", "bfloat16")
TORCH_DEVICES: Final = "auto, cpu, cuda or cuda:N"
_TORCH_DEVICE: Final = "auto|cpu|cuda(:[0-9]{1,2})?"
PROVIDER_SUFFIX: Final = "executionprovider"
_PROVIDERS: Final = "a list of one or more, each a name or {NAME: {OPTION: VALUE}}"
_OneKey: TypeAlias = Annotated[
    Mapping[str, Mapping[str, str | int | float | bool]],
    Setting(limits={"min_length": 1, "max_length": 1}),
]


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


def _not_one_provider(providers: tuple[str | _OneKey, ...], before: Mapping[str, Any]) -> str:
    """Refuse option values and names of other types, and a provider named twice."""
    del before
    seen = set()
    for entry in providers:
        named = {entry: {}} if isinstance(entry, str) else entry
        for name, options in named.items():
            if not isinstance(name, str) or not isinstance(options, Mapping):
                return _PROVIDERS
            if not all(
                isinstance(key, str) and isinstance(value, str | int | float)
                for key, value in options.items()
            ):
                return f"for {name} {{OPTION: VALUE}} with texts, numbers or truth values"
            if short_name(name) in seen:
                return f"each provider once, not {name} twice"
            seen.add(short_name(name))
    return ""


def short_name(provider: str) -> str:
    """Return a provider's name as users may write it: openvino, for OpenVINOExecutionProvider."""
    return provider.lower().removesuffix(PROVIDER_SUFFIX)


@dataclass(frozen=True, slots=True)
class EngineOptions(Checked):
    """How the networks run."""

    __error__: ClassVar = EngineError

    providers: Annotated[
        tuple[str | _OneKey, ...],
        Setting(
            "ONNX Runtime execution providers, best first (docs/providers.md); each must be there, "
            "nothing falls back.",
            expected=_PROVIDERS,
            limits={"min_length": 1},
            rule=_not_one_provider,
        ),
    ] = ("CPUExecutionProvider",)
    threads: Annotated[
        int,
        Setting("Threads of one network on the CPU; 0: half the cores.", "threads", 0, MAX_THREADS),
    ] = 0
    torch: TorchOptions = TorchOptions()

    @property
    def provider_options(self) -> dict[str, dict[str, str]]:
        """Options of each provider by its name as given, as texts: ONNX Runtime takes no others."""
        found: dict[str, dict[str, str]] = {}
        for entry in self.providers:
            for name, options in ({entry: {}} if isinstance(entry, str) else entry).items():
                found[name] = {key: str(value) for key, value in options.items()}
        return found

    @property
    def on_cpu(self) -> bool:
        """Whether ONNX Runtime's own kernels for the CPU come first."""
        return short_name(next(iter(self.provider_options))) == "cpu"

    @property
    def resolved_threads(self) -> int:
        return self.threads or max(1, usable_cores() // 2)


def usable_cores() -> int:
    """Return the cores this process may run on, which in a container can be fewer than exist."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on Windows and macOS
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1
