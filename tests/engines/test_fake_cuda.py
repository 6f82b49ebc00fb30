"""The fake driver sees what it is there to see: each planted lifetime bug is an error."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from samcam.engines.options import EngineOptions
from samcam.engines.tensorrt.backend import TensorRtBackend
from samcam.engines.tensorrt.cuda_memory import CudaDevice, DeviceBlock
from samcam.engines.tensorrt.cuda_runtime import CudaEvent
from samcam.export.build_tensorrt import BuildOrder, build_engines
from tests.helpers import fake_tensorrt
from tests.helpers.fake_cuda import DriverFault, FakeCuda
from tests.helpers.tiny_model import example_feeds, probe_outputs, tiny_manifest, write_tiny_model

SPEC = tiny_manifest("fixed").specs()["mask_decoder"]


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    fake, _ = fake_tensorrt.install(monkeypatch)
    fake.cudaSetDevice(0)
    return fake


def test_a_copy_happens_when_someone_waits_for_it(cuda: FakeCuda) -> None:
    _, stream = cuda.cudaStreamCreateWithFlags(1)
    _, event = cuda.cudaEventCreateWithFlags(2)
    _, device = cuda.cudaMalloc(4)
    _, host = cuda.cudaMallocHost(4)
    staging = np.ctypeslib.as_array(cuda._pinned[host])
    staging[:] = 1
    kinds = cuda.cudaMemcpyKind
    cuda.cudaMemcpyAsync(device, host, 4, kinds.cudaMemcpyHostToDevice, stream)
    staging[:] = 2  # too early: this is what arrives
    cuda.cudaMemcpyAsync(host, device, 4, kinds.cudaMemcpyDeviceToHost, stream)
    assert list(staging) == [0xFF] * 4, "read before the wait"
    cuda.cudaEventRecord(event, stream)
    cuda.cudaEventSynchronize(event)
    assert set(staging) <= {2, 0xFF}


@pytest.mark.parametrize(
    ("use", "fault"),
    [
        (lambda c, s, d, h: c.cudaMemcpyAsync(d + 2, h, 4, 1, s), "pass the end"),
        (lambda c, s, d, h: c.cudaMemcpyAsync(d, np.zeros(4).ctypes.data, 4, 1, s), "not pinned"),
        (lambda c, s, d, h: (c.cudaFree(d), c.cudaMemsetAsync(d, 0, 4, s)), "after free"),
        (lambda c, s, d, h: (c.cudaFree(d), c.cudaFree(d)), "freed twice"),
        (
            lambda c, s, d, h: (c.cudaMemcpyAsync(d, h, 4, 1, s), c.cudaFreeHost(h)),
            "work is pending",
        ),
        (lambda c, s, d, h: c.cudaGraphLaunch(99, s), "the graph was destroyed"),
    ],
    ids=["past the end", "pageable", "after free", "double free", "staging freed", "no graph"],
)
def test_misuse_of_memory_is_a_fault(cuda: FakeCuda, use, fault: str) -> None:
    _, stream = cuda.cudaStreamCreateWithFlags(1)
    _, device = cuda.cudaMalloc(4)
    _, host = cuda.cudaMallocHost(4)
    with pytest.raises(DriverFault, match=fault):
        use(cuda, stream, device, host)


def test_a_thread_that_never_chose_its_device_is_foreign(cuda: FakeCuda) -> None:
    raised: list[BaseException] = []

    def body() -> None:
        try:
            cuda.cudaMalloc(4)
        except DriverFault as error:
            raised.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert "foreign thread" in str(raised[0])


def test_memory_freed_after_capture_is_a_fault(cuda: FakeCuda) -> None:
    _, stream = cuda.cudaStreamCreateWithFlags(1)
    _, device = cuda.cudaMalloc(4)
    cuda.cudaStreamBeginCapture(stream, 1)
    cuda.cudaMemsetAsync(device, 0, 4, stream)
    _, graph = cuda.cudaStreamEndCapture(stream)
    _, executable = cuda.cudaGraphInstantiate(graph, 0)
    cuda.cudaGraphLaunch(executable, stream)
    cuda.cudaFree(device)
    with pytest.raises(DriverFault, match="freed after capture"):
        cuda.cudaGraphLaunch(executable, stream)


# --- bugs planted in our own code


def plant_no_wait(backend: TensorRtBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CudaEvent, "wait", lambda self: None)


def plant_moved_address(backend: TensorRtBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    with backend._device.use():
        block = backend._device.allocate(1 << 16)
    monkeypatch.setattr(backend, "planted", block, raising=False)
    backend._engine._contexts[0].set_tensor_address("ious", block.address)


def plant_freed_place(backend: TensorRtBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    place = next(iter(backend._places.values()))
    with backend._device.use():
        backend._device._cudart.cudaFree(place.address)


def plant_forgotten_context(backend: TensorRtBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    backend._engine._contexts.clear()


def plant_foreign_thread(backend: TensorRtBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    backend._device._bound = -1
    backend._device._cudart._threads.clear()
    monkeypatch.setattr(FakeCuda, "cudaSetDevice", lambda self, device: (0,))


def plant_block_given_back_too_early(
    backend: TensorRtBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A block that is in use counts as idle: the next copy gets it too."""
    allocate = CudaDevice.allocate

    def too_early(self: CudaDevice, size: int) -> DeviceBlock:
        block = allocate(self, size)
        block._idle.appendleft(block.address)
        return block

    monkeypatch.setattr(CudaDevice, "allocate", too_early)


PLANTED: dict[str, Callable[..., None]] = {
    "output read before synchronise": plant_no_wait,
    "address changed after capture": plant_moved_address,
    "use after free": plant_freed_place,
    "context destroyed after capture": plant_forgotten_context,
    "foreign thread": plant_foreign_thread,
    "block shared by two tensors": plant_block_given_back_too_early,
}


def run_and_compare(backend: TensorRtBackend) -> None:
    """Two runs; copies of the first answers must survive the second."""
    rng = np.random.default_rng(0)
    kept, expected = [], []
    for _ in range(2):
        feeds = example_feeds(SPEC, rng, rows=1)
        outputs = backend.run(feeds)
        answer = probe_outputs(SPEC, feeds)
        for name, tensor in outputs.items():
            np.testing.assert_allclose(tensor.numpy(), answer[name], rtol=1e-5)
        kept += [tensor.copy() for tensor in outputs.values()]
        expected += [answer[name] for name in outputs]
    for tensor, answer in zip(kept, expected, strict=True):
        np.testing.assert_allclose(tensor.numpy(), answer, rtol=1e-5)


@pytest.fixture
def backend(cuda: FakeCuda, tmp_path: Path) -> TensorRtBackend:
    write_tiny_model(tmp_path)
    build_engines(BuildOrder(folder=tmp_path, check=False))
    opened = TensorRtBackend("mask_decoder", tmp_path / "mask_decoder.onnx", EngineOptions())
    run_and_compare(opened)
    assert opened.graphs == 1
    return opened


def test_without_a_bug_all_is_well(backend: TensorRtBackend, cuda: FakeCuda) -> None:
    run_and_compare(backend)
    backend.close()
    assert cuda.alive() == {}


@pytest.mark.parametrize("bug", list(PLANTED))
def test_a_planted_lifetime_bug_is_an_error(
    backend: TensorRtBackend, monkeypatch: pytest.MonkeyPatch, bug: str
) -> None:
    PLANTED[bug](backend, monkeypatch)
    with pytest.raises(AssertionError):  # DriverFault, or values that differ
        run_and_compare(backend)
