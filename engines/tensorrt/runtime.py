"""TensorRT itself, or TensorRT for RTX: its log, its element types."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import tensorrt as trt

_log = logging.getLogger(__name__)


@lru_cache(maxsize=2)  # one for each of the two libraries
def make_logger(trt: Any) -> Any:
    """Return the process's logger for a library, which passes TensorRT's messages on to `logging`.

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
