"""One suite over every backend: what `engines.base.Backend` promises."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest

from samcam.engines.base import Backend, EngineError, RowStack
from samcam.engines.checks.model_checks import check_network
from samcam.engines.fake_backend import FakeBackend
from samcam.engines.graph_table import NETWORKS, NetworkSpec
from samcam.engines.onnxruntime import providers
from samcam.engines.onnxruntime.backend import OnnxRuntimeBackend
from samcam.engines.options import EngineOptions
from samcam.engines.tensorrt.backend import TensorRtBackend
from samcam.engines.torch_backend import TorchNetwork
from samcam.export.build_tensorrt import BuildOrder, build_engines
from tests.helpers import fake_tensorrt
from tests.helpers.tiny_model import (
    build_network,
    example_feeds,
    probe_outputs,
    tiny_manifest,
    write_tiny_model,
)
from tests.helpers.torch_probe import Probe

SPECS = tiny_manifest("fixed").specs()  # N 10, P 19; B and T are free
FREE_SPECS = tiny_manifest().specs()
Maker = Callable[[NetworkSpec, Path], Backend]


def make_fake(spec: NetworkSpec, folder: Path) -> Backend:
    def outputs(feeds):
        answer = probe_outputs(spec, feeds)
        # the fake fills free channel counts with its own number
        return {k: v for k, v in answer.items() if "high_res" not in k}

    return FakeBackend(spec.name, outputs, spec)


def make_onnxruntime(spec: NetworkSpec, folder: Path) -> Backend:
    path = folder / f"{spec.name}.onnx"
    onnx.save(build_network(spec), path)
    return OnnxRuntimeBackend(spec.name, path, EngineOptions(threads=1))


def make_onnxruntime_device(spec: NetworkSpec, folder: Path) -> Backend:
    """With IO binding: the processor's memory stands for a device's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(providers._MEMORY, "cpu", "cpu")
        return make_onnxruntime(spec, folder)


def make_tensorrt(spec: NetworkSpec, folder: Path) -> Backend:
    if not (folder / "manifest.json").is_file():
        write_tiny_model(folder)
        build_engines(BuildOrder(folder=folder, check=False))
    return TensorRtBackend(spec.name, folder / f"{spec.name}.onnx", EngineOptions())


def make_torch(spec: NetworkSpec, folder: Path) -> Backend:
    return TorchNetwork(spec, Probe(spec), tiny_manifest(), EngineOptions(threads=1))


@pytest.fixture(
    params=[make_fake, make_onnxruntime, make_onnxruntime_device, make_tensorrt, make_torch],
    ids=["fake", "onnxruntime", "onnxruntime-device", "tensorrt", "torch"],
)
def make(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Maker]:
    """Makers of a backend; TensorRT's runs on the fake driver, and must give everything back."""
    cuda, _ = fake_tensorrt.install(monkeypatch)
    yield request.param
    assert cuda.alive() == {}
    assert bool(cuda.calls) == (request.param is make_tensorrt)


@pytest.fixture(params=list(NETWORKS))
def spec(request: pytest.FixtureRequest) -> NetworkSpec:
    return SPECS[request.param]


@pytest.fixture
def backend(make: Maker, spec: NetworkSpec, tmp_path: Path) -> Iterator[Backend]:
    opened = make(spec, tmp_path)
    yield opened
    opened.close()


def test_declares_the_table(backend: Backend, spec: NetworkSpec) -> None:
    check_network(spec, backend.inputs, backend.outputs, "here")
    assert list(backend.inputs) == [tensor.name for tensor in spec.inputs]
    assert list(backend.outputs) == [tensor.name for tensor in spec.outputs]


