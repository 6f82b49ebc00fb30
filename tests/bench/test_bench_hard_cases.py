"""Scores of the hard cases on scripted answers, joined results, and the program itself."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from bench.cases.catalogue import Case
from bench.cases.footage import CaseFrame, Footage
from bench.cases.results import Cell, Results, ResultsError, code_hash, settings_hash
from bench.cases.scoring import CaseScore, evaluate_case
from bench.cases.tables import hard_cases_report
from bench.cases.variants import VARIANTS, Setup, VariantError
from bench.hard_cases import main
from bench.reports.environment import Environment
from bench.reports.report import mean_and_error
from samcam.live.frames import Frame, FrameResult, Mask, ObjectResult, ObjectState, Prompt
from samcam.live.tracker import PRESETS
from tests.helpers.bench_run import run_bench
from tests.helpers.labelled_data import write_disc_clip

EDGE = 32
HERE = Environment("abc", "cpu", "versions")


def block(x: int) -> Mask:
    mask = np.zeros((EDGE, EDGE), np.bool_)
    mask[8:16, x : x + 8] = True
    return mask


class Answers:
    """Gives the scripted mask of each picture, None for "not visible"."""

    def __init__(self, masks: list[Mask | None]) -> None:
        self.masks, self.prompts = masks, list[Prompt]()

    def prompt(self, prompt: Prompt) -> None:
        self.prompts.append(prompt)

    def step(self, frame: Frame) -> FrameResult:
        mask = self.masks[frame.index]
        logits = None if mask is None else np.where(mask, 5, -5).astype(np.float32)
        answer = ObjectResult(
            *(1, ObjectState.TRACKING, "scripted", logits, 1.0, 1.0, None, None, True, ()),
            frame.size_wh,
        )
        return FrameResult(frame, frame.index, (answer,))


def judge(frames: list[CaseFrame], masks: list[Mask | None]) -> CaseScore:
    case = Case("scripted", lambda footage: iter(frames))
    score = evaluate_case(case, cast(Footage, None), Answers(masks), "box", None)
    assert score is not None
    return score


def scene(truth: list[Mask | None]) -> list[CaseFrame]:
    picture = np.zeros((EDGE, EDGE, 3), np.uint8)
    return [CaseFrame(picture, {} if mask is None else {1: mask}) for mask in truth]


def test_overlap_false_masks_and_the_time_to_recover() -> None:
    """Gone for six pictures, two of them with a mask; back, and found at the fourth picture."""
    here = block(8)
    truth = [here, here, *[None] * 6, *[here] * 6]
    answers = [here, here, here, here, *[None] * 7, here, here, here]
    score = judge(scene(truth), answers)
    assert (score.frames, score.judged, score.absent) == (14, 7, 6)
    assert score.overlap == pytest.approx(4 / 7)
    assert score.false_masks == pytest.approx(2 / 6)
    assert score.returns == (pytest.approx(3 / 30),)
    assert score.on_decoy is None


def test_a_return_that_nobody_notices_in_time_is_missed() -> None:
    here = block(8)
    truth = [here, *[None] * 5, *[here] * 70]
    late = [here, *[None] * 5, *[None] * 62, *[here] * 8]
    assert judge(scene(truth), late).returns == (None,)
    # a poor overlap is no recovery either, nor does a short gap count as absence
    assert judge(scene(truth), [here, *[None] * 5, *[block(13)] * 70]).returns == (None,)
    assert judge(scene([here, *[None] * 4, *[here] * 9]), [here] * 14).returns == ()
    # gone again before it was found
    again = [here, *[None] * 5, here, here, *[None] * 5, here]
    assert judge(scene(again), [here, *[None] * 12, here]).returns == (None, 0.0)


def test_after_a_cut_it_is_to_be_found_again() -> None:
    here, there = block(2), block(20)
    frames = scene([here, here, there, there, there])
    frames[2] = replace(frames[2], jump=True)
    assert judge(frames, [here, here, here, there, there]).returns == (pytest.approx(1 / 30),)


def test_what_cannot_be_judged_is_not_and_the_twin_is_told_apart() -> None:
    here, twin = block(2), block(20)
    frames = [replace(frame, decoy=twin) for frame in scene([here] * 5)]
    frames[3] = replace(frames[3], unsure=frozenset({1}))
    frames[4] = replace(frames[4], visible=None)
    score = judge(frames, [here, here, twin, twin, twin])
    assert (score.judged, score.on_decoy) == (2, 0.5)


def test_boxes_are_judged_as_boxes() -> None:
    frames = [replace(frame, visible={1: np.array([8.0, 8, 8, 8])}) for frame in scene([None] * 3)]
    score = judge(frames, [block(8), block(12), None])
    assert score.overlaps == (pytest.approx(1 / 3, abs=1e-4), 0.0)


def a_score(overlap: float, returns: tuple[float | None, ...] = ()) -> CaseScore:
    return CaseScore(10, 9, overlap, 3, 0.25, returns, None, (overlap,), 1.0)


def results_of(setup: Setup, *scores: CaseScore, code: str = "c0de") -> Results:
    results = Results("model nano", code, {"a": "1"}, {setup.label: "5e7"})
    for number, score in enumerate(scores):
        cell = Cell(setup, "vanish-1", f"clip{number}", score, "abc")
        results.cells[cell.key] = cell
    return results


def test_tables_have_means_errors_and_recoveries() -> None:
    assert mean_and_error([0.2, 0.4, 0.6]) == (pytest.approx(0.4), pytest.approx(0.2 / 3**0.5))
    assert mean_and_error([0.5]) == (0.5, None)
    results = results_of(Setup("sam2", "box"), a_score(0.2, (0.5, None)), a_score(0.6, (0.1,)))
    results.cells |= results_of(Setup("default", "box", without="gate"), a_score(0.5, ())).cells
    text = hard_cases_report(results, ("plain", "vanish-1"), HERE, 1).markdown()
    for part in (
        "| setup | vanish-1 (2) |",
        "| sam2, box | 0.400 ± 0.200 |",
        "| default without gate, box | 0.500 (1 only) |",
        "| sam2, box | 2 of 3, 0.30 s |",
        "| sam2, box | 0.250 ± 0.000 |",
        "- commit abc",
    ):
        assert part in text
    assert "On the twin" not in text


def test_results_are_joined_only_with_what_fits(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    setup = Setup("sam2", "box")
    first = results_of(setup, a_score(0.2, (0.5, None)))
    first.write(path, HERE)
    own = results_of(Setup("default", "click"), a_score(0.3))
    own.join(path)
    assert {cell.setup.preset for cell in own.cells.values()} == {"default", "sam2"}
    assert own.cells[setup, "vanish-1", "clip0"] == first.cells[setup, "vanish-1", "clip0"]
    with pytest.raises(ResultsError, match=r"another state of the program's files \(c0de, now x\)"):
        Results("model nano", "x").join(path)
    with pytest.raises(ResultsError, match="another state of model"):
        Results("model other", "c0de").join(path)
    with pytest.raises(ResultsError, match="another state of clip a "):
        Results("model nano", "c0de", {"a": "2"}).join(path)
    with pytest.raises(ResultsError, match="another state of settings of sam2, box"):
        Results("model nano", "c0de", {}, {setup.label: "0"}).join(path)
    path.write_text("{}")
    with pytest.raises(ResultsError, match=r"r\.json: expected results of bench\.hard_cases"):
        own.join(path)


def test_settings_and_code_have_names_that_follow_their_values() -> None:
    hashes = {name: settings_hash(settings) for name, settings in PRESETS.items()}
    assert len(set(hashes.values())) == len(PRESETS)
    assert hashes == {name: settings_hash(settings) for name, settings in PRESETS.items()}
    assert code_hash() == code_hash()


def test_a_variant_leaves_one_rule_out() -> None:
    plain = Setup("default", "box").settings("nano")
    assert plain.crop is not None
    for name in VARIANTS:
        if name != "none":
            assert Setup("default", "box", without=name).settings("nano") != plain
    with pytest.raises(VariantError, match="--without gate: changes nothing in the preset sam2"):
        Setup("sam2", "box", without="gate").settings("nano")
    with pytest.raises(VariantError, match="--without gate: guide: the preset default has no mo"):
        Setup("default", "box", guide="nanotrack", without="gate").settings("nano")


def test_a_guide_is_a_setup_of_its_own() -> None:
    helped = Setup("default", "box", guide="nanotrack")
    assert helped.label == "default + nanotrack, box"
    assert helped.settings("nano").guide == "nanotrack"
    assert Setup("default", "box").settings("nano").guide == "none"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    write_disc_clip(tmp_path / "data" / "masks" / "disc", 12)
    return tmp_path / "data"


@pytest.mark.slow
def test_a_table_comes_from_several_calls(
    tree: Path, tmp_path: Path, nano_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, kept = tmp_path / "page.md", tmp_path / "r.json"
    page.write_text("<!-- bench:hard_cases -->\n<!-- /bench -->\n")
    common = [str(tree), "--json", str(kept), "--model", str(nano_dir)]
    done = run_bench("hard_cases", *common, "--case", "plain,fast", "--preset", "sam2")
    assert done.returncode == 0, done.stderr
    more = ["--case", "plain", "--preset", "default,sam2", "--markdown", str(page)]
    assert main([*common, *more, "--out", str(tmp_path / "sheets")]) == 0
    cells = json.loads(kept.read_text())["cells"]
    measured = [(cell["setup"]["preset"], cell["case"]) for cell in cells]
    assert measured == [("sam2", "plain"), ("sam2", "fast"), ("default", "plain")]
    assert all(cell["score"]["judged"] > 0 for cell in cells)
    assert "| setup | plain (1) | fast (1) |" in page.read_text()
    # what was there is not measured again: only the new one has a sheet
    assert [path.name for path in tmp_path.glob("sheets/*/*.png")] == ["plain_disc.png"]
    write_disc_clip(tree / "masks" / "disc", 12, radius=9)
    capsys.readouterr()
    assert main([*common, "--case", "plain"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "another state of clip disc" in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--case", "vanish"), "unknown case 'vanish'; expected some of plain, vanish-1"),
        (("--without", "all"), "unknown without 'all'; expected some of none, gate"),
        (("--guide", "radar"), "unknown guide 'radar'; expected some of none, nanotrack"),
        (("--preset", "sam2", "--guide", "nanotrack"), "--guide nanotrack: guide: the preset sam2"),
        (("--preset", "sam2", "--without", "gate"), "--without gate: changes nothing in the pre"),
    ],
)
def test_wrong_use_gives_one_line(
    tree: Path,
    arguments: tuple[str, ...],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    try:
        code = main([str(tree), *arguments])
    except SystemExit as stopped:  # argparse's own
        code = cast(int, stopped.code)
    assert code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_clips_that_fit_no_case_are_one_line(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tree / "masks" / "disc" / "masks" / "00005.png").unlink()
    assert main([str(tree), "--case", "twin-over,away"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "no clip of 1 fits --case twin-over,away; most need each picture annotated" in line
