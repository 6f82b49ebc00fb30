"""TensorRT's backend on the fake driver: graphs, bytes moved, whose engines it takes, errors.

The contract that all backends keep has its own suite (tests/contract/test_backend.py).
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from samcam.engines import model_folder
from samcam.engines.base import EngineError
from samcam.engines.graph_table import NETWORKS
from samcam.engines.manifest import read_manifest, write_manifest
from samcam.engines.model_folder import load_model, open_model
from samcam.engines.options import EngineOptions
from samcam.engines.sam2_graphs import Sam2Networks
from samcam.engines.tensorrt.backend import TensorRtBackend
from samcam.engines.tensorrt.cuda_memory import CudaDevice, DeviceBlock
from samcam.engines.tensorrt.cuda_runtime import CudaError
from samcam.engines.tensorrt.files import MAX_POINTS, engine_path, read_record, record_path
from samcam.engines.tensorrt.library import TENSORRT, NoTensorRtError
from samcam.export.build_tensorrt import BuildOrder, build_engines
from tests.helpers import fake_tensorrt
from tests.helpers.fake_cuda import FakeCuda
from tests.helpers.fake_tensorrt import Context, FakeTensorRt
from tests.helpers.tiny_model import example_feeds, probe_outputs, tiny_manifest, write_tiny_model

SPEC = tiny_manifest("fixed").specs()["mask_decoder"]


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[FakeCuda, FakeTensorRt]]:
    """A driver and a TensorRT; at the end everything must have been given back."""
    cuda, trt = fake_tensorrt.install(monkeypatch)
    yield cuda, trt
    assert cuda.alive() == {}


@pytest.fixture
def cuda(fakes: tuple[FakeCuda, FakeTensorRt]) -> FakeCuda:
    return fakes[0]


@pytest.fixture
def trt(fakes: tuple[FakeCuda, FakeTensorRt]) -> FakeTensorRt:
    return fakes[1]


@pytest.fixture
def folder(fakes, tmp_path: Path) -> Path:
    """A tiny model with its engines."""
    model = tmp_path / "fake"
    write_tiny_model(model)
    build_engines(BuildOrder(folder=model, check=False))
    return model


def open_decoder(folder: Path) -> TensorRtBackend:
    return TensorRtBackend("mask_decoder", folder / "mask_decoder.onnx", EngineOptions())


def run(backend: TensorRtBackend, points: int, seed: int = 0) -> None:
    feeds = example_feeds(SPEC, np.random.default_rng(seed), points)
    expected = probe_outputs(SPEC, feeds)
    for name, tensor in backend.run(feeds).items():
        np.testing.assert_allclose(tensor.numpy(), expected[name], rtol=1e-5)


def test_tracking_is_a_graph_and_prompts_are_not(folder: Path, cuda: FakeCuda) -> None:
    backend = open_decoder(folder)
    assert backend.graphs == 0
    run(backend, 1)
    assert backend.graphs == 1
    assert cuda.calls["cudaGraphLaunch"] == 0, "the first run prepares it"
    for i, points in enumerate((1, 1, 2, 7, 1, MAX_POINTS, 1)):
        before = cuda.calls["cudaGraphLaunch"]
        run(backend, points, i)
        assert cuda.calls["cudaGraphLaunch"] - before == (points == 1)
    assert cuda.calls["cudaStreamBeginCapture"] == 1
    backend.close()


def test_more_points_than_the_engine_takes(folder: Path) -> None:
    backend = open_decoder(folder)
    with pytest.raises(EngineError, match=f"expected 1 to {MAX_POINTS} points, got 65"):
        run(backend, MAX_POINTS + 1)
    run(backend, 3)
    backend.close()


def test_without_graphs_it_runs_and_says_so(
    folder: Path, trt: FakeTensorRt, caplog: pytest.LogCaptureFixture
) -> None:
    trt.uncapturable = True
    backend = open_decoder(folder)
    for seed in range(3):
        run(backend, 1, seed)
    assert backend.graphs == 0
    (message,) = [r.message for r in caplog.records if r.levelno == logging.WARNING]
    assert "runs without a CUDA graph, slower: cudaStreamEndCapture" in message
    backend.close()


def frame(networks: Sam2Networks, seed: int, memories: list) -> None:
    """What one tracked frame asks for: encode, attend, decode, remember."""
    image = np.random.default_rng(seed).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    features = networks.encode_image(image)
    pointers = [np.full(8, i, np.float32) for i in range(len(memories))]
    offsets = [float(i) for i in range(len(memories))]
    attended = networks.attend(features, memories, [0] * len(memories), pointers, offsets)
    none = np.zeros((0, 2), np.float32), np.zeros(0, np.int32)
    output = networks.decode(attended, features, *none)
    mask = output.low_res_masks[1]
    memories.append(networks.encode_memory(features, mask, False, output.object_score_logit))
    del memories[:-6]


def test_only_masks_and_scores_come_back(folder: Path, cuda: FakeCuda) -> None:
    """A tracked frame sends one picture and small inputs, and fetches the decoder's outputs."""
    manifest = read_manifest(folder)
    networks = open_model("tensorrt", folder, manifest, EngineOptions())
    memories = [
        networks.encode_memory(
            networks.encode_image(np.zeros((9, 9, 3), np.uint8)),
            np.zeros((16, 16), np.float32),
            True,
            1.0,
        )
    ]
    for seed in range(8):
        frame(networks, seed, memories)
    calls, moved = cuda.calls.copy(), cuda.moved.copy()
    for seed in range(8, 18):
        frame(networks, seed, memories)
    back = moved_per_frame(cuda, moved, "cudaMemcpyDeviceToHost")
    decoder = 4 * (4 * 16 * 16 + 4 + 4 * 8 + 1)
    assert back == decoder
    there = moved_per_frame(cuda, moved, "cudaMemcpyHostToDevice")
    picture, mask, pointers = 64 * 64 * 3, 4 * 16 * 16, 4 * 6 * 8
    assert there <= picture + mask + pointers + 500
    calls = cuda.calls - calls
    for name in ("cudaMalloc", "cudaMallocHost", "cudaEventCreateWithFlags", "cudaFree"):
        assert calls[name] == 0, name
    assert calls["cudaGraphLaunch"] == 4 * 10
    assert calls["cudaEventSynchronize"] == 10, "the host waits for the masks, nothing else"
    networks.close()


