"""A GPU that is too small for a model: what it needs, what was free, and what is smaller."""

from __future__ import annotations

import logging
import re
import shutil
from pathlib import Path

import pytest

from samcam.__main__ import main
from samcam.engines import OnnxRuntimeBackend
from samcam.engines.base import GpuMemoryError
from samcam.engines.checks import first_run
from samcam.engines.model_folder import load_model, smaller_model
from samcam.engines.tensorrt.runtime import make_logger
from samcam.export.build_tensorrt import BuildOrder, build_engines
from tests.helpers import fake_tensorrt
from tests.helpers.fake_tensorrt import Context, Engine, FakeTensorRt

SMALL = 5_000_000  # bytes, of the whole GPU
SIZES = re.compile(
    r"model nano does not fit on the GPU: it needs at least (\d+) MB \((\d+) MB of engines"
    r"(?:, (\d+) MB to work in)?\); 5 MB of 5 MB were free \((.+)\): close other programs on the "
    r"GPU, or use --backend onnxruntime$"
)


@pytest.fixture
def trt(monkeypatch: pytest.MonkeyPatch) -> FakeTensorRt:
    return fake_tensorrt.install(monkeypatch)[1]


@pytest.fixture
def folder(trt: FakeTensorRt, nano_dir: Path, tmp_path: Path) -> Path:
    """nano with engines; the GPU is too small for what they work in."""
    folder = Path(shutil.copytree(nano_dir, tmp_path / "nano"))
    build_engines(BuildOrder(folder=folder, check=False))
    trt.cuda.memory = SMALL
    return folder


def check_message(text: str, folder: Path, reason: str) -> None:
    match = SIZES.search(text)
    assert match, text
    whole, engines, work = (int(number or 0) for number in match.groups()[:3])
    on_disk = sum(path.stat().st_size for path in (folder / "tensorrt").glob("*.engine"))
    assert engines == round(on_disk / 1e6) > 10
    assert abs(whole - engines - work) <= 1
    assert reason in match[4]
    assert work >= SMALL / 1e6 or reason != "cudaMalloc"


def test_it_is_said_with_the_sizes(
    folder: Path,
    trt: FakeTensorRt,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Exit code 4 where this backend is asked for; auto goes on, with a warning."""
    run = ["--source", "demo", "--prompt", "point=320,240", "--output", "none"]
    assert main([*run, "--model", str(folder), "--backend", "tensorrt"]) == 4
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error")]
    check_message(line, folder, "cudaMalloc")
    caplog.clear()
    with load_model(folder) as networks:
        assert isinstance(networks.backends["image_encoder"], OnnxRuntimeBackend)
    (warning,) = [
        record.getMessage()
        for record in caplog.records
        if record.levelno == logging.WARNING and "tensorrt is" in record.getMessage()
    ]
    assert warning.startswith("tensorrt is not used: model nano does not fit")
    check_message(warning, folder, "cudaMalloc")
    assert trt.cuda.alive() == {}


@pytest.mark.parametrize("refused", ["weights", "context"])
def test_what_tensorrt_itself_has_no_memory_for(
    folder: Path, trt: FakeTensorRt, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    """It logs the reason and returns nothing."""
    if refused == "weights":
        trt.weight_memory = SMALL
        reason = "TensorRT 11.4.0.106 refused the file: Error Code 1: Cuda Runtime (out of memory)"
    else:
        reason = "TensorRT 11.4.0.106 refused an execution context: Requested amount"

        def refuse(engine: Engine, strategy: object = None) -> Context | None:
            text = "Requested amount of GPU memory (8 bytes) could not be allocated."
            make_logger(trt).log(trt.ILogger.ERROR, text)
            return None

        monkeypatch.setattr(Engine, "create_execution_context", refuse)
    with pytest.raises(GpuMemoryError) as caught:
        load_model(folder, backend="tensorrt")
    check_message(str(caught.value), folder, reason)
    assert trt.cuda.alive() == {}


def test_what_runs_out_in_the_first_comparison(
    folder: Path, trt: FakeTensorRt, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its memories are more than what opening asked for."""
    compare = first_run.compare_networks

    def with_less(*given: object) -> object:
        trt.cuda.memory = SMALL
        return compare(*given)  # type: ignore[arg-type]

    trt.cuda.memory = 1 << 30
    monkeypatch.setattr(first_run, "compare_networks", with_less)
    with pytest.raises(GpuMemoryError) as caught:
        load_model(folder, backend="tensorrt")
    assert str(caught.value).startswith("model nano does not fit on the GPU: it needs at least 2")
    assert "MB of 1074 MB were free" in str(caught.value)
    assert trt.cuda.alive() == {}


def test_the_next_smaller_model_is_named() -> None:
    chain = ["sam2.1-large"]
    while chain[-1]:
        chain.append(smaller_model(chain[-1]))
    assert chain[1:] == [
        *("sam2.1-base+@1024", "sam2.1-small@1024", "sam2.1-tiny@1024", "sam2.1-tiny@512"),
        *("nano", ""),
    ]
    assert smaller_model("sam2.1-base+@512") == "sam2.1-small@512"
    assert smaller_model("a model of mine") == ""


def test_the_message_names_it(folder: Path) -> None:
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace('"name": "nano"', '"name": "sam2.1-tiny@1024"'))
    with pytest.raises(GpuMemoryError, match=r"or take --model sam2\.1-tiny@512$"):
        load_model(folder, backend="tensorrt")
