"""Model folders: found, read, refused with one clear line, loaded."""

from __future__ import annotations

import json
import logging
import re
import shutil
import sys
from pathlib import Path

import jsonschema
import numpy as np
import onnx
import pytest

from samcam.engines import model_folder
from samcam.engines.base import EngineError, TensorSpec
from samcam.engines.checks.model_checks import warm_up
from samcam.engines.fake_backend import FakeBackend, fake_manifest, fake_networks
from samcam.engines.graph_table import NETWORKS, NetworkSpec
from samcam.engines.host_rules import TokenRule
from samcam.engines.manifest import (
    GraphFile,
    Manifest,
    parse_manifest,
    read_manifest,
    write_manifest,
)
from samcam.engines.model_folder import find_model, load_model, user_model_folder
from samcam.engines.options import EngineOptions
from tests.helpers import fake_tensorrt
from tests.helpers.tiny_model import build_network, tiny_manifest, write_tiny_model

HINT = "copy this folder again, or write it again: python -m export MODEL --out FOLDER"

HALF = {"file": "x.onnx", "sha256": "a" * 64, "bytes": 1, "precision": "float16"}


@pytest.fixture(scope="module")
def whole_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "fake"
    write_tiny_model(folder)
    return folder


@pytest.fixture
def folder(whole_model: Path, tmp_path: Path) -> Path:
    """A model of its own, to damage."""
    return Path(shutil.copytree(whole_model, tmp_path / "fake"))


@pytest.fixture(scope="module")
def schema(repo_root: Path) -> dict[str, object]:
    text = (repo_root / "docs/schemas/manifest.schema.json").read_text(encoding="utf-8")
    schema = json.loads(text)
    jsonschema.Draft202012Validator.check_schema(schema)
    return schema


def refusal(folder: Path, **arguments) -> str:
    """Return the one line with which the model is refused."""
    with pytest.raises(EngineError) as caught:
        load_model(str(folder), **arguments)
    message = str(caught.value)
    assert "\n" not in message
    return message


def edit_manifest(folder: Path, **changes: object) -> None:
    path = folder / "manifest.json"
    data = json.loads(path.read_text(encoding="utf-8")) | changes
    path.write_text(json.dumps(data), encoding="utf-8")


def test_written_manifest_reads_back_and_fits_the_schema(tmp_path: Path, schema) -> None:
    for name in NETWORKS:
        (tmp_path / f"{name}.bin").write_bytes(name.encode())
    manifest = Manifest(
        name="sam2.1-tiny@512",
        family="sam2.1",
        image_size=512,
        mask_size=128,
        grid=32,
        width=8,
        memory_channels=4,
        candidates=4,
        max_cond=2,
        num_recent=5,
        max_recent_ptrs=9,
        no_obj_ptr=np.random.default_rng(0).standard_normal(8).astype(np.float32),
        origin="somewhere",
        licence="Apache-2.0",
        form="fixed",
        memory_dtype="bfloat16",
        token_rule=TokenRule(0, 2, 0.1, 0.9),
        half={
            "mask_decoder": {
                kind: GraphFile(f"mask_decoder.{kind}.onnx", "a" * 64, 5, kind)
                for kind in ("float16", "bfloat16")
            }
        },
    )
    files = {name: f"{name}.bin" for name in NETWORKS}
    written = write_manifest(tmp_path, manifest, files, {"image_encoder": "float16"})
    data = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    jsonschema.validate(data, schema)
    read = read_manifest(tmp_path)
    for key in ("name", "form", "memory_dtype", "token_rule", "num_recent", "max_recent_ptrs"):
        assert getattr(read, key) == getattr(manifest, key)
    np.testing.assert_array_equal(read.no_obj_ptr, manifest.no_obj_ptr)
    assert read.files == written.files
    assert read.half == manifest.half
    assert read.files["image_encoder"].precision == "float16"
    assert read.files["mask_prompt"].precision == "float32"
    assert read.files["mask_prompt"].bytes == len("mask_prompt")
    assert (read.max_memories, read.max_pointers) == (7, 11)
    assert not (tmp_path / "manifest.partial").exists()