def moved_per_frame(cuda: FakeCuda, before, kind: str) -> float:
    return (cuda.moved[kind] - before[kind]) / 10


def decoder_record(folder: Path) -> Path:
    return record_path(engine_path(folder, TENSORRT, "mask_decoder"))


def edit_record(folder: Path, **changes: object) -> None:
    path = decoder_record(folder)
    data = json.loads(path.read_text())
    for key, value in changes.items():
        (data["fingerprint"] if key in data["fingerprint"] else data)[key] = value
    path.write_text(json.dumps(data))


def cut(folder: Path) -> None:
    path = engine_path(folder, TENSORRT, "mask_decoder")
    path.write_bytes(path.read_bytes()[:100])


def flip(folder: Path) -> None:
    path = engine_path(folder, TENSORRT, "mask_decoder")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def swap(folder: Path) -> None:
    source = engine_path(folder, TENSORRT, "memory_encoder")
    shutil.copy(source, engine_path(folder, TENSORRT, "mask_decoder"))
    shutil.copy(record_path(source), decoder_record(folder))


def export_again(folder: Path) -> None:
    """Other weights under the old engines."""
    manifest = read_manifest(folder)
    path = folder / "mask_decoder.onnx"
    model = onnx.load(path)
    model.doc_string = "another one"
    onnx.save(model, path)
    write_manifest(folder, manifest)


