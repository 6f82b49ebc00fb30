"""A network on ONNX Runtime."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from samcam.engines.base import DeviceTensor, EngineError, Feed, TensorSpec
from samcam.engines.host_tensors import HostTensor, StackBuffers, check_feeds
from samcam.engines.manifest import ModelFileError
from samcam.engines.options import EngineOptions
from samcam.system import install
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
_FATAL_ONLY: Final = 4  # the runtime's own log: its errors arrive as exceptions


class OnnxRuntimeBackend:
    """One ONNX file in one session.

    Plain `run`, not IO binding: on the CPU both take the same time, and `run` allocates fresh
    outputs, so keeping one costs no copy. Spinning is off: idle workers would use the cores that
    decode and compose the picture.
    """

    def __init__(self, network: str, path: Path, options: EngineOptions) -> None:
        """Load the file.

        Raises:
            EngineError: The runtime or a provider is missing.
            ModelFileError: The file is missing or broken.
        """
        self._name = f"{network} ({path})"
        self._session: onnxruntime.InferenceSession | None = _open_session(path, options)
        self.inputs = _specs_of(self._session.get_inputs())
        self.outputs = _specs_of(self._session.get_outputs())
        self._stacks = StackBuffers()
        _log.debug("%s: %s, %d threads", self._name, options.providers, options.resolved_threads)

    def run(self, feeds: Mapping[str, Feed]) -> Mapping[str, DeviceTensor]:
        """Run once; see `Backend.run`. Outputs are never written again."""
        if self._session is None:
            raise EngineError(f"{self._name}: closed")
        arrays = check_feeds(self._name, self.inputs, feeds, self._stacks)
        try:
            results = self._session.run(list(self.outputs), arrays)
        except Exception as error:  # the runtime's exceptions have no common base of their own
            raise EngineError(f"{self._name}: run failed: {_one_line(error)}") from error
        outputs: dict[str, DeviceTensor] = {}
        for name, array in zip(self.outputs, results, strict=True):
            array.flags.writeable = False  # shared by everyone who keeps it
            outputs[name] = HostTensor(array, owned=True)
        return outputs

    def close(self) -> None:
        self._session = None


def available_providers() -> tuple[str, ...]:
    """Return the execution providers of the installed build.

    Raises:
        EngineError: ONNX Runtime is not installed, or does not load.
    """
    return tuple(import_onnxruntime().get_available_providers())


def import_onnxruntime() -> Any:
    """Import the package when it is first needed.

    Raises:
        EngineError: It is not installed, or does not load.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise EngineError(
            f"onnxruntime cannot be imported ({_one_line(error)})", install()
        ) from error
    return onnxruntime


def _open_session(path: Path, options: EngineOptions) -> onnxruntime.InferenceSession:
    onnxruntime = import_onnxruntime()
    available = available_providers()
    for provider in options.providers:
        if provider not in available:
            raise EngineError(
                f"onnxruntime: execution provider {provider} is not in this build, "
                f"which has {', '.join(available)}"
            )
    if not is_file(path):
        raise ModelFileError(f"{path}: missing")
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.resolved_threads
    settings.inter_op_num_threads = 1
    settings.log_severity_level = _FATAL_ONLY
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(path, settings, providers=list(options.providers))
    except Exception as error:  # the runtime's exceptions have no common base of their own
        raise ModelFileError(
            f"{path}: not a readable ONNX file (truncated or broken): {_one_line(error)}"
        ) from error
    check_providers(options.providers, session.get_providers(), path)
    return session


def check_providers(asked: tuple[str, ...], given: list[str], path: Path) -> None:
    """Refuse a session that runs on another provider than asked for.

    A provider that is in the build can still fail to start (a missing driver or library); the
    runtime then goes on with the CPU.

    Raises:
        EngineError: Names the providers that are missing.
    """
    missing = [provider for provider in asked if provider not in given]
    if missing or list(asked) != [provider for provider in given if provider in asked]:
        raise EngineError(
            f"{path}: asked for {', '.join(asked)}, onnxruntime took {', '.join(given)}: check "
            f"the driver and libraries of {', '.join(missing) or asked[0]}, or choose another "
            f"provider"
        )


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
    return " ".join(str(error).split())
