"""`nano` with its image encoder in INT8: smaller, the same masks, and never by accident."""

from __future__ import annotations

import shutil
from pathlib import Path

import onnx
import pytest

from engines.graph_table import IMAGE_ENCODER, MASK_DECODER
from engines.manifest import read_manifest
from engines.model_folder import load_model
from engines.self_check import read_pictures
from export.__main__ import main
from export.nano import calibration_pictures
from export.quantise import quantise_encoder

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
    with load_model(str(folder), "onnxruntime") as networks:
        assert networks.manifest.files[MASK_DECODER].precision == "float32"


def test_nano_in_int8_does_not_replace_the_embedded_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["nano", "--precision", "int8"]) == 4
    assert "name a folder with --out" in capsys.readouterr().err