def other_limits(folder: Path) -> None:
    write_manifest(folder, replace(read_manifest(folder), max_cond=5))


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "another GPU": (
        lambda f: edit_record(f, gpu="Other GPU"),
        "built for another GPU: expected Fake GPU, found Other GPU",
    ),
    "another capability": (
        lambda f: edit_record(f, compute_capability="12.0"),
        "built for another GPU: expected 8.9, found 12.0",
    ),
    "another TensorRT": (
        lambda f: edit_record(f, tensorrt="10.16.1.11"),
        "built for another TensorRT: expected 11.4.0.106, found 10.16.1.11",
    ),
    "another model": (export_again, "built for another model file"),
    "other limits": (other_limits, "built for other limits: expected [{"),
    "truncated": (cut, "truncated: expected"),
    "damaged": (flip, "damaged: expected SHA-256"),
    "missing": (lambda f: engine_path(f, TENSORRT, "mask_decoder").unlink(), "missing"),
    "no record": (lambda f: decoder_record(f).unlink(), "missing"),
    "no engines": (lambda f: shutil.rmtree(f / "tensorrt"), "missing"),
    "broken record": (lambda f: decoder_record(f).write_text("{"), "unreadable"),
    "a later record": (lambda f: edit_record(f, format_version=2), "version: 2: expected 1"),
    "nonsense": (lambda f: edit_record(f, compute_capability="x+"), ": expected a number such as"),
    "a record of another shape": (
        lambda f: edit_record(f, fingerprint=[1]),
        "fingerprint: [1]: expected a section with the keys onnx_sha256, tensorrt, gpu",
    ),
    "a record of no network": (
        lambda f: edit_record(f, network="eye", profiles=[{"N": None}], colour=1),
        'profiles: [{"N": null}]: expected for each profile lists of whole numbers by axis; ',
    ),
    "an engine of another network": (swap, "of the network memory_encoder, expected mask_decoder"),
}


@pytest.mark.parametrize("case", list(BAD))
def test_a_foreign_or_stale_engine_is_named_with_the_command(folder: Path, case: str) -> None:
    damage, message = BAD[case]
    damage(folder)
    with pytest.raises(EngineError) as caught:
        load_model(str(folder), backend="tensorrt").close()
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(str(folder / "tensorrt"))
    assert message in text
    assert text.endswith(f'run: python -m export.build_tensorrt "{folder}"')


def test_an_engine_that_tensorrt_refuses(folder: Path, trt: FakeTensorRt) -> None:
    """The record fits, the file does not: TensorRT's own reason is handed on."""
    path = engine_path(folder, TENSORRT, "mask_decoder")
    data = path.read_bytes().replace(b"FAKE-ENGINE", b"FOREIGN-ONE", 1)
    path.write_bytes(data)
    edit_record(folder, engine_sha256=hashlib.sha256(data).hexdigest())
    with pytest.raises(EngineError, match=r"TensorRT 11\.4\.0\.106 refused the file: Magic tag"):
        open_decoder(folder)


def test_auto_takes_tensorrt_where_it_works(
    folder: Path, cuda: FakeCuda, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO), load_model(str(folder)) as networks:
        assert isinstance(networks.backends["image_encoder"], TensorRtBackend)
        assert networks.manifest.form == "padded"
    assert f"model fake from {folder}: tensorrt" in caplog.text


