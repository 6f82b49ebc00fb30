"""The number format of a training run: measured at its start, with planted and with real times."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from training import train
from training.network.fast_dtype import BUDGET_S, Choice, Measure, choose_dtype

CPU = torch.device("cpu")


class Machine:
    """Steps that take as long as they are told to, on a clock of their own."""

    def __init__(self, float32_s: list[float], bfloat16_s: list[float]) -> None:
        self.now_s = 0.0
        self.steps: list[torch.dtype] = []
        self._times = {torch.float32: float32_s, torch.bfloat16: bfloat16_s}

    def step(self, dtype: torch.dtype) -> float:
        times = self._times[dtype]
        took_s = times[min(self.steps.count(dtype), len(times) - 1)]
        self.steps.append(dtype)
        self.now_s += took_s
        return took_s

    def choose(self) -> Choice:
        return choose_dtype(CPU, self.step, lambda: self.now_s)


@pytest.mark.parametrize(
    ("float32_s", "bfloat16_s", "wanted"),
    [
        ([0.010], [0.100], torch.float32),  # AVX2: ten times slower
        ([0.010], [0.005], torch.bfloat16),
        ([0.010], [0.0095], torch.float32),  # no gain that is worth the rounding
        ([0.010], [0.900, 0.005], torch.bfloat16),  # the first step compiles
        ([0.010, 0.010, 0.300], [0.030], torch.float32),  # something else ran meanwhile
        ([2.0], [0.5], torch.bfloat16),  # a machine on which one step outlasts the budget
    ],
)
def test_the_faster_one_is_taken(
    float32_s: list[float], bfloat16_s: list[float], wanted: torch.dtype
) -> None:
    machine = Machine(float32_s, bfloat16_s)
    choice = machine.choose()
    assert choice.dtype == wanted
    assert choice.float32_ms == pytest.approx(min(float32_s) * 1e3)
    assert machine.steps.count(torch.float32) == machine.steps.count(torch.bfloat16) >= 3
    longest_turn_s = max(float32_s) + max(bfloat16_s)
    assert machine.now_s <= BUDGET_S + 3 * longest_turn_s


def test_the_real_measurement_times_both() -> None:
    choice = choose_dtype(CPU)
    assert choice.float32_ms > 0
    assert choice.bfloat16_ms > 0
    faster = choice.bfloat16_ms * 1.1 < choice.float32_ms
    assert choice.dtype == (torch.bfloat16 if faster else torch.float32)
    row = json.loads(json.dumps(choice.row()))
    assert row["dtype"] == ("bfloat16" if faster else "float32")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_run_computes_in_what_was_chosen(
    dtype: torch.dtype,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The network and the products of the optimiser, which are half of the matter."""
    slow = {torch.float32: torch.bfloat16, torch.bfloat16: torch.float32}[dtype]

    def choose(device: torch.device, measure: Measure | None = None) -> Choice:
        return choose_dtype(device, lambda asked: 1.0 if asked == slow else 0.1)

    monkeypatch.setattr(train, "choose_dtype", choose)
    run = train.Run(tmp_path, (), workers=0)
    run.train(None, tmp_path)
    assert run.dtype == run.muon.dtype == dtype
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["dtype"] == str(dtype).removeprefix("torch.")
