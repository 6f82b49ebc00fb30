"""A tiny model on the fake TensorRT."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers import fake_tensorrt
from tests.helpers.fake_tensorrt import FakeTensorRt
from tests.helpers.tiny_model import write_tiny_model


@pytest.fixture
def trt(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeTensorRt]:
    cuda, fake = fake_tensorrt.install(monkeypatch)
    yield fake
    assert cuda.alive() == {}


@pytest.fixture
def folder(trt: FakeTensorRt, tmp_path: Path) -> Path:
    model = tmp_path / "fake"
    write_tiny_model(model)
    return model