def test_manifest_without_its_files_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"image_encoder\.onnx: missing"):
        write_manifest(tmp_path, tiny_manifest())
    assert not (tmp_path / "manifest.json").exists()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"image_sise": 64}, "image_sise: unknown key; expected image_size"),
        ({"grid": "4"}, 'grid: "4": expected a whole number of at least 1'),
        ({"width": True}, "width: true: expected a whole number of at least 1"),
        ({"image_size": 50, "mask_size": 12}, "image_size: 50: expected a multiple of 32"),
        ({"mask_size": 24}, "mask_size: 24: expected image_size / 4 or image_size / 2"),
        ({"grid": 5}, "grid: 5: expected a divisor of 64"),
        ({"max_cond": 0}, "max_cond: 0: expected a whole number of at least 1"),
        ({"form": "static"}, 'form: "static": expected one of dynamic | fixed'),
        ({"memory_dtype": "int8"}, 'memory_dtype: "int8": expected one of float32 |'),
        ({"no_obj_ptr": [0.0]}, "no_obj_ptr: [0.0]: expected 8 numbers, got 1"),
        ({"no_obj_ptr": [1e300] * 8}, "1e+300]: expected numbers that float32 holds"),
        ({"no_obj_ptr": ["x"] * 8}, '"x"]: expected a list of numbers'),
        ({"token_rule": {}}, "token_rule: missing; expected the keys single_mask_token, "),
        ({"files": {}}, "files: missing; expected the keys image_encoder, memory_attention, "),
        ({"files": {"decoder": {}}}, "files.decoder: unknown key; expected image_encoder, mem"),
        ({"half": []}, "half: []: expected a mapping of texts to objects"),
        ({"half": {"decoder": {}}}, "half.decoder: unknown key; expected image_encoder, memory"),
        ({"half": {"mask_prompt": {"float16": 1}}}, "prompt.float16: 1: expected a section with"),
        (
            {"half": {"mask_prompt": {"int8": HALF}}},
            "int8: unknown key; expected float16, bfloat16",
        ),
        ({"half": {"mask_prompt": {"float16": HALF}}}, "the file mask_prompt.float16.onnx"),
        ({"format_version": 2}, "format_version: 2: expected 1"),
    ],
)
def test_wrong_manifest_names_key_value_and_expected(
    folder: Path, schema, change, problem: str
) -> None:
    edit_manifest(folder, **change)
    message = refusal(folder)
    assert message.startswith(f"{folder / 'manifest.json'}: ")
    assert problem in message
    assert "python -m export" in message
    # one key against another
    only_ours: tuple[dict[str, object], ...] = (
        {"grid": 5},
        {"no_obj_ptr": [0.0]},
        {"no_obj_ptr": [1e300] * 8},  # what float32 holds
        {"mask_size": 24},
        {"half": {"mask_prompt": {"float16": HALF}}},
    )
    if change not in only_ours:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(json.loads((folder / "manifest.json").read_text()), schema)


def test_all_problems_of_a_manifest_come_at_once(folder: Path) -> None:
    edit_manifest(folder, grid=5, max_cond=0, form="static", token_rule={"single_mask_token": 9})
    message = refusal(folder)
    for key in ("grid:", "max_cond:", "form:", ", stability_delta, stability_threshold"):
        assert key in message


@pytest.mark.parametrize("name", ["../mask_decoder.onnx", "/etc/passwd", "a\\b.onnx", "C:x", ".."])
def test_manifest_cannot_point_out_of_its_folder(folder: Path, name: str) -> None:
    text = (folder / "manifest.json").read_text(encoding="utf-8")
    data = json.loads(text)
    data["files"]["mask_decoder"]["file"] = name
    with pytest.raises(
        EngineError, match=r"files\.mask_decoder\.file: .*: expected a plain file name"
    ):
        parse_manifest(json.dumps(data), folder / "manifest.json")


def test_missing_and_unreadable_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text("{", encoding="utf-8")
    assert "not valid JSON (line 1" in refusal(folder)
    (folder / "manifest.json").write_text("[]", encoding="utf-8")
    assert "[]: expected a section with the keys format_version, name" in refusal(folder)
    (folder / "manifest.json").write_bytes(b"\xff\xfe\x00")
    assert "cannot be read" in refusal(folder)
    (folder / "manifest.json").unlink()
    assert f"{folder / 'manifest.json'}: missing" in refusal(folder)


