"""The first run of engines on a GPU: compared with ONNX Runtime, and the result kept."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from samcam.engines.base import EngineError
from samcam.engines.checks import first_run
from samcam.engines.checks.self_check import (
    compare_networks,
)
from samcam.engines.graph_table import (
    NETWORKS,
)
from samcam.engines.model_folder import load_model
from samcam.engines.tensorrt.library import TENSORRT
from samcam.export.build_tensorrt import BuildOrder, build_engines
from tests.helpers import fake_tensorrt
from tests.helpers.fake_tensorrt import FakeTensorRt
from tests.helpers.tiny_model import add_graphs, write_tiny_model


@pytest.fixture
def trt(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeTensorRt]:
    cuda, fake = fake_tensorrt.install(monkeypatch)
    yield fake
    assert cuda.alive() == {}


@pytest.fixture
def folder(trt: FakeTensorRt, tmp_path: Path) -> Path:
    """A model whose engines were built and never compared."""
    write_tiny_model(tmp_path / "fake")
    order = BuildOrder(folder=tmp_path / "fake", check=False, precision="float32")
    build_engines(order)
    return order.folder


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows with every comparison."""
    runs: list[int] = []

    def count(*given):
        runs.append(1)
        return compare_networks(*given)

    monkeypatch.setattr(first_run, "compare_networks", count)
    return runs


def test_the_first_run_compares_and_keeps_the_result(
    folder: Path, trt: FakeTensorRt, compared: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        load_model(str(folder), backend="tensorrt").close()
    assert len(compared) == 1
    assert "first run on Fake GPU, 8.9: comparing" in caplog.text
    assert f'python -m export verify "{folder}" --frames DIR' in caplog.text
    assert "min IoU" in caplog.text
    kept = json.loads(first_run.checks_path(folder, TENSORRT).read_text())
    assert [check["network"] for check in kept["checks"]] == list(NETWORKS)
    load_model(str(folder), backend="tensorrt").close()
    assert len(compared) == 1, "the second start takes the kept result"
    trt.cuda.driver_version = "590.44.01"
    load_model(str(folder), backend="tensorrt").close()
    assert len(compared) == 2, "another driver: compared again"
    build_engines(BuildOrder(folder=folder, check=False))
    load_model(str(folder), backend="tensorrt").close()
    assert len(compared) == 3, "other engines: compared again"
    first_run.checks_path(folder, TENSORRT).write_text("{")
    load_model(str(folder), backend="tensorrt").close()
    assert len(compared) == 4, "a broken file is no result"


def test_engines_that_answer_otherwise_are_refused_at_every_start(
    folder: Path, trt: FakeTensorRt, compared: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    trt.noise = {"mask_decoder": -1e4}
    for _ in range(2):
        with pytest.raises(EngineError) as caught:
            load_model(str(folder), backend="tensorrt")
        text = str(caught.value)
        assert "mask_decoder: worst mask IoU 0." in text
        assert text.endswith(
            "float32 misses as well: use --backend onnxruntime, or update TensorRT or the driver"
        )
    assert len(compared) == 1
    with load_model(str(folder)) as networks:  # auto goes on without the GPU, and says so
        assert networks.manifest.form == "dynamic"
    assert "tensorrt is not used: " in caplog.text


def test_engines_that_can_go_higher_are_built_again(trt: FakeTensorRt, tmp_path: Path) -> None:
    folder = tmp_path / "fake"
    write_tiny_model(folder)
    add_graphs(folder, "mask_decoder", "float16")
    build_engines(BuildOrder(folder=folder, check=False))
    trt.noise = {"mask_decoder.float16": -1e4}
    with pytest.raises(EngineError) as caught:
        load_model(str(folder), backend="tensorrt")
    assert str(caught.value).endswith(f'run: python -m export.build_tensorrt "{folder}"')


def test_a_folder_that_cannot_be_written_is_no_obstacle(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("os.replace", refuse)
    load_model(str(folder), backend="tensorrt").close()
    (warning,) = [r.message for r in caplog.records if r.levelno == logging.WARNING]
    assert warning.endswith(
        "checks.json: cannot be written: Read-only file system: the next start compares again"
    )
    assert not first_run.checks_path(folder, TENSORRT).exists()
