"""The readers of labelled data on small generated trees, in both layouts."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from bench.scores.datasets import (
    DatasetError,
    list_pictures,
    read_object_ids,
    read_picture,
)
from bench.scores.layouts import read_dataset
from tests.helpers.labelled_data import write_ids, write_jpegs, write_palette_png


def ids_with(*values: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """(4, 6) ids: one column per value, the rest background."""
    ids = np.zeros((4, 6), np.uint8)
    for column, value in enumerate(values):
        ids[:, column] = value
    return ids


def test_reads_our_layout(tmp_path: Path) -> None:
    write_jpegs(tmp_path / "masks" / "cat" / "frames", 11)
    write_ids(tmp_path / "masks" / "cat" / "masks" / "3.png", ids_with(1, 2))
    write_ids(tmp_path / "masks" / "cat" / "masks" / "10.png", ids_with(1))
    write_jpegs(tmp_path / "boxes" / "box_a" / "frames", 3)
    (tmp_path / "boxes" / "box_a" / "gt.txt").write_text("1,2,3,4\n5\t6\t7\t8\nNaN,NaN,NaN,NaN\n")
    write_jpegs(tmp_path / "stills" / "photos" / "images", 2)
    for name in ("0", "1"):
        write_ids(tmp_path / "stills" / "photos" / "masks" / f"{name}.png", ids_with(1))
    (tmp_path / "INDEX.md").write_text("what is what")
    data = read_dataset(tmp_path)
    (clip,) = data.mask_clips
    assert [path.name for path in clip.frame_paths] == [f"{i}.jpg" for i in range(11)]
    assert {index: path.name for index, path in clip.mask_paths.items()} == {
        3: "3.png",
        10: "10.png",
    }
    (box,) = data.box_clips
    assert box.boxes_xywh[:2].tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]
    assert np.isnan(box.boxes_xywh[2]).all()
    (still,) = data.still_sets
    assert [(a.name, b.name) for a, b in still.pairs] == [("0.jpg", "0.png"), ("1.jpg", "1.png")]


def test_reads_davis_layout(tmp_path: Path) -> None:
    for clip in ("bear", "camel"):
        write_jpegs(tmp_path / "JPEGImages" / "480p" / clip, 2)
        for name in ("0", "1"):
            write_ids(tmp_path / "Annotations" / "480p" / clip / f"{name}.png", ids_with(255))
    data = read_dataset(tmp_path)
    assert [clip.name for clip in data.mask_clips] == ["bear", "camel"]
    assert sorted(data.mask_clips[0].mask_paths) == [0, 1]


def test_palette_gives_indices_not_colours(tmp_path: Path) -> None:
    """OpenCV turns a palette picture into colours; index 2 must stay object 2."""
    path = tmp_path / "ids.png"
    write_palette_png(path, ids_with(1, 2, 7))
    assert np.array_equal(read_object_ids(path), ids_with(1, 2, 7))


def test_255_is_the_object_alone_and_void_beside_ids(tmp_path: Path) -> None:
    path = tmp_path / "binary.png"
    write_ids(path, ids_with(255))
    assert np.array_equal(read_object_ids(path), ids_with(1))
    write_ids(path, ids_with(1, 255))
    assert np.array_equal(read_object_ids(path), ids_with(1, 255))
    write_ids(path, ids_with())
    assert not read_object_ids(path).any()


def test_colour_annotation_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "colour.png"
    cv2.imwrite(str(path), np.zeros((4, 6, 3), np.uint8))
    with pytest.raises(DatasetError, match=r"colour\.png: annotation is rgb24, expected an 8-bit"):
        read_object_ids(path)


def test_broken_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.png"
    path.write_bytes(b"not a picture")
    with pytest.raises(DatasetError, match=r"broken\.png: not a picture"):
        read_object_ids(path)
    with pytest.raises(DatasetError, match=r"broken\.png: not a picture"):
        read_picture(path)


def test_unknown_layouts_give_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"layout not recognised; expected masks/CLIP"):
        read_dataset(tmp_path)
    with pytest.raises(DatasetError, match="not a folder"):
        read_dataset(tmp_path / "absent")
    (tmp_path / "masks" / "cat").mkdir(parents=True)
    with pytest.raises(DatasetError, match=r"frames: expected a folder of pictures, found none"):
        read_dataset(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="expected pictures"):
        list_pictures(tmp_path / "empty")


def test_annotation_without_its_frame_is_named(tmp_path: Path) -> None:
    write_jpegs(tmp_path / "masks" / "cat" / "frames", 2)
    write_ids(tmp_path / "masks" / "cat" / "masks" / "7.png", ids_with(1))
    with pytest.raises(DatasetError, match=r"7\.png: no frame of that name"):
        read_dataset(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2,3,4\n1,2,3\n", r"gt\.txt:2: expected x,y,w,h, got '1,2,3'"),
        ("1,2,3,4\n1,2,x,4\n", r"gt\.txt:2: expected x,y,w,h"),
        ("1,2,3,4\n", r"gt\.txt: 1 boxes for 2 frames"),
    ],
)
def test_wrong_box_lines_are_named(tmp_path: Path, text: str, message: str) -> None:
    write_jpegs(tmp_path / "boxes" / "b" / "frames", 2)
    (tmp_path / "boxes" / "b" / "gt.txt").write_text(text)
    with pytest.raises(DatasetError, match=message):
        read_dataset(tmp_path)


@pytest.mark.shared
def test_reads_the_shared_data(shared_dir: Path) -> None:
    """Nine mask clips, three box clips, thirty photographs, as its index says."""
    data = read_dataset(shared_dir / "data")
    assert len(data.mask_clips) == 9
    assert {clip.name: len(clip.frame_paths) for clip in data.box_clips} == {
        "box_Crossing": 120,
        "box_DragonBaby": 113,
        "box_bag": 196,
    }
    assert [len(stills.pairs) for stills in data.still_sets] == [30]
    caps = next(clip for clip in data.mask_clips if clip.name == "pumavos_caps")
    assert sorted(caps.mask_paths) == [0, 14, 33, 43, 66]
    assert np.unique(read_object_ids(caps.mask_paths[33])).tolist() == [0, 1, 2]
