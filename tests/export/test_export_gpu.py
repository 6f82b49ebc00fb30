"""`python -m export` on machines with and without a GPU; the export itself is left out."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from samcam.engines.graph_table import NETWORKS
from samcam.engines.tensorrt import TENSORRT, read_record
from samcam.export import __main__ as export_main
from samcam.export import nano
from samcam.export.__main__ import main
from samcam.export.sam2 import writer as sam2
from tests.helpers import fake_tensorrt
from tests.helpers.fake_tensorrt import FakeTensorRt
from tests.helpers.tiny_model import write_tiny_model


@pytest.fixture
def trt(monkeypatch: pytest.MonkeyPatch) -> FakeTensorRt:
    return fake_tensorrt.install(monkeypatch)[1]


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note exports instead of doing them."""
    done: list[str] = []
    monkeypatch.setattr(sam2, "export_sam2", lambda order, folder: done.append(order.precision))
    monkeypatch.setattr(nano, "export_nano", lambda *order: done.append("nano"))
    monkeypatch.setattr(nano, "describe", lambda errors: "")
    return done


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda trt: setattr(trt.cuda, "driver", 0), "no NVIDIA driver is installed"),
        (lambda trt: setattr(trt.cuda, "devices", 0), "no NVIDIA GPU with index 0"),
        (lambda trt: setattr(trt, "__version__", "8.6"), "tensorrt 8.6 is installed"),
    ],
)
def test_what_engines_need_is_looked_for_before_the_export(
    trt: FakeTensorRt,
    exported: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    damage: Callable[[FakeTensorRt], None],
    text: str,
) -> None:
    damage(trt)
    words = ["sam2.1-tiny@256", "--backend", "tensorrt", "--out", str(tmp_path / "model")]
    assert main(words) == 4
    assert exported == []
    (line,) = capsys.readouterr().err.splitlines()
    assert text in line


@pytest.mark.parametrize(
    ("words", "precision"), [((), "tf32"), (("--precision", "fp32"), "float32")]
)
def test_engines_are_built_of_what_was_exported(
    trt: FakeTensorRt,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    precision: str,
) -> None:
    """In the lowest precision that there is; in exact fp32 where that is asked for."""
    monkeypatch.setattr(sam2, "export_sam2", lambda order, folder: write_tiny_model(folder))
    folder = tmp_path / "model"
    given = ["sam2.1-tiny@256", "--backend", "tensorrt", "--out", str(folder)]
    assert main([*given, *words]) == 0
    for network in NETWORKS:
        assert read_record(folder, TENSORRT, network).fingerprint.precision == precision


@pytest.mark.parametrize(
    ("words", "hinted"),
    [
        (["nano"], True),
        (["sam2.1-tiny@256"], True),
        (["sam2.1-tiny@256", "--precision", "fp16"], True),
        (["sam2.1-tiny@256", "--precision", "int8"], False),  # TensorRT does not read it
    ],
)
def test_a_gpu_without_engines_is_pointed_at(
    trt: FakeTensorRt,
    exported: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    hinted: bool,
) -> None:
    folder = tmp_path / "model"
    hint = f'no TensorRT engines for Fake GPU yet: run: python -m export.build_tensorrt "{folder}"'
    assert main([*words, "--out", str(folder)]) == 0
    assert (capsys.readouterr().out.splitlines()[-1] == hint) is hinted
    trt.cuda.devices = 0
    assert main([*words, "--out", str(folder)]) == 0
    assert "no TensorRT engines" not in capsys.readouterr().out
    assert len(exported) == 2


@pytest.mark.parametrize(
    ("driver", "installed", "words", "precision", "why"),
    [
        (True, "", (), "fp16", "yes: there is an NVIDIA GPU (driver "),
        (False, "tensorrt", (), "fp16", "yes: the package tensorrt is installed; --precision"),
        (False, "cuda-python", (), "fp16", "yes: the package cuda-python is installed; --prec"),
        # torch with CUDA brings the module `cuda` and nothing else of the extras
        (False, "cuda", (), "fp32", "no: neither an NVIDIA driver nor TensorRT is here; --prec"),
        (True, "tensorrt", ("--precision", "fp32"), "fp32", "no: --precision fp32"),
        (False, "", ("--precision", "bf16"), "bf16", "yes: --precision bf16"),
    ],
)
def test_half_precision_where_it_may_be_of_use(
    trt: FakeTensorRt,
    exported: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    driver: bool,
    installed: str,
    words: tuple[str, ...],
    precision: str,
    why: str,
) -> None:
    if not driver:
        trt.cuda.driver = 0

    def version(package: str) -> str:
        if package != installed:
            raise PackageNotFoundError(package)
        return "13.4.4"

    monkeypatch.setattr(
        export_main, "find_spec", lambda name: object() if name == installed else None
    )
    monkeypatch.setattr(export_main, "version", version)
    assert main(["sam2.1-tiny@256", *words, "--out", str(tmp_path / "model")]) == 0
    assert exported == [precision]
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith(f"half-precision graphs for TensorRT: {why}")
