"""Masks carried by motion: real pictures, real flow, known motion."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from samcam.live.frames import F32, U8, Frame, FrameResult, Mask, ObjectState
from samcam.live.masks import upsample_logits
from samcam.live.motion.carry import CARRY, Carrier
from samcam.live.motion.flow import (
    LONGEST_SIDE_PX,
    FlowEngine,
    chain,
    shrink,
    warp_logits,
    where_it_was,
)
from tests.helpers.results import tracked

SIZE_WH = (1280, 720)
MASK_SIZE = 128
RADII_WH = (200, 130)
STEP_PX = 20
FPS = 30
BEHIND = 6  # frames from a picture to its answer at 5 fps


class Scene:
    """A textured ellipse that moves over a textured background; positions are exact."""

    def __init__(self, step_px: int = STEP_PX) -> None:
        random = np.random.default_rng(7)
        self._step_px = step_px
        self._ground = self._texture(random, 90)
        self._skin = self._texture(random, 150)
        self._frames: dict[int, Frame] = {}

    @staticmethod
    def _texture(random: np.random.Generator, level: int) -> U8:
        noise = random.normal(0, 1, (SIZE_WH[1] // 6, SIZE_WH[0] // 6, 3)).astype(np.float32)
        soft = cv2.resize(noise, SIZE_WH, interpolation=cv2.INTER_CUBIC)
        return np.clip(level + 40 * soft, 0, 255).astype(np.uint8)

    def mask(self, index: int) -> Mask:
        drawn = np.zeros(SIZE_WH[::-1], np.uint8)
        centre = (250 + self._step_px * index, 360)
        return cv2.ellipse(drawn, centre, RADII_WH, 0, 0, 360, 1, -1) > 0

    def logits(self, index: int) -> F32:
        side = (MASK_SIZE, MASK_SIZE)
        small = cv2.resize(self.mask(index).astype(np.float32), side, interpolation=cv2.INTER_AREA)
        return np.asarray(10 * (small - 0.5), np.float32)

    def frame(self, index: int) -> Frame:
        if index not in self._frames:
            moved = np.roll(self._skin, self._step_px * index, axis=1)
            image = self._ground.copy()
            cv2.copyTo(moved, self.mask(index).view(np.uint8), image)
            self._frames[index] = Frame(index, index * 10**9 // FPS, 0, image)
        return self._frames[index]

    def answer(self, index: int) -> FrameResult:
        return FrameResult(self.frame(index), index // BEHIND, (tracked(3, self.logits(index)),))


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene()


def iou(mine: Mask, true: Mask) -> float:
    return float((mine & true).sum() / (mine | true).sum())


def mask_of(result: FrameResult) -> Mask:
    logits = result.objects[0].mask_logits
    assert logits is not None
    return upsample_logits(logits, SIZE_WH) > 0


def test_a_carried_mask_stays_on_the_object_where_the_held_one_does_not(scene: Scene) -> None:
    """20 px a frame, inference at 5 fps: the shown mask is 6 to 11 frames old."""
    carrier = Carrier(max_age_ms=500.0)
    carried, held = [], []
    for index in range(30):
        if index % BEHIND == 0 and index >= BEHIND:
            carrier.answer(scene.answer(index - BEHIND))
        result = carrier.show(scene.frame(index))
        if index < BEHIND:
            assert result is None
            continue
        assert result is not None
        source = (index // BEHIND - 1) * BEHIND
        assert (result.frame.index, result.step) == (index, source // BEHIND)
        carried.append(iou(mask_of(result), scene.mask(index)))
        held.append(iou(scene.mask(source), scene.mask(index)))
    assert max(held) < 0.6
    assert min(carried) >= 0.9


def test_what_a_carried_result_says(scene: Scene) -> None:
    carrier, answer = Carrier(500.0), scene.answer(0)
    guided = replace(answer.objects[0], guide_iou=0.9, appearance=0.8)
    carrier.answer(replace(answer, objects=(guided,)))
    own = carrier.show(scene.frame(0))
    assert own is not None
    assert not own.objects[0].predicted
    assert CARRY not in own.stage_ms
    result = carrier.show(scene.frame(1))
    assert result is not None
    item = result.objects[0]
    assert (item.object_id, item.state, item.predicted) == (3, ObjectState.TRACKING, True)
    assert (item.admitted, item.memory_steps, item.motion_iou) == (False, (), None)
    assert (item.guide_iou, item.appearance) == (None, None)
    assert item.box_xyxy_px == pytest.approx((70, 230, 470, 490), abs=12)
    assert result.stage_ms[CARRY] > 0


def test_a_click_on_a_predicted_picture_finds_its_place_on_the_answered_one(scene: Scene) -> None:
    """The step that a prompt belongs to saw the object 100 px further left."""
    carrier = Carrier(500.0)
    carrier.answer(scene.answer(0))
    for index in range(6):
        result = carrier.show(scene.frame(index))
    assert result is not None
    assert result.motion is not None
    x, y = where_it_was(result.motion, 350, 360, SIZE_WH)
    assert (x, y) == pytest.approx((250, 360), abs=12)
    assert where_it_was(result.motion, 1100, 600, SIZE_WH) == pytest.approx((1100, 600), abs=4)
    carrier.answer(scene.answer(6))
    own = carrier.show(scene.frame(6))
    assert own is not None
    assert own.motion is None
    assert where_it_was(None, 3.5, 4.5, SIZE_WH) == (3.5, 4.5)
    far = np.full((18, 32, 2), 1e6, np.float32)
    assert where_it_was(far, 1e4, -5.0, SIZE_WH) == (1279.0, 719.0)


def test_an_answer_for_a_frame_that_was_never_shown(scene: Scene) -> None:
    """The display path dropped it: motion is measured from the answer's own picture."""
    carrier = Carrier(500.0)
    for index in (0, 1, 3, 4):
        assert carrier.show(scene.frame(index)) is None
    carrier.answer(scene.answer(2))
    result = carrier.show(scene.frame(5))
    assert result is not None
    assert iou(mask_of(result), scene.mask(5)) >= 0.9


