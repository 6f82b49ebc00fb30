"""The gear of the demo scene leaves the picture now and then: known truth, nothing else changed."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from samcam.live.sources.choose import open_source
from samcam.live.sources.demo.scene import CARD_ID, GEAR_ID, DemoScene, scene_pose
from samcam.live.sources.demo.vanish import DROP_FRAMES, HALF, PERIOD, RISE_FRAMES, Vanishing
from samcam.live.sources.options import SourceOptions

SIZE_WH = (214, 120)
OFTEN = Vanishing(every=480, away=100)


@pytest.fixture(scope="module")
def scene() -> DemoScene:
    return DemoScene(SIZE_WH, vanishing=OFTEN)


def gear_pixels(scene: DemoScene, index: int) -> int:
    return int((scene.render(index)[1] == GEAR_ID).sum())


def test_until_it_leaves_nothing_differs(scene: DemoScene) -> None:
    for index in (0, 37, OFTEN.leaves_at(1)):
        for mine, usual in zip(scene.render(index), DemoScene(SIZE_WH).render(index), strict=True):
            assert np.array_equal(mine, usual)


def test_it_is_away_for_as_long_as_said_and_in_full_view_around(scene: DemoScene) -> None:
    for time in (1, 2, 3):
        left, back = OFTEN.leaves_at(time), OFTEN.returns_at(time)
        full = gear_pixels(scene, left)
        assert full > 0.9 * gear_pixels(scene, 0)
        for index in (left + DROP_FRAMES, (left + back) // 2, back):
            assert gear_pixels(scene, index) == 0
            assert OFTEN.is_away(index)
        assert gear_pixels(scene, back + RISE_FRAMES // 2) > 0.2 * full
        assert gear_pixels(scene, back + RISE_FRAMES) > 0.9 * full
        assert not OFTEN.is_away(back + RISE_FRAMES)
        assert not OFTEN.is_away(left)


@pytest.mark.parametrize("halves", [1, 2, 3])
def test_it_returns_on_the_other_side(halves: int) -> None:
    vanishing = Vanishing(every=1200, away=halves * HALF - RISE_FRAMES)
    for time in (1, 2, 5):
        before, high = vanishing.phase_and_drop(vanishing.leaves_at(time))
        after, low = vanishing.phase_and_drop(vanishing.returns_at(time) + RISE_FRAMES)
        assert high == low == 0
        assert abs(scene_pose(after).gear.x - scene_pose(before).gear.x) > 300


def test_the_card_stays(scene: DemoScene) -> None:
    index = OFTEN.leaves_at(1) + 40
    usual = DemoScene(SIZE_WH).render(index)[1] == CARD_ID
    assert np.array_equal(scene.render(index)[1] == CARD_ID, usual)


def test_its_way_has_no_seam_while_it_is_in_the_picture() -> None:
    steps = []
    for index in range(3 * PERIOD, 8 * PERIOD):
        (before, low), (after, lower) = map(OFTEN.phase_and_drop, (index, index + 1))
        if low < 1 and lower < 1:
            steps.append((after - before, abs(lower - low)))
    assert {phase for phase, _ in steps} == {1}
    assert max(drop for _, drop in steps) < 0.15


def test_how_often_follows_from_seconds_and_rate() -> None:
    vanishing = Vanishing.each(120, 30)
    leaves = [vanishing.leaves_at(time) for time in range(1, 16)]
    assert all(abs(later - sooner - 3600) <= HALF for sooner, later in pairwise(leaves))
    assert vanishing.away == 220  # 7.3 s
    assert leaves[-1] <= 30 * 60 * 30 + HALF


def test_the_setting_makes_the_source_do_it() -> None:
    options = SourceOptions(demo_size=SIZE_WH, fps=1.0, demo_vanish_s=480, demo_frames=0)
    source = open_source("demo", options)
    shown = DemoScene(SIZE_WH, vanishing=Vanishing.each(480, 1.0))
    for index in range(Vanishing.each(480, 1.0).leaves_at(1) + DROP_FRAMES + 1):
        frame = source.read()
        assert frame is not None
        if index % 60 == 0 or index > 480:
            assert np.array_equal(frame.image_bgr, shown.render(index)[0])
    source.close()


def test_too_often_is_refused() -> None:
    message = r"demo_vanish_s: expected 0 or at least 16 s at source.fps 30, got 15"
    with pytest.raises(ValueError, match=message):
        SourceOptions(demo_vanish_s=15)
    with pytest.raises(ValueError, match="expected 480 frames or more, got 479"):
        Vanishing(479, 100)
    with pytest.raises(ValueError, match="expected a multiple of 120 less 20 frames, at most 360"):
        Vanishing(480, 120)
