"""Memory attention's two profiles on the fake driver: which one runs, its graph, what it costs.

And in general: what memories and pointers are padded to.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from samcam.engines.base import EngineError, RowStack
from samcam.engines.fake_backend import fake_manifest, fake_networks
from samcam.engines.graph_table import MEMORY_ATTENTION
from samcam.engines.manifest import read_manifest, write_manifest
from samcam.engines.model_folder import load_model, open_model
from samcam.engines.options import EngineOptions
from samcam.engines.sam2_graphs import ImageFeatures, Sam2Networks
from samcam.engines.tensorrt.backend import TensorRtBackend
from samcam.export.build_tensorrt import BuildOrder, build_engines
from tests.helpers import fake_tensorrt
from tests.helpers.fake_cuda import FakeCuda
from tests.helpers.fake_tensorrt import Context, FakeTensorRt
from tests.helpers.tiny_model import write_tiny_model

# memories and pointers, and what they are padded to: the anchors count as well
CROSSING = [
    ((1, 1), (7, 16)),
    ((7, 16), (7, 16)),
    ((8, 16), (10, 19)),
    ((7, 17), (10, 19)),
    ((10, 19), (10, 19)),
    ((2, 3), (7, 16)),
]


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    return fake_tensorrt.install(monkeypatch)[0]


def attend(networks: Sam2Networks, features: ImageFeatures, counts: tuple[int, int]) -> np.ndarray:
    """Attend to that many memories and pointers, all different."""
    manifest = networks.manifest
    shape = (1, manifest.memory_channels, manifest.grid, manifest.grid)
    memories = [features.pix_feat.numpy()[:, : shape[1]] + i for i in range(counts[0])]
    assert memories[0].shape == shape
    pointers = [np.full(manifest.width, float(i), np.float32) for i in range(counts[1])]
    offsets = [i % 7 for i in range(counts[0])]
    answer = networks.attend(features, memories, offsets, pointers, list(range(counts[1])))
    return answer.numpy().copy()


def picture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (64, 64, 3), dtype=np.uint8)


def test_the_first_step_that_holds_both_counts() -> None:
    manifest = fake_manifest()
    assert manifest.row_steps == ((7, 16), (10, 19))
    assert replace(manifest, max_cond=1).row_steps == ((7, 16),)
    assert replace(manifest, form="fixed").row_steps == ((10, 19),), "the graphs take no other"
    networks = fake_networks(manifest=manifest.padded())
    features = networks.encode_image(picture())
    fed = []
    attention = networks.backends[MEMORY_ATTENTION]
    run = attention.run

    def noted(feeds):
        fed.append((feeds["maskmem_features"], feeds["obj_ptrs"]))
        assert feeds["maskmem_valid"].sum() == len(feeds["maskmem_features"].rows)
        assert feeds["obj_ptr_valid"].sum() == len(feeds["obj_ptrs"].rows)
        return run(feeds)

    attention.run = noted  # type: ignore[method-assign]
    for counts, expected in CROSSING:
        attend(networks, features, counts)
        assert all(isinstance(feed, RowStack) for feed in fed[-1])
        assert (fed[-1][0].total, fed[-1][1].total) == expected
    with pytest.raises(EngineError, match="at most 10 memories, got 11"):
        attend(networks, features, (11, 1))
    with pytest.raises(EngineError, match="at most 19 pointers, got 20"):
        attend(networks, features, (1, 20))


def test_each_profile_has_a_graph_and_changing_costs_nothing(
    cuda: FakeCuda, tmp_path: Path
) -> None:
    manifest = write_tiny_model(tmp_path / "m")
    build_engines(BuildOrder(folder=tmp_path / "m", check=False))
    reference = open_model("onnxruntime", tmp_path / "m", manifest, EngineOptions(threads=1))
    reference = Sam2Networks(manifest.padded(), reference.backends)
    networks = open_model("tensorrt", tmp_path / "m", manifest, EngineOptions())
    backend = networks.backends[MEMORY_ATTENTION]
    assert isinstance(backend, TensorRtBackend)
    assert backend.graphs == 2, "the warm-up captured both"
    expected = reference.encode_image(picture())
    features = networks.encode_image(picture())
    calls = cuda.calls.copy()
    for counts, _ in CROSSING * 2:
        given = attend(networks, features, counts)
        np.testing.assert_allclose(given, attend(reference, expected, counts), rtol=1e-5)
    calls = cuda.calls - calls
    assert calls["cudaGraphLaunch"] == 2 * len(CROSSING)
    for name in ("cudaMalloc", "cudaMallocHost", "cudaFree", "cudaStreamBeginCapture"):
        assert calls[name] == 0, name
    networks.close()
    assert cuda.alive() == {}


def test_an_answer_depends_on_its_own_memory_only(cuda: FakeCuda, tmp_path: Path) -> None:
    """To the last bit, whichever profile another object ran with just before."""
    manifest = write_tiny_model(tmp_path / "m")
    build_engines(BuildOrder(folder=tmp_path / "m", check=False))
    with open_model("tensorrt", tmp_path / "m", manifest, EngineOptions()) as networks:
        features = networks.encode_image(picture())
        alone = attend(networks, features, (3, 4))
        for other in ((10, 19), (7, 16), (1, 1)):
            attend(networks, features, other)
            np.testing.assert_array_equal(attend(networks, features, (3, 4)), alone)


def test_the_first_run_compares_the_profile_of_a_full_memory_too(
    cuda: FakeCuda, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its kernels are others: they can be wrong where those of two memories are right."""
    start = Context.execute_async_v3

    def wrong_beyond_seven(context: Context, stream: int) -> bool:
        is_full = context._shapes.get("maskmem_features", (1, 0))[1] == 10
        monkeypatch.setattr(trt, "noise", {MEMORY_ATTENTION: -1e30} if is_full else {})
        return start(context, stream)

    trt: FakeTensorRt = sys.modules["tensorrt"]  # type: ignore[assignment]
    write_tiny_model(tmp_path / "m")
    build_engines(BuildOrder(folder=tmp_path / "m", check=False))
    monkeypatch.setattr(Context, "execute_async_v3", wrong_beyond_seven)
    with pytest.raises(EngineError, match=r"IoU 0\.\d+ \(picture \d, .*, tracked by 10 memories\)"):
        load_model(str(tmp_path / "m"), backend="tensorrt")