def test_answers_with_declared_names_types_shapes_and_values(
    backend: Backend, spec: NetworkSpec
) -> None:
    feeds = example_feeds(spec, np.random.default_rng(1))
    outputs = backend.run(feeds)
    expected = probe_outputs(spec, feeds)
    assert list(outputs) == [tensor.name for tensor in spec.outputs]
    for tensor in spec.outputs:
        output = outputs[tensor.name]
        assert output.dtype == tensor.dtype
        assert output.shape == output.numpy().shape
        for axis, length in zip(tensor.shape, output.shape, strict=True):
            assert axis == length or isinstance(axis, str)
        if "high_res" not in tensor.name:
            assert output.shape == expected[tensor.name].shape
            np.testing.assert_allclose(output.numpy(), expected[tensor.name], rtol=1e-5)


def test_outputs_live_until_the_next_run_and_copies_longer(
    backend: Backend, spec: NetworkSpec
) -> None:
    rng = np.random.default_rng(2)
    first_feeds, second_feeds = example_feeds(spec, rng), example_feeds(spec, rng)
    first = backend.run(first_feeds)
    expected = {name: tensor.numpy().copy() for name, tensor in first.items()}
    for name, tensor in first.items():
        np.testing.assert_array_equal(tensor.numpy(), expected[name])
    copies = {name: tensor.copy() for name, tensor in first.items()}
    second = backend.run(second_feeds)
    last = next(iter(second))
    assert not np.array_equal(second[last].numpy(), expected[last]), "the test needs two answers"
    for name, copy in copies.items():
        np.testing.assert_array_equal(copy.numpy(), expected[name])
        assert copy.dtype == first[name].dtype


def test_takes_device_tensors_of_its_own(make: Maker, tmp_path: Path) -> None:
    encoder = make(SPECS["image_encoder"], tmp_path)
    memory_encoder = make(SPECS["memory_encoder"], tmp_path)
    rng = np.random.default_rng(3)
    features = encoder.run(example_feeds(SPECS["image_encoder"], rng))
    feeds = example_feeds(SPECS["memory_encoder"], rng)
    given = {**feeds, "pix_feat": features["pix_feat"]}
    expected = probe_outputs(
        SPECS["memory_encoder"], {**feeds, "pix_feat": features["pix_feat"].numpy()}
    )
    result = memory_encoder.run(given)["maskmem_features"].numpy()
    np.testing.assert_allclose(result, expected["maskmem_features"], rtol=1e-5)
    encoder.close()
    memory_encoder.close()


@pytest.mark.parametrize("name", ["mask_decoder", "memory_attention"])
def test_free_axes_take_any_length(make: Maker, tmp_path: Path, name: str) -> None:
    padded = name == "memory_attention" and make is make_tensorrt  # to the limits, always
    spec = (SPECS if padded else FREE_SPECS)[name]
    backend = make(spec, tmp_path)
    for rows in (1, 7, 19, 2, 1):
        feeds = example_feeds(spec, np.random.default_rng(rows), rows)
        expected = probe_outputs(spec, feeds)
        for output, tensor in backend.run(feeds).items():
            np.testing.assert_allclose(tensor.numpy(), expected[output], rtol=1e-5)
    backend.close()


def test_stacks_rows_and_pads_with_zeros(make: Maker, tmp_path: Path) -> None:
    """Memories of its own and arrays alike; nothing is left of a longer stack."""
    attention, encoder = SPECS["memory_attention"], SPECS["memory_encoder"]
    backend, source = make(attention, tmp_path), make(encoder, tmp_path)
    rng = np.random.default_rng(7)
    memories = [source.run(example_feeds(encoder, rng))["maskmem_features"].copy()]
    memories += [rng.standard_normal((1, 8, 4, 4)).astype(np.float32) for _ in range(4)]
    pointers = [rng.standard_normal((1, 8)).astype(np.float32) for _ in range(6)]
    total_n, total_p = 10, 19
    for count in (5, 1, 3):
        feeds = example_feeds(attention, rng)
        whole = np.zeros((1, total_n, 8, 4, 4), np.float32)
        for i, memory in enumerate(memories[:count]):
            whole[0, i] = memory if isinstance(memory, np.ndarray) else memory.numpy()
        expected = probe_outputs(
            attention,
            {
                **feeds,
                "maskmem_features": whole,
                "obj_ptrs": np.stack(pointers[:count] + [np.zeros((1, 8))] * (total_p - count), 1),
            },
        )
        stacks = {
            "maskmem_features": RowStack(memories[:count], total_n),
            "obj_ptrs": RowStack(pointers[:count], total_p),
        }
        result = backend.run({**feeds, **stacks})["pix_feat_with_mem"].numpy()
        np.testing.assert_allclose(result, expected["pix_feat_with_mem"], rtol=1e-5)
    backend.close()
    source.close()


