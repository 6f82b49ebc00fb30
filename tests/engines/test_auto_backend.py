"""`--backend auto`: what it takes where there is an NVIDIA driver, and the line on each other."""

from __future__ import annotations

import logging
import shutil
import sys
from pathlib import Path

import pytest
import torch

from samcam.engines import model_folder, torch_backend, torch_choice
from samcam.engines.model_folder import load_model
from samcam.engines.options import EngineOptions, TorchOptions
from samcam.engines.sam2_graphs import Sam2Networks
from samcam.engines.tensorrt import driver
from samcam.engines.torch_backend import TorchNetwork
from tests.conftest import run_python
from tests.helpers import fake_tensorrt
from tests.helpers.fake_cuda import FakeCuda
from tests.helpers.tiny_model import write_tiny_model

NO_TORCH_IN_AUTO = """
import sys
from samcam.engines import load_model
load_model("nano").close()
assert not {"torch", "cuda", "tensorrt", "tensorrt_rtx_bindings"} & set(sys.modules)
"""


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    """A driver and a GPU, but no TensorRT."""
    cuda, _ = fake_tensorrt.install(monkeypatch)
    for module in ("tensorrt", "tensorrt_rtx", "tensorrt_rtx_bindings"):
        monkeypatch.setitem(sys.modules, module, None)
    return cuda


@pytest.fixture
def gpu_torch(cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    """A torch that sees a GPU; what runs there runs on the CPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: cuda.capability)
    start = TorchNetwork.__init__
    resolve = torch_backend.resolve_device

    def on_the_cpu(self: TorchNetwork, spec, module, manifest, options) -> None:
        assert resolve(options.torch.device).type == "cuda"
        with monkeypatch.context() as patch:
            patch.setattr(torch_backend, "resolve_device", lambda name: torch.device("cpu"))
            start(self, spec, module, manifest, options)

    monkeypatch.setattr(TorchNetwork, "__init__", on_the_cpu)


def passed_over(caplog: pytest.LogCaptureFixture) -> dict[str, tuple[int, str]]:
    """Backend -> level of its line and why it is not used."""
    found = {}
    for record in caplog.records:
        kind, said, reason = record.getMessage().partition(" is not used: ")
        if said:
            assert "\n" not in reason
            assert kind not in found, "one line each"
            found[kind] = record.levelno, reason
    return found


def opened(caplog: pytest.LogCaptureFixture, folder: Path, **torch_settings: str) -> Sam2Networks:
    caplog.clear()
    options = EngineOptions(threads=1, torch=TorchOptions(**torch_settings))  # type: ignore[arg-type]
    with caplog.at_level(logging.INFO):
        return load_model(folder, options=options)


def test_without_a_driver_nothing_is_imported_and_nothing_said(
    nano_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if driver.find_driver() is not None:
        pytest.skip("there is an NVIDIA driver")
    run_python("-c", NO_TORCH_IN_AUTO)
    opened(caplog, nano_dir).close()
    assert passed_over(caplog) == {}


def test_torch_without_cuda_is_passed_over(
    cuda: FakeCuda, nano_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The real torch of this machine."""
    if torch.cuda.is_available():
        pytest.skip("this torch sees a GPU")
    with opened(caplog, nano_dir) as networks:
        assert not isinstance(networks.backends["image_encoder"], TorchNetwork)
    found = passed_over(caplog)
    assert list(found) == ["tensorrt", "tensorrt-rtx", "torch"]
    assert {level for level, _ in found.values()} == {logging.INFO}, "nothing is broken"
    assert found["tensorrt"][1].endswith('[tensorrt]"')
    assert found["tensorrt-rtx"][1].endswith('[tensorrt-rtx]"')
    assert found["torch"][1].startswith(f"torch {torch.__version__} sees no GPU")


@pytest.mark.parametrize(
    ("capability", "asked", "taken"),
    [((8, 9), "auto", "bfloat16"), ((7, 5), "auto", "float32"), ((8, 9), "float32", "float32")],
)
def test_torch_on_a_gpu_comes_before_onnx_runtime(
    gpu_torch: None,
    cuda: FakeCuda,
    nano_dir: Path,
    caplog: pytest.LogCaptureFixture,
    capability: tuple[int, int],
    asked: str,
    taken: str,
) -> None:
    cuda.capability = capability
    with opened(caplog, nano_dir, precision=asked) as networks:
        network = networks.backends["image_encoder"]
        assert isinstance(network, TorchNetwork)
        assert network.how == f"cpu, {taken}"
    assert list(passed_over(caplog)) == ["tensorrt", "tensorrt-rtx"]
    assert f": torch (cpu, {taken})" in caplog.text


@pytest.mark.usefixtures("gpu_torch")
def test_torch_that_is_set_to_the_cpu_or_has_no_weights(
    nano_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    opened(caplog, nano_dir, device="cpu").close()
    assert "is set to the CPU" in passed_over(caplog)["torch"][1]
    write_tiny_model(tmp_path / "fake")
    opened(caplog, tmp_path / "fake").close()
    assert "the manifest names no weights" in passed_over(caplog)["torch"][1]
    without = shutil.copytree(nano_dir, tmp_path / "nano")
    monkeypatch.setattr(torch_choice, "checkout", lambda: None)
    monkeypatch.setattr(torch_choice, "import_torch", None)  # not asked where it would not help
    monkeypatch.setattr(torch_choice, "resolve_device", None)
    opened(caplog, without).close()
    assert "nano.pt: missing" in passed_over(caplog)["torch"][1], "as in a wheel"


def test_what_torch_cannot_do_on_the_gpu_is_a_warning(
    gpu_torch: None,
    nano_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def full(self: torch.nn.Module, device: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    monkeypatch.setattr(torch.nn.Module, "to", full)
    with opened(caplog, nano_dir) as networks:
        assert not isinstance(networks.backends["image_encoder"], TorchNetwork)
    level, reason = passed_over(caplog)["torch"]
    assert level == logging.WARNING
    assert "CUDA out of memory. Tried to allocate 20.00 MiB." in reason


def test_a_gpu_that_does_not_answer_torch_is_a_warning(
    gpu_torch: None,
    nano_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As where an engine broke the process's context before."""

    def broken(device: object) -> tuple[int, int]:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(torch.cuda, "get_device_capability", broken)
    with opened(caplog, nano_dir) as networks:
        assert not isinstance(networks.backends["image_encoder"], TorchNetwork)
    level, reason = passed_over(caplog)["torch"]
    assert level == logging.WARNING
    assert reason.startswith("torch failed: CUDA error: an illegal memory access")


def test_a_driver_that_is_too_old_is_said(
    cuda: FakeCuda, nano_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cuda.driver = 12080
    opened(caplog, nano_dir).close()
    found = passed_over(caplog)
    assert "runs CUDA up to 12.8" in found["tensorrt"][1]
    assert "[tensorrt-cu12]" in found["tensorrt"][1]
    assert found["tensorrt-rtx"][1] == "for the same reason"


def test_every_name_that_auto_tries_is_a_backend() -> None:
    tried = {*model_folder._GPU_BACKENDS, model_folder._ANYWHERE}
    assert tried == {*model_folder.BACKENDS} - {"auto"}


def test_a_gpu_that_tensorrt_for_rtx_is_not_for(
    cuda: FakeCuda, nano_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cuda.capability = 9, 0
    opened(caplog, nano_dir).close()
    level, reason = passed_over(caplog)["tensorrt-rtx"]
    assert level == logging.INFO
    assert reason.startswith("compute capability 9.0: TensorRT for RTX is for 7.5, 8.0, ")
