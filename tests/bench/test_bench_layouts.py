"""LaSOT's, OTB's and DAVIS's own folders, on small generated trees."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.scores.datasets import DatasetError
from bench.scores.layouts import read_dataset
from tests.helpers.labelled_data import write_ids, write_jpegs

BOXES = "11,21,30,40\n12,21,30,40\n13,21,30,40\n"


def lasot(folder: Path, occluded: str = "0,1,0", out: str = "0,0,1") -> None:
    write_jpegs(folder / "img", 3)
    (folder / "groundtruth.txt").write_text(BOXES)
    (folder / "full_occlusion.txt").write_text(occluded)
    (folder / "out_of_view.txt").write_text(out)


@pytest.mark.parametrize("place", ["bear-1", "bear/bear-1"])
def test_lasot(place: str, tmp_path: Path) -> None:
    """Pixels count from 1 there; where it is occluded or out of view there is no box."""
    lasot(tmp_path / place)
    (clip,) = read_dataset(tmp_path).box_clips
    assert clip.name == "bear-1"
    assert clip.boxes_xywh[0].tolist() == [10, 20, 30, 40]
    assert np.isnan(clip.boxes_xywh[1:]).all()


def test_lasot_flags_that_do_not_fit_are_named(tmp_path: Path) -> None:
    lasot(tmp_path / "bear-1", occluded="0,1")
    with pytest.raises(DatasetError, match=r"full_occlusion\.txt: expected 3 values of 0 or 1"):
        read_dataset(tmp_path)
    lasot(tmp_path / "bear-1", out="0,2,0")
    with pytest.raises(DatasetError, match=r"full_occlusion\.txt|out_of_view\.txt: expected 3"):
        read_dataset(tmp_path)


def test_otb(tmp_path: Path) -> None:
    """One object, two objects, and a clip of which only some pictures are annotated."""
    write_jpegs(tmp_path / "Boy" / "img", 3)
    (tmp_path / "Boy" / "groundtruth_rect.txt").write_text(BOXES.replace(",", "\t"))
    write_jpegs(tmp_path / "Jogging" / "img", 3)
    for number in (1, 2):
        (tmp_path / "Jogging" / f"groundtruth_rect.{number}.txt").write_text(BOXES)
    write_jpegs(tmp_path / "BlurCar3" / "img", 6)  # 3 ... 359 of it count
    (tmp_path / "BlurCar3" / "groundtruth_rect.txt").write_text(BOXES)
    clips = {clip.name: clip for clip in read_dataset(tmp_path).box_clips}
    assert list(clips) == ["BlurCar3", "Boy", "Jogging-1", "Jogging-2"]
    assert [path.stem for path in clips["BlurCar3"].frame_paths] == ["3", "4", "5"]
    assert clips["Boy"].boxes_xywh[2].tolist() == [12, 20, 30, 40]


def test_davis_lists(tmp_path: Path) -> None:
    for clip in ("bear", "camel"):
        write_jpegs(tmp_path / "JPEGImages" / "480p" / clip, 1)
        write_ids(tmp_path / "Annotations" / "480p" / clip / "0.png", np.ones((4, 6), np.uint8))
    lists = tmp_path / "ImageSets" / "2017"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text("camel\n")
    assert [clip.name for clip in read_dataset(tmp_path).mask_clips] == ["bear", "camel"]
    assert [clip.name for clip in read_dataset(tmp_path, "2017/val").mask_clips] == ["camel"]
    with pytest.raises(DatasetError, match=r"test\.txt: missing; expected one of DAVIS's lists"):
        read_dataset(tmp_path, "2017/test")
    (lists / "val.txt").write_text("camel\ncow\n")
    with pytest.raises(DatasetError, match=r"val\.txt: no folder Annotations/480p/cow"):
        read_dataset(tmp_path, "2017/val")
