"""What makes a clip hard, from boxes and masks that are known by hand, and from a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.scores.attributes import (
    ABSENT,
    ASPECT,
    FAST,
    SCALE,
    SMALL,
    attributes_of_boxes,
    clip_attributes,
    read_attributes,
)
from bench.scores.datasets import DatasetError
from bench.scores.layouts import read_dataset
from tests.helpers.labelled_data import write_disc_clip, write_ids, write_jpegs

GONE = (np.nan,) * 4
SQUARE = (100, 100, 40, 40)


@pytest.mark.parametrize(
    ("boxes", "expected"),
    [
        ([SQUARE, SQUARE], set()),
        ([SQUARE, (120, 100, 40, 40)], set()),  # 20 pixels are not more than 20
        ([SQUARE, (121, 100, 40, 40)], {FAST}),
        ([SQUARE, GONE, (160, 100, 40, 40)], {ABSENT}),  # who knows how it moved
        ([SQUARE, (100, 100, 56, 56)], set()),
        ([SQUARE, (95, 95, 57, 57)], {SCALE}),
        ([SQUARE, (105, 105, 28, 28)], {SCALE, SMALL}),
        ([SQUARE, (90, 105, 60, 29)], {ASPECT}),
        ([GONE, SQUARE], set()),
        ([GONE, GONE], set()),
    ],
)
def test_attributes_of_boxes(boxes: list[tuple[float, ...]], expected: set[str]) -> None:
    array = np.array(boxes, np.float64)
    assert attributes_of_boxes(array, np.ones(len(array))) == expected


def test_pictures_that_nobody_annotated_say_nothing(tmp_path: Path) -> None:
    """The same absence, once annotated and once not."""
    ids = np.zeros((60, 60), np.uint8)
    ids[10:50, 10:50] = 1
    for name, annotated in (("full", range(3)), ("sparse", (0, 2))):
        write_jpegs(tmp_path / "masks" / name / "frames", 3, (60, 60))
        for index in annotated:
            truth = ids if index != 1 else np.zeros_like(ids)
            write_ids(tmp_path / "masks" / name / "masks" / f"{index}.png", truth)
    full, sparse = read_dataset(tmp_path).mask_clips
    assert clip_attributes(full) == {ABSENT}
    assert clip_attributes(sparse) == set()


def test_a_file_names_what_truth_cannot_show(tmp_path: Path) -> None:
    write_disc_clip(tmp_path / "masks" / "disc", 3)
    assert read_attributes(tmp_path) == {}
    (tmp_path / "attributes.txt").write_text("disc: deformation, blur\n\nother: blur\n")
    assert read_attributes(tmp_path) == {
        "disc": frozenset({"deformation", "blur"}),
        "other": frozenset({"blur"}),
    }
    (tmp_path / "attributes.txt").write_text("disc deformation\n")
    with pytest.raises(DatasetError, match=r"attributes\.txt:1: expected CLIP: name, name"):
        read_attributes(tmp_path)
