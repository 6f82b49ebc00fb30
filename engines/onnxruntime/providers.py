"""Execution providers of ONNX Runtime: which are there, how plug-ins are found, what to install.

A provider is part of the build that is installed, or comes in a package of its own: a plug-in,
which is registered when it is named. By convention such a package is called `onnxruntime_ep_...`
and has `get_ep_names` and `get_library_path`.
"""

from __future__ import annotations

import importlib
import io
import logging
import pkgutil
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from samcam.engines.base import EngineError
from samcam.engines.onnxruntime.builds import (
    build_of,
    build_with,
    folder_owners,
    folder_problem,
    how_to_get,
    repair,
)
from samcam.engines.options import EngineOptions, short_name
from samcam.system import install
from samcam.system.files import one_line

_log = logging.getLogger(__name__)

PLUG_IN_PREFIX: Final = "onnxruntime_ep_"
OTHERS: Final = "choose other engine.providers, such as [cpu]"
# Devices of one provider, best first, where the settings name none.
_DEVICE_ORDER: Final = ("GPU", "NPU", "CPU")
# Where these keep tensors between networks. Others take them from the host, or cannot hand them
# from one session to another (DirectML's queues and WebGPU's contexts are a session's own).
_MEMORY: Final = {"cuda": "cuda", "tensorrt": "cuda", "nvtensorrtrtx": "cuda"}
_NVIDIA: Final = ("cuda", "tensorrt", "nvtensorrtrtx")


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider that is there.

    Attributes:
        name: As ONNX Runtime has it.
        options: As it takes them; what chose `device` is not among them.
        device: The device that a plug-in is to use, an `OrtEpDevice`; None: part of the build.
    """

    name: str
    options: Mapping[str, str]
    device: Any = None

    @property
    def memory(self) -> tuple[str, int] | None:
        """Kind and number of the device that tensors stay on; None: they are on the host."""
        kind = _MEMORY.get(short_name(self.name))
        if kind is None:
            return None
        if self.device is not None:  # it numbers its devices itself
            its_own = import_onnxruntime().OrtDeviceMemoryType.DEFAULT
            info = self.device.memory_info(its_own)
            return None if info is None else (kind, info.device_id)
        number = self.options.get("device_id", "0")
        return kind, int(number) if number.isdecimal() else 0


def import_onnxruntime() -> Any:
    """Import the package when it is first needed.

    Raises:
        EngineError: It is not installed, or does not load.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise _broken(f"onnxruntime cannot be imported ({one_line(str(error))})") from error
    if not hasattr(onnxruntime, "InferenceSession"):  # the folder that uninstalling a build left
        raise _broken("onnxruntime is installed only in part")
    return onnxruntime


def _broken(reason: str) -> EngineError:
    return EngineError(reason, repair(folder_owners()) or install())


def available_providers() -> tuple[str, ...]:
    """Return the execution providers of the installed build, and of the plug-ins registered.

    Raises:
        EngineError: ONNX Runtime is not installed, or does not load.
    """
    return tuple(import_onnxruntime().get_available_providers())


def find_providers(options: EngineOptions) -> list[Provider]:
    """Return the providers of the settings, plug-ins registered and libraries loaded.

    Raises:
        EngineError: One is missing, does not load or has no such device; says what to install.
    """
    runtime = import_onnxruntime()
    if any(short_name(name) in _NVIDIA for name in options.provider_options):
        _load_cuda()  # first: newer builds have CUDA's provider as a plug-in, which loads with it
    return [_find(runtime, *entry) for entry in options.provider_options.items()]


def _find(runtime: Any, given: str, options: dict[str, str]) -> Provider:
    available = runtime.get_available_providers()
    known = {short_name(name): name for name in (*runtime.get_all_providers(), *available)}
    name = known.get(short_name(given), given)
    devices = _plug_in_devices(runtime, name)
    if name in available and not devices:
        return Provider(name, options)
    if not devices:
        package, name = _register(short_name(name)) or ("", name)
        if not package:
            raise EngineError(*_missing(name, available))
        devices = _plug_in_devices(runtime, name)
        if not devices:
            raise EngineError(
                f"onnxruntime: {name}: its plug-in {package} finds no device here that it runs on",
                build_with(name),
            )
    return _on_device(name, options, devices)


def _missing(name: str, available: list[str]) -> tuple[str, str]:
    """Return why a provider is not there, and what to do."""
    owners = folder_owners()
    reason = f"onnxruntime: execution provider {name} is not in this build, which has "
    reason += ", ".join(available)
    if problem := folder_problem(owners):
        return f"{reason}; {problem}", repair(owners)
    if build_of(name) in owners:
        fix = "check the driver and the libraries that it needs (docs/providers.md)"
        return f"onnxruntime: {name} of {build_of(name)} does not load", fix
    return reason, how_to_get(name)


def _plug_in_devices(runtime: Any, name: str) -> list[Any]:
    """Return the devices of a plug-in that is registered: those of the build name no library."""
    devices = runtime.get_ep_devices() if hasattr(runtime, "get_ep_devices") else ()
    return [d for d in devices if d.ep_name == name and "library_path" in d.ep_metadata]


def _on_device(name: str, options: dict[str, str], devices: list[Any]) -> Provider:
    """Choose a plug-in's device by the options device_type and device_id."""
    rest = dict(options)
    kinds = [device.device.type.name for device in devices]
    kind = rest.pop("device_type", "") or min(kinds, key=_DEVICE_ORDER.index)
    number = rest.pop("device_id", "0")
    those = [d for d, found in zip(devices, kinds, strict=True) if found == kind.upper()]
    if not number.isdecimal() or int(number) >= len(those):
        listed = ", ".join(f"{found} {kinds[:i].count(found)}" for i, found in enumerate(kinds))
        raise EngineError(
            f"onnxruntime: {name}: device_type {kind}, device_id {number}: expected one of {listed}"
        )
    return Provider(name, rest, those[int(number)])


@cache
def _register(name: str) -> tuple[str, str] | None:
    """Register the plug-in that has a provider, named shortly; return its package and full name.

    Raises:
        EngineError: It does not load.
    """
    for package in (m.name for m in pkgutil.iter_modules() if m.name.startswith(PLUG_IN_PREFIX)):
        try:
            plug_in = importlib.import_module(package)
            full = {short_name(provider): provider for provider in plug_in.get_ep_names()}
            if name in full:
                import_onnxruntime().register_execution_provider_library(
                    full[name], plug_in.get_library_path()
                )
                return package, full[name]
        except Exception as error:  # of a package that is not ours
            reason = one_line(f"{type(error).__name__}: {error}")
            raise EngineError(
                f"onnxruntime: the plug-in {package} does not load: {reason}", OTHERS
            ) from error
    return None


@cache
def _load_cuda() -> None:
    """Load CUDA's libraries from the packages of pip, where this build knows how to."""
    runtime = import_onnxruntime()
    if hasattr(runtime, "preload_dlls"):
        with redirect_stdout(io.StringIO()) as said:  # a session that lacks one says so itself
            runtime.preload_dlls()
        for line in said.getvalue().splitlines():
            _log.debug("preload_dlls: %s", line)