@pytest.mark.parametrize(
    ("rows", "parts"),
    [
        ([np.zeros((1, 8, 4, 4))], ["expected float32", "got float64"]),
        ([np.zeros((1, 8, 4), np.float32)], ["[1, 10, 8, 4]"]),
        ([np.zeros((8, 4, 4), np.float32)] * 2, ["row 0", "[1, 4, 4]", "[8, 4, 4]"]),
        (
            [np.zeros((1, 8, 4, 4), np.float32), np.zeros((1, 8, 4, 5), np.float32)],
            ["row 1", "[1, 8, 4, 4]", "[1, 8, 4, 5]"],
        ),
    ],
    ids=["type", "rank", "no first axis", "one row differs"],
)
def test_wrong_rows_are_named(make: Maker, tmp_path: Path, rows, parts) -> None:
    attention = SPECS["memory_attention"]
    backend = make(attention, tmp_path)
    feeds = example_feeds(attention, np.random.default_rng(8))
    with pytest.raises(EngineError) as caught:
        backend.run({**feeds, "maskmem_features": RowStack(rows, 10)})
    message = str(caught.value)
    for part in ("memory_attention", "maskmem_features", *parts):
        assert part in message
    backend.run(feeds)
    backend.close()


def test_stack_needs_rows_and_room_for_them() -> None:
    row = np.zeros((1, 8), np.float32)
    for rows, total in (([], 3), ([row] * 4, 3)):
        with pytest.raises(ValueError, match=r"rows: expected 1 to 3 \(total\)"):
            RowStack(rows, total)


def decoder_feeds():
    return example_feeds(SPECS["mask_decoder"], np.random.default_rng(4))


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"ious": np.zeros(1)}, ["unknown: ious", "missing: none"]),
        ({"point_labels": None}, ["missing: point_labels", "unknown: none"]),
        (
            {"point_labels": np.zeros((1, 2), np.int64)},
            ["point_labels", "expected int32", "got int64"],
        ),
        (
            {"mask_input": np.zeros((1, 1, 8, 16), np.float32)},
            ["mask_input", ", 1, 16, 16]", "[1, 1, 8, 16]"],
        ),
        (
            {"mask_input": np.zeros((1, 16, 16), np.float32)},
            ["mask_input", ", 1, 16, 16]", "got [1, 16, 16]"],
        ),
        (
            {"point_labels": np.zeros((1, 3), np.int32)},
            ["point_labels", ", T]", "[1, 3]", "'T': 2"],
        ),
    ],
    ids=["unknown name", "missing name", "type", "length", "rank", "axis differs between inputs"],
)
def test_wrong_feeds_are_named(make: Maker, tmp_path: Path, change, parts) -> None:
    backend = make(SPECS["mask_decoder"], tmp_path)
    feeds = decoder_feeds()
    for name, value in change.items():
        if value is None:
            del feeds[name]
        else:
            feeds[name] = value
    with pytest.raises(EngineError) as caught:
        backend.run(feeds)
    message = str(caught.value)
    assert message.startswith("mask_decoder")
    assert "\n" not in message
    for part in parts:
        assert part in message
    assert set(backend.run(decoder_feeds())) == set(backend.outputs), "usable after the error"
    backend.close()


def test_close_is_idempotent(backend: Backend, spec: NetworkSpec) -> None:
    backend.close()
    backend.close()
    with pytest.raises(EngineError, match="closed"):
        backend.run(example_feeds(spec, np.random.default_rng(5)))
