"""`bench.smooth`: what it measures, on a clip whose motion is known. No time is asserted."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from bench import smooth
from bench.reports.report import number
from bench.scores.layouts import read_dataset
from tests.helpers.labelled_data import write_ids

FRAMES = 20
STEP_PX = 5
SIZE_WH = (320, 180)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A textured disc that moves to the right at a constant speed, fully annotated."""
    root = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(2)
    noise = random.integers(40, 200, (SIZE_WH[1] // 4, SIZE_WH[0] // 4, 3)).astype(np.uint8)
    ground = cv2.resize(noise, SIZE_WH, interpolation=cv2.INTER_CUBIC)
    skin = np.roll(ground[::-1, :, ::-1], 31, axis=1)
    (root / "masks" / "disc" / "frames").mkdir(parents=True)
    for index in range(FRAMES):
        ids = np.zeros(SIZE_WH[::-1], np.uint8)
        cv2.circle(ids, (60 + STEP_PX * index, 90), 40, 1, -1)
        image = np.where(ids[..., None] > 0, np.roll(skin, STEP_PX * index, axis=1), ground)
        cv2.imwrite(str(root / "masks" / "disc" / "frames" / f"{index:05d}.png"), image)
        write_ids(root / "masks" / "disc" / "masks" / f"{index:05d}.png", ids)
    return root


def test_ways_of_showing_the_truth(data: Path) -> None:
    """Constant speed: shifting is right as soon as there are two answers, carrying always."""
    (clip,) = read_dataset(data).mask_clips
    costs_ms: list[float] = []
    cells = smooth.measure_clip(clip, None, costs_ms)
    held_10, shifted_10, carried_10, held_5, shifted_5, carried_5 = (cell or 0.0 for cell in cells)
    assert shifted_10 > 0.97
    assert carried_10 > 0.85
    assert carried_5 > 0.75
    assert held_5 < held_10 < 0.7
    assert held_5 < shifted_5
    assert len(costs_ms) == (FRAMES - 3) + (FRAMES - 6)
    discs = [disc_iou(STEP_PX * (3 + index % 3)) for index in range(6, FRAMES - 1)]
    assert held_10 == pytest.approx(np.mean(discs), abs=0.02)


def disc_iou(way_px: float) -> float:
    """IoU of two discs of radius 40 whose centres are so far apart."""
    half = np.arccos(min(1.0, way_px / 80))
    both = 2 * 40**2 * (half - np.sin(2 * half) / 2)
    return float(both / (2 * np.pi * 40**2 - both))


def test_the_program_writes_its_block(
    data: Path, tmp_path: Path, nano_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- bench:smooth -->\nold\n<!-- /bench -->\n", encoding="utf-8")
    assert smooth.main([str(data), "--markdown", str(page), "--threads", "1"]) == 0
    text = page.read_text(encoding="utf-8")
    assert "old" not in text
    assert "| disc |" in text
    assert text.count("| mean |") == 2
    assert "Truth in the model's place" in capsys.readouterr().out


def test_sparse_annotation_alone_measures_the_model_only(
    data: Path, tmp_path: Path, nano_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sparse = tmp_path / "sparse"
    shutil.copytree(data, sparse)
    (sparse / "masks" / "disc" / "masks" / "00003.png").unlink()
    assert smooth.main([str(sparse), "--threads", "1"]) == 0
    out = capsys.readouterr().out
    assert "Model\n" in out
    assert "Truth in the model's place" not in out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--clips", "absent"), 2, "--clips absent: no such clip"),
        (("--model", "absent"), 4, "model absent: expected nano"),
    ],
)
def test_wrong_use_gives_one_line(
    data: Path,
    arguments: tuple[str, str],
    code: int,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert smooth.main([str(data), *arguments]) == code
    assert message in capsys.readouterr().err


def test_cells() -> None:
    assert number(smooth.Score([]).mean) == "-"
    assert smooth.Score([0.5, 1.0]).mean == 0.75
