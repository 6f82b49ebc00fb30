"""The classical baseline: what it answers on pictures that are easy, odd or empty, and its page."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from bench import baseline_classical
from bench.baseline_classical import Figures, comparison_table
from bench.scores.evaluate import evaluate_box_clip, evaluate_mask_clip
from bench.scores.grabcut import (
    LONGEST_SIDE_PX,
    GrabCutStills,
    GrabCutTracker,
    follow,
    grab_cut,
    logits_of,
    look_at,
    segment,
)
from bench.scores.layouts import read_dataset
from bench.scores.metrics import compute_j
from bench.scores.prompts import PROMPT_KINDS, PromptKind, prompt_from_mask
from bench.scores.stills import evaluate_stills
from samcam.live.frames import U8, Frame, Mask, ObjectState, Prompt
from tests.helpers.labelled_data import write_ids

FRAMES = 8
STEP_PX = 4
SIZE_WH = (160, 120)
RED = (40, 40, 220)


def scene(index: int, size_wh: tuple[int, int] = SIZE_WH) -> tuple[U8, Mask]:
    """A red square on grey noise, and where it is."""
    width, height = size_wh
    noise = np.random.default_rng(3).integers(70, 150, (height, width, 1), dtype=np.uint8)
    picture = np.repeat(noise, 3, axis=2)
    side = min(width, height) // 3
    mask = np.zeros((height, width), np.bool_)
    left = width // 5 + STEP_PX * index
    mask[height // 3 : height // 3 + side, left : left + side] = True
    picture[mask] = RED
    return picture, mask


@pytest.fixture
def data(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    places = (
        (root / "masks" / "square" / "frames", root / "masks" / "square" / "masks"),
        (root / "boxes" / "square" / "frames", None),
        (root / "stills" / "squares" / "images", root / "stills" / "squares" / "masks"),
    )
    boxes = []
    for pictures, masks in places:
        pictures.mkdir(parents=True)
        for index in range(FRAMES):
            picture, mask = scene(index)
            cv2.imwrite(str(pictures / f"{index:02d}.png"), picture)
            if masks is not None:
                write_ids(masks / f"{index:02d}.png", mask.astype(np.uint8))
            else:
                x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
                boxes.append(f"{x},{y},{width},{height}")
    (root / "boxes" / "square" / "gt.txt").write_text("\n".join(boxes))
    return root


@pytest.mark.parametrize("kind", PROMPT_KINDS)
def test_an_easy_square_is_found_and_followed(data: Path, kind: PromptKind) -> None:
    found = read_dataset(data)
    masks, _ = evaluate_mask_clip(found.mask_clips[0], GrabCutTracker(), kind)
    assert masks is not None
    assert masks.judged == FRAMES - 2
    assert min(j for j, _ in masks.objects[0].frames.values()) > 0.9
    boxes, _ = evaluate_box_clip(found.box_clips[0], GrabCutTracker(), kind)
    assert boxes is not None
    assert min(value for value in boxes.overlaps if value is not None) > 0.9
    stills, _ = evaluate_stills(found.still_sets[0], GrabCutStills())
    assert len(stills[kind].instances) == FRAMES
    assert min(score.selected for score in stills[kind].instances) > 0.9
    assert stills[kind].best == stills[kind].selected


def test_it_gives_the_same_figures_again(data: Path) -> None:
    clip = read_dataset(data).mask_clips[0]
    first, second = (evaluate_mask_clip(clip, GrabCutTracker(), "box")[0] for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.objects == second.objects


def test_large_pictures_are_cut_at_working_size() -> None:
    """Half of 961x641, and the answer is in source pixels again."""
    picture, truth = scene(0, (961, 641))
    assert max(look_at(picture).size_wh) == LONGEST_SIDE_PX
    stills = GrabCutStills()
    stills.look(picture)
    for kind in PROMPT_KINDS:
        (mask,) = stills.candidates(prompt_from_mask(truth, kind)).masks
        assert mask.shape == truth.shape
        assert compute_j(mask, truth) > 0.95


@pytest.mark.parametrize("size_wh", [(1, 1), (2, 1), (7, 5), (15, 31), (33, 17), (2000, 3)])
def test_odd_sizes(size_wh: tuple[int, int]) -> None:
    """Too small for flow, for a ring or for colours: an answer of the right size all the same."""
    width, height = size_wh
    picture = np.random.default_rng(1).integers(0, 255, (height, width, 3), dtype=np.uint8)
    middle = np.array([[width // 2, height // 2]], np.float32)
    for prompt in (
        Prompt(box_xyxy_px=np.array([0, 0, width, height], np.float32)),
        Prompt(box_xyxy_px=np.array([width - 0.4, height - 0.4, width, height], np.float32)),
        Prompt(points_xy_px=middle, labels=np.ones(1, np.int32)),
    ):
        tracker = GrabCutTracker()
        tracker.prompt(prompt)
        for index in range(3):
            (answer,) = tracker.step(Frame(index, index, 0, picture)).objects
            assert answer.mask_logits is not None
            assert answer.mask_logits.shape == look_at(picture).image_bgr.shape[:2]


def test_a_box_around_everything_is_its_own_answer() -> None:
    """Without background there are no colours to tell it by."""
    picture, _ = scene(0)
    box = np.array([0, 0, *SIZE_WH], np.float32)
    assert segment(look_at(picture), Prompt(box_xyxy_px=box)).all()


def test_an_empty_answer_leaves_what_was_given() -> None:
    """Plain grey has no border to find: GrabCut gives such a square up, the tracker does not."""
    grey = np.full((60, 80, 3), 128, np.uint8)
    trimap = np.full((60, 80), cv2.GC_BGD, np.uint8)
    trimap[20:40, 20:40] = cv2.GC_PR_FGD
    cut = trimap.copy()
    cv2.grabCut(
        grey, cut, (0, 0, 0, 0), np.zeros((1, 65)), np.zeros((1, 65)), 1, cv2.GC_INIT_WITH_MASK
    )
    assert not (cut & 1).any()
    before, carried = trimap.copy(), trimap == cv2.GC_PR_FGD
    assert np.array_equal(grab_cut(grey, trimap, 1, carried), carried)
    assert np.array_equal(trimap, before)
    assert np.array_equal(follow(grey, carried), carried)


def test_a_mask_that_is_gone_stays_gone() -> None:
    empty = np.zeros((60, 80), np.bool_)
    assert not follow(np.zeros((60, 80, 3), np.uint8), empty).any()
    picture, _ = scene(0)
    tracker = GrabCutTracker()
    tracker.prompt(Prompt(box_xyxy_px=np.array([32, 40, 72, 80], np.float32)))
    tracker.step(Frame(0, 0, 0, picture))
    tracker._masks[1] = np.zeros_like(tracker._masks[1])
    (answer,) = tracker.step(Frame(1, 1, 0, picture)).objects
    assert answer.state is ObjectState.LOST
    assert answer.mask_logits is None


def test_logits_are_the_distance_to_the_border() -> None:
    mask = np.zeros((9, 9), np.bool_)
    mask[2:7, 2:7] = True
    logits = logits_of(mask)
    assert np.array_equal(logits > 0, mask)
    assert logits[4, 4] > logits[3, 4] > logits[2, 4] > 0 > logits[1, 4] > logits[0, 4]
    assert np.isfinite(logits_of(np.ones((3, 3), np.bool_))).all()


def test_other_prompts_are_refused() -> None:
    look = look_at(scene(0)[0])
    for prompt in (
        Prompt(points_xy_px=np.array([[3, 3]], np.float32), labels=np.zeros(1, np.int32)),
        Prompt(mask=scene(0)[1]),
    ):
        with pytest.raises(ValueError, match="a box alone or one positive click"):
            segment(look, prompt)


def test_the_program_writes_both_into_its_block(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its own JSON stands in for the model's: then both columns must be alike."""
    page, kept = tmp_path / "page.md", tmp_path / "a.json"
    page.write_text("<!-- bench:baseline_classical -->\nold\n<!-- /bench -->\n", encoding="utf-8")
    words = [str(data), "--prompt", "box,click"]
    assert baseline_classical.main([*words, "--json", str(kept)]) == 0
    assert "Means, beside" not in capsys.readouterr().out
    assert {run["preset"] for run in json.loads(kept.read_text())["runs"]} == {None}
    report = json.loads(kept.read_text())
    # as `bench.accuracy --crop on,off` has them, which is not what is compared
    report["runs"] += [{**run, "preset": "default+crop"} for run in report["runs"]]
    report["stills"] += [{**s, "name": f"{s['name']}+crop"} for s in report["stills"]]
    kept.write_text(json.dumps(report))
    sheets = tmp_path / "sheets"
    words += ["--beside", str(kept), "--markdown", str(page), "--out", str(sheets)]
    assert baseline_classical.main(words) == 0
    text = page.read_text(encoding="utf-8")
    assert "old" not in text
    assert "**Means, beside GrabCut and DIS" in text
    assert "**Masks: prompt click**" not in text  # each clip's figures are for the terminal
    assert "Masks: prompt click" in capsys.readouterr().out
    assert "+crop" not in text
    first = text.split("**")[2].strip().splitlines()
    rows = [line.strip("| ").split(" | ") for line in first if line.startswith("| 1")]
    rows += [line.strip("| ").split(" | ") for line in first if line.startswith("| 8")]
    assert [row[0] for row in rows[:3]] == [
        f"1 clips with masks, box: {figure}" for figure in ("J", "F", "J&F")
    ]
    assert rows[-1][0] == "8 instances in squares, click: IoU"
    assert all(row[1] == row[2] and float(row[1]) > 0.9 for row in rows)
    assert cv2.imread(str(sheets / "box" / "square.png")) is not None


def test_a_figure_that_the_other_lacks_is_a_dash() -> None:
    mine, other = Figures("", {"J": 0.5, "F": 0.25}, {}), Figures("model x, m", {"J": 1.0}, {})
    assert comparison_table(mine, other).rows == (("J", "0.500", "1.000"), ("F", "0.250", "-"))


def test_wrong_use_gives_one_line(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        baseline_classical.main([str(data), "--prompt", "text"])
    assert ended.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert "unknown prompt 'text'; expected some of box, click" in last
    no_json, other = tmp_path / "page.md", tmp_path / "other.json"
    no_json.write_text("# not JSON")
    other.write_text(
        json.dumps(
            {"model": "model a", "environment": {"commit": "b"}, "runs": [], "stills": []},
        )
    )
    for words, message in (
        (("--beside", str(tmp_path / "none")), "none: cannot be read: No such file"),
        (("--beside", str(no_json)), "page.md: expected the JSON of bench.accuracy"),
        (("--beside", str(other)), "--beside: box: only one of both has square"),
        (("--clips", "absent"), "--clips absent: not in"),
    ):
        assert baseline_classical.main([str(data), *words]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ")
        assert message in line
