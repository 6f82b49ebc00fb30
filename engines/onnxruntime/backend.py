"""A network on ONNX Runtime."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from samcam.engines.base import DeviceTensor, EngineError, Feed, RowStack, TensorSpec
from samcam.engines.graph_table import MASK_DECODER, MASK_PROMPT
from samcam.engines.host_tensors import (
    HostTensor,
    StackBuffers,
    check_feeds,
    check_shapes,
    host_values,
)
from samcam.engines.manifest import ModelFileError
from samcam.engines.onnxruntime.providers import (
    OTHERS,
    Provider,
    find_providers,
    import_onnxruntime,
)
from samcam.engines.onnxruntime.tensors import DeviceStacks, OrtTensor
from samcam.engines.options import EngineOptions
from samcam.system.files import is_file

if TYPE_CHECKING:
    import onnxruntime

_log = logging.getLogger(__name__)

_DTYPES: Final = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(bool)": "bool",
}
_CPU: Final = "CPUExecutionProvider"
_FATAL_ONLY: Final = 4  # the runtime's own log: its errors arrive as exceptions


class OnnxRuntimeBackend:
    """One ONNX file in one session.

    On the CPU by plain `run`, not IO binding: both take the same time there, and `run` allocates
    fresh outputs, so keeping one costs no copy. On a GPU with memory of its own tensors stay there
    between networks; only what the host reads comes back. Spinning is off: idle workers would use
    the cores that decode and compose the picture.
    """

    def __init__(self, network: str, path: Path, options: EngineOptions) -> None:
        """Load the file.

        Raises:
            EngineError: The runtime or a provider is missing, or refuses its options.
            ModelFileError: The file is missing or broken.
        """
        self._name = f"{network} ({path})"
        providers = find_providers(options)
        if not is_file(path):
            raise ModelFileError(f"{path}: missing")
        self._session: onnxruntime.InferenceSession | None = _open_session(path, providers, options)
        self.inputs = _specs_of(self._session.get_inputs())
        self.outputs = _specs_of(self._session.get_outputs())
        self._stacks = StackBuffers()
        self._on_cpu = options.on_cpu
        memory = providers[0].memory
        # CUDA where it is named too: TensorRT would build an engine to put rows together.
        cuda = [one for one in providers if one.name == "CUDAExecutionProvider"]
        self._device_stacks = memory and DeviceStacks(
            lambda graph: _open_session(graph, cuda or providers, options), memory
        )
        self._memory = memory
        self._is_read = network in (MASK_DECODER, MASK_PROMPT)  # by the host, not by networks
        _log.debug("%s: %s, %d threads", self._name, providers, options.resolved_threads)

    def run(self, feeds: Mapping[str, Feed]) -> Mapping[str, DeviceTensor]:
        """Run once; see `Backend.run`. Outputs are never written again."""
        if self._session is None:
            raise EngineError(f"{self._name}: closed")
        if self._memory is not None:
            return self._run_on_device(self._session, self._memory, feeds)
        arrays = check_feeds(self._name, self.inputs, feeds, self._stacks)
        try:
            results = self._session.run(list(self.outputs), arrays)
        except Exception as error:  # the runtime's exceptions have no common base of their own
            raise self._failed(error) from error
        return dict(zip(self.outputs, map(_host_tensor, results), strict=True))

    def _run_on_device(
        self, session: Any, memory: tuple[str, int], feeds: Mapping[str, Feed]
    ) -> dict[str, DeviceTensor]:
        check_shapes(self._name, self.inputs, feeds)
        try:
            # A new one each time: to a second run the first one's outputs would be its own.
            binding = session.io_binding()
            for name in self.inputs:
                self._bind(binding, name, feeds[name])
            for name in self.outputs:
                kind, number = ("cpu", 0) if self._is_read else memory
                binding.bind_output(name, kind, number)
            session.run_with_iobinding(binding)
            values = binding.get_outputs()
        except Exception as error:  # likewise
            raise self._failed(error) from error
        return {
            name: _host_tensor(value.numpy()) if self._is_read else OrtTensor(value, spec.dtype)
            for (name, spec), value in zip(self.outputs.items(), values, strict=True)
        }

    def _bind(self, binding: Any, name: str, feed: Feed) -> None:
        if isinstance(feed, OrtTensor):
            binding.bind_ortvalue_input(name, feed.value)
        elif not isinstance(feed, RowStack):
            binding.bind_cpu_input(name, np.ascontiguousarray(host_values(feed)))
        elif self._device_stacks and all(isinstance(row, OrtTensor) for row in feed.rows):
            binding.bind_ortvalue_input(name, self._device_stacks.fill(feed))
        else:
            rows = self._stacks.fill(name, feed)
            binding.bind_cpu_input(name, np.ascontiguousarray(rows))

    def _failed(self, error: Exception) -> EngineError:
        fix = "" if self._on_cpu else OTHERS
        return EngineError(f"{self._name}: run failed: {_one_line(error)}", fix)

    def close(self) -> None:
        self._session = None
        self._device_stacks = None


def _open_session(
    source: Path | bytes, providers: Sequence[Provider], options: EngineOptions
) -> onnxruntime.InferenceSession:
    runtime = import_onnxruntime()
    settings = runtime.SessionOptions()
    settings.intra_op_num_threads = options.resolved_threads
    settings.inter_op_num_threads = 1
    settings.log_severity_level = _FATAL_ONLY
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    on_cpu = [provider.name for provider in providers] == [_CPU]
    if not on_cpu:
        settings.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    try:
        session = _start(runtime, source, settings, providers)
    except Exception as error:  # the runtime's exceptions have no common base of their own
        if not on_cpu and _opens_on_cpu(runtime, source):
            raise EngineError(
                f"{_named(source)}: {_described(providers)} refused it: {_one_line(error)}",
                OTHERS,
            ) from error
        raise ModelFileError(
            f"{_named(source)}: not a readable ONNX file (truncated or broken): {_one_line(error)}"
        ) from error
    check_providers(providers, session.get_providers(), _named(source))
    if not on_cpu:
        _say_who_runs(session, providers[0].name, _named(source))
    return session


def _start(
    runtime: Any, source: Path | bytes, settings: Any, providers: Sequence[Provider]
) -> onnxruntime.InferenceSession:
    """Open a session; of its own accord it would print, and go on with the CPU."""
    if all(provider.device is None for provider in providers):
        pairs = [(provider.name, dict(provider.options)) for provider in providers]
        return runtime.InferenceSession(source, settings, providers=pairs, enable_fallback=0)
    for provider in providers:  # a plug-in's name alone would be ignored
        if provider.device is None:
            settings.add_provider(provider.name, dict(provider.options))
        else:
            settings.add_provider_for_devices([provider.device], dict(provider.options))
    return runtime.InferenceSession(source, settings, enable_fallback=0)


def _opens_on_cpu(runtime: Any, source: Path | bytes) -> bool:
    """Whether it is the provider that refuses a file."""
    settings = runtime.SessionOptions()
    settings.log_severity_level = _FATAL_ONLY
    try:
        runtime.InferenceSession(source, settings, providers=[_CPU])
    except Exception:  # as above: whatever is wrong with the file
        return False
    return True


def _say_who_runs(session: Any, name: str, where: str) -> None:
    """Warn where the first provider took no part of a network: the others run all of it."""
    if not hasattr(session, "get_provider_graph_assignment_info"):  # of an older build
        return
    parts = session.get_provider_graph_assignment_info()
    if not any(part.ep_name == name for part in parts):
        takers = ", ".join(sorted({part.ep_name for part in parts}))
        _log.warning("%s: %s runs nothing of it, %s does", where, name, takers)


def _described(providers: Sequence[Provider]) -> str:
    """Return names and options for a message."""
    return ", ".join(
        " ".join([one.name, *(f"{key}={value}" for key, value in one.options.items())])
        for one in providers
    )


def check_providers(asked: Sequence[Provider], given: Sequence[str], where: str) -> None:
    """Refuse a session that runs on another provider than asked for.

    A provider that is in the build can still fail to start (a missing driver or library, an option
    it does not take); the runtime then goes on with the CPU, and says why in its own words.

    Raises:
        EngineError: Names the providers that are missing.
    """
    names = [provider.name for provider in asked]
    missing = [provider for provider in asked if provider.name not in given]
    if missing or names != [name for name in given if name in names]:
        first = (missing or asked)[0]
        options = " and its options" if first.options else ""
        raise EngineError(
            f"{where}: asked for {_described(asked)}, onnxruntime took {', '.join(given)}",
            f"check the driver and libraries of {first.name}{options}, or choose another provider",
        )


def _named(source: Path | bytes) -> str:
    return "rows of memories" if isinstance(source, bytes) else str(source)


def _host_tensor(array: Any) -> HostTensor:
    array.flags.writeable = False  # shared by everyone who keeps it
    return HostTensor(array, owned=True)


def _specs_of(nodes: list[Any]) -> dict[str, TensorSpec]:
    """Read the session's inputs or outputs; an unnamed free axis gets a name of its own."""
    return {
        node.name: TensorSpec(
            node.name,
            _DTYPES.get(node.type, node.type),
            tuple(
                axis if isinstance(axis, int | str) and axis != "" else f"{node.name}.{i}"
                for i, axis in enumerate(node.shape)
            ),
        )
        for node in nodes
    }


def _one_line(error: BaseException) -> str:
    """Return the runtime's reason without the place in its sources that some begin with."""
    text = " ".join(str(error).split())
    return re.sub(r"^/\S+\.(cc|h|cpp):\d+ [^)]*\) ", "", text)
