"""OpenCV's trackers as guides, NanoTrack among them: boxes, scores, and every error as one line."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from samcam.guides import (
    NANOTRACK_FILES,
    NANOTRACK_FOLDER,
    GuideError,
    NanoTrackGuide,
    OpenCvGuide,
    nanotrack_folder,
)
from samcam.guides import nanotrack as nanotrack_module
from samcam.guides.base import U8, Box
from tests.helpers.nanotrack import install_nanotrack

WH = (320, 240)


def scene(index: int) -> U8:
    """Return a picture with a textured disc that moves to the right, on a grain."""
    rng = np.random.default_rng(3)
    picture = cv2.GaussianBlur(rng.integers(60, 190, (WH[1], WH[0], 3), np.uint8), (9, 9), 0)
    centre = (60 + 4 * index, 120)
    cv2.circle(picture, centre, 26, (40, 60, 220), -1)
    cv2.circle(picture, centre, 12, (230, 230, 40), -1)
    picture.flags.writeable = False
    return picture


def place_of(index: int) -> Box:
    x = 60 + 4 * index
    return x - 26, 94, x + 27, 147


def overlap(one: Box, other: Box) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(width, 0) * max(height, 0)
    areas = [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in (one, other)]
    return shared / (sum(areas) - shared)


class Scripted:
    """One of OpenCV's trackers, with answers of the test's."""

    def __init__(self, found: bool = True, fails: bool = False) -> None:
        self.found, self.fails = found, fails
        self.begun: list[tuple[int, int, int, int]] = []

    def init(self, picture: U8, box: tuple[int, int, int, int]) -> None:
        self._fail()
        self.begun.append(box)

    def update(self, picture: U8) -> tuple[bool, Sequence[int]]:
        self._fail()
        return self.found, (10, 20, 30, 40)

    def _fail(self) -> None:
        if self.fails:
            cv2.resize(np.zeros((0, 0), np.uint8), (5, 5))  # an error of OpenCV's own, two lines


@pytest.mark.shared
def test_nanotrack_follows_what_it_was_started_on(shared_dir: Path, tmp_path: Path) -> None:
    guide = NanoTrackGuide(install_nanotrack(shared_dir, tmp_path))
    guide.start(scene(0), place_of(0))
    for index in range(1, 30):
        box, score = guide.update(scene(index))
        assert overlap(box, place_of(index)) > 0.6, index
        assert 0.5 < score <= 1
    guide.start(scene(0), place_of(0))  # anew: it is where it was
    assert overlap(guide.update(scene(1))[0], place_of(1)) > 0.6


def test_boxes_are_of_corners_and_a_lost_object_has_no_score() -> None:
    found = OpenCvGuide(Scripted(), "script")  # type: ignore[arg-type]  # has what is asked for
    lost = OpenCvGuide(Scripted(found=False), "script")  # type: ignore[arg-type]
    assert found.update(scene(0)) == ((10, 20, 40, 60), 1.0)
    assert lost.update(scene(0)) == ((10, 20, 40, 60), 0.0)


def test_a_box_is_cut_at_the_edges_and_never_thinner_than_the_least() -> None:
    script = Scripted()
    guide = OpenCvGuide(script, "script")  # type: ignore[arg-type]
    guide.start(scene(0), (-20, 200.4, 50.2, 400))
    guide.start(scene(0), (10, 10, 11, 60))
    assert script.begun == [(0, 200, 51, 40), (10, 10, 5, 50)]
    with pytest.raises(GuideError, match=r"guide script: expected a box in the picture of 320x240"):
        guide.start(scene(0), (330, 10, 380, 60))


@pytest.mark.parametrize(
    ("box", "begun"),
    [
        ((100.0, 20, 100.4, 50), (100, 20, 5, 30)),
        ((319.6, 239.6, 320, 240), (315, 235, 5, 5)),
        ((7.5, 7.5, 7.6, 7.6), (7, 7, 5, 5)),
    ],
)
def test_a_mask_of_less_than_a_pixel_can_be_followed(
    box: Box, begun: tuple[int, int, int, int]
) -> None:
    """A cell of the network's mask is smaller than a pixel in a crop of a small picture."""
    script = Scripted()
    OpenCvGuide(script, "script").start(scene(0), box)  # type: ignore[arg-type]  # likewise
    assert script.begun == [begun]
    OpenCvGuide(cv2.TrackerMIL.create(), "MIL").start(scene(0), box)


@pytest.mark.parametrize(
    "call",
    [lambda g: g.start(scene(0), (0, 0, 9, 9)), lambda g: g.update(scene(0))],
    ids=["start", "update"],
)
def test_an_error_of_opencv_is_one_line(call: Callable[[OpenCvGuide], object]) -> None:
    guide = OpenCvGuide(Scripted(fails=True), "script")  # type: ignore[arg-type]
    with pytest.raises(GuideError) as caught:
        call(guide)
    message = str(caught.value)
    assert message.startswith("guide script: OpenCV failed: ")
    assert "\n" not in message


def test_missing_weights_are_named_with_what_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nanotrack_module, "_ENGINES_FOLDER", tmp_path / "engines")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    with pytest.raises(GuideError) as caught:
        NanoTrackGuide()
    message = str(caught.value)
    assert str(tmp_path / "data/samcam/models" / NANOTRACK_FOLDER) in message
    assert message.endswith("run: python -m export nanotrack")

    (tmp_path / "data/samcam/models" / NANOTRACK_FOLDER).mkdir(parents=True)
    with pytest.raises(GuideError, match=rf"{NANOTRACK_FILES[0].file}: cannot be read: .* export"):
        NanoTrackGuide()
    (tmp_path / "engines" / NANOTRACK_FOLDER).mkdir(parents=True)
    assert nanotrack_folder() == tmp_path / "engines" / NANOTRACK_FOLDER


@pytest.mark.shared
def test_another_file_is_refused_by_its_hash(shared_dir: Path, tmp_path: Path) -> None:
    folder = install_nanotrack(shared_dir, tmp_path)
    head = folder / NANOTRACK_FILES[1].file
    content = bytearray(head.read_bytes())
    content[5000] ^= 1
    head.write_bytes(content)
    with pytest.raises(GuideError, match=rf"{head.name}: not the expected file: SHA-256 .* export"):
        NanoTrackGuide(folder)
    shutil.copy(folder / NANOTRACK_FILES[0].file, head)
    with pytest.raises(GuideError, match=rf"{head.name}: cannot be read: larger than"):
        NanoTrackGuide(folder)
