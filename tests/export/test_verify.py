"""`python -m export verify`: what it says of a right model, a wrong one and of what is absent."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from samcam.engines.checks.first_run import checks_key, checks_path
from samcam.engines.checks.self_check import read_checks
from samcam.engines.fake_backend import FakeBackend
from samcam.engines.graph_table import MASK_DECODER, MEMORY_ATTENTION, MEMORY_ENCODER, NETWORKS
from samcam.engines.manifest import read_manifest, write_manifest
from samcam.engines.tensorrt.library import TENSORRT
from samcam.export import verify as verify_module
from samcam.export.__main__ import main
from samcam.export.build_tensorrt import BuildOrder, build_engines
from samcam.export.shadow import OutputError, Shadow
from samcam.export.torch_models import WEIGHTS_NAME
from samcam.export.verify import TOLERANCES, Comparison, tolerance
from samcam.live.sources.demo.scene import DemoScene
from tests.conftest import REPO_ROOT
from tests.helpers import fake_tensorrt
from tests.helpers.bounds import LONG_RUN_TIMEOUT_S
from tests.helpers.tiny_model import example_feeds, tiny_manifest, write_tiny_model

OUTPUTS = sum(len(network.outputs) for network in NETWORKS.values())
ROW = re.compile(
    r"^(\w+) +(\w+) +(float32|tf32|float16|bfloat16|int8) +(\S+) +(\S+) +(\S+)( +TOO FAR)?$"
)


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One real enough picture."""
    folder = tmp_path_factory.mktemp("frames")
    cv2.imwrite(str(folder / "demo.png"), DemoScene((320, 240)).render(0)[0])
    return folder


@pytest.fixture
def without_weights(sam2_256: Path, tmp_path: Path) -> Path:
    """The model as links to its files, but without the weights."""
    folder = tmp_path / "sam2.1-tiny@256"
    shutil.copytree(sam2_256, folder, copy_function=lambda a, b: Path(b).symlink_to(a))
    (folder / WEIGHTS_NAME).unlink()
    return folder


def table_of(text: str) -> list[re.Match[str]]:
    return [match for line in text.splitlines() if (match := ROW.match(line))]


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """Return the one line with which it ends."""
    assert main(["verify", *map(str, arguments)]) == 4
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("verify: ")
    return line


# --- the sums --------------------------------------------------------------------------------


def test_errors_are_shares_of_the_largest_value() -> None:
    error = OutputError(MASK_DECODER, "ious")
    error.add(np.array([1.0, -20.0]), np.array([1.0, -19.0]))
    error.add(np.array([0.5]), np.array([0.0]))
    assert (error.calls, error.max_abs, error.relative) == (2, 1.0, 0.05)


@pytest.mark.parametrize(
    "given", [np.array([np.nan, 0.0]), np.array([np.inf, 0.0]), np.zeros(3)], ids=str
)
def test_values_that_are_no_answer(given: np.ndarray) -> None:
    error = OutputError(MASK_DECODER, "ious")
    error.add(np.zeros(2), given)
    assert error.relative == np.inf
    found = Comparison("torch", {MASK_DECODER: "bfloat16"}, [error], [])
    (problem,) = found.problems()
    assert "mask_decoder ious: off by inf" in problem
    assert "TOO FAR" in found.table()


def test_all_zeros_agree() -> None:
    error = OutputError(MASK_DECODER, "ious")
    error.add(np.zeros(2), np.zeros(2))
    assert error.relative == 0.0


def test_a_shadow_answers_as_the_reference() -> None:
    spec = tiny_manifest().specs()[MEMORY_ENCODER]

    def backend(value: float) -> FakeBackend:
        memory = np.full((1, 8, 4, 4), value, np.float32)
        return FakeBackend(spec.name, lambda feeds: {"maskmem_features": memory}, spec)

    right = backend(1.0)
    shadow = Shadow(spec.name, right, backend(1.5))
    assert shadow.inputs == right.inputs
    answer = shadow.run(example_feeds(spec, np.random.default_rng(0)))
    assert float(answer["maskmem_features"].numpy().max()) == 1.0
    assert shadow.errors["maskmem_features"].max_abs == 0.5


def test_tolerances_widen_with_the_precision() -> None:
    values = [TOLERANCES[p] for p in ("float32", "float16", "bfloat16", "int8")]
    assert values == sorted(values)
    assert tolerance(MEMORY_ENCODER, "float32") == 2.0**-7, "its output is bfloat16 in any case"


# --- a real model ----------------------------------------------------------------------------


