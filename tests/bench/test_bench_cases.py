"""Hard cases of a small generated clip: what they show, and whether their truth fits it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from bench.cases.absences import without_objects
from bench.cases.catalogue import CASES
from bench.cases.footage import CaseFrame, Footage, is_box, region_of
from bench.cases.views import FAST, shake_affine, warped
from bench.scores.layouts import read_dataset
from samcam.live.frames import Mask
from tests.helpers.labelled_data import write_ids

SIZE_WH = (160, 120)
FRAMES = 48
RED = (30, 30, 230)


@pytest.fixture(scope="module")
def footages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Footage]:
    """A red disc that goes right over grey noise: with masks, with a few masks, with boxes."""
    root = tmp_path_factory.mktemp("cases")
    noise = np.random.default_rng(3).integers(90, 140, (*SIZE_WH[::-1], 3), dtype=np.uint8)
    lines = []
    for index in range(FRAMES):
        picture, ids = noise.copy(), np.zeros(SIZE_WH[::-1], np.uint8)
        centre = (40 + index, 60)
        cv2.circle(picture, centre, 12, RED, -1)
        cv2.circle(ids, centre, 12, 1, -1)
        lines.append(f"{centre[0] - 12},48,25,25")
        for folder in ("masks/dense", "masks/sparse", "boxes/boxed"):
            path = root / folder / "frames" / f"{index:03d}.png"  # no losses of JPEG
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), picture)
        write_ids(root / "masks" / "dense" / "masks" / f"{index:03d}.png", ids)
        if index % 12 == 0:
            write_ids(root / "masks" / "sparse" / "masks" / f"{index:03d}.png", ids)
    (root / "boxes" / "boxed" / "gt.txt").write_text("\n".join(lines) + "\n")
    data = read_dataset(root)
    return {
        **{clip.name: Footage(clip) for clip in data.mask_clips},
        **{clip.name: Footage(clip) for clip in data.box_clips},
    }


def red(frame: CaseFrame) -> Mask:
    b, g, r = (frame.image_bgr[..., channel].astype(int) for channel in range(3))
    return np.asarray((r - np.maximum(b, g)) > 90, np.bool_)


def frames_of(case: str, footage: Footage) -> list[CaseFrame]:
    return list(CASES[case].make(footage))


def fits_truth(frame: CaseFrame, case: str) -> None:
    """Red is where the truth (and the twin) says, and nowhere else."""
    seen = np.zeros(SIZE_WH[::-1], np.bool_)
    for target in (frame.visible or {}).values():
        seen |= region_of(target, SIZE_WH)
    if frame.decoy is not None:
        seen |= frame.decoy
    boxes = any(is_box(target) for target in (frame.visible or {}).values())
    outside = np.count_nonzero(red(frame) & ~seen)
    assert outside <= (40 if boxes or frame.decoy is not None else 20), case
    if not boxes:
        assert np.count_nonzero(seen & ~red(frame)) <= 0.2 * np.count_nonzero(seen) + 3, case


@pytest.mark.parametrize("case", [name for name in CASES if name not in ("vanish-30", "occluder")])
def test_the_truth_fits_the_pictures_and_comes_out_the_same_again(
    case: str, footages: dict[str, Footage]
) -> None:
    first, again = frames_of(case, footages["dense"]), frames_of(case, footages["dense"])
    assert len(first) == len(again) > FRAMES // FAST - 1
    for one, two in zip(first, again, strict=True):
        assert np.array_equal(one.image_bgr, two.image_bgr)
        fits_truth(one, case)
    assert first[0].visible
    assert set(first[0].visible) == {1}


@pytest.mark.parametrize(
    ("case", "pictures", "step_s"), [("vanish-1", 30, 1 / 30), ("vanish-30", 300, 0.1)]
)
def test_a_vanished_object_is_gone_for_its_time(
    case: str, pictures: int, step_s: float, footages: dict[str, Footage]
) -> None:
    for name in ("dense", "boxed"):
        shown = frames_of(case, footages[name])
        gone = [frame for frame in shown if frame.visible == {}]
        assert len(gone) == pictures
        assert all(frame.step_s == pytest.approx(step_s) for frame in gone)
        assert not any(red(frame).any() for frame in gone[::7])
        span = min(FRAMES // 3, pictures)
        assert len(shown) == FRAMES - span + pictures
        # the clip went on behind it
        before, after = shown[FRAMES // 3 - 1], shown[FRAMES // 3 + pictures]
        moved = [np.flatnonzero(red(frame).any(axis=0))[0] for frame in (before, after)]
        assert moved[1] - moved[0] == span + 1
        assert after.step_s == pytest.approx(1 / 30)


def test_an_erased_place_looks_like_its_surroundings(footages: dict[str, Footage]) -> None:
    frame = footages["dense"].at(20)
    empty = without_objects(frame)
    assert frame.visible is not None
    hole = region_of(frame.visible[1], SIZE_WH)
    inside, around = empty.image_bgr[hole], frame.image_bgr[~hole & ~red(frame)]
    assert np.abs(inside.mean(axis=0) - around.mean(axis=0)).max() < 8
    assert inside.std() > 0.5 * around.std()  # no smooth patch either
    assert np.array_equal(empty.image_bgr[:, :10], frame.image_bgr[:, :10])


def test_an_occluder_hides_the_object_for_half_a_second(footages: dict[str, Footage]) -> None:
    shown = frames_of("occluder", footages["dense"])
    gone = [index for index, frame in enumerate(shown) if frame.visible == {}]
    assert gone == list(range(gone[0], gone[0] + len(gone)))
    assert 15 <= len(gone) <= 19  # it is larger than the object, so it hides it a little longer
    assert len(shown) == FRAMES
    truth = [frame.visible[1].sum() for frame in shown if frame.visible]
    assert truth[0] == max(truth) == truth[-1]  # whole before and after
    assert sorted(truth)[0] < max(truth) / 2  # and in part in between
    boxed = frames_of("occluder", footages["boxed"])
    assert 15 <= sum(frame.visible == {} for frame in boxed) <= 19
    partly = [frame for frame in boxed if frame.unsure]
    assert partly  # nobody knows the box of what is left
    assert all(frame.visible for frame in partly)


@pytest.mark.parametrize(("case", "loses"), [("twin-over", True), ("twin-under", False)])
def test_a_twin_crosses(case: str, loses: bool, footages: dict[str, Footage]) -> None:
    shown = frames_of(case, footages["dense"])
    sides = []
    for frame in shown:
        if frame.visible and frame.decoy is not None and frame.decoy.any():
            own = np.flatnonzero(frame.visible[1].any(axis=0)).mean()
            sides.append(np.flatnonzero(frame.decoy.any(axis=0)).mean() - own)
    assert sides[0] > 12
    assert sides[-1] < -12
    areas = [frame.visible[1].sum() for frame in shown if frame.visible]
    assert bool(min(areas) < 0.7 * max(areas)) is loses
    assert not CASES[case].fits(footages["boxed"])


@pytest.mark.parametrize("over", [True, False])
def test_a_twin_hides_the_other_objects_too(over: bool, tmp_path: Path) -> None:
    """A blue square stands where the red disc's twin starts."""
    for index in range(2):
        picture = np.full((*SIZE_WH[::-1], 3), 120, np.uint8)
        ids = np.zeros(SIZE_WH[::-1], np.uint8)
        cv2.circle(picture, (40, 60), 12, RED, -1)
        cv2.circle(ids, (40, 60), 12, 1, -1)
        cv2.rectangle(picture, (70, 40), (119, 79), (230, 30, 30), -1)
        cv2.rectangle(ids, (70, 40), (119, 79), 2, -1)
        frames = tmp_path / "masks" / "two" / "frames"
        frames.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(frames / f"{index}.png"), picture)
        write_ids(tmp_path / "masks" / "two" / "masks" / f"{index}.png", ids)
    footage = Footage(read_dataset(tmp_path).mask_clips[0])
    first = frames_of("twin-over" if over else "twin-under", footage)[0]
    assert first.visible is not None
    assert first.decoy is not None
    assert np.count_nonzero(first.decoy) == np.count_nonzero(first.visible[1])
    assert not (region_of(first.visible[2], SIZE_WH) & first.decoy).any()
    assert np.count_nonzero(first.visible[2]) == 2000 - np.count_nonzero(first.decoy)


