"""The backend on TensorRT for RTX, on the fake driver: graphs, and kernels kept on disk."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from samcam.engines.base import EngineError
from samcam.engines.graph_table import NETWORKS
from samcam.engines.manifest import read_manifest
from samcam.engines.model_folder import load_model, open_model
from samcam.engines.options import EngineOptions
from samcam.engines.sam2_graphs import Sam2Networks
from samcam.engines.tensorrt import rtx_contexts
from samcam.engines.tensorrt.backend import TensorRtBackend
from samcam.engines.tensorrt.library import TENSORRT_RTX
from samcam.engines.tensorrt.rtx_contexts import RtxContexts
from samcam.export.build_tensorrt import BuildOrder, build_engines
from tests.helpers import fake_tensorrt_rtx
from tests.helpers.fake_cuda import DriverFault, FakeCuda
from tests.helpers.fake_tensorrt_rtx import FakeTensorRtRtx
from tests.helpers.tiny_model import example_feeds, probe_outputs, tiny_manifest, write_tiny_model

SPEC = tiny_manifest("fixed").specs()["mask_decoder"]


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> tuple[FakeCuda, FakeTensorRtRtx]:
    return fake_tensorrt_rtx.install(monkeypatch)


@pytest.fixture
def cuda(fakes: tuple[FakeCuda, FakeTensorRtRtx]) -> FakeCuda:
    return fakes[0]


@pytest.fixture
def rtx(fakes: tuple[FakeCuda, FakeTensorRtRtx]) -> FakeTensorRtRtx:
    return fakes[1]


@pytest.fixture
def folder(fakes: object, tmp_path: Path) -> Path:
    """A tiny model with engines for any GPU of capability 8.0 and newer."""
    write_tiny_model(tmp_path / "m")
    build_engines(BuildOrder(folder=tmp_path / "m", library=TENSORRT_RTX, check=False))
    return tmp_path / "m"


def opened(folder: Path) -> Sam2Networks:
    return open_model("tensorrt-rtx", folder, read_manifest(folder), EngineOptions())


def decode(networks: Sam2Networks, points: int, seed: int = 0) -> None:
    feeds = example_feeds(SPEC, np.random.default_rng(seed), points)
    expected = probe_outputs(SPEC, feeds)
    for name, tensor in networks.backends["mask_decoder"].run(feeds).items():
        np.testing.assert_allclose(tensor.numpy(), expected[name], rtol=1e-5)


def kernels(folder: Path) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in (folder / "tensorrt-rtx").glob("*.kernels")}


def test_tracking_is_captured_and_nothing_is_compiled_in_mid_stream(
    folder: Path, cuda: FakeCuda, rtx: FakeTensorRtRtx
) -> None:
    with opened(folder) as networks:
        graphs = {}
        for name, backend in networks.backends.items():
            assert isinstance(backend, TensorRtBackend)
            graphs[name] = backend.graphs
        assert graphs == dict.fromkeys(NETWORKS, 1) | {"memory_attention": 2}
        assert rtx.compiled == {name: 1 for name in NETWORKS} | {
            "memory_attention": 2,  # profiles
            "mask_decoder": 2,  # tracking, and the warm-up's three points
        }
        calls = cuda.calls.copy()
        for seed, points in enumerate((1, 2, 1, 3)):
            decode(networks, points, seed)
        calls = cuda.calls - calls
        assert calls["cudaGraphLaunch"] == 2
        assert calls["cudaMalloc"] == 0
    assert cuda.alive() == {}


def test_the_next_start_compiles_nothing(folder: Path, rtx: FakeTensorRtRtx) -> None:
    networks = opened(folder)
    at_start = kernels(folder)
    assert set(at_start) == set(NETWORKS), "kept before anything can go wrong"
    decode(networks, 5)
    networks.close()
    assert kernels(folder)["mask_decoder"] != at_start["mask_decoder"], "the five points too"
    rtx.compiled.clear()
    with opened(folder) as networks:
        decode(networks, 5)
        assert not rtx.compiled
        written = {path: path.stat().st_mtime_ns for path in folder.rglob("*.kernels")}
    assert written == {path: path.stat().st_mtime_ns for path in folder.rglob("*.kernels")}
    assert not list(folder.rglob("*.part*")), "nothing is left of the writing"


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[40] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [cut, empty, flip])
def test_damaged_kernels_are_named_and_compiled_again(
    folder: Path,
    rtx: FakeTensorRtRtx,
    caplog: pytest.LogCaptureFixture,
    damage: Callable[[Path], None],
) -> None:
    opened(folder).close()
    path = folder / "tensorrt-rtx" / "memory_encoder.kernels"
    good = path.read_bytes()
    damage(path)
    rtx.compiled.clear()
    opened(folder).close()
    assert rtx.compiled == {"memory_encoder": 1}
    (warning,) = [r.message for r in caplog.records if r.levelno == logging.WARNING]
    assert warning == f"{path}: damaged, not used: compiled again"
    assert path.read_bytes() == good


def test_kernels_of_another_gpu_are_compiled_again(
    folder: Path, cuda: FakeCuda, rtx: FakeTensorRtRtx, caplog: pytest.LogCaptureFixture
) -> None:
    """The engines run there: they are for every GPU that is new enough."""
    opened(folder).close()
    rtx.compiled.clear()
    cuda.name, cuda.capability = "Another GPU", (12, 0)
    with caplog.at_level(logging.INFO):
        opened(folder).close()
    assert set(rtx.compiled) == set(NETWORKS)
    assert "memory_encoder.kernels: of another GPU, driver or version" in caplog.text
    rtx.compiled.clear()
    opened(folder).close()
    assert not rtx.compiled


def test_an_engine_that_is_built_again_starts_without_kernels(folder: Path) -> None:
    opened(folder).close()
    assert kernels(folder)
    build_engines(BuildOrder(folder=folder, library=TENSORRT_RTX, check=False))
    assert not kernels(folder)


def test_kernels_are_bounded_and_a_full_disk_is_no_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as small, caplog.at_level(logging.INFO):
        small.setattr(rtx_contexts, "MAX_CACHE_BYTES", 10)
        opened(folder).close()
    assert "the next start compiles again: " in caplog.text
    assert ".kernels: " in caplog.text
    assert "expected at most 10" in caplog.text
    assert not kernels(folder)

    def full(path: Path, data: bytes) -> None:
        raise EngineError(f"{path}: cannot be written: No space left on device")

    monkeypatch.setattr(rtx_contexts, "write_engine_file", full)
    with caplog.at_level(logging.INFO):
        opened(folder).close()
    assert "No space left on device" in caplog.text
    assert not kernels(folder)


def test_what_cannot_be_captured_runs_and_says_so(
    folder: Path, rtx: FakeTensorRtRtx, cuda: FakeCuda, caplog: pytest.LogCaptureFixture
) -> None:
    rtx.uncapturable = True
    with opened(folder) as networks:
        for seed in range(3):
            decode(networks, 1, seed)
    assert cuda.calls["cudaStreamBeginCapture"] == 0, "it is asked beforehand"
    messages = [r.message for r in caplog.records if r.levelno == logging.WARNING]
    assert len(messages) == len(NETWORKS) + 1  # two profiles of memory attention
    assert all("runs without a CUDA graph, slower: it cannot be" in text for text in messages)


@pytest.mark.parametrize(
    ("capability", "said"),
    [
        ((7, 5), r"built for another GPU: expected 7\.5, found 8\.0\+"),
        ((9, 0), r"compute capability 9\.0: TensorRT for RTX is for 7\.5, 8\.0, .* only"),
    ],
)
def test_a_gpu_that_the_engines_are_not_for(
    folder: Path, cuda: FakeCuda, capability: tuple[int, int], said: str
) -> None:
    cuda.capability = capability
    with pytest.raises(EngineError, match=said):
        load_model(str(folder), backend="tensorrt-rtx")
    assert cuda.alive() == {}


def test_a_capture_without_asking_is_seen(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake can fail: so it is asked."""
    monkeypatch.setattr(RtxContexts, "may_capture", lambda *given: True)
    with pytest.raises(DriverFault, match="captured unasked"):
        opened(folder)


def test_a_cache_that_nobody_keeps_is_seen(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make = RtxContexts.make

    def forget(contexts: RtxContexts, *given: object) -> object:
        made = make(contexts, *given)  # type: ignore[arg-type]
        contexts._configs.clear()
        return made

    monkeypatch.setattr(RtxContexts, "make", forget)
    with pytest.raises(DriverFault, match="was destroyed"):
        opened(folder)