@pytest.mark.shared
@pytest.mark.slow
def test_a_right_model(sam2_256: Path, frames: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "export", "verify", str(sam2_256), "--frames", str(frames)],
        cwd=REPO_ROOT,
        capture_output=True,
        text=True,
        timeout=LONG_RUN_TIMEOUT_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    rows = table_of(done.stdout)
    assert len(rows) == OUTPUTS
    assert {row[1] for row in rows} == set(NETWORKS)
    assert all(float(row[5]) <= float(row[6]) for row in rows)
    assert "compared with torch float32, 1 pictures" in done.stdout
    assert "tensorrt: not compared: " in done.stdout
    assert "onnxruntime against torch float32" in done.stdout
    for network in NETWORKS:
        assert re.search(rf"^{network} +\d+ +1\.0000 +1\.0000", done.stdout, re.MULTILINE)
    assert re.search(r"^image_encoder +fp32 +\d.*%", done.stdout, re.MULTILINE), "range report"
    assert done.stdout.rstrip().endswith("all networks agree")


@pytest.mark.shared
@pytest.mark.slow
def test_a_wrong_network_is_named(
    sam2_256: Path, frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last layer of the memory attention a tenth too large: nothing else is to blame."""
    folder = tmp_path / "sam2.1-tiny@256"
    shutil.copytree(sam2_256, folder, copy_function=lambda a, b: Path(b).symlink_to(a))
    path = folder / "memory_attention.onnx"
    graph = onnx.load(path)
    scaled = [t for t in graph.graph.initializer if t.name.endswith("norm.weight")]
    assert scaled
    for tensor in scaled:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * 1.1, tensor.name))
    path.unlink()
    onnx.save(graph, path)
    (folder / "manifest.json").unlink()
    write_manifest(folder, read_manifest(sam2_256))
    assert main(["verify", str(folder), "--frames", str(frames)]) == 4
    out, err = capsys.readouterr()
    assert {row[1] for row in table_of(out) if row[7]} == {MEMORY_ATTENTION}
    assert "verify: onnxruntime: memory_attention pix_feat_with_mem: off by" in err
    assert all("memory_attention" in line for line in err.splitlines())


@pytest.mark.shared
@pytest.mark.slow
def test_without_weights_onnxruntime_is_the_reference(
    without_weights: Path, frames: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(without_weights), "--frames", str(frames)]) == 4
    out, err = capsys.readouterr()
    assert re.search(r"torch: not compared: .*model\.safetensors: missing", out)
    assert "nothing to compare: onnxruntime is all that runs here" in err


def test_engines_beside_onnxruntime(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the fake driver; padded, as engines want it. Its result is what the next start reads."""
    cuda, _ = fake_tensorrt.install(monkeypatch)
    folder = tmp_path / "fake"
    write_tiny_model(folder)
    build_engines(BuildOrder(folder=folder, check=False))
    assert main(["verify", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "torch: not compared: " in out
    assert "the manifest names no weights" in out
    assert "tensorrt against onnxruntime" in out
    rows = table_of(out)
    assert len(rows) == OUTPUTS
    assert not any(row[7] for row in rows)
    checks = read_checks(checks_path(folder, TENSORRT), checks_key(folder, TENSORRT))
    assert checks is not None
    assert {check.network for check in checks} == set(NETWORKS)
    assert cuda.alive() == {}


# --- what cannot be done ---------------------------------------------------------------------


def test_no_such_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert "sam2.1-huge: expected nano" in refusal(capsys, "sam2.1-huge")


def test_a_damaged_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "fake"
    write_tiny_model(folder)
    path = folder / "mask_decoder.onnx"
    path.write_bytes(path.read_bytes()[:-5])
    line = refusal(capsys, folder)
    assert "mask_decoder.onnx: truncated: expected" in line
    assert "write it again: python -m export MODEL" in line


def test_a_backend_that_must_be_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_tiny_model(tmp_path / "fake")
    line = refusal(capsys, tmp_path / "fake", "--backend", "tensorrt")
    assert re.match(r"verify: tensorrt: (cuda-python cannot|no NVIDIA|tensorrt cannot)", line)


@pytest.mark.parametrize("kind", ["empty", "no pictures", "not readable"])
def test_frames_that_are_none(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tiny_model(tmp_path / "fake")
    folder = tmp_path / "frames"
    folder.mkdir()
    if kind != "empty":
        (folder / ("a.txt" if kind == "no pictures" else "a.png")).write_bytes(b"?")
    line = refusal(capsys, tmp_path / "fake", "--frames", folder)
    assert ("not a readable picture" if kind == "not readable" else "no pictures") in line


def test_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["verify", "nano", "--backend", "openvino"])
    assert ended.value.code == 2


def test_an_interrupt(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def stop(*_: object) -> list[str]:
        raise KeyboardInterrupt

    monkeypatch.setattr(verify_module, "verify", stop)
    assert main(["verify", "nano"]) == 130
    assert capsys.readouterr().err == "verify: stopped\n"