def test_a_shaken_box_ends_at_the_edge_of_the_picture() -> None:
    picture = np.zeros((*SIZE_WH[::-1], 3), np.uint8)
    boxes = {1: np.array([0.0, 50, 20, 10]), 2: np.array([30.0, 40, 20, 10])}
    left = np.array([[1.0, 0, -8], [0, 1, 0]])
    moved = warped(CaseFrame(picture, boxes), left).visible
    assert moved is not None
    assert {key: box.tolist() for key, box in moved.items()} == {
        1: [0, 50, 12, 10],
        2: [22, 40, 20, 10],
    }
    gone = warped(CaseFrame(picture, boxes), np.array([[1.0, 0, -20], [0, 1, 0]])).visible
    assert gone is not None
    assert set(gone) == {2}


def test_views_move_truth_and_picture_together(footages: dict[str, Footage]) -> None:
    for name in ("dense", "boxed"):
        footage = footages[name]
        plain, backwards = frames_of("plain", footage), frames_of("reversed", footage)
        assert np.array_equal(plain[0].image_bgr, backwards[-1].image_bgr)
        assert len(frames_of("fast", footage)) == FRAMES // FAST
        cut = frames_of("cut", footage)
        assert [frame.jump for frame in cut] == [index == FRAMES // 2 for index in range(FRAMES)]
        for frame in (*cut, *frames_of("shake", footage)):
            assert frame.visible
            box = region_of(frame.visible[1], SIZE_WH)
            assert np.count_nonzero(red(frame) & ~box) <= 12
    assert shake_affine(0, SIZE_WH).tolist() == [[1, 0, 0], [0, 1, 0]]


def test_the_view_that_cuts_away_is_another_one(footages: dict[str, Footage]) -> None:
    shown = frames_of("away", footages["dense"])
    away = shown[FRAMES // 2 : FRAMES // 2 + 30]
    assert all(frame.visible == {} for frame in away)
    assert len(shown) == FRAMES + 30
    own = shown[FRAMES // 2 - 1].image_bgr.astype(int)
    assert np.abs(away[0].image_bgr.astype(int) - own).mean() > 10
    assert sorted(shown[FRAMES // 2 + 30].visible or {}) == [1]


def test_cases_that_need_every_truth_leave_sparse_clips_out(footages: dict[str, Footage]) -> None:
    sparse = footages["sparse"]
    assert {name for name, case in CASES.items() if case.fits(sparse)} == {
        *("plain", "reversed", "fast", "cut", "shake")
    }
    known = [index for index, f in enumerate(frames_of("shake", sparse)) if f.visible is not None]
    assert known == [0, 12, 24, 36]
