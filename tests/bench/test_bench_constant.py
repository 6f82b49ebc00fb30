"""A step costs the same for ever, with every preset: 20,000 of them, lost ones among them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.constant import MAX_BLOCKS, PERIOD, STEPS, WARM_PERIODS, Flat, main, measure
from samcam.live.tracker.presets import PRESETS

SHORT = (WARM_PERIODS + 2) * PERIOD


@pytest.mark.long
@pytest.mark.parametrize("name", PRESETS)
def test_constant_for_ever(name: str) -> None:
    flat = measure(PRESETS[name], STEPS)
    assert flat.faults == []
    (calls,) = flat.calls
    assert calls[0] == PERIOD  # one picture encoding a step, also while lost


def test_what_is_a_fault() -> None:
    flat = Flat("p", SHORT, 10, 10, MAX_BLOCKS, 2.0, frozenset({(1, 2)}), 0)
    assert flat.faults == []
    worse = replace(flat, blocks=20_000, rss_mib=3.0, calls=frozenset({(1, 2), (1, 3)}))
    assert replace(worse, new_shapes=1).faults == [
        "preset p: calls per round differ: [(1, 2), (1, 3)]",
        "preset p: 1 combinations of shapes came late",
        "preset p: 20000 blocks of memory more, expected at most 2000",
        "preset p: 3.0 MiB more, expected at most 2",
    ]


def test_the_program_shows_every_figure(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--steps", str(SHORT), "--preset", "sam2"]) == 0
    header, row = capsys.readouterr().out.splitlines()[-2:]
    assert header.split() == [
        str(SHORT),
        "steps",
        "µs",
        "first",
        "µs",
        "last",
        "ratio",
        "blocks",
        "KiB",
    ]
    assert row.split()[0] == "sam2"
    assert len(row.split()) == 6


@pytest.mark.parametrize("steps", ["10", "3500.5", str(SHORT + 1), str(SHORT - PERIOD)])
def test_too_few_steps_are_refused(steps: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--steps", steps])
    assert ended.value.code == 2
    assert steps in capsys.readouterr().err
