"""Device memory, staging, events and graphs: on the fake driver, and on a GPU if there is one."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from samcam.engines.base import EngineError, RowStack
from samcam.engines.tensorrt import cuda_memory
from samcam.engines.tensorrt.cuda_memory import CudaDevice, open_device
from samcam.engines.tensorrt.cuda_runtime import CudaError, NoGpuError, find_gpu
from samcam.engines.tensorrt.cuda_tensors import CudaTensor, FixedInput, HostMirror
from tests.helpers import fake_tensorrt
from tests.helpers.fake_cuda import FakeCuda, Status

F32 = np.dtype(np.float32)
SHAPE = (1, 3, 4)
SIZE = 48


@pytest.fixture(params=["fake", pytest.param("gpu", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[CudaDevice]:
    """An open device, in use by this thread; all must be given back at the end."""
    fake: FakeCuda | None = None
    if request.param == "fake":
        fake, _ = fake_tensorrt.install(monkeypatch)
    else:
        try:
            find_gpu()
        except NoGpuError as error:
            pytest.skip(f"needs a GPU: {error}")
    opened = open_device()
    with opened.use():
        yield opened
    opened.release()
    assert not cuda_memory._devices
    assert fake is None or fake.alive() == {}


def values(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(SHAPE).astype(np.float32)


def tensor_of(device: CudaDevice, array: np.ndarray) -> CudaTensor:
    """Put an array on the device."""
    place = FixedInput(device, array.nbytes, array.dtype)
    place.fill(array)
    block = device.allocate(array.nbytes)
    device.copy(block.address, place.address, array.nbytes)
    return CudaTensor(device, block, array.shape, array.dtype)


def content(device: CudaDevice, place: FixedInput, shape: tuple[int, ...]) -> np.ndarray:
    size = int(np.prod(shape)) * 4
    return device.read(place.address, size).view(np.float32).reshape(shape)


def test_values_go_there_and_back(device: CudaDevice) -> None:
    tensor = tensor_of(device, values(1))
    assert (tensor.shape, tensor.dtype, tensor.nbytes) == (SHAPE, F32, SIZE)
    np.testing.assert_array_equal(tensor.numpy(), values(1))
    np.testing.assert_array_equal(tensor.copy().numpy(), values(1))
    assert not tensor.numpy().flags.writeable
    halves = tensor_of(device, values(2).astype(np.float16))
    np.testing.assert_array_equal(halves.numpy(), values(2).astype(np.float16))


def test_a_fed_array_may_change_at_once(device: CudaDevice) -> None:
    place = FixedInput(device, SIZE, F32)
    kept = []
    for seed in range(5):
        array = values(seed)
        place.fill(array)
        block = device.allocate(SIZE)
        device.copy(block.address, place.address, SIZE)
        kept.append(CudaTensor(device, block, SHAPE, F32))
        array[...] = -1
    for seed, tensor in enumerate(kept):
        np.testing.assert_array_equal(tensor.numpy(), values(seed))


def test_stamps_time_the_work_between_them_and_never_wait(device: CudaDevice) -> None:
    block = device.allocate(SIZE)
    for _ in range(3):
        start = device.stamp()
        for _ in range(5):
            device.clear(block.address, SIZE)
        end = device.stamp()
        device.clear(block.address, SIZE)
        device.wait()
        passed_ms = end.ms_since(start)
        assert passed_ms is not None
        assert passed_ms > 0
        made = len(device._events)
        del start, end
    assert len(device._events) == made, "the events of dropped stamps are used again"


def test_a_stamp_that_the_stream_has_not_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda, _ = fake_tensorrt.install(monkeypatch)
    device = open_device()
    with device.use():
        block = device.allocate(SIZE)
        start = device.stamp()
        for _ in range(5):
            device.clear(block.address, SIZE)
        end = device.stamp()
        assert end.ms_since(start) is None
        assert cuda.calls["cudaEventSynchronize"] == 0
        device.wait()
        assert end.ms_since(start) == 5, "the fake driver takes a millisecond for each operation"
        untimed = device.make_event()
        untimed.record()
        status, _ = cuda.cudaEventElapsedTime(untimed._handle, end._handle)
        assert status == Status.cudaErrorInvalidResourceHandle
    device.release()


def test_arrays_with_strides_and_tensors_are_fed_alike(device: CudaDevice) -> None:
    place = FixedInput(device, SIZE, F32)
    place.fill(np.asfortranarray(values(3)))
    np.testing.assert_array_equal(content(device, place, SHAPE), values(3))
    place.fill(tensor_of(device, values(4)))
    np.testing.assert_array_equal(content(device, place, SHAPE), values(4))


def test_a_constant_is_sent_once(device: CudaDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    place = FixedInput(device, SIZE, F32)
    sent: list[int] = []
    send = device.send
    monkeypatch.setattr(device, "send", lambda *given: (sent.append(1), send(*given)))
    constant, variable = values(1), values(2)
    constant.flags.writeable = False
    for feed, total in ((constant, 1), (constant, 1), (variable, 2), (constant, 3), (constant, 3)):
        place.fill(feed)
        assert len(sent) == total
        np.testing.assert_array_equal(content(device, place, SHAPE), feed)
    view = variable.view()
    view.flags.writeable = False
    for seed in (3, 4):
        variable[...] = values(seed)
        place.fill(view)
        np.testing.assert_array_equal(content(device, place, SHAPE), values(seed))


def test_a_constant_that_did_not_arrive_is_sent_again(
    device: CudaDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = FixedInput(device, SIZE, F32)
    constant = values(1)
    constant.flags.writeable = False

    def fail(*given: int) -> None:
        raise CudaError("cudaMemcpyAsync: failed")

    with monkeypatch.context() as patch:
        patch.setattr(device, "send", fail)
        with pytest.raises(CudaError):
            place.fill(constant)
    place.fill(constant)
    np.testing.assert_array_equal(content(device, place, SHAPE), constant)


@pytest.mark.parametrize("on_device", [(), (0,), (1,), (0, 2), (0, 1, 2), (1, 2)])
def test_rows_from_both_sides_are_stacked(device: CudaDevice, on_device: tuple[int, ...]) -> None:
    place = FixedInput(device, 5 * SIZE, F32)
    place.fill(RowStack([values(9)] * 5, 5))  # nothing of it may be left
    rows = [tensor_of(device, values(i)) if i in on_device else values(i) for i in range(3)]
    place.fill(RowStack(rows, 5))
    expected = np.zeros((1, 5, *SHAPE[1:]), np.float32)
    for i in range(3):
        expected[:, i] = values(i)
    np.testing.assert_array_equal(content(device, place, expected.shape), expected)


def test_a_tensor_of_another_device_goes_through_the_host(device: CudaDevice) -> None:
    class Elsewhere:
        shape, dtype = SHAPE, F32

        def numpy(self) -> np.ndarray:
            return values(5)

        def copy(self) -> Elsewhere:
            return self

    place = FixedInput(device, SIZE, F32)
    place.fill(Elsewhere())
    np.testing.assert_array_equal(content(device, place, SHAPE), values(5))


def test_steady_use_allocates_nothing(device: CudaDevice) -> None:
    place = FixedInput(device, SIZE, F32)
    source = tensor_of(device, values(1))

    def step() -> None:
        bank = [source.copy() for _ in range(3)]
        place.fill(bank[0])
        place.fill(values(2))
        assert bank[2].numpy().shape == SHAPE

    step()
    before = device.allocated_bytes, len(device._pinned), len(device._events)
    for _ in range(50):
        step()
    assert (device.allocated_bytes, len(device._pinned), len(device._events)) == before


def test_a_mirror_holds_the_values_of_the_newest_run(device: CudaDevice) -> None:
    place = FixedInput(device, SIZE, F32)
    arrived = device.make_event()
    mirror = HostMirror(device, place._place, SHAPE, F32, arrived)
    tensor = CudaTensor(device, place._place, SHAPE, F32, mirror)
    for seed in (1, 2):
        place.fill(values(seed))
        mirror.fetch()
        arrived.record()
        np.testing.assert_array_equal(tensor.numpy(), values(seed))
        assert tensor.numpy().flags.writeable, "the next run writes there"


def test_a_graph_repeats_its_work_on_new_values(device: CudaDevice) -> None:
    place = FixedInput(device, SIZE, F32)
    block = device.allocate(SIZE)
    graph = device.capture(lambda: device.copy(block.address, place.address, SIZE))
    result = CudaTensor(device, block, SHAPE, F32)
    for seed in (1, 2, 3):
        place.fill(values(seed))
        graph.launch()
        np.testing.assert_array_equal(result.numpy(), values(seed))
    device.drop(graph)


def test_what_cannot_be_captured_leaves_the_stream_usable(device: CudaDevice) -> None:
    def waits() -> None:
        device.wait()

    with pytest.raises(CudaError, match="CUDA error 9"):
        device.capture(waits)

    def fails() -> None:
        raise ValueError("in the middle")

    with pytest.raises(ValueError, match="in the middle"):
        device.capture(fails)
    np.testing.assert_array_equal(tensor_of(device, values(6)).numpy(), values(6))


def test_too_much_memory_says_what_to_do(device: CudaDevice) -> None:
    with pytest.raises(CudaError, match="close other programs on the GPU") as caught:
        device.allocate(1 << 50)
    assert "\n" not in str(caught.value)
    np.testing.assert_array_equal(tensor_of(device, values(7)).numpy(), values(7))


def in_thread(work) -> list[BaseException]:
    """Run in a thread; return what it raised."""
    raised: list[BaseException] = []

    def body() -> None:
        try:
            work()
        except BaseException as error:  # to the test
            raised.append(error)

    thread = threading.Thread(target=body, name="second")
    thread.start()
    thread.join()
    return raised


def test_two_threads_at_once_are_refused(device: CudaDevice) -> None:
    tensor = tensor_of(device, values(1))
    (error,) = in_thread(tensor.numpy)  # this thread is inside `use`
    assert isinstance(error, EngineError)
    assert "used by two threads at once (second is the second)" in str(error)


def test_a_device_passes_from_thread_to_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """main opens the model, the inference thread uses it, main closes it."""
    fake, _ = fake_tensorrt.install(monkeypatch)
    device = open_device()
    with device.use():
        tensor = tensor_of(device, values(1))
    copies: list[CudaTensor] = []
    assert not in_thread(lambda: copies.append(tensor.copy()))
    np.testing.assert_array_equal(copies[0].numpy(), values(1))
    device.release()
    with pytest.raises(EngineError, match="GPU 0: closed"):
        tensor.numpy()
    with pytest.raises(EngineError, match="GPU 0: closed"):
        tensor.copy()
    assert fake.alive() == {}


def test_the_last_user_closes_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    fake, _ = fake_tensorrt.install(monkeypatch)
    first, second = open_device(), open_device()
    assert first is second
    first.release()
    with second.use():
        np.testing.assert_array_equal(tensor_of(second, values(1)).numpy(), values(1))
    second.release()
    assert fake.alive() == {}
    third = open_device()
    assert third is not first
    third.release()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"driver": 0}, "no NVIDIA driver is installed"),
        ({"devices": 0}, "no NVIDIA GPU with index 0: 0 found"),
    ],
)
def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, change, reason: str) -> None:
    fake, _ = fake_tensorrt.install(monkeypatch)
    for name, value in change.items():
        setattr(fake, name, value)
    for probe in (find_gpu, open_device):
        with pytest.raises(NoGpuError) as caught:
            probe()
        assert str(caught.value) == reason
    assert fake.alive() == {}


def test_the_gpu_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    fake, _ = fake_tensorrt.install(monkeypatch)
    fake.driver = 13040
    gpu = find_gpu()
    assert (gpu.name, gpu.compute_capability) == ("Fake GPU", "8.9")
    assert (gpu.driver, gpu.cuda) == ("580.65.06", "13.4")
    assert gpu.memory_bytes == fake.memory
