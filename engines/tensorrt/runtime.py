"""TensorRT itself: its import, its log, its element types. Versions 11 and 10."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from samcam.engines.base import EngineError
from samcam.system import install

if TYPE_CHECKING:
    import tensorrt as trt

VERSIONS: Final = (10, 11)


_log = logging.getLogger(__name__)


class NoTensorRtError(EngineError):
    """TensorRT cannot be used here; the message says what is missing."""


def import_tensorrt() -> Any:
    """Import TensorRT. Look for a GPU first: without a driver its objects end the process.

    Raises:
        NoTensorRtError: It is not installed, does not load, or has another version.
    """
    try:
        import tensorrt
    except (ImportError, OSError, RuntimeError) as error:
        raise NoTensorRtError(
            f"tensorrt cannot be imported ({error})", install("tensorrt")
        ) from error
    version = str(tensorrt.__version__)
    if version.partition(".")[0] not in map(str, VERSIONS):
        known = " or ".join(map(str, VERSIONS))
        raise NoTensorRtError(
            f"tensorrt {version} is installed, expected {known}", install("tensorrt")
        )
    return tensorrt


@lru_cache(maxsize=1)
def make_logger(trt: Any) -> Any:
    """Return the process's logger, which passes TensorRT's messages on to `logging`.

    There is one: TensorRT keeps the first that it gets, for as long as any of its objects lives.
    Its attribute `last_error` holds the newest error in one line.
    """
    levels: Final = {
        trt.ILogger.INTERNAL_ERROR: logging.WARNING,  # errors also arrive as refused calls
        trt.ILogger.ERROR: logging.WARNING,
        trt.ILogger.WARNING: logging.INFO,
        trt.ILogger.INFO: logging.DEBUG,
        trt.ILogger.VERBOSE: logging.NOTSET,
    }

    class Logger(trt.ILogger):  # type: ignore[misc]
        """Keeps the last error for the message of whoever sees a call refused."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.last_error = ""

        def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
            level = levels.get(severity, logging.INFO)
            if level == logging.WARNING:
                self.last_error = " ".join(msg.split())
            if level:
                _log.log(level, "TensorRT: %s", msg)

    return Logger()


def numpy_types(trt: Any) -> Mapping[trt.DataType, str]:
    """Return the numpy dtype name of each element type that can enter or leave a network."""
    return {
        trt.DataType.FLOAT: "float32",
        trt.DataType.HALF: "float16",
        trt.DataType.UINT8: "uint8",
        trt.DataType.INT32: "int32",
        trt.DataType.INT64: "int64",
        trt.DataType.BOOL: "bool",
    }
