"""Engines are built, compared, and built again in a higher precision; on the fake TensorRT."""

from __future__ import annotations

import json
import re
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from samcam.engines.base import EngineError
from samcam.engines.graph_table import NETWORKS
from samcam.engines.manifest import GraphFile, file_sha256, read_manifest, write_manifest
from samcam.engines.model_folder import load_model
from samcam.engines.tensorrt.files import (
    MAX_POINTS,
    engine_path,
    profiles_of,
    read_record,
    record_path,
    write_engine_file,
)
from samcam.engines.tensorrt.library import TENSORRT
from samcam.export import build_tensorrt
from samcam.export.build_tensorrt import BuildOrder, build_engines
from tests.helpers.fake_tensorrt import FakeTensorRt
from tests.helpers.fake_tensorrt_builder import MAGIC, Builder, stem_of


def facts(folder: Path, network: str) -> dict:
    """What the fake wrote into an engine."""
    data = engine_path(folder, TENSORRT, network).read_bytes()
    return json.loads(data[len(MAGIC) :].partition(b"\n")[0])


def test_all_engines_are_built_compared_and_recorded(folder: Path, trt: FakeTensorRt) -> None:
    lines: list[str] = []
    records = build_engines(BuildOrder(folder=folder, report=lines.append))
    assert [record.network for record in records] == list(NETWORKS)
    manifest = read_manifest(folder)
    for record in records:
        assert read_record(folder, TENSORRT, record.network) == record
        made = record.fingerprint
        assert made.onnx_sha256 == manifest.files[record.network].sha256 == record.model_sha256
        assert (made.tensorrt, made.gpu, made.compute_capability) == (
            trt.__version__,
            "Fake GPU",
            "8.9",
        )
        assert (made.driver, made.precision, record.asked, record.reason) == (
            "580.65.06",
            "tf32",
            "tf32",
            "",
        )
        assert made.profiles == profiles_of(manifest, record.network)
        path = engine_path(folder, TENSORRT, record.network)
        assert file_sha256(path) == record.engine_sha256
        assert path.stat().st_size == record.engine_bytes
    names = {path.name for path in (folder / "tensorrt").iterdir()}
    assert names == {f"{n}.engine{end}" for n in NETWORKS for end in ("", ".json")} | {
        "timing.cache",
        "checks.json",
    }
    text = "\n".join(lines)
    for network in NETWORKS:
        assert f"{network}: building in tf32 from {network}.onnx" in text
    assert "min IoU" in lines[-1]


def test_profiles_fix_what_tracking_fixes(folder: Path) -> None:
    build_engines(BuildOrder(folder=folder, check=False))
    usual, largest = facts(folder, "memory_attention")["profiles"]
    assert usual["maskmem_features"] == [[1, 7, 8, 4, 4]] * 3
    assert usual["obj_ptr_tpos"] == [[1, 16]] * 3
    assert largest["maskmem_features"] == [[1, 10, 8, 4, 4]] * 3
    assert largest["obj_ptr_tpos"] == [[1, 19]] * 3
    (encoder,) = facts(folder, "image_encoder")["profiles"]
    assert encoder["image"] == [[1, 64, 64, 3]] * 3
    tracking, prompts = facts(folder, "mask_decoder")["profiles"]
    assert tracking["point_coords"] == [[1, 1, 2]] * 3
    assert prompts["point_coords"] == [[1, 1, 2], [1, 2, 2], [1, MAX_POINTS, 2]]
    assert prompts["high_res_feat0"] == tracking["high_res_feat0"] == [[1, 3, 16, 16]] * 3
    assert facts(folder, "mask_decoder")["tf32"]
    build_engines(BuildOrder(folder=folder, check=False, precision="float32"))
    assert not facts(folder, "mask_decoder")["tf32"], "float32 is meant to be exact"


def test_networks_that_cannot_be_built_are_all_named(folder: Path, trt: FakeTensorRt) -> None:
    trt.broken = {"memory_attention", "mask_prompt"}
    with pytest.raises(EngineError) as caught:
        build_engines(BuildOrder(folder=folder))
    assert re.fullmatch(
        r".*memory_attention\.onnx: TensorRT 11.* cannot build an engine: Could not find any "
        r"implementation; .*mask_prompt\.onnx: .*implementation",
        str(caught.value),
    )
    assert not engine_path(folder, TENSORRT, "memory_attention").exists()
    assert read_record(folder, TENSORRT, "memory_encoder").fingerprint.precision == "tf32"


def test_a_full_disk_is_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    assert build_tensorrt.main([str(folder), "--precision", "fp32"]) == 4
    err = capsys.readouterr().err
    assert err.startswith(f"export: {folder / 'tensorrt'}")
    assert err.endswith(": cannot be written: No space left on device\n")


def test_a_failed_build_keeps_what_was_there(folder: Path, trt: FakeTensorRt) -> None:
    build_engines(BuildOrder(folder=folder))
    before = engine_path(folder, TENSORRT, "memory_attention").read_bytes()
    trt.broken = {"memory_attention"}
    with pytest.raises(EngineError) as caught:
        build_engines(BuildOrder(folder=folder))
    assert str(caught.value) == (
        f"{folder / 'memory_attention.onnx'}: TensorRT 11.4.0.106 cannot build an engine: "
        "Could not find any implementation"
    )
    assert engine_path(folder, TENSORRT, "memory_attention").read_bytes() == before
    assert not list((folder / "tensorrt").glob("*.partial"))
    load_model(str(folder), backend="tensorrt").close()


