"""`--doctor` on an NVIDIA GPU: CUDA, TensorRT, TensorRT for RTX, and what its capability means."""

from __future__ import annotations

import sys

import pytest

from samcam.live.cli.doctor import Finding, State, check_gpu
from tests.helpers import fake_tensorrt
from tests.helpers.fake_cuda import FakeCuda
from tests.helpers.fake_tensorrt import FakeTensorRt

FakesOf = tuple[FakeCuda, FakeTensorRt]
RTX_MODULES = ("tensorrt_rtx", "tensorrt_rtx_bindings")


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> FakesOf:
    return fake_tensorrt.install(monkeypatch)


def rows(backend: str = "auto") -> dict[str, Finding]:
    return {finding.what: finding for finding in check_gpu(backend)}


def hide(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    for module in modules:
        monkeypatch.setitem(sys.modules, module, None)


def test_what_is_there(fakes: FakesOf) -> None:
    """The real TensorRT for RTX, where it is installed."""
    pytest.importorskip("tensorrt_rtx_bindings")
    found = rows()
    assert list(found) == ["CUDA", "TensorRT", "TensorRT for RTX"]
    assert found["CUDA"].details == (
        "Fake GPU, 1.0 GiB, compute capability 8.9, driver 580.65.06, CUDA 13.0"
    )
    assert found["TensorRT"].details == f"version {fakes[1].__version__}"
    assert found["TensorRT for RTX"].details.startswith("version 1.")
    assert {finding.state for finding in found.values()} == {State.OK}


def test_an_old_gpu(fakes: FakesOf) -> None:
    fakes[0].capability = 7, 5
    assert "; 7.5: no bfloat16, no TF32: engines in float16" in rows()["TensorRT"].details


@pytest.mark.parametrize("capability", [(9, 0), (10, 0), (6, 1)])
def test_tensorrt_for_rtx_is_not_for_every_gpu(fakes: FakesOf, capability: tuple[int, int]) -> None:
    fakes[0].capability = capability
    found = rows()["TensorRT for RTX"]
    said = f"compute capability {capability[0]}.{capability[1]}: TensorRT for RTX is for 7.5, 8.0, "
    assert found.details.startswith(said)
    assert found.state is State.ABSENT
    asked = rows("tensorrt-rtx")
    assert asked["TensorRT for RTX"].state is State.PROBLEM
    assert asked["TensorRT for RTX"].fix == "use --backend tensorrt"
    assert asked["TensorRT"].state is State.OK


def test_what_is_not_installed_is_absent_and_a_problem_where_it_is_asked_for(
    fakes: FakesOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    hide(monkeypatch, "tensorrt", *RTX_MODULES)
    found = rows()
    assert (found["TensorRT"].state, found["TensorRT for RTX"].state) == (State.ABSENT,) * 2
    assert found["TensorRT"].fix.endswith('[tensorrt]"')
    assert found["TensorRT for RTX"].fix.endswith('[tensorrt-rtx]"')
    assert rows("tensorrt")["TensorRT"].state is State.PROBLEM
    assert "https://pypi.nvidia.com" in found["TensorRT"].details
    assert "https://pypi.nvidia.com" not in found["TensorRT for RTX"].details
    hide(monkeypatch, "cuda.bindings")
    found = rows()
    assert found["CUDA"].state is State.ABSENT
    assert found["CUDA"].details.startswith("driver 580.65.06, CUDA 13.0: cuda-python cannot be")
    assert found["TensorRT"].details == "needs CUDA"
    assert rows("tensorrt-rtx")["CUDA"].state is State.PROBLEM


def test_what_does_not_load_or_is_too_old_is_a_problem(
    fakes: FakesOf, monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    cuda, trt = fakes
    trt.__version__ = "8.6.1"
    assert rows()["TensorRT"].state is State.PROBLEM
    # as the wheel that is only a stub leaves it: the module is there, its libraries are not
    (tmp_path / "tensorrt.py").write_text("import tensorrt_libs\n")
    monkeypatch.delitem(sys.modules, "tensorrt")
    monkeypatch.syspath_prepend(tmp_path)
    found = rows()["TensorRT"]
    assert found.state is State.PROBLEM
    assert found.details == (
        "tensorrt cannot be imported (No module named 'tensorrt_libs'; its libraries are fetched "
        "from NVIDIA's own index, https://pypi.nvidia.com)"
    )
    cuda.driver = 12080
    found = rows()["CUDA"]
    assert found.state is State.PROBLEM
    assert found.details.count("580") == 2, "the driver is named once, and what is needed"


def test_the_extra_of_tensorrt_is_the_one_for_the_driver(
    fakes: FakesOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    fakes[0].driver, fakes[0].runtime = 12080, 12090
    hide(monkeypatch, "tensorrt")
    assert rows()["TensorRT"].fix.endswith('[tensorrt-cu12]"')


def test_without_a_driver(fakes: FakesOf) -> None:
    fakes[0].driver = 0
    found = rows()
    assert {finding.state for finding in found.values()} == {State.ABSENT}
    details = found["TensorRT for RTX"].details
    assert details.startswith("needs an NVIDIA GPU; version 1.")
    assert details.endswith(" builds engines for one")
    asked = rows("tensorrt")["CUDA"]
    assert asked.state is State.PROBLEM
    assert "install NVIDIA's driver" in asked.fix
