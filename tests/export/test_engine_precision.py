"""Which precision an engine is built in: what there is, what is asked for, what missed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from samcam.engines.base import EngineError
from samcam.engines.graph_table import NETWORKS
from samcam.engines.manifest import file_sha256, read_manifest, write_manifest
from samcam.engines.model_folder import load_model
from samcam.engines.tensorrt.files import engine_path, graph_path, read_record
from samcam.engines.tensorrt.library import TENSORRT
from samcam.export import build_tensorrt
from samcam.export.build_tensorrt import BuildOrder, build_engines
from tests.helpers.fake_tensorrt import FakeTensorRt
from tests.helpers.tiny_model import add_graphs

WRONG = -1e4  # added to every output: masks that were everywhere are nowhere


def test_a_network_that_misses_goes_one_precision_higher(folder: Path, trt: FakeTensorRt) -> None:
    """All rungs but the last give another mask, float32 the right one: the record says so."""
    add_graphs(folder, "mask_decoder", "float16", "bfloat16")
    add_graphs(folder, "image_encoder", "float16")
    low = [f"mask_decoder.{precision}" for precision in ("float16", "bfloat16", "tf32")]
    trt.noise = dict.fromkeys(low, WRONG)
    build_engines(BuildOrder(folder=folder))
    assert [trt.built[name] for name in (*low, "mask_decoder")] == [1] * 4
    assert trt.built["memory_encoder.tf32"] == trt.built["image_encoder.float16"] == 1
    assert trt.built["image_encoder.tf32"] == 0, "half precision was good enough"
    decoder = read_record(folder, TENSORRT, "mask_decoder")
    assert (decoder.asked, decoder.fingerprint.precision) == ("float16", "float32")
    assert decoder.reason.startswith("float16: worst mask IoU 0.")
    assert "; bfloat16: worst mask IoU 0." in decoder.reason
    assert "; tf32: worst mask IoU 0." in decoder.reason
    encoder = read_record(folder, TENSORRT, "image_encoder")
    assert (encoder.asked, encoder.fingerprint.precision) == ("float16", "float16")
    assert encoder.fingerprint.onnx_sha256 == file_sha256(
        graph_path(folder, "image_encoder", "float16")
    )
    checks = json.loads((folder / "tensorrt" / "checks.json").read_text())["checks"]
    assert [c["network"] for c in checks] == list(NETWORKS)
    assert min(c["min_iou"] for c in checks) > 0.99
    load_model(str(folder), backend="tensorrt").close()


def test_half_precision_graphs_that_changed_make_the_engine_stale(folder: Path) -> None:
    add_graphs(folder, "mask_decoder", "float16")
    build_engines(BuildOrder(folder=folder))
    add_graphs(folder, "mask_decoder", "float16")
    load_model(str(folder), backend="tensorrt").close()
    path = graph_path(folder, "mask_decoder", "float16")
    model = onnx.load(path)
    model.doc_string = "exported again"
    onnx.save(model, path)
    with pytest.raises(EngineError, match=r"mask_decoder\.engine: built for another graph"):
        load_model(str(folder), backend="tensorrt")


def test_a_network_that_misses_in_the_highest_precision_is_refused(
    folder: Path, trt: FakeTensorRt
) -> None:
    add_graphs(folder, "mask_decoder", "float16")
    trt.noise = {"mask_decoder.float16": WRONG, "mask_decoder": WRONG}
    with pytest.raises(EngineError) as caught:
        build_engines(BuildOrder(folder=folder))
    text = str(caught.value)
    assert "\n" not in text
    assert "do not answer as ONNX Runtime does on this GPU: mask_decoder: worst mask IoU" in text
    assert "memory_encoder" not in text
    assert text.endswith(
        ": float32 misses as well: use --backend onnxruntime, or update TensorRT or the driver"
    )
    with pytest.raises(EngineError, match=r"do not answer as ONNX Runtime.*float32 misses as well"):
        load_model(str(folder), backend="tensorrt")


def test_a_precision_that_does_not_build_is_left_out(folder: Path, trt: FakeTensorRt) -> None:
    """One cannot be built at the start, another after a miss: the next higher one is taken."""
    add_graphs(folder, "mask_decoder", "float16", "bfloat16")
    add_graphs(folder, "image_encoder", "float16")
    trt.noise = {"mask_decoder.float16": WRONG}
    trt.broken = {"mask_decoder.bfloat16", "image_encoder.float16"}
    lines: list[str] = []
    build_engines(BuildOrder(folder=folder, report=lines.append))
    decoder = read_record(folder, TENSORRT, "mask_decoder")
    assert (decoder.asked, decoder.fingerprint.precision) == ("float16", "tf32")
    assert decoder.reason.startswith("float16: worst mask IoU 0.")
    assert decoder.reason.endswith("; bfloat16: cannot be built")
    encoder = read_record(folder, TENSORRT, "image_encoder")
    assert (encoder.asked, encoder.fingerprint.precision) == ("float16", "tf32")
    assert encoder.reason == "float16: cannot be built"
    assert any("Could not find any implementation" in line for line in lines)
    load_model(str(folder), backend="tensorrt").close()


def test_an_old_gpu_gets_what_it_has(folder: Path, trt: FakeTensorRt) -> None:
    """Neither bfloat16 nor TF32 below compute capability 8.0."""
    add_graphs(folder, "mask_decoder", "float16", "bfloat16")
    add_graphs(folder, "image_encoder", "bfloat16")
    trt.noise = {"mask_decoder.float16": WRONG}
    trt.cuda.capability = (7, 5)
    records = {record.network: record for record in build_engines(BuildOrder(folder=folder))}
    assert {record.fingerprint.precision for record in records.values()} == {"float32"}
    assert {record.fingerprint.compute_capability for record in records.values()} == {"7.5"}
    assert records["mask_decoder"].asked == "float16"
    assert set(trt.built) == {"mask_decoder.float16", *NETWORKS}


@pytest.mark.parametrize(
    ("precision", "built"), [("bfloat16", "bfloat16"), ("tf32", "tf32"), ("float32", "float32")]
)
def test_the_ladder_starts_where_it_is_told(folder: Path, precision: str, built: str) -> None:
    add_graphs(folder, "mask_decoder", "float16", "bfloat16")
    build_engines(BuildOrder(folder=folder, check=False, precision=precision))
    assert read_record(folder, TENSORRT, "mask_decoder").fingerprint.precision == built


def test_what_missed_in_a_run_is_built_higher(folder: Path, trt: FakeTensorRt) -> None:
    """Built without a comparison; the first run names the command, and the command helps."""
    add_graphs(folder, "mask_decoder", "float16")
    trt.noise = {"mask_decoder.float16": WRONG}
    build_engines(BuildOrder(folder=folder, check=False))
    with pytest.raises(EngineError, match=r"run: python -m export\.build_tensorrt"):
        load_model(str(folder), backend="tensorrt")
    build_engines(BuildOrder(folder=folder, check=False))
    record = read_record(folder, TENSORRT, "mask_decoder")
    assert (record.asked, record.fingerprint.precision) == ("float16", "tf32")
    assert record.reason.startswith("float16: worst mask IoU 0.")
    assert trt.built["mask_decoder.float16"] == 1
    load_model(str(folder), backend="tensorrt").close()
    build_engines(BuildOrder(folder=folder, check=False, precision="float16"))
    assert trt.built["mask_decoder.float16"] == 2, "asked for by name"


def test_a_model_without_half_precision_is_refused(
    folder: Path, trt: FakeTensorRt, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build_tensorrt.main([str(folder)]) == 4
    assert not trt.built
    err = capsys.readouterr().err
    assert err.startswith(f"export: {folder}: has no graphs in half precision; --precision fp32")
    assert err.endswith(": export the model again with --precision fp16\n")
    write_manifest(folder, replace(read_manifest(folder), name="sam2.1-tiny@512"))
    assert build_tensorrt.main([str(folder)]) == 4
    command = f'run: python -m export sam2.1-tiny@512 --precision fp16 --out "{folder}"\n'
    assert capsys.readouterr().err.endswith(command)
    assert build_tensorrt.main([str(folder), "--precision", "tf32"]) == 0
    add_graphs(folder, "mask_decoder", "float16")
    assert build_tensorrt.main([str(folder)]) == 0
    assert trt.built["mask_decoder.float16"] == 1


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:50]), "truncated: expected"),
        (lambda path: path.write_bytes(path.read_bytes()[::-1]), "not the model's file: expected"),
        (lambda path: path.unlink(), "missing"),
        (lambda path: path.rename(path.with_name("mask_decoder.bfloat16.onnx")), "missing"),
    ],
)
def test_a_broken_graph_in_half_precision_is_named(
    folder: Path, damage: Callable[[Path], object], what: str
) -> None:
    """Nothing is built from it; what runs without it still does."""
    add_graphs(folder, "mask_decoder", "float16")
    path = graph_path(folder, "mask_decoder", "float16")
    damage(path)
    with pytest.raises(EngineError) as caught:
        build_engines(BuildOrder(folder=folder))
    assert str(caught.value).startswith(f"{path}: {what}")
    assert str(caught.value).endswith("python -m export MODEL --out FOLDER")
    assert not engine_path(folder, TENSORRT, "image_encoder").exists()
    load_model(str(folder), backend="onnxruntime").close()


def test_a_graph_of_nobody_is_not_built(folder: Path) -> None:
    add_graphs(folder, "mask_decoder", "float16")
    write_manifest(folder, replace(read_manifest(folder), half={}))
    with pytest.raises(EngineError, match=r"decoder\.float16\.onnx: not in the model's manifest: "):
        build_engines(BuildOrder(folder=folder))


def test_what_tensorrt_has_no_precision_for(folder: Path) -> None:
    write_manifest(folder, read_manifest(folder), precision={"image_encoder": "int8"})
    with pytest.raises(EngineError, match=r"image_encoder\.onnx: precision int8"):
        build_engines(BuildOrder(folder=folder))
