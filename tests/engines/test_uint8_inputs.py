"""uint8 inputs are cast to a float type before anything else: TensorRT takes nothing else."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from samcam.engines.base import EngineError
from samcam.engines.graph_table import IMAGE_ENCODER, MASK_PROMPT, NETWORKS
from samcam.engines.manifest import read_manifest, write_manifest
from samcam.export.build_tensorrt import BuildOrder, build_engines
from samcam.export.examples import random_inputs
from samcam.export.graphs import write_graph
from samcam.export.nano import load_checkpoint, nano_manifest, nano_modules
from tests.helpers import fake_tensorrt
from tests.helpers.graph_rules import uint8_faults
from tests.helpers.tiny_model import write_tiny_model

SIZE = 64
WITH_BYTES = (IMAGE_ENCODER, MASK_PROMPT)


def faults(folder: Path) -> dict[str, list[str]]:
    """Read every graph of a model folder, those in half precision too."""
    return {
        str(path.relative_to(folder)): uint8_faults(onnx.load(str(path)))
        for path in sorted(folder.rglob("*.onnx"))
    }


def test_the_embedded_model_casts_first(nano_dir: Path) -> None:
    found = faults(nano_dir)
    assert len(found) == len(NETWORKS)
    assert not any(found.values()), found


@pytest.mark.slow
@pytest.mark.parametrize("network", WITH_BYTES)
def test_a_fresh_nano_casts_first(network: str, repo_root: Path, tmp_path: Path) -> None:
    model = load_checkpoint(repo_root / "training/checkpoint/nano.pt")
    modules = {network: nano_modules(model)[network]}
    inputs = random_inputs(nano_modules(model), nano_manifest(model, SIZE))[network]
    path = tmp_path / f"{network}.onnx"
    write_graph(modules[network], network, inputs, path)
    graph = onnx.load(str(path))
    assert any(v.type.tensor_type.elem_type == TensorProto.UINT8 for v in graph.graph.input)
    assert uint8_faults(graph) == []


@pytest.mark.shared
@pytest.mark.slow
def test_a_fresh_sam2_casts_first(sam2_256: Path) -> None:
    found = faults(sam2_256)
    assert len(found) == len(NETWORKS)
    assert not any(found.values()), found


def test_the_fake_builder_refuses_anything_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph that compares bytes parses, and is not built."""
    fake_tensorrt.install(monkeypatch)
    folder = tmp_path / "fake"
    write_tiny_model(folder)
    path = folder / f"{MASK_PROMPT}.onnx"
    graph = onnx.load(str(path))
    name = graph.graph.input[0].name
    graph.graph.node.insert(0, helper.make_node("Identity", [name], ["same"]))
    onnx.save(graph, str(path))
    assert uint8_faults(graph) == [f"{name} -> Identity"]
    write_manifest(folder, read_manifest(folder))
    with pytest.raises(EngineError, match=f"cannot build an engine: UINT8 .*{name} -> Identity"):
        build_engines(BuildOrder(folder=folder, check=False))
