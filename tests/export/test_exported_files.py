"""What an ONNX file must not carry: the exporting machine's paths and source lines."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from samcam.engines.graph_table import MASK_PROMPT, NETWORKS
from samcam.export.examples import random_inputs
from samcam.export.graphs import write_graph
from samcam.export.nano import load_checkpoint, nano_manifest, nano_modules

SIZE = 64


def metadata(path: Path) -> dict[str, str]:
    """Join the metadata of a graph's nodes, key by key."""
    found: dict[str, str] = {}
    for node in onnx.load(str(path)).graph.node:
        for entry in node.metadata_props:
            found[entry.key] = found.get(entry.key, "") + entry.value
    return found


@pytest.mark.parametrize("network", NETWORKS)
def test_the_embedded_model_names_no_path(network: str, nano_dir: Path) -> None:
    path = nano_dir / f"{network}.onnx"
    assert not [key for key in metadata(path) if "stack_trace" in key]
    assert b'File "' not in path.read_bytes()


@pytest.mark.slow
def test_a_fresh_graph_keeps_its_scopes_only(repo_root: Path, tmp_path: Path) -> None:
    """The range report reads the scopes of the nodes; the stack traces go."""
    model = load_checkpoint(repo_root / "training/checkpoint/nano.pt")
    inputs = random_inputs(nano_modules(model), nano_manifest(model, SIZE))[MASK_PROMPT]
    path = tmp_path / f"{MASK_PROMPT}.onnx"
    write_graph(nano_modules(model)[MASK_PROMPT], MASK_PROMPT, inputs, path)
    found = metadata(path)
    assert "pkg.torch.onnx.name_scopes" in found
    assert not [key for key in found if "stack_trace" in key]
    assert str(repo_root) not in path.read_bytes().decode("latin1")
