"""`bench.camera`: what it measures, on clips whose camera is known. No time is asserted."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from bench import camera
from bench.cases.catalogue import CASES
from bench.cases.footage import Footage
from bench.scores.layouts import read_dataset
from samcam.kalman import CameraFinding
from tests.helpers.labelled_data import write_ids

FRAMES, SIZE_WH = 14, (240, 136)


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Footage:
    """A textured disc that stands before a textured wall."""
    root = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(2)
    noise = random.integers(40, 200, (17, 30, 3)).astype(np.uint8)
    picture = cv2.resize(noise, SIZE_WH, interpolation=cv2.INTER_CUBIC)
    ids = np.zeros(SIZE_WH[::-1], np.uint8)
    cv2.circle(ids, (120, 68), 12, 1, -1)
    (root / "masks" / "disc" / "frames").mkdir(parents=True)
    for index in range(FRAMES):
        cv2.imwrite(str(root / "masks" / "disc" / "frames" / f"{index:05d}.png"), picture)
        write_ids(root / "masks" / "disc" / "masks" / f"{index:05d}.png", ids)
    (clip,) = read_dataset(root).mask_clips
    return Footage(clip)


def mean(values: list[float]) -> float:
    return float(np.mean(values))


def test_a_camera_that_stands_changes_nothing(footage: Footage) -> None:
    found = camera.foresee(CASES["plain"], footage)
    assert found is not None
    assert found.findings == {CameraFinding.MEASURED: FRAMES - 1}
    assert mean(found.still) == pytest.approx(1, abs=1e-3)
    assert mean(found.watched) == pytest.approx(1, abs=0.02)


def test_under_a_shaken_camera_a_thing_that_stands_is_foreseen(footage: Footage) -> None:
    found = camera.foresee(CASES["shake"], footage)
    assert found is not None
    assert found.findings == {CameraFinding.MEASURED: FRAMES - 1}
    assert mean(found.watched) > 0.85
    assert mean(found.watched) > mean(found.still) + 0.1


def test_a_report_has_a_row_per_clip_the_means_and_the_cost(
    footage: Footage, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- bench:camera -->\n<!-- /bench -->\n")
    root = footage.clip.frame_paths[0].parents[3]
    given = [str(root), "--case", "plain,shake", "--markdown", str(page)]
    assert camera.main(given) == 0
    said = capsys.readouterr().out
    for text in (said, page.read_text()):
        assert text.count("disc ") >= 2
        assert "measured" in text
        assert "image encoder" in text
    assert camera.main([str(tmp_path / "nowhere")]) == 2