def test_auto_says_why_it_does_not_use_the_gpu(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cut(folder)
    with caplog.at_level(logging.INFO), load_model(str(folder)) as networks:
        assert not isinstance(networks.backends["image_encoder"], TensorRtBackend)
    (warning,) = [r.message for r in caplog.records if r.levelno == logging.WARNING]
    assert warning.startswith("tensorrt is not used: ")
    assert "truncated" in warning
    assert "python -m export.build_tensorrt" in warning
    assert "tensorrt is not used: " in caplog.text


def test_auto_on_a_gpu_without_engines_names_the_command(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.rmtree(folder / "tensorrt")
    load_model(str(folder)).close()
    (warning,) = [r.message for r in caplog.records if r.levelno == logging.WARNING]
    assert warning.startswith("tensorrt is not used: ")
    assert warning.endswith(f'missing: run: python -m export.build_tensorrt "{folder}"')


@pytest.mark.parametrize("reason", ["no GPU", "int8"])
def test_auto_is_quiet_where_no_engine_can_be(
    folder: Path, cuda: FakeCuda, caplog: pytest.LogCaptureFixture, reason: str
) -> None:
    shutil.rmtree(folder / "tensorrt")
    if reason == "int8":
        write_manifest(folder, read_manifest(folder), precision={"image_encoder": "int8"})
    else:
        cuda.devices = 0
    with caplog.at_level(logging.INFO):
        load_model(str(folder)).close()
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert "tensorrt is not used: " in caplog.text


def test_a_version_that_is_not_known(folder: Path, trt: FakeTensorRt) -> None:
    trt.__version__ = "12.0.0.1"
    with pytest.raises(NoTensorRtError, match=r"tensorrt 12\.0\.0\.1 is installed, expected 10 or"):
        open_decoder(folder)
    with pytest.raises(EngineError, match=r"^backend tensorrt: tensorrt 12"):
        load_model(str(folder), backend="tensorrt")


def test_the_other_known_version_works(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cuda, trt = fake_tensorrt.install(monkeypatch)
    trt.__version__ = "10.16.1.11"
    write_tiny_model(tmp_path / "m")
    build_engines(BuildOrder(folder=tmp_path / "m", check=False))
    record = read_record(tmp_path / "m", TENSORRT, "mask_decoder")
    assert record.fingerprint.tensorrt == "10.16.1.11"
    backend = open_decoder(tmp_path / "m")
    run(backend, 1)
    backend.close()
    assert cuda.alive() == {}


def test_every_network_is_open_only_once_and_closes_alone(folder: Path, cuda: FakeCuda) -> None:
    manifest = read_manifest(folder)
    with open_model("tensorrt", folder, manifest, EngineOptions()) as networks:
        assert set(networks.backends) == set(NETWORKS)
        assert cuda.calls["cudaStreamCreateWithFlags"] == 1, "one stream for all"
        networks.backends["mask_prompt"].close()
        decoder = networks.backends["mask_decoder"]
        assert isinstance(decoder, TensorRtBackend)
        run(decoder, 1)


def test_a_failing_gpu_is_given_back_too(
    folder: Path, cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wait of `close` fails; the memory, the graph and the device go all the same."""
    backend = open_decoder(folder)
    run(backend, 1)

    def fail(device: CudaDevice) -> None:
        raise CudaError("cudaEventSynchronize: failed")

    with monkeypatch.context() as patch:
        patch.setattr(CudaDevice, "wait", fail)
        with pytest.raises(CudaError):
            backend.close()
    backend.close()
    assert cuda.alive() == {}


def test_contexts_go_before_a_device_that_could_not_be_used(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[weakref.ref[Context]] = []
    left: list[int] = []
    start, release, allocate = Context.__init__, CudaDevice.release, CudaDevice.allocate

    def count(context: Context, *given: object) -> None:
        start(context, *given)
        seen.append(weakref.ref(context))

    def look(device: CudaDevice) -> None:
        left.append(sum(context() is not None for context in seen))
        release(device)

    def fail(device: CudaDevice, size: int) -> DeviceBlock:
        if not seen:  # the scratch memory of the contexts
            return allocate(device, size)
        raise CudaError("cudaMalloc: out of memory")

    monkeypatch.setattr(Context, "__init__", count)
    monkeypatch.setattr(CudaDevice, "release", look)
    monkeypatch.setattr(CudaDevice, "allocate", fail)
    with pytest.raises(CudaError):
        open_decoder(folder)
    assert (len(seen), left) == (2, [0])


def test_ctrl_c_while_a_model_opens_closes_what_is_open(
    folder: Path, cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(model_folder, "warm_up", stop)
    with pytest.raises(KeyboardInterrupt):
        open_model("tensorrt", folder, read_manifest(folder), EngineOptions())
    assert cuda.alive() == {}
