"""Too little memory is one line and exit code 4, never a crash, a loop or a traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from samcam.engines.base import EngineError
from samcam.system.memory_limit import TO_LOAD_MIB, TO_RUN_MIB, memory_problem
from tests.conftest import REPO_ROOT
from tests.helpers.bounds import RUN_TIMEOUT_S

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits of address space")

BIG = ("--source", "demo", "--set", "source.demo_size=[8000, 6000]", "--output", "none")


@pytest.mark.parametrize(
    ("limit_mib", "words"),
    [
        (200, BIG),  # libraries do not even load: ImportError, then a crash
        (600, ("--check-config",)),  # OpenBLAS tried again for ever
        (1400, BIG),  # the C library aborted, ONNX Runtime's bad_alloc was called a broken file
        (1850, BIG),  # numpy's own error
    ],
)
def test_a_limit_is_one_line(limit_mib: int, words: tuple[str, ...], tmp_path: Path) -> None:
    script = f'ulimit -v {limit_mib * 1024}; exec "$0" "$@"'
    program = ("sh", "-c", script, sys.executable, str(REPO_ROOT / "run_live.py"))
    done = subprocess.run(
        [*program, *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 4, done.stderr
    said = [line for line in done.stderr.splitlines() if " INFO " not in line]
    (line,) = said
    assert line.startswith("error: not enough memory")
    assert f"{limit_mib} MiB" in line
    assert TO_LOAD_MIB < TO_RUN_MIB


def test_every_librarys_way_to_say_it() -> None:
    broken = EngineError("x.onnx: not a readable ONNX file")
    broken.__cause__ = RuntimeError("[ONNXRuntimeError] : 1 : FAIL : std::bad_alloc")
    for raised in (
        broken,
        MemoryError(),
        cv2.error("alloc.cpp:73: error: (-4:Insufficient memory) Failed to allocate 9 bytes"),
        OSError(12, "Cannot allocate memory"),
        RuntimeError("can't start new thread"),
        ImportError("cv2.abi3.so: failed to map segment from shared object"),
    ):
        line = memory_problem(raised)
        assert line is not None
        assert "\n" not in line
    assert memory_problem(EngineError("x.onnx: not a readable ONNX file")) is None
    assert memory_problem(OSError(28, "No space left on device")) is None
