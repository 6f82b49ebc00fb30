"""The demo scene: the same on every run, true truth, real occlusion, kept out of training."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from samcam.live.frames import U8
from samcam.live.sources.choose import open_source
from samcam.live.sources.demo.scene import (
    CARD_ID,
    DEMO_SHAPES,
    DEMO_TEXTURES,
    FIRST_DEMO_SEED,
    GEAR_ID,
    PERIOD,
    DemoScene,
    demo_clicks,
    scene_pose,
)
from samcam.live.sources.options import SourceOptions
from training.scenes.shapes import SHAPE_KINDS
from training.scenes.textures import TEXTURE_KINDS

SIZE_WH = (854, 480)
FPS = 30


@pytest.fixture(scope="module")
def scene() -> DemoScene:
    """The scene at its usual size."""
    return DemoScene(SIZE_WH)


@pytest.fixture(scope="module")
def truths(scene: DemoScene) -> list[U8]:
    """The truth of one whole period."""
    return [scene.render(index)[1] for index in range(PERIOD)]


def areas(truths: list[U8], object_id: int) -> np.ndarray:
    """Return the visible area over time."""
    return np.array([(ids == object_id).sum() for ids in truths])


def test_a_picture_depends_on_its_index_alone(scene: DemoScene) -> None:
    image, ids = scene.render(37)
    scene.render(3)
    again, ids_again = DemoScene(SIZE_WH).render(37)
    assert np.array_equal(image, again)
    assert np.array_equal(ids, ids_again)
    assert image.shape == (480, 854, 3)
    assert image.dtype == ids.dtype == np.uint8
    assert set(np.unique(ids)) == {0, GEAR_ID, CARD_ID}


def test_it_repeats_without_a_seam(scene: DemoScene) -> None:
    def pose_values(index: int) -> np.ndarray:
        pose = scene_pose(index)
        parts = (pose.camera, pose.gear, pose.card, pose.pillar)
        return np.array([(p.x, p.y, 100 * p.scale, 100 * np.sin(p.angle)) for p in parts])

    steps = [np.abs(pose_values(i + 1) - pose_values(i)).max() for i in range(PERIOD)]
    assert steps[-1] <= max(steps[:-1]), "the step over the seam is like any other"
    assert max(steps) < 8, "a few pixels per frame"
    assert np.array_equal(scene.render(5)[1], scene.render(5 + PERIOD)[1])


def test_both_are_in_full_view_on_frame_0(truths: list[U8]) -> None:
    for object_id in (GEAR_ID, CARD_ID):
        mask = (truths[0] == object_id).astype(np.uint8)
        assert 0.06 <= mask.mean() <= 0.10
        assert not mask[0].any()
        assert not mask[-1].any()
        assert not mask[:, 0].any()
        assert not mask[:, -1].any()
        assert cv2.connectedComponents(mask)[0] == 2
        assert mask.sum() >= 0.95 * areas(truths, object_id).max(), "as much as ever"


def test_the_gear_is_wholly_hidden_and_comes_back(truths: list[U8]) -> None:
    visible = areas(truths, GEAR_ID) > 0
    edges = np.flatnonzero(np.diff(np.concatenate([[True], visible, [True]]).astype(int)))
    runs = edges[1::2] - edges[::2]
    assert len(runs) >= 1
    assert runs.min() >= 0.3 * FPS
    assert visible[0]
    assert visible[-1]
    assert areas(truths, GEAR_ID)[120] > 0.9 * areas(truths, GEAR_ID)[0], "in full on the far side"


def test_the_card_is_partly_hidden(truths: list[U8]) -> None:
    share = areas(truths, CARD_ID) / areas(truths, CARD_ID)[0]
    assert 0.3 < share.min() < 0.75


def test_the_objects_stay_apart(truths: list[U8]) -> None:
    """Otherwise which one a pixel belongs to is a matter of drawing order."""
    for ids in truths[::6]:
        gear = cv2.dilate((ids == GEAR_ID).astype(np.uint8), np.ones((5, 5), np.uint8))
        assert not (gear[ids == CARD_ID]).any()


@pytest.mark.parametrize("index", [0, 25, 120])
def test_the_truth_lies_on_the_picture(scene: DemoScene, index: int) -> None:
    """Blue is only on the card and orange only on the gear, so colour finds them again."""
    image, ids = scene.render(index)
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
    hue, saturation, value = hsv[..., 0], hsv[..., 1], hsv[..., 2]
    strong = (saturation > 90) & (value > 70)
    found = {
        CARD_ID: strong & (hue > 80) & (hue < 125),
        GEAR_ID: strong & ((hue < 32) | (hue > 170)) & (value > 110),
    }
    for object_id, seen in found.items():
        filled = cv2.morphologyEx(seen.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8))
        filled = cv2.morphologyEx(filled, cv2.MORPH_OPEN, np.ones((9, 9), np.uint8)).astype(bool)
        truth = ids == object_id
        iou = (filled & truth).sum() / (filled | truth).sum()
        assert iou > 0.93, f"object {object_id}: IoU {iou:.3f}"


@pytest.mark.parametrize("size_wh", [SIZE_WH, (1280, 720), (320, 180), (480, 854)])
def test_clicks_lie_deep_inside_their_objects(size_wh: tuple[int, int]) -> None:
    clicks = demo_clicks(size_wh)
    _, ids = DemoScene(size_wh).render(0)
    assert set(clicks) == {GEAR_ID, CARD_ID}
    reach = round(0.06 * min(size_wh[0] / 854, size_wh[1] / 480) * 854)
    for object_id, (x, y) in clicks.items():
        assert (ids[y - reach : y + reach, x - reach : x + reach] == object_id).all()


def test_seeds_of_training_are_refused_and_seeds_differ(scene: DemoScene) -> None:
    with pytest.raises(ValueError, match="expected 9000000 or more"):
        DemoScene(SIZE_WH, seed=FIRST_DEMO_SEED - 1)
    other, ids = DemoScene(SIZE_WH, seed=FIRST_DEMO_SEED + 77).render(10)
    image, ids_here = scene.render(10)
    assert not np.array_equal(other, image)
    assert np.array_equal(ids, ids_here), "the motion is the same for every seed"


def test_kept_out_of_training() -> None:
    assert not set(DEMO_SHAPES) & set(SHAPE_KINDS)
    assert not set(DEMO_TEXTURES) & set(TEXTURE_KINDS)


def test_the_source_gives_the_scene(scene: DemoScene) -> None:
    source = open_source("demo", SourceOptions(demo_frames=3, fps=25))
    info = source.info
    assert (info.name, info.kind, info.size_wh, info.fps, info.frame_count, info.live) == (
        "demo",
        "demo",
        SIZE_WH,
        25,
        3,
        False,
    )
    for index in range(3):
        frame = source.read()
        assert frame is not None
        assert np.array_equal(frame.image_bgr, scene.render(index)[0])
        assert (frame.index, frame.time_ns) == (index, index * 40_000_000)
    assert source.read() is None
    source.close()


def test_the_source_can_be_endless() -> None:
    options = SourceOptions(demo_frames=0, demo_size=(64, 36))
    source = open_source("demo", options)
    assert source.info.frame_count is None
    for _ in range(2 * PERIOD + 1):
        assert source.read() is not None
    source.close()
    assert source.read() is None
