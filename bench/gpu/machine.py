"""The first steps of the GPU day: the driver, the packages, the tests of device memory."""

from __future__ import annotations

import importlib
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from bench.gpu.order import NotHere, Order, Outcome, Save, Surprise
from bench.reports.environment import REPOSITORY
from samcam.engines import import_torch
from samcam.engines.tensorrt import find_driver
from samcam.system import install

MEMORY_TESTS: Final = "tests/engines/test_cuda_memory.py"
NO_GPU: Final = "no NVIDIA driver is installed: this needs a machine with an NVIDIA GPU"
_QUERY: Final = ("name", "driver_version", "compute_cap", "memory.total", "memory.used")
_TOOL_TIMEOUT_S: Final = 30.0
# Module -> package, for what the torch part cannot do without.
_NEEDED: Final = {
    "numpy": "numpy",
    "cv2": "opencv-python",
    "torch": "torch",
    "transformers": "transformers",
    "safetensors": "safetensors",
}
# Of the fakes that the same tests run on elsewhere, too.
_TESTS_NEED: Final = {
    "pytest": "pip install pytest",
    "cuda.bindings": "pip install cuda-bindings",
    "onnx": "pip install onnx",
    "onnxruntime": "pip install onnxruntime",
}
_SHOWN: Final = ("onnxruntime", "onnx", "cuda-python", "cuda-bindings", "triton", "pytest")


def check_driver(order: Order, save: Save) -> Outcome:
    """Name the driver and the GPUs."""
    if not order.on_gpu:
        raise NotHere("not asked for on the CPU")
    driver = find_driver()
    if driver is None:
        raise Surprise(NO_GPU)
    rows = query_gpus()
    names = "; ".join(", ".join(row) for row in rows) or "nvidia-smi is not there to name the GPU"
    figures = {"driver": driver.version, "cuda": driver.cuda_text, "gpus": rows}
    return Outcome("done", f"{driver}; {names}", figures)


def query_gpus() -> list[list[str]]:
    """Ask nvidia-smi for every GPU's name, driver, capability, memory in all and in use."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    command = [tool, f"--query-gpu={','.join(_QUERY)}", "--format=csv,noheader"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_TOOL_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise Surprise(f"nvidia-smi does not answer within {_TOOL_TIMEOUT_S:.0f} s") from error
    said = (done.stdout or done.stderr).strip()
    if done.returncode:
        raise Surprise(f"nvidia-smi ended with code {done.returncode}: {said}")
    return [[cell.strip() for cell in line.split(",")] for line in said.splitlines()]


def device_memory_mib() -> float | None:
    """Return the memory in use on the first GPU, whoever uses it; None where nothing tells."""
    rows = query_gpus()
    found = re.match(r"([\d.]+) MiB", rows[0][-1]) if rows else None
    return float(found[1]) if found else None


def check_packages(order: Order, save: Save) -> Outcome:
    """Import what the torch part needs, and look whether torch sees the GPU."""
    missing = []
    for module, package in _NEEDED.items():
        try:
            importlib.import_module(module)
        except (ImportError, OSError) as error:
            print(f"{module}: {error}", flush=True)
            missing.append(package)
    if missing:
        raise Surprise(f"cannot be imported: {', '.join(missing)}: {install('export')}")
    torch = import_torch()
    versions = {"python": platform.python_version()}
    for package in (*_NEEDED.values(), *_SHOWN):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    line = f"torch {torch.__version__}, transformers {versions.get('transformers', '?')}"
    if not order.on_gpu:
        return Outcome("done", line, {"versions": versions})
    if not torch.cuda.is_available():
        raise Surprise(
            f"torch {torch.__version__} (CUDA {torch.version.cuda or 'none'}) sees no GPU: "
            "install a torch with CUDA for this driver"
        )
    major, minor = torch.cuda.get_device_capability()
    name = torch.cuda.get_device_name()
    figures = {"versions": versions, "gpu": name, "compute_capability": f"{major}.{minor}"}
    return Outcome("done", f"{line} on {name}, compute capability {major}.{minor}", figures)


def test_memory(order: Order, save: Save) -> Outcome:
    """Run the tests of device memory, streams, events and graphs on the real driver."""
    return run_tests(MEMORY_TESTS, order)


def run_tests(path: str, order: Order) -> Outcome:
    """Run a file's tests that are marked `gpu`; all that run must pass, and one must run.

    Raises:
        NotHere: pytest or cuda-python is not installed.
    """
    if not order.on_gpu:
        raise NotHere("not asked for on the CPU")
    for module, how in _TESTS_NEED.items():
        try:
            importlib.import_module(module)
        except (ImportError, OSError) as error:
            raise NotHere(f"{module} cannot be imported ({error}): {how}") from error
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", path]
    code, last = run_aloud(command)
    passed = re.search(r"(\d+) passed", last)
    skipped = re.search(r"(\d+) skipped", last)
    if code or passed is None or skipped is not None:
        raise Surprise(f"{path}: expected all tests to pass, got: {last}")
    return Outcome("done", f"{passed[1]} tests passed", {"passed": int(passed[1])})


def run_aloud(command: Sequence[str]) -> tuple[int, str]:
    """Run a command of ours with what it says going on to the log; its code and its last line.

    It has no time-out of its own: it ends with the step's process.
    """
    last = "no output"
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as child:
        assert child.stdout is not None
        for line in child.stdout:
            print(line, end="", flush=True)
            last = line.strip() or last
    return child.returncode, last
