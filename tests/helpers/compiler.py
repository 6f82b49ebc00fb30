"""NVIDIA's compiler without a GPU: TensorRT for RTX, for tests of what it makes of our graphs."""

from __future__ import annotations

import importlib.util
import logging
import platform
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import onnx
import pytest

from samcam.engines.tensorrt import TENSORRT_RTX
from samcam.export.engine_compiler import PORTABLE, EngineCompiler, Target
from samcam.export.shape_profiles import Profile
from tests.conftest import skip_or_fail

CAPABILITIES = ((7, 5), (8, 6), (8, 9), (12, 0))
_SCRATCH = re.compile(r"Max Scratch Memory: (\d+)")
_LOG = "samcam.engines.tensorrt.runtime"


def require_rtx() -> None:
    """Skip where there is no such library: it must be there on Linux on x86-64, as in CI."""
    if importlib.util.find_spec("tensorrt_rtx_bindings") is not None:
        return
    if (sys.platform, platform.machine()) == ("linux", "x86_64"):
        skip_or_fail("TensorRT for RTX is missing: run 'make setup'")
    pytest.skip("TensorRT for RTX is tested on Linux on x86-64 only")


class Messages(logging.Handler):
    """What a library says, as the program passes it on; while it is entered."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def __enter__(self) -> Messages:
        log = logging.getLogger(_LOG)
        self._before = log.level
        log.setLevel(logging.DEBUG)
        log.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        log = logging.getLogger(_LOG)
        log.removeHandler(self)
        log.setLevel(self._before)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Those of severity WARNING and worse."""
        return tuple(r.getMessage() for r in self.records if r.levelno >= logging.INFO)

    @property
    def scratch_mb(self) -> tuple[float, ...]:
        """Memory of what lies between layers that are not fused, for every profile compiled."""
        texts = (record.getMessage() for record in self.records)
        return tuple(int(found[1]) / 1e6 for text in texts if (found := _SCRATCH.search(text)))


@dataclass(frozen=True)
class Compiled:
    """What the compiler made, and what it said.

    Attributes:
        scratch_mb: Memory of what lies between layers that are not fused, by profile.
        warnings: Messages of severity WARNING and worse.
    """

    engine: bytes
    scratch_mb: tuple[float, ...]
    warnings: tuple[str, ...]


def compile_graph(
    model: onnx.ModelProto,
    capability: tuple[int, int] | None = None,
    profiles: Sequence[Profile] = (),
) -> Compiled:
    """Compile a graph as `export.build_tensorrt --rtx` does; None: for 8.0 and newer.

    Raises:
        BuildError: It is refused.
    """
    portable = capability is None
    target = Target(TENSORRT_RTX, PORTABLE if capability is None else capability, portable)
    with Messages() as messages:
        engine = EngineCompiler(target).compile("graph", model, profiles)
    return Compiled(engine, messages.scratch_mb, messages.warnings)