def test_an_answer_older_than_every_kept_frame(scene: Scene) -> None:
    """More frames than are kept: the gap is bridged by one flow."""
    carrier = Carrier(60_000.0)
    image = scene.frame(0).image_bgr
    for index in range(40):
        assert carrier.show(Frame(index, index, 0, image)) is None
    carrier.answer(scene.answer(0))
    result = carrier.show(Frame(40, 40, 0, image))
    assert result is not None
    assert iou(mask_of(result), scene.mask(0)) >= 0.95


def test_an_answer_waits_for_its_own_frame(scene: Scene) -> None:
    carrier = Carrier(500.0)
    carrier.answer(scene.answer(0))
    carrier.answer(scene.answer(6))
    results = [carrier.show(scene.frame(index)) for index in range(8)]
    steps = [result.step for result in results if result is not None]
    assert steps == [0, 0, 0, 0, 0, 0, 1, 1]
    assert results[6] is not None
    assert not results[6].objects[0].predicted


def test_a_mask_that_is_too_old_is_not_shown(scene: Scene) -> None:
    carrier = Carrier(max_age_ms=100.0)
    carrier.answer(scene.answer(0))
    visible = []
    for index in range(6):  # 33 ms apart
        result = carrier.show(scene.frame(index))
        assert result is not None
        visible.append(result.objects[0].visible)
    assert visible == [True, True, True, True, False, False]
    assert result.objects[0].reason == "no answer for 166 ms"
    assert result.objects[0].predicted
    carrier.answer(scene.answer(5))
    fresh = carrier.show(scene.frame(6))
    assert fresh is not None
    assert fresh.objects[0].visible


def test_a_lost_object_is_not_carried(scene: Scene) -> None:
    carrier = Carrier(500.0)
    lost = replace(tracked(3, scene.logits(0)), state=ObjectState.LOST)
    carrier.answer(replace(scene.answer(0), objects=(lost, tracked(4, None))))
    for index in (0, 1):
        result = carrier.show(scene.frame(index))
    assert result is not None
    assert [(o.object_id, o.visible, o.state) for o in result.objects] == [
        (3, False, ObjectState.LOST),
        (4, False, ObjectState.LOST),
    ]