def test_the_first_run_is_compared_with_the_cpu(
    cuda: FakeCuda, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Not with the accelerator of the settings, which is not there."""
    write_tiny_model(tmp_path / "m")
    build_engines(BuildOrder(folder=tmp_path / "m", check=False))
    with caplog.at_level("INFO"):
        load_model(str(tmp_path / "m"), "tensorrt", EngineOptions(providers=("dml",))).close()
    assert "min IoU" in caplog.text


def test_other_numbers_of_rows_are_refused_by_name(cuda: FakeCuda, tmp_path: Path) -> None:
    manifest = write_tiny_model(tmp_path / "m")
    build_engines(BuildOrder(folder=tmp_path / "m", check=False))
    with open_model("tensorrt", tmp_path / "m", manifest, EngineOptions()) as networks:
        unpadded = Sam2Networks(replace(manifest, form="dynamic"), networks.backends)
        features = networks.encode_image(picture())
        with pytest.raises(EngineError, match="expected N 7, P 16 or N 10, P 19, got N 3, P 4"):
            attend(unpadded, features, (3, 4))


def test_a_model_of_one_step_has_one_profile(cuda: FakeCuda, tmp_path: Path) -> None:
    folder = tmp_path / "m"
    write_tiny_model(folder)
    manifest = write_manifest(folder, replace(read_manifest(folder), max_cond=1))
    build_engines(BuildOrder(folder=folder, check=False))
    with open_model("tensorrt", folder, manifest, EngineOptions()) as networks:
        backend = networks.backends[MEMORY_ATTENTION]
        assert isinstance(backend, TensorRtBackend)
        assert backend.graphs == 1
        attend(networks, networks.encode_image(picture()), (7, 16))
