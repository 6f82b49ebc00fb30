"""Tables, marked blocks in Markdown files, prompts from truth and contact sheets."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

from bench import accuracy, baseline_classical, constant, hard_cases, speed, vanish
from bench.reports.report import (
    BAD_INPUT,
    NO_OUTPUT,
    Report,
    ReportError,
    Section,
    exit_code,
    number,
    publish,
    replace_block,
    table,
    write_block,
)
from bench.reports.sheet import (
    CAPTION_HEIGHT_PX,
    TILE_WIDTH_PX,
    draw_tile,
    pick_frames,
    write_sheet,
)
from bench.scores.prompts import click_point, prompt_from_box, prompt_from_mask

PAGE = """# Title
<!-- bench:speed -->
old
text
<!-- /bench -->
between
<!-- bench:loop -->
<!-- /bench -->
end
"""


def test_plain_table_is_aligned() -> None:
    made = table(("clip", "J"), [("dog", "0.5"), ("blackswan", "0.75")])
    assert made.plain() == "clip          J\ndog         0.5\nblackswan  0.75"


def test_markdown_table() -> None:
    made = table(("clip", "J"), [("dog", "0.5")])
    assert made.markdown() == "| clip | J |\n| --- | ---: |\n| dog | 0.5 |"


def test_rows_must_fit_the_headers() -> None:
    with pytest.raises(ValueError, match="expected 2 cells"):
        table(("clip", "J"), [("dog",)])


def test_numbers_as_cells() -> None:
    assert (number(0.12345), number(1.0, 1), number(None)) == ("0.123", "1.0", "-")


def test_only_the_named_block_is_replaced() -> None:
    changed = replace_block(PAGE, "speed", "new \\1 text\n")
    assert changed == PAGE.replace("old\ntext", "new \\1 text")
    assert replace_block(changed, "speed", "new \\1 text") == changed
    filled = replace_block(PAGE, "loop", "| a |")
    assert "<!-- bench:loop -->\n| a |\n<!-- /bench -->\nend\n" in filled
    assert "old\ntext" in filled


@pytest.mark.parametrize(
    "text",
    [
        "no block here\n",
        "<!-- bench:speed -->\nno end\n",
        PAGE + PAGE,
        # The end that follows belongs to another block: replacing would swallow it.
        "<!-- bench:speed -->\n<!-- bench:loop -->\n<!-- /bench -->\n",
    ],
)
def test_unclear_blocks_are_refused(text: str) -> None:
    with pytest.raises(ReportError, match="block speed: expected one <!-- bench:speed --> line"):
        replace_block(text, "speed", "new")


def test_write_block_names_the_file(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    with pytest.raises(ReportError, match=r"page\.md: cannot be rewritten: No such file"):
        write_block(page, "speed", "new")
    page.write_text(PAGE)
    write_block(page, "speed", "new")
    assert page.read_text() == PAGE.replace("old\ntext", "new")
    with pytest.raises(ReportError, match=r"page\.md: block other"):
        write_block(page, "other", "new")
    assert page.read_text() == PAGE.replace("old\ntext", "new")


def test_a_report_is_printed_kept_and_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, kept = tmp_path / "page.md", tmp_path / "new" / "all.json"
    page.write_text(PAGE)
    made = table(("clip", "J"), [("dog", "0.5")])
    report = Report(["model a", "two cores"], [Section(made, "Masks"), Section(made), Section("x")])
    publish(report, page, "speed", kept, {"j": 0.5})
    plain = "model a\ntwo cores\n\nMasks\nclip    J\ndog   0.5\n\nclip    J\ndog   0.5\n\nx\n"
    assert capsys.readouterr().out == plain
    cells = "| clip | J |\n| --- | ---: |\n| dog | 0.5 |"
    body = f"- model a\n- two cores\n\n**Masks**\n\n{cells}\n\n{cells}\n\nx"
    assert page.read_text() == PAGE.replace("old\ntext", body)
    assert json.loads(kept.read_text()) == {"j": 0.5}
    publish(report, None, "absent")
    assert capsys.readouterr().out == plain


@pytest.mark.parametrize("program", [vanish, constant, hard_cases, accuracy, baseline_classical])
def test_what_cannot_be_written_is_told_before_anything_is_measured(
    program: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, full = tmp_path / "page.md", tmp_path / "kept.json"
    page.write_text(PAGE)
    full.write_text("{}")
    for words, said in (
        (["--json", str(full / "a.json")], f"--json {full}/a.json: cannot be written: "),
        (["--json", str(tmp_path)], f"--json {tmp_path}: cannot be written: Is a directory"),
        (["--markdown", str(tmp_path / "no.md")], "no.md: cannot be rewritten: No such file"),
        (["--markdown", str(page)], f"--markdown {page}: block {program.BLOCK}: expected one"),
    ):
        with pytest.raises(SystemExit) as caught:
            program.parse_arguments([*words])
        (line,) = capsys.readouterr().err.splitlines()
        assert caught.value.code == NO_OUTPUT
        assert line.startswith("error: ")
        assert said in line
    assert (page.read_text(), full.read_text()) == (PAGE, "{}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept.json", "page.md"]


@pytest.mark.parametrize("program", [accuracy, speed])
def test_a_summary_needs_its_block_from_the_start(
    program: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    with pytest.raises(SystemExit) as caught:
        program.parse_arguments(["--summary", str(page)])
    assert caught.value.code == NO_OUTPUT
    assert f"--summary {page}: block {program.BLOCK}-summary" in capsys.readouterr().err


def test_what_was_measured_is_kept_before_the_page_fails(tmp_path: Path) -> None:
    kept, page = tmp_path / "all.json", tmp_path / "page.md"
    with pytest.raises(ReportError, match=r"page\.md"):
        publish(Report([], []), page, "speed", kept, [1])
    assert json.loads(kept.read_text()) == [1]
    page.write_text(PAGE)
    with pytest.raises(ReportError, match=r"all\.json/x: cannot be written: "):
        publish(Report([], []), page, "speed", kept / "x", [1])
    assert page.read_text() == PAGE


def test_expected_errors_are_one_line_and_a_code(capsys: pytest.CaptureFixture[str]) -> None:
    def fail(error: Exception) -> None:
        raise error

    codes = {LookupError: BAD_INPUT, KeyError: 7}
    assert exit_code(lambda: None, codes) == 0
    assert capsys.readouterr().err == ""
    assert exit_code(lambda: fail(IndexError("a  b:\n\n  c")), codes) == BAD_INPUT
    assert capsys.readouterr().err == "error: a  b: c\n"
    assert exit_code(lambda: fail(KeyError("k")), codes) == BAD_INPUT, "the first that fits"
    assert exit_code(lambda: fail(ReportError("full")), codes) == NO_OUTPUT
    with pytest.raises(ZeroDivisionError):
        exit_code(lambda: fail(ZeroDivisionError("a bug")), codes)


def test_click_lies_farthest_from_the_masks_border() -> None:
    """A square with a thin tail: the click is the square's middle, not the centre of mass."""
    mask = np.zeros((40, 60), np.bool_)
    mask[10:21, 10:21] = True
    mask[15, 21:60] = True
    assert click_point(mask) == (15, 15)


