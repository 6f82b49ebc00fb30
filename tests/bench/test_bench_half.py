"""`python -m bench.half`: every form of a model is compared, and the table is written."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from bench import half
from samcam.engines.checks.check_pictures import paint_check_pictures
from samcam.export.half import LOWERED


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures" / "clip"
    folder.mkdir(parents=True)
    for i, picture in enumerate(paint_check_pictures()):
        cv2.imwrite(str(folder / f"{i}.jpg"), picture.image)
    return folder.parent


def test_nanos_forms_are_compared(
    nano_dir: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- bench:half -->\nold\n<!-- /bench -->\n")
    words = [str(nano_dir), "--pictures", str(pictures), "--count", "0", "--markdown", str(page)]
    assert half.main(words) == 0
    rows = [line.split("|")[1:-1] for line in page.read_text().splitlines() if "nano float" in line]
    assert [row[1].strip() for row in rows] == list(LOWERED)
    for name, _, masks, least, mean, worst in rows:
        assert name.strip() == "nano float16"
        assert int(masks) > 0
        assert 0.9 < float(least) <= float(mean) <= 1
        assert worst.strip().startswith("picture 0, ")
    assert "nano: 1 pictures" in capsys.readouterr().out


def test_pictures_are_taken_evenly(pictures: Path) -> None:
    first, last = half.read_evenly(pictures, 2)
    painted = [picture.image for picture in paint_check_pictures()]
    for picture, wanted in ((first, painted[0]), (last, painted[-1])):
        assert picture.shape == wanted.shape
        assert np.abs(picture.astype(int) - wanted).mean() < 8
    assert len(half.read_evenly(pictures, 9)) == len(painted)


def test_a_folder_without_pictures_is_named(
    nano_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert half.main([str(nano_dir), "--pictures", str(tmp_path)]) == 2
    assert f"{tmp_path}: no .jpg files below it" in capsys.readouterr().err
