"""`nano` with its image encoder in INT8: smaller, the same masks, and never by accident."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from samcam.engines import int8_form
from samcam.engines.base import EngineError
from samcam.engines.checks.self_check import read_pictures
from samcam.engines.graph_table import IMAGE_ENCODER, MASK_DECODER
from samcam.engines.int8_form import WEIGHT_BITS, check_int8_form, products_saturate
from samcam.engines.manifest import Manifest, read_manifest, write_manifest
from samcam.engines.model_folder import load_model
from samcam.export.__main__ import main
from samcam.export.calibration import calibration_pictures
from samcam.export.errors import ExportError
from samcam.export.quantise import quantise_encoder
from samcam.export.rounding import LIMIT, round_weights
from samcam.live.cli.doctor import State, check_model
from tests.helpers.int8_graphs import signed_bits

pytestmark = pytest.mark.slow


def test_nano_in_int8_is_smaller_and_agrees(nano_dir: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(nano_dir, tmp_path / "model")
    before = (folder / "image_encoder.onnx").stat().st_size
    lines: list[str] = []
    drawn = calibration_pictures(256)[:8]
    quantise_encoder(folder, read_manifest(folder), read_pictures(), lines.append, drawn)
    (line,) = lines
    assert "mask IoU" in line
    written = read_manifest(folder)
    assert written.files[IMAGE_ENCODER].precision == "int8"
    assert written.files[IMAGE_ENCODER].bytes < 0.3 * before
    assert written.measured[IMAGE_ENCODER]["int8_mean_iou"] > 0.9
    assert {file.name for file in folder.iterdir()} == {file.name for file in nano_dir.iterdir()}
    model = onnx.load(str(folder / "image_encoder.onnx"))
    kinds = {item.name: item.data_type for item in model.graph.initializer}
    convolved = [node.input[1] for node in model.graph.node if node.op_type == "Conv"]
    sources = {node.output[0]: node.input[0] for node in model.graph.node}
    assert {kinds[sources[name]] for name in convolved} == {onnx.TensorProto.INT8}
    assert written.measured[IMAGE_ENCODER]["int8_min_iou"] >= 0.9
    assert signed_bits(folder / "image_encoder.onnx") == 7
    with load_model(str(folder), "onnxruntime") as networks:
        assert networks.manifest.files[MASK_DECODER].precision == "float32"


def test_a_form_that_loses_masks_is_not_written(nano_dir: Path, tmp_path: Path) -> None:
    """Scales that a black picture gives fit no other one: the fp32 folder stays as it was."""
    folder = shutil.copytree(nano_dir, tmp_path / "model")
    black = [np.zeros((256, 256, 3), np.uint8)]
    said = r"mask IoU 0\.\d+, worst 0\.\d+ \(.+\): expected at least 0\.9, so it is not written"
    with pytest.raises(ExportError, match=said) as caught:
        quantise_encoder(folder, read_manifest(folder), read_pictures(), calibration=black)
    assert "\n" not in str(caught.value)
    assert {file.name for file in folder.iterdir()} == {file.name for file in nano_dir.iterdir()}
    with load_model(str(folder), "onnxruntime") as networks:
        assert networks.manifest.files == read_manifest(nano_dir).files


def test_seven_bits_are_rounded_for_what_is_seen() -> None:
    """Plain rounding is several times as far off on activations that go together."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(48, 16)).astype(np.float32)
    seen = (rng.normal(size=(400, 12)) @ rng.normal(size=(12, 48))).astype(np.float32)
    scale = (np.abs(weights).max(axis=0) / LIMIT).astype(np.float32)
    rounded = round_weights(weights, scale, seen.T @ seen)
    plain = np.round(weights / scale)
    assert np.abs(rounded.astype(int)).max() <= LIMIT
    wanted = seen @ weights
    off = [np.abs(seen @ (w * scale) - wanted).mean() for w in (rounded, plain)]
    assert off[0] < 0.4 * off[1]
    nothing_seen = round_weights(weights, scale, np.zeros((48, 48), np.float32))
    np.testing.assert_array_equal(nothing_seen, plain)


# --- what saturates ---------------------------------------------------------------------------


def eight_bits(nano_dir: Path, folder: Path, family: str, bits: float | None) -> Manifest:
    """Return a manifest as one of the encoder with INT8 weights of eight bits would be."""
    manifest = replace(read_manifest(nano_dir), family=family, name="sam2.1-tiny@512")
    int8 = replace(manifest.files[IMAGE_ENCODER], precision="int8")
    measured = {} if bits is None else {IMAGE_ENCODER: {WEIGHT_BITS: bits}}
    return replace(manifest, files={**manifest.files, IMAGE_ENCODER: int8}, measured=measured)


@pytest.mark.parametrize(
    ("family", "bits", "refused"),
    [("sam2.1", None, True), ("sam2.1", 8.0, True), ("sam2.1", 7.0, False), ("nano", None, False)],
)
def test_eight_bits_are_refused_where_they_saturate(
    family: str,
    bits: float | None,
    refused: bool,
    nano_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before seven bits the manifest said nothing; only `nano` had them then."""
    manifest = eight_bits(nano_dir, tmp_path, family, bits)
    folder = tmp_path / "a folder"
    monkeypatch.setattr("samcam.engines.int8_form.products_saturate", lambda: False)
    check_int8_form(folder, manifest)
    monkeypatch.setattr("samcam.engines.int8_form.products_saturate", lambda: True)
    if not refused:
        check_int8_form(folder, manifest)
        return
    for backend in ("onnxruntime", "auto"):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(nano_dir, folder)
        write_manifest(folder, manifest, precision={IMAGE_ENCODER: "int8"})
        with pytest.raises(EngineError) as caught:
            load_model(str(folder), backend)
        line = str(caught.value)
        assert "INT8 weights of 8 bits: their products overflow on this processor" in line
        again = f"run: python -m export sam2.1-tiny@512 --precision int8 --out '{folder}'"
        assert line.endswith(f": {again}")
        found = check_model(str(folder))
        assert (found.state, found.fix) == (State.PROBLEM, again)
        assert found.details.endswith("export it again, in 7 bits")


def test_the_processor_is_asked_itself() -> None:
    """The product in the file is the one that is meant, and the answer is that of a large one."""
    model = onnx.load_from_string(int8_form._PRODUCT)
    onnx.checker.check_model(model, full_check=True)
    (node,) = model.graph.node
    assert node.op_type == "MatMulInteger"
    kinds = [item.type.tensor_type.elem_type for item in model.graph.input]
    assert kinds == [onnx.TensorProto.UINT8, onnx.TensorProto.INT8]
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    if "vnni" in flags:
        assert not products_saturate()


def test_nano_in_int8_does_not_replace_the_embedded_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["nano", "--precision", "int8"]) == 4
    assert "name a folder with --out" in capsys.readouterr().err