def test_missing_file(folder: Path) -> None:
    (folder / "mask_decoder.onnx").unlink()
    assert refusal(folder) == f"{folder / 'mask_decoder.onnx'}: missing: {HINT}"


def test_truncated_file(folder: Path) -> None:
    path = folder / "mask_decoder.onnx"
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:100])
    assert refusal(folder) == f"{path}: truncated: expected {size} bytes, got 100: {HINT}"


def test_changed_file(folder: Path) -> None:
    path = folder / "mask_decoder.onnx"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    message = refusal(folder)
    assert message.startswith(f"{path}: not the model's file: expected SHA-256")
    assert message.endswith(HINT)


def test_truncated_file_with_a_manifest_of_its_own(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = folder / "mask_decoder.onnx"
    path.write_bytes(path.read_bytes()[:200])
    write_manifest(folder, tiny_manifest())
    message = refusal(folder)
    assert message.startswith(f"{path}: not a readable ONNX file")
    assert message.endswith(HINT)
    assert capfd.readouterr() == ("", "")


def test_foreign_network(folder: Path) -> None:
    shutil.copy(folder / "memory_encoder.onnx", folder / "mask_decoder.onnx")
    write_manifest(folder, tiny_manifest())
    message = refusal(folder)
    assert message.startswith(f"{folder / 'mask_decoder.onnx'}: not a mask_decoder network")
    assert "point_coords" in message
    assert "is_prompted" in message


def replace_network(folder: Path, name: str, model: onnx.ModelProto) -> None:
    onnx.save(model, folder / f"{name}.onnx")
    write_manifest(folder, tiny_manifest())


def test_network_of_another_size(folder: Path) -> None:
    other = fake_manifest(image_size=128, width=8).specs()["mask_decoder"]
    replace_network(folder, "mask_decoder", build_network(other))
    message = refusal(folder)
    expected = "expected float32 [B, 8, 4, 4], found float32 [B, 8, 8, 8]"
    assert f"mask_decoder input pix_feat_with_mem: {expected}" in message


def test_answer_of_another_size_than_declared(whole_model: Path) -> None:
    """A file may leave an output's sizes open: then only the first run shows them."""
    manifest = read_manifest(whole_model)
    backends = dict(fake_networks(manifest=manifest).backends)
    warm_up(manifest, backends, whole_model)
    spec = manifest.specs()["mask_prompt"]
    outputs = tuple(TensorSpec(t.name, t.dtype, (1, 1, 16, 24)) for t in spec.outputs)
    wider = NetworkSpec(spec.name, spec.inputs, outputs)
    backends["mask_prompt"] = FakeBackend("mask_prompt", None, wider)
    with pytest.raises(EngineError) as caught:
        warm_up(manifest, backends, whole_model)
    message = str(caught.value)
    assert message.startswith(f"{whole_model / 'mask_prompt.onnx'}: mask_prompt: output mask_input")
    assert "expected float32 [1, 1, 16, 16], got float32 [1, 1, 16, 24]" in message


def test_network_with_another_type(folder: Path) -> None:
    model = build_network(tiny_manifest().specs()["mask_decoder"])
    model.graph.input[4].type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    replace_network(folder, "mask_decoder", model)
    message = refusal(folder)
    assert "input point_labels: expected int32 [B, T], found float32 [B, T]" in message


def test_network_that_only_takes_one_memory(folder: Path) -> None:
    """A free axis frozen on export shows on the second warm-up run, not on the tenth frame."""
    spec = tiny_manifest().specs()["memory_attention"]
    replace_network(folder, "memory_attention", build_network(spec, "maskmem_features"))
    message = refusal(folder)
    assert "first run failed ({'N': 2, 'P': 3})" in message
    assert message.endswith(HINT)


def test_network_that_answers_nan(folder: Path) -> None:
    spec = tiny_manifest().specs()["memory_encoder"]
    replace_network(folder, "memory_encoder", build_network(spec, bias=float("nan")))
    assert "memory_encoder: output maskmem_features: not finite" in refusal(folder)


def test_load_runs_and_says_what_it_took_and_refused(
    whole_model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO), load_model(str(whole_model)) as networks:
        image = np.zeros((30, 40, 3), np.uint8)
        assert networks.encode_image(image).pix_feat.shape == (1, 8, 4, 4)
        assert networks.manifest.name == "fake"
    assert "onnxruntime (CPUExecutionProvider" in caplog.text
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING], "nothing to do about it"


