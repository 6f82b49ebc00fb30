"""The program that counts how often an object that left is found again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.endurance import Sample
from bench.vanish import Absence, Endured, Outcome, ReturnJudge, main, parse_arguments, run
from tests.helpers.bench_run import run_bench


def judged(story: str, within: int = 3) -> ReturnJudge:
    """Judge a story, a letter per frame.

    `o` seen and found, `x` seen and not found, `.` gone, `!` gone and yet a mask is shown, `,` all
    but gone; capitals where it has left the picture.
    """
    judge = ReturnJudge(within)
    for index, letter in enumerate(story):
        kind = letter.lower()
        gone, shown = kind in ".!", kind in "o!"
        judge.see(index, kind in "ox", gone, shown, 0.9 if kind == "o" else 0.1)
    return judge


def test_found_again_at_once_later_too_late_and_not_yet() -> None:
    judge = judged("oo..ooo..xoo..xxxxoo..x")
    assert [one.start for one in judge.absences] == [2, 7, 12, 20]
    assert [one.back_at for one in judge.absences] == [4, 9, 14, 22]
    assert [one.found_after for one in judge.absences] == [0, 1, None, None]
    assert [one.judged for one in judge.absences] == [True, True, True, False]
    outcome = Outcome.of(judge.absences, fps=2.0)
    assert (outcome.returns, outcome.recovered) == (3, 2)
    assert (outcome.median_s, outcome.worst_s) == (0.25, 0.5)


def test_a_mask_of_nothing_is_counted_where_there_is_nothing() -> None:
    (absence,) = judged("o,!!..,o").absences
    assert (absence.frames, absence.false_frames) == (4, 2)
    assert Outcome.of([absence], 30).false_share == 0.5


def test_leaving_and_being_hidden_are_told_apart() -> None:
    judge = ReturnJudge(within=3)
    for index, visible in enumerate((True, False, True, True, False, True)):
        judge.see(index, visible, not visible, visible, float(visible))
        if index == 4:
            judge.mark_left()
    judge.mark_left()  # it is back: nothing to mark
    assert [one.left for one in judge.absences] == [False, True]


@pytest.mark.parametrize(
    ("found", "false_frames", "rss", "fault"),
    [
        (9, 5, 300.0, ""),
        (8, 0, 300.0, "8 of 10 returns recovered within 2 s, expected at least 90%"),
        (10, 6, 300.0, "a mask was shown on 6.0% of the frames without the object"),
        (10, 0, 330.0, "memory grew from 300 to 330 MiB"),
        (None, 0, 300.0, "0 of 0 returns recovered"),
    ],
)
def test_what_is_a_fault(found: int | None, false_frames: int, rss: float, fault: str) -> None:
    judge = ReturnJudge(within=60)
    for time in range(0 if found is None else 10):
        after = 1 if time < (found or 0) else None
        judge.absences.append(
            Absence(True, time * 100, 10, false_frames if time == 0 else 0, 50, after, judged=True)
        )
    samples = [Sample(300.0, 9, 9)] * 12 + [Sample(rss, 9, 9)] * 4
    faults = Endured(30.0, 1000, judge, tuple(samples)).faults
    assert [fault in line for line in faults] == ([True] if fault else [])


def test_the_first_frames_of_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "vanish.json"
    options = parse_arguments(["--fps", "15", "--threads", "1", "--json", str(kept)])
    options.minutes = 0.02
    assert "0 of 0 returns recovered" in run(options)[0]
    assert "18 frames; mean IoU 0.9" in capsys.readouterr().out
    assert json.loads(kept.read_text())["left"]["returns"] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--every", "10"], "expected 0 or at least 16 s at source.fps 30, got 10"),
        (["--minutes", "0"], "--minutes 0: expected more than 0"),
        (["--minutes", "1e9"], "--minutes 1e+09: expected more than 0, less than a million"),
        (["--every", "0"], "--every 0"),
        (
            ["--minutes", "2"],
            "--minutes 2: too short to see the object leave and come back once; "
            "expected at least 2.2 with --every 120 --fps 30",
        ),
        (["--fps", "nan"], "--fps nan"),
    ],
)
def test_wrong_use_is_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.long
def test_two_returns_are_recovered() -> None:
    done = run_bench("vanish", "--minutes", 1.5, "--every", 32, "--fps", 15, "--threads", 1)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "left the picture                    2 of 2" in done.stdout
