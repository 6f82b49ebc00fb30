"""`python -m bench.sam2`: both sides do the same work, and the table is written. No timing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from bench import sam2
from bench.sam2 import STEP, WAYS, Figures, result_table
from bench.sam2_library import Library
from bench.sam2_ours import Ours, on_torch, square_picture
from bench.sam2_weights import lively_model
from samcam.engines.graph_table import MEMORY_ATTENTION
from tests.helpers.bench_run import run_bench

SIZE = 256
CELLS = (SIZE // 16) ** 2
FULL_MEMORY = 7 * CELLS + 16 * 4  # tokens of 7 memories and 16 pointers
CPU = torch.device("cpu")


def test_a_row_for_each_network_and_number_of_objects() -> None:
    names = [way.name for way in WAYS]
    assert len(set(names)) == 6
    networks = {name: {part: float(i) for i, part in enumerate(STEP)} for name in names}
    frames = {name: {1: 12.34, 4: 40.0} for name in names}
    made = result_table([Figures(size, networks, frames) for size in (1024, 512)])
    assert made.headers == ("median ms", *names)
    assert len(made.rows) == 12
    assert made.rows[4] == ("1024 px: whole frame, 1 object", *["12.3"] * 6)
    assert made.rows[11] == ("512 px: whole frame, 4 objects", *["40.0"] * 6)


@pytest.mark.slow
def test_both_sides_attend_to_a_full_memory() -> None:
    model = lively_model()
    picture = square_picture(SIZE)
    library = Library("float32", False, model, picture, CPU)
    seen: list[int] = []

    def note(_: torch.nn.Module, given: tuple[object, ...], named: dict[str, torch.Tensor]) -> None:
        seen.append(max(named["memory"].shape[:2]))

    library._parts[MEMORY_ATTENTION].register_forward_pre_hook(note, with_kwargs=True)
    library.start(1)
    library.frame()
    assert seen[-1] == FULL_MEMORY
    assert seen[0] < FULL_MEMORY, "one memory on the second frame"

    ours = Ours(on_torch(model, SIZE, "cpu", "float32", False), picture)
    ours.start(2)
    fed: list[int] = []
    network = ours.networks.backends[MEMORY_ATTENTION]
    run = network.run
    network.run = lambda feeds: (  # type: ignore[method-assign]
        fed.append(feeds["maskmem_features"].shape[1] * CELLS + feeds["obj_ptrs"].shape[1] * 4),
        run(feeds),
    )[1]
    ours.frame()
    assert fed == [FULL_MEMORY] * 2


@pytest.mark.slow
def test_a_run_writes_its_table(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- bench:sam2 -->\nold\n<!-- /bench -->\n", encoding="utf-8")
    done = run_bench(
        "sam2",
        *("--sizes", SIZE, "--objects", 2, "--frames", 1, "--rounds", 1, "--device", "cpu"),
        *("--ways", "samcam float32", "transformers float32", "--markdown", page),
    )
    assert done.returncode == 0, done.stderr
    text = page.read_text(encoding="utf-8")
    assert "old" not in text
    assert "| median ms | samcam float32 | transformers float32 |" in text
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| 256")]
    assert [row[0] for row in rows] == [
        *(f"256 px: {part}" for part in STEP),
        "256 px: whole frame, 2 objects",
    ]
    assert np.array([row[1:] for row in rows], float).min() > 0
    assert "sam2.1-tiny, on the processor" in text
    assert rows[0][1] in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        (["--objects", "0"], 2, "--objects 0: expected 1..64"),
        (["--sizes", "300"], 2, "invalid choice"),
        (["--frames", "0"], 2, "--frames 0: expected at least 1"),
        (["--device", "gpu"], 4, "torch device: expected auto, cpu, cuda or cuda:N"),
        (["--checkpoint", "none.pt", "--device", "cpu"], 4, "none.pt: no such checkpoint"),
    ],
)
def test_wrong_use_is_one_line(
    arguments: list[str], code: int, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        found = sam2.main(arguments)
    except SystemExit as ended:
        found = int(str(ended.code))
    assert found == code
    assert part in capsys.readouterr().err.splitlines()[-1]