def test_a_broken_graph_is_named(folder: Path) -> None:
    path = folder / "memory_encoder.onnx"
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(EngineError, match=r"memory_encoder\.onnx: truncated: expected"):
        build_engines(BuildOrder(folder=folder))
    write_manifest(folder, read_manifest(folder))
    with pytest.raises(EngineError, match=r"memory_encoder\.onnx: cannot be read \(Error parsing"):
        build_engines(BuildOrder(folder=folder))


def test_ctrl_c_ends_the_build_at_the_next_step(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No exception passes through TensorRT; nothing half-written stays; the handler is restored."""
    before = signal.getsignal(signal.SIGINT)
    build = Builder.build_serialized_network

    def interrupted(self, network, config):
        if stem_of(network) == "mask_decoder":
            signal.raise_signal(signal.SIGINT)
        return build(self, network, config)

    monkeypatch.setattr(Builder, "build_serialized_network", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build_engines(BuildOrder(folder=folder))
    assert signal.getsignal(signal.SIGINT) is before
    assert engine_path(folder, TENSORRT, "memory_attention").is_file()
    assert not engine_path(folder, TENSORRT, "mask_decoder").is_file()
    assert not list((folder / "tensorrt").glob("*.partial"))


def test_the_timing_cache_is_used_again(folder: Path) -> None:
    cache = folder / "tensorrt" / "timing.cache"
    build_engines(BuildOrder(folder=folder, check=False))
    first = cache.read_bytes()
    assert first.startswith(b"timings:image_encoder")
    build_engines(BuildOrder(folder=folder, check=False))
    assert cache.read_bytes().startswith(first)
    assert len(cache.read_bytes()) == 2 * len(first) - len(b"timings:")
    cache.write_bytes(b"of another GPU")
    build_engines(BuildOrder(folder=folder, check=False))
    assert cache.read_bytes() == first


def test_a_cut_between_engine_and_record_is_seen(folder: Path) -> None:
    build_engines(BuildOrder(folder=folder))
    record_path(engine_path(folder, TENSORRT, "mask_prompt")).unlink()
    with pytest.raises(EngineError, match=r"mask_prompt\.engine\.json: missing: run: python -m"):
        load_model(str(folder), backend="tensorrt")


def test_files_are_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "engine"
    write_engine_file(path, b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(EngineError, match=r"engine: cannot be written: No space left on device"):
        write_engine_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_program_builds_and_says_so(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build_tensorrt.main([str(folder), "--level", "5", "--precision", "fp32"]) == 0
    out, err = capsys.readouterr()
    assert "mask_decoder: building in float32" in out
    assert "min IoU" in out
    assert err == ""


def test_fp32_needs_no_half_graphs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gone = GraphFile("image_encoder.float16.onnx", "0" * 64, 5, "float16")
    half = {"image_encoder": {"float16": gone}}
    write_manifest(folder, replace(read_manifest(folder), half=half))
    assert build_tensorrt.main([str(folder), "--precision", "fp16"]) == 4
    assert "image_encoder.float16.onnx: missing" in capsys.readouterr().err
    assert build_tensorrt.main([str(folder), "--precision", "fp32"]) == 0


@pytest.mark.parametrize("capability", ["9.0", "x.y", "\uff18.\uff19"])
def test_a_capability_that_nobody_has_is_wrong_use(
    folder: Path, capability: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        build_tensorrt.main([str(folder), "--rtx", "--capability", capability])
    assert ended.value.code == 2
    assert "--capability" in capsys.readouterr().err


def test_pictures_are_looked_for_before_minutes_of_building(
    folder: Path, trt: FakeTensorRt, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--precision", "fp32", "--pictures", str(tmp_path / "none")]
    assert build_tensorrt.main([str(folder), *words]) == 4
    assert capsys.readouterr().err.startswith(f"export: {tmp_path / 'none'}: no pictures, expected")
    assert not trt.built


def test_the_program_fails_with_one_line(
    folder: Path, trt: FakeTensorRt, capsys: pytest.CaptureFixture[str]
) -> None:
    for damage, text in (
        (lambda: trt.broken.add("mask_prompt"), "cannot build an engine"),
        (lambda: setattr(trt.cuda, "devices", 0), "no NVIDIA GPU with index 0: 0 found"),
        (lambda: setattr(trt.cuda, "driver", 0), "no NVIDIA driver is installed"),
        (lambda: shutil.rmtree(folder), "expected nano"),
    ):
        damage()
        assert build_tensorrt.main([str(folder), "--precision", "fp32"]) == 4
        out, err = capsys.readouterr()
        assert text in err
        assert err.startswith("export: ")
        assert len(err.splitlines()) == 1
        assert "Traceback" not in out + err


def test_other_limits_need_other_engines(folder: Path) -> None:
    build_engines(BuildOrder(folder=folder))
    write_manifest(folder, replace(read_manifest(folder), max_cond=2))
    with pytest.raises(EngineError, match="built for other limits"):
        load_model(str(folder), backend="tensorrt")
    build_engines(BuildOrder(folder=folder))
    load_model(str(folder), backend="tensorrt").close()