def test_a_mask_that_leaves_the_picture() -> None:
    carrier = Carrier(5000.0)
    scene = Scene(step_px=-40)
    carrier.answer(scene.answer(0))
    results = [carrier.show(scene.frame(index)) for index in range(12)]
    last = results[-1]
    assert last is not None
    area = 0 if last.objects[0].mask_logits is None else int(mask_of(last).sum())
    assert area < 0.1 * scene.mask(0).sum()


def test_a_picture_of_another_size_carries_nothing_until_the_next_answer(scene: Scene) -> None:
    carrier = Carrier(500.0)
    carrier.answer(scene.answer(0))
    carrier.show(scene.frame(0))
    small = np.ascontiguousarray(scene.frame(1).image_bgr[:, :720])
    for index in (1, 2):
        result = carrier.show(Frame(index, index * 10**7, 0, small))
        assert result is not None
        assert not result.objects[0].visible
        assert result.objects[0].reason == "the picture changed its size"
    answer = FrameResult(Frame(2, 2 * 10**7, 0, small), 1, (tracked(3, scene.logits(0)),))
    carrier.answer(answer)
    again = carrier.show(Frame(3, 3 * 10**7, 0, small))
    assert again is not None
    assert again.objects[0].visible


def test_what_is_kept_is_bounded() -> None:
    """A day of frames without an answer, a thousand answers without a frame."""
    carrier = Carrier(500.0)
    image = np.zeros((90, 160, 3), np.uint8)
    for index in range(200):
        carrier.show(Frame(index, index, 0, image))
        carrier.answer(FrameResult(Frame(1000 + index, 0, 0, image), index, ()))
    kept = [value for value in vars(carrier).values() if hasattr(value, "maxlen")]
    assert len(kept) == 2
    assert all(value.maxlen is not None and len(value) == value.maxlen for value in kept)


@pytest.mark.parametrize("size_wh", [(1, 1), (12, 9), (16, 16), (5000, 8)])
def test_any_size_of_picture(size_wh: tuple[int, int]) -> None:
    carrier = Carrier(500.0)
    image = np.full((size_wh[1], size_wh[0], 3), 77, np.uint8)
    grey = shrink(image)
    assert max(grey.shape) <= LONGEST_SIDE_PX
    carrier.answer(
        FrameResult(Frame(0, 0, 0, image), 0, (tracked(1, np.ones((8, 8), np.float32)),))
    )
    result = carrier.show(Frame(1, 10, 0, image))
    assert result is not None
    assert result.objects[0].visible


def test_flow_and_its_chain(scene: Scene) -> None:
    """Two steps of 20 px to the right: the object was 40 px to the left, 10 in small pixels."""
    flow = FlowEngine()
    greys = [shrink(scene.frame(index).image_bgr) for index in range(3)]
    assert greys[0].shape == (180, 320)
    motion = chain(flow.measure(greys[2], greys[1]), flow.measure(greys[1], greys[0]))
    inside = cv2.resize(scene.mask(2).astype(np.uint8), (320, 180)) > 0
    assert np.median(motion[inside], axis=0) == pytest.approx((-10.0, 0.0), abs=0.3)
    assert np.median(motion[~inside], axis=0) == pytest.approx((0.0, 0.0), abs=0.3)


def test_logits_are_moved_by_the_displacement() -> None:
    logits = np.zeros((8, 8), np.float32)
    logits[2, 3] = 1.0
    still = np.zeros((16, 32, 2), np.float32)
    np.testing.assert_array_equal(warp_logits(logits, still), logits)
    from_left = still + np.array([-8.0, 4.0], np.float32)  # 2 logits of 4 px, 2 logits of 2 px
    moved = warp_logits(logits, from_left)
    assert np.unravel_index(moved.argmax(), moved.shape) == (0, 5)
