"""ONNX Runtime: providers, threads, broken files. The contract has its own suite."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from samcam.engines.base import EngineError
from samcam.engines.manifest import ModelFileError
from samcam.engines.onnxruntime_backend import OnnxRuntimeBackend, check_providers
from samcam.engines.options import EngineOptions, usable_cores
from tests.helpers.tiny_model import build_network, example_feeds, tiny_manifest

SPEC = tiny_manifest().specs()["mask_decoder"]
CPU = "CPUExecutionProvider"


@pytest.fixture
def decoder_path(tmp_path: Path) -> Path:
    path = tmp_path / "mask_decoder.onnx"
    onnx.save(build_network(SPEC), path)
    return path


def test_provider_missing_from_the_build(decoder_path: Path) -> None:
    """FACTS: onnxruntime goes on with the CPU when the GPU provider is not there."""
    absent = "CUDAExecutionProvider"
    if absent in onnxruntime.get_available_providers():
        absent = "ROCMExecutionProvider"
    with pytest.raises(EngineError) as caught:
        OnnxRuntimeBackend("mask_decoder", decoder_path, EngineOptions((absent, CPU)))
    assert absent in str(caught.value)
    assert CPU in str(caught.value)


@pytest.mark.parametrize(
    ("asked", "given", "missing"),
    [
        (("CUDAExecutionProvider", CPU), [CPU], "CUDAExecutionProvider"),
        (("CUDAExecutionProvider",), [CPU], "CUDAExecutionProvider"),
        (("CUDAExecutionProvider", CPU), [CPU, "CUDAExecutionProvider"], "CUDAExecutionProvider"),
    ],
)
def test_provider_that_did_not_start(asked, given, missing) -> None:
    with pytest.raises(EngineError, match=f"libraries of {missing}"):
        check_providers(asked, given, Path("m.onnx"))


def test_provider_that_the_runtime_adds_is_fine() -> None:
    check_providers(("CUDAExecutionProvider",), ["CUDAExecutionProvider", CPU], Path("m.onnx"))
    check_providers((CPU,), [CPU], Path("m.onnx"))


@pytest.mark.parametrize("damage", ["truncated", "text", "empty"])
def test_broken_file_is_named_and_nothing_else_is_printed(
    decoder_path: Path, damage: str, capfd: pytest.CaptureFixture[str]
) -> None:
    data = decoder_path.read_bytes()
    broken = {"truncated": data[: len(data) // 2], "text": b"not a model", "empty": b""}[damage]
    decoder_path.write_bytes(broken)
    with pytest.raises(ModelFileError) as caught:
        OnnxRuntimeBackend("mask_decoder", decoder_path, EngineOptions())
    assert str(caught.value).startswith(str(decoder_path))
    assert "\n" not in str(caught.value)
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"gone\.onnx: missing"):
        OnnxRuntimeBackend("mask_decoder", tmp_path / "gone.onnx", EngineOptions())


def test_error_inside_the_graph_names_network_and_file(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    spec = tiny_manifest().specs()["memory_attention"]
    path = tmp_path / "memory_attention.onnx"
    onnx.save(build_network(spec, frozen="maskmem_features"), path)
    backend = OnnxRuntimeBackend("memory_attention", path, EngineOptions())
    backend.run(example_feeds(spec, np.random.default_rng(0), rows=1))
    with pytest.raises(EngineError) as caught:
        backend.run(example_feeds(spec, np.random.default_rng(0), rows=2))
    assert str(caught.value).startswith(f"memory_attention ({path}): run failed")
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_unnamed_free_axes_are_told_apart(tmp_path: Path) -> None:
    """Two axes without a name are two axes: they may differ."""
    model = build_network(tiny_manifest().specs()["memory_attention"])
    for value in model.graph.input:
        for axis in value.type.tensor_type.shape.dim:
            if axis.dim_param:
                axis.ClearField("dim_param")
    path = tmp_path / "memory_attention.onnx"
    onnx.save(model, path)
    backend = OnnxRuntimeBackend("memory_attention", path, EngineOptions())
    free = [a for s in backend.inputs.values() for a in s.shape if isinstance(a, str)]
    assert len(free) == len(set(free)) == 12


def test_outputs_cannot_be_written(decoder_path: Path) -> None:
    backend = OnnxRuntimeBackend("mask_decoder", decoder_path, EngineOptions())
    output = backend.run(example_feeds(SPEC, np.random.default_rng(0)))["ious"].numpy()
    with pytest.raises(ValueError, match="read-only"):
        output[...] = 0


def test_options_are_checked_and_zero_threads_is_half_the_cores() -> None:
    assert EngineOptions(threads=3).resolved_threads == 3
    assert EngineOptions().resolved_threads == max(1, usable_cores() // 2)
    with pytest.raises(EngineError, match=r"threads: expected a whole number 0\.\.256, got -1"):
        EngineOptions(threads=-1)
    with pytest.raises(EngineError, match="providers: expected a tuple of text each, at least 1"):
        EngineOptions(providers=())


def test_threads_reach_the_session(decoder_path: Path) -> None:
    backend = OnnxRuntimeBackend("mask_decoder", decoder_path, EngineOptions(threads=2))
    session = backend._session
    assert session is not None
    settings = session.get_session_options()
    assert settings.intra_op_num_threads == 2
    assert settings.inter_op_num_threads == 1
    spinning = settings.get_session_config_entry("session.intra_op.allow_spinning")
    assert spinning == "0"
