"""TensorRT on the GPU day: with the fake driver, and what its compiler does without any driver."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bench.gpu import engines, flat, tensorrt_steps
from bench.gpu.day import answer
from bench.gpu.engines import EngineFacts
from bench.gpu.order import NotHere, Order, Outcome, Step, Surprise
from bench.gpu.steps import steps_of
from samcam.engines import MEMORY_ATTENTION, NETWORKS
from samcam.engines.tensorrt import TENSORRT, TENSORRT_RTX, find_driver, import_library
from samcam.engines.tensorrt.library import NoTensorRtError
from tests.helpers import fake_tensorrt


@pytest.fixture
def order(tmp_path: Path) -> Order:
    (tmp_path / "work").mkdir()
    return Order(tmp_path / "work", frames=12)


def keep(outcome: Outcome) -> None:
    """Say nothing to anybody."""


def test_what_matters_most_comes_first(order: Order) -> None:
    """And every step comes after what it needs."""
    names = [step.name for step in steps_of(order)]
    assert names[:5] == ["driver", "packages", "memory", "tensorrt-library", "tensorrt-nano"]
    assert names.index("tensorrt-flat") < names.index("torch-answers")
    for part in ("all", "torch", "tensorrt"):
        done: set[str] = set()
        for step in steps_of(replace(order, part=part)):  # type: ignore[arg-type]
            assert done.issuperset(step.needs), step.name
            assert step.name not in done
            done.add(step.name)
        assert any("tensorrt" in name for name in done) == (part != "torch")
        assert any("torch-" in name for name in done) == (part != "tensorrt")


@pytest.mark.slow
def test_nano_is_built_compared_captured_and_inspected(
    order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuda, _ = fake_tensorrt.install(monkeypatch)
    monkeypatch.setattr(tensorrt_steps, "find_spec", lambda name: object())
    found = tensorrt_steps.find_library(TENSORRT)(order, keep)
    assert found.line.startswith("TensorRT 11.4.0.106, imported in ")
    outcome = tensorrt_steps.nano(TENSORRT)(order, keep)
    title = "nano on TensorRT"
    facts = outcome.figures[f"engines {title}"]
    assert [fact["network"] for fact in facts] == list(NETWORKS)
    assert all(fact["layers"] > 3 and fact["size_mb"] > 0 for fact in facts)
    assert outcome.figures["graphs"] == dict.fromkeys(NETWORKS, 1) | {MEMORY_ATTENTION: 2}
    assert "graphs captured: 6" in outcome.line
    assert min(check["min_iou"] for check in outcome.figures[title]) > 0.9
    assert {row[0] for row in outcome.tables[f"Engines, {title}"].rows} == set(NETWORKS)
    assert json.dumps(outcome.layers)
    assert cuda.alive() == {}

    folder = tensorrt_steps.nano_folder(order, TENSORRT)
    monkeypatch.setattr(tensorrt_steps, "sam2_folder", lambda order, size: folder)
    # Eight frames beside other tests say nothing of speed; tests of `judged` hold that limit.
    monkeypatch.setattr(flat, "MAX_SLOWER", float("inf"))
    long_run = tensorrt_steps.flat(TENSORRT, 256)(replace(order, frames=8), keep)
    assert long_run.figures["frames"] == 8
    assert cuda.alive() == {}


@pytest.mark.slow
def test_a_graph_that_cannot_be_captured_is_a_surprise(
    order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, trt = fake_tensorrt.install(monkeypatch)
    trt.uncapturable = True
    step = Step("nano", "nano", tensorrt_steps.nano(TENSORRT), 60)
    outcome = answer(step, order, keep)
    assert outcome.status == "surprise"
    assert "CUDA graphs that are not captured: image_encoder 0 of 1" in outcome.line


def test_scores_in_memory_are_a_surprise() -> None:
    facts = EngineFacts(MEMORY_ATTENTION, "float16", "", 20.0, 1456.0, 100, 0)
    assert facts.holds_scores
    assert not replace(facts, memory_mb=150.0).holds_scores
    assert not replace(facts, network="image_encoder").holds_scores
    made = engines.engine_table([facts], {MEMORY_ATTENTION: 2})
    assert made.rows == ((MEMORY_ATTENTION, "float16", "20.0", "1456", "100", "0", "2", "-"),)
    assert engines._FUSED.search("__myl_Fc_Mha_0x1234")
    assert engines._FUSED.search("_gemm_mha_v2")
    assert not engines._FUSED.search("/attention/MatMul")


def test_without_the_library_it_is_not_for_this_machine(
    order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_tensorrt.install(monkeypatch)
    monkeypatch.setattr(tensorrt_steps, "find_spec", lambda name: None)
    with pytest.raises(NotHere, match="cuda-python is not installed"):
        tensorrt_steps.find_library(TENSORRT)(order, keep)
    with pytest.raises(NotHere, match="neither TensorRT nor TensorRT for RTX"):
        tensorrt_steps.export(512)(order, keep)

    def missing(library: object) -> None:
        raise NoTensorRtError("tensorrt cannot be imported", "pip install it")

    monkeypatch.setattr(tensorrt_steps, "find_spec", lambda name: object())
    monkeypatch.setattr(tensorrt_steps, "import_library", missing)
    with pytest.raises(NotHere, match="tensorrt cannot be imported: pip install it"):
        tensorrt_steps.find_library(TENSORRT)(order, keep)


def test_an_export_that_fails_is_a_surprise(
    order: Order, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The real program, asked for a size that there is none of."""
    monkeypatch.setattr(tensorrt_steps, "find_spec", lambda name: object())
    monkeypatch.setattr(tensorrt_steps, "write_weights", lambda folder: folder)
    with pytest.raises(Surprise, match=r"@100: the export ended with code 2: .*expected a size"):
        tensorrt_steps.export(100)(order, keep)
    assert "usage: " in capsys.readouterr().out, "all of it is in the log"


@pytest.mark.long
def test_nvidias_compiler_builds_up_to_the_driver(order: Order) -> None:
    """TensorRT for RTX compiles `nano` on any machine; the comparison needs a driver."""
    try:
        import_library(TENSORRT_RTX)
    except NoTensorRtError as error:
        pytest.skip(f"needs TensorRT for RTX: {error}")
    if find_driver() is not None:
        pytest.skip("there is an NVIDIA driver")
    step = Step("nano", "nano", tensorrt_steps.nano(TENSORRT_RTX), 600)
    outcome = answer(step, order, keep)
    assert outcome.status == "surprise"
    assert "no NVIDIA driver is installed" in outcome.line
    folder = tensorrt_steps.nano_folder(order, TENSORRT_RTX) / TENSORRT_RTX.name
    assert {path.stem for path in folder.glob("*.engine")} == set(NETWORKS)
