"""ONNX Runtime: providers, threads, broken files. The contract has its own suite."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from samcam.engines.base import EngineError
from samcam.engines.manifest import ModelFileError, read_manifest
from samcam.engines.model_folder import load_model, open_model
from samcam.engines.onnxruntime import backend as onnxruntime_backend
from samcam.engines.onnxruntime.backend import OnnxRuntimeBackend, check_providers
from samcam.engines.onnxruntime.providers import Provider
from samcam.engines.options import EngineOptions, usable_cores
from tests.helpers.tiny_model import build_network, example_feeds, tiny_manifest, write_tiny_model

SPEC = tiny_manifest().specs()["mask_decoder"]
CPU = "CPUExecutionProvider"
AZURE = pytest.mark.skipif(
    "AzureExecutionProvider" not in onnxruntime.get_available_providers(),
    reason="this build has the CPU's provider alone",
)


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
        check_providers([Provider(name, {}) for name in asked], given, "m.onnx")


def test_provider_that_the_runtime_adds_is_fine() -> None:
    cuda = Provider("CUDAExecutionProvider", {})
    check_providers([cuda], ["CUDAExecutionProvider", CPU], "m.onnx")
    check_providers([Provider(CPU, {})], [CPU], "m.onnx")


def test_options_of_a_provider_that_did_not_start_are_named() -> None:
    asked = [Provider("OpenVINOExecutionProvider", {"device_type": "GPU"}), Provider(CPU, {})]
    with pytest.raises(EngineError) as caught:
        check_providers(asked, [CPU], "m.onnx")
    assert str(caught.value) == (
        "m.onnx: asked for OpenVINOExecutionProvider device_type=GPU, CPUExecutionProvider, "
        "onnxruntime took CPUExecutionProvider: check the driver and libraries of "
        "OpenVINOExecutionProvider and its options, or choose another provider"
    )


def test_options_the_runtime_refuses_are_not_a_broken_file(decoder_path: Path) -> None:
    """Two providers that exclude each other: whatever it is, one line has the runtime's words."""
    both = ({"TensorrtExecutionProvider": {"x": 1}}, "NvTensorRTRTXExecutionProvider")
    providers = [Provider(name, {}) for name in EngineOptions(both).provider_options]
    with pytest.raises(EngineError, match="Cannot enable both") as caught:
        onnxruntime_backend._open_session(decoder_path, providers, EngineOptions())
    assert not isinstance(caught.value, ModelFileError)
    assert "\n" not in str(caught.value)


def test_the_runtimes_reason_without_its_sources() -> None:
    """As onnxruntime-openvino 1.24.1 begins it."""
    place = "/onnxruntime/onnxruntime_pybind_state.cc:1053 std::shared_ptr<F> Make(const S&) "
    for text in ("Invalid option: x (of 3) y", "[ONNXRuntimeError] : 1 : FAIL : it is"):
        assert onnxruntime_backend._one_line(RuntimeError(f"{place}{text}\n")) == text
        assert onnxruntime_backend._one_line(RuntimeError(text)) == text


@AZURE
def test_a_provider_that_runs_nothing_is_told(
    decoder_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """OpenVINO takes the device XPU without a word, and leaves the whole network to the CPU."""
    options = EngineOptions(({"azure": {"x": 1}}, "cpu"))
    OnnxRuntimeBackend("mask_decoder", decoder_path, options).close()
    assert f"AzureExecutionProvider runs nothing of it, {CPU} does" in caplog.text
    caplog.clear()
    OnnxRuntimeBackend("mask_decoder", decoder_path, EngineOptions()).close()
    assert caplog.text == ""
    assert capfd.readouterr() == ("", "")


@AZURE
def test_every_provider_but_the_cpu_is_fed_padded(nano_dir: Path) -> None:
    manifest = read_manifest(nano_dir)
    assert manifest.form == "dynamic"
    for providers, form in ((("azure", "cpu"), "padded"), (("cpu",), "dynamic")):
        with open_model("onnxruntime", nano_dir, manifest, EngineOptions(providers)) as networks:
            assert networks.manifest.form == form


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


def test_where_an_accelerator_fails_the_file_is_not_blamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tiny_model(tmp_path / "m")

    def fail(session: object, *given: object) -> None:
        raise RuntimeError("Spam ran out of memory")

    monkeypatch.setattr(EngineOptions, "on_cpu", False)
    monkeypatch.setattr(onnxruntime.InferenceSession, "run", fail)
    with pytest.raises(EngineError) as caught:
        load_model(tmp_path / "m", "onnxruntime")
    assert str(caught.value).endswith(
        "run failed: Spam ran out of memory: choose other engine.providers, such as [cpu]"
    )


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
    with pytest.raises(EngineError, match="providers: expected a list of one or more"):
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