def test_click_counts_the_pictures_border_as_border() -> None:
    """A mask that is the whole picture is clicked in the middle, not in a corner."""
    assert click_point(np.ones((5, 9), np.bool_)) == (2, 2)
    half = np.zeros((11, 11), np.bool_)
    half[:, :5] = True
    assert click_point(half) == (2, 2)
    with pytest.raises(ValueError, match="empty mask"):
        click_point(np.zeros((4, 4), np.bool_))


def test_prompts_from_truth() -> None:
    mask = np.zeros((20, 30), np.bool_)
    mask[4:9, 10:21] = True
    box = prompt_from_mask(mask, "box", object_id=3, frame_index=7)
    assert box.box_xyxy_px is not None
    assert box.box_xyxy_px.tolist() == [10, 4, 21, 9]
    assert (box.object_id, box.frame_index) == (3, 7)
    click = prompt_from_mask(mask, "click")
    assert click.points_xy_px.tolist() == [[12, 6]]
    assert click.labels.tolist() == [1]
    outside = prompt_from_box(np.array([20.0, -4, 20, 10]), (30, 20), "box")
    assert outside.box_xyxy_px is not None
    assert outside.box_xyxy_px.tolist() == [20, 0, 30, 6]
    centre = prompt_from_box(np.array([20.0, -4, 20, 10]), (30, 20), "click")
    assert centre.points_xy_px.tolist() == [[25, 3]]


def test_frames_of_a_sheet() -> None:
    """All sparse annotations are shown; dense ones are thinned, ends included."""
    assert pick_frames(100, tiles=3) == [0, 50, 99]  # round(49.5) is even
    assert pick_frames(5) == [0, 1, 2, 3, 4]
    sparse = pick_frames(87, [0, 14, 33, 43, 66])
    assert {0, 14, 33, 43, 66} <= set(sparse)
    assert len(sparse) == 12
    assert pick_frames(50, list(range(10, 50)), tiles=2) == [10, 49]


def test_sheet_shows_truth_answer_and_caption(tmp_path: Path) -> None:
    """A grey picture: the answer's middle is tinted, the truth's outline is white."""
    picture = np.full((TILE_WIDTH_PX // 2, TILE_WIDTH_PX, 3), 128, np.uint8)
    ids = np.zeros(picture.shape[:2], np.uint8)
    ids[20:60, 20:60] = 1
    truth = np.zeros_like(ids)
    truth[100:140, 200:260] = 1
    tile = draw_tile(picture, ids, truth, "frame 0  J 0.00")
    assert tile.shape == (TILE_WIDTH_PX // 2 + CAPTION_HEIGHT_PX, TILE_WIDTH_PX, 3)
    assert tile[40, 40].tolist() != [128, 128, 128]
    assert tile[100, 230].min() > 200  # anti-aliased white
    assert tile[120, 230].tolist() == [128, 128, 128]
    assert tile[-CAPTION_HEIGHT_PX:].max() > 200  # the caption's letters
    path = tmp_path / "new" / "sheet.png"
    write_sheet(path, "a title", [tile, tile[:60], tile, tile, tile])
    sheet = cv2.imread(str(path))
    assert sheet is not None
    assert sheet.shape == (34 + 2 * tile.shape[0], 4 * TILE_WIDTH_PX, 3)
