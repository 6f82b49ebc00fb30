"""Which graphs a range report that does not come to rest takes with it; nothing is exported."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from samcam.engines.fake_backend import fake_manifest
from samcam.engines.tensorrt.files import graph_path
from samcam.export.half import graphs as half_graphs
from samcam.export.half.graphs import LOWERED, MAX_ROUNDS, HalfOrder


def keep_large_parts(
    monkeypatch: pytest.MonkeyPatch, folder: Path, bad_rounds: int
) -> tuple[list[str], dict[str, frozenset[str]]]:
    """Let the report name a part of one network in the first rounds; count what is written."""
    network = LOWERED[0]
    path = graph_path(folder, network, "float16")
    path.parent.mkdir()
    path.write_bytes(b"graph")
    written: list[str] = []
    reports = iter(range(MAX_ROUNDS + 2))

    def measured(*_: object) -> SimpleNamespace:
        name = f"part{next(reports)}"
        failure = SimpleNamespace(
            network=network, probe=SimpleNamespace(part=name), describe=lambda: "too large"
        )
        return SimpleNamespace(failures=[failure] if name < f"part{bad_rounds}" else [])

    monkeypatch.setattr(half_graphs, "measure_ranges", measured)
    monkeypatch.setattr(half_graphs, "parts_behind", lambda f, *_: frozenset({f.probe.part}))
    monkeypatch.setattr(half_graphs, "write_half", lambda *given: written.append(given[1]))
    order = HalfOrder(
        precision="fp16", modules={network: None}, inputs={}, pictures=[], networks=(network,)
    )
    return written, half_graphs._keep_large_parts(folder, fake_manifest(), order)


def test_the_last_rewrite_is_measured_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    written, kept = keep_large_parts(monkeypatch, tmp_path, MAX_ROUNDS)
    assert len(written) == MAX_ROUNDS
    assert kept[LOWERED[0]] == {f"part{i}" for i in range(MAX_ROUNDS)}
    assert graph_path(tmp_path, LOWERED[0], "float16").is_file()


def test_a_graph_that_never_comes_to_rest_is_not_shipped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    written, kept = keep_large_parts(monkeypatch, tmp_path, MAX_ROUNDS + 1)
    assert len(written) == MAX_ROUNDS
    assert kept[LOWERED[0]] == {""}
    assert not graph_path(tmp_path, LOWERED[0], "float16").is_file()
