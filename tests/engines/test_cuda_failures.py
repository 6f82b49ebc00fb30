"""The driver fails at any call, from opening a model to closing it, and stays broken."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from samcam.engines.base import EngineError
from samcam.engines.manifest import Manifest
from samcam.engines.model_folder import open_model
from samcam.engines.options import EngineOptions
from samcam.engines.sam2_graphs import Sam2Networks
from samcam.engines.tensorrt import cuda_memory
from samcam.export.build_tensorrt import BuildOrder, build_engines
from tests.helpers import fake_tensorrt
from tests.helpers.failing_cuda import FailingCuda
from tests.helpers.fake_driver import Status
from tests.helpers.tiny_model import write_tiny_model

SAMPLES = 24


def track(networks: Sam2Networks) -> None:
    """Two frames of one object."""
    points = np.array([[3.0, 4.0], [9.0, 9.0]], np.float32), np.array([1, 1], np.int32)
    none = np.zeros((0, 2), np.float32), np.zeros(0, np.int32)
    memories = []
    for prompt in (points, none):
        start = networks.stamp()
        features = networks.encode_image(np.zeros((64, 64, 3), np.uint8))
        attended = features.pix_feat_no_mem
        if memories:
            attended = networks.attend(features, memories, [0], [np.ones(8, np.float32)], [1.0])
        output = networks.decode(attended, features, *prompt)
        memories = [networks.encode_memory(features, output.low_res_masks[0], True, 1.0)]
        networks.stamp().ms_since(start)


def run(folder: Path, manifest: Manifest) -> None:
    networks = open_model("tensorrt", folder, manifest, EngineOptions())
    try:
        track(networks)
    except BaseException:
        with suppress(EngineError):  # the first one counts, as in the program
            networks.close()
        raise
    networks.close()


def test_every_call_may_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an `EngineError` that names the error; nothing else, and nobody waits for ever."""
    cuda = FailingCuda()
    fake_tensorrt.install(monkeypatch, cuda)
    manifest = write_tiny_model(tmp_path / "m")
    build_engines(BuildOrder(folder=tmp_path / "m", check=False))
    before = cuda.calls.total()
    run(tmp_path / "m", manifest)
    assert cuda.alive() == {}
    total = cuda.calls.total() - before
    assert total > 10 * SAMPLES
    for sample in range(SAMPLES):
        cuda = FailingCuda()
        fake_tensorrt.install(monkeypatch, cuda)
        cuda.fail_after(total * sample // SAMPLES, Status.cudaErrorIllegalAddress)
        with pytest.raises(EngineError, match=r"cudaErrorIllegalAddress|CUDA error 700"):
            run(tmp_path / "m", manifest)
        assert not cuda_memory._devices, "given back, however little that frees"