def test_fixed_form_loads_and_pads(tmp_path: Path) -> None:
    write_tiny_model(tmp_path / "m", form="fixed")
    with load_model(str(tmp_path / "m")) as networks:
        features = networks.encode_image(np.zeros((8, 8, 3), np.uint8))
        memory = networks.encode_memory(features, np.zeros((16, 16), np.float32), True, 1.0)
        networks.attend(features, [memory], [0], [np.zeros(8, np.float32)], [0.0])


def test_torch_needs_weights(whole_model: Path) -> None:
    message = refusal(whole_model, backend="torch")
    assert "the manifest names no weights" in message
    assert "export the model again" in message


def test_tensorrt_without_a_gpu_is_refused_and_says_why(
    whole_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = refusal(whole_model, backend="tensorrt")
    assert re.match(r"backend tensorrt: (cuda-python cannot|no NVIDIA)", message)
    cuda, _ = fake_tensorrt.install(monkeypatch)
    cuda.driver = 0
    message = refusal(whole_model, backend="tensorrt")
    assert message == "backend tensorrt: no NVIDIA driver is installed"


def test_unknown_backend_and_absent_provider(whole_model: Path) -> None:
    assert "expected one of auto, tensorrt" in refusal(whole_model, backend="tenserrt")
    message = refusal(whole_model, options=EngineOptions(("NoSuchProvider",)))
    assert "NoSuchProvider" in message
    assert "export" not in message, "the files are fine"


def test_models_are_looked_for_beside_the_program_and_in_the_users_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_folder, "_ENGINES_FOLDER", tmp_path / "engines")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    users = tmp_path / "data" / "samcam" / "models"
    assert user_model_folder() == users
    with pytest.raises(EngineError) as caught:
        find_model("sam2.1-tiny")
    message = str(caught.value)
    assert str(users / "sam2.1-tiny@1024") in message
    assert "run: python -m export sam2.1-tiny@1024" in message
    with pytest.raises(EngineError, match="restore engines/nano/ from the repository"):
        find_model("nano")

    (users / "sam2.1-tiny@1024").mkdir(parents=True)
    (users / "sam2.1-base+@512").mkdir()
    (users / "nano").mkdir()
    assert find_model("sam2.1-tiny") == users / "sam2.1-tiny@1024"
    assert find_model("sam2.1-tiny@1024") == users / "sam2.1-tiny@1024"
    assert find_model("sam2.1-base+@512") == users / "sam2.1-base+@512"
    (tmp_path / "engines" / "nano").mkdir(parents=True)
    assert find_model("nano") == tmp_path / "engines" / "nano"


@pytest.mark.parametrize("name", ["nanno", "sam2.1-tiny@640", "nano@512", "sam2.1-huge", "./gone"])
def test_unknown_model_lists_the_known_ones(name: str) -> None:
    with pytest.raises(EngineError) as caught:
        find_model(name)
    message = str(caught.value)
    assert message.startswith(f"model {name}: expected nano, sam2.1-tiny")


@pytest.mark.parametrize(
    ("platform", "variable", "expected"),
    [
        ("win32", "LOCALAPPDATA", "samcam/models"),
        ("linux", "XDG_DATA_HOME", "samcam/models"),
    ],
)
def test_users_folder_follows_the_platform(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, platform, variable, expected
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setenv(variable, str(tmp_path))
    assert user_model_folder() == tmp_path / expected
    monkeypatch.delenv(variable)
    assert Path.home() in user_model_folder().parents


def test_users_folder_on_macos(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    home = Path.home()
    assert user_model_folder() == home / "Library/Application Support/samcam/models"
