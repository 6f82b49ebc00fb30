"""The NVIDIA driver: its version, and what to do where it is older than the packages."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from samcam.engines.tensorrt import driver
from samcam.engines.tensorrt.cuda_runtime import NoGpuError, find_gpu
from tests.conftest import RunCli, require_tool, skip_or_fail
from tests.helpers import fake_tensorrt
from tests.helpers.bounds import RUN_TIMEOUT_S
from tests.helpers.fake_cuda import FakeCuda

CUDA_PYTHON = Path(sys.prefix) / "api" / "cuda-13"
TOO_OLD = (
    "NVIDIA driver 570.86.15 runs CUDA up to 12.8; the installed cuda-python is for CUDA 13, "
    "which needs driver 580 or newer"
)
WAY_OUT = "update the driver to 580 or newer, or: pip install "
# What cuda-python's CUDA runtime asks for before it gives up on an old driver.
CUDA_SOURCE = """
#include <stdint.h>
#include <string.h>
int cuDriverGetVersion(int *version) { *version = %(cuda)d; return 0; }
int cuInit(unsigned flags) { return 0; }
int cuGetProcAddress_v2(const char *name, void **found, int cuda, uint64_t flags, void *status) {
  *found = 0;
  if (!strcmp(name, "cuDriverGetVersion")) *found = cuDriverGetVersion;
  if (!strcmp(name, "cuInit")) *found = cuInit;
  return *found ? 0 : 500;
}
"""
NVML_SOURCE = """
#include <stdio.h>
int nvmlInit_v2(void) { return 0; }
int nvmlShutdown(void) { return 0; }
int nvmlSystemGetDriverVersion(char *text, unsigned length) {
  snprintf(text, length, "%(version)s");
  return 0;
}
"""


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    return fake_tensorrt.install(monkeypatch)[0]


def make_driver(folder: Path, version: str, cuda: int) -> None:
    """Write libcuda.so.1 and libnvidia-ml.so.1 to a folder for LD_LIBRARY_PATH."""
    if sys.platform != "linux":
        skip_or_fail("the driver's libraries are made for Linux only")
    compiler = shutil.which("cc") or require_tool("gcc", "gcc")
    for library, source in (("libcuda.so.1", CUDA_SOURCE), ("libnvidia-ml.so.1", NVML_SOURCE)):
        path = folder / f"{library}.c"
        path.write_text(source % {"version": version, "cuda": cuda})
        command = [compiler, "-shared", "-fPIC", f"-Wl,-soname,{library}", "-o", library, path.name]
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=RUN_TIMEOUT_S)


def test_a_driver_of_cuda_12_under_packages_for_13(run_cli: RunCli, tmp_path: Path) -> None:
    """The real cuda-python 13 and a driver's libraries of 12.8: `--doctor` as a process."""
    if not CUDA_PYTHON.is_dir():
        skip_or_fail("cuda-python is missing: run 'make setup'")
    make_driver(tmp_path, "570.86.15", 12080)
    environment = {"LD_LIBRARY_PATH": str(tmp_path), "PYTHONPATH": str(CUDA_PYTHON)}
    result = run_cli("--doctor", env=environment)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    row = next(i for i, line in enumerate(lines) if line.startswith("CUDA "))
    assert lines[row].split(maxsplit=2)[1:] == ["problem", TOO_OLD]
    assert WAY_OUT in lines[row + 1]
    assert lines[row + 1].endswith('[tensorrt-cu12]"')
    assert lines[row + 2].split() == ["TensorRT", "absent", "needs", "CUDA"]


def test_the_driver_is_older_than_what_is_installed(cuda: FakeCuda) -> None:
    cuda.driver, cuda.driver_version = 12080, "570.86.15"
    with pytest.raises(NoGpuError) as caught:
        find_gpu()
    assert caught.value.reason == TOO_OLD
    assert caught.value.fix.startswith(WAY_OUT)
    cuda.driver, cuda.driver_version = 11040, "470.256.02"
    with pytest.raises(NoGpuError, match=r"CUDA up to 11\.4") as caught:
        find_gpu()
    assert caught.value.fix == "update the driver to 580 or newer", "no extra is for CUDA 11"
    cuda.runtime = 12090
    with pytest.raises(NoGpuError, match=r"is for CUDA 12, which needs driver 525 or newer"):
        find_gpu()


@pytest.mark.parametrize(("installed", "runtime"), [(12080, 12090), (13000, 13040), (13040, 12090)])
def test_an_older_minor_version_is_enough(cuda: FakeCuda, installed: int, runtime: int) -> None:
    cuda.driver, cuda.runtime = installed, runtime
    assert find_gpu().name == "Fake GPU"


@pytest.mark.parametrize(("installed", "extra"), [(13000, "tensorrt"), (12080, "tensorrt-cu12")])
def test_the_extra_is_the_one_for_the_driver(
    cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch, installed: int, extra: str
) -> None:
    cuda.driver = installed
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    with pytest.raises(NoGpuError, match="cuda-python cannot be imported") as caught:
        find_gpu()
    assert caught.value.fix.endswith(f'[{extra}]"')


def test_where_nvml_does_not_tell(
    cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As in a container without the capability "utility": the kernel module knows too."""
    cuda.driver_version = ""
    monkeypatch.setattr(driver, "_KERNEL_MODULE", tmp_path / "version")
    assert find_gpu().driver == "of unknown version"
    (tmp_path / "version").write_text("575.51.03\n")
    assert find_gpu().driver == "575.51.03"


def test_without_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "_load", lambda names: None)
    assert driver.find_driver() is None
    with pytest.raises(NoGpuError, match=r"^no NVIDIA driver is installed$"):
        find_gpu()
