"""What the tracker promises over many frames: independence, the gate, loss and recovery."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from samcam.engines.fake_backend import fake_networks
from samcam.live.frames import ObjectResult, ObjectState
from samcam.live.tracker.presets import PRESETS, TrackerSettings, preset
from samcam.live.tracker.tracker import Tracker
from tests.helpers.tracker_networks import (
    SIZE,
    RecordingNetworks,
    Script,
    box_prompt,
    click,
    frame,
    sensitive_networks,
)
from tests.helpers.tracker_plans import taking_any

ALL = pytest.mark.parametrize(
    "settings", [taking_any(one) for one in PRESETS.values()], ids=PRESETS.keys()
)
STEPS = 30


def moving_picture(index: int) -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
    ys, xs = np.mgrid[: SIZE[1], : SIZE[0]]
    waves = np.sin((xs + 9 * index) / 37) + np.cos((ys - 5 * index) / 23)
    grey = np.asarray(np.clip(waves * 60 + 128, 0, 255), np.uint8)
    return np.stack((grey, np.roll(grey, 40, 1), np.roll(grey, 80, 0)), axis=2)


PICTURES = [moving_picture(index) for index in range(STEPS)]


def run(
    settings: TrackerSettings, meddle: Callable[[Tracker, int], None] = lambda tracker, index: None
) -> list[dict[int, ObjectResult]]:
    """Track object 5 through the pictures; `meddle` acts before each step."""
    tracker = Tracker(sensitive_networks(), settings)
    answers = []
    for index, picture in enumerate(PICTURES):
        if index == 2:
            tracker.prompt(box_prompt(100, 100, 400, 300, object_id=5))
        if index == 14:
            tracker.prompt(click(300, 200, object_id=5))
        meddle(tracker, index)
        result = tracker.step(frame(index, picture))
        answers.append({answer.object_id: answer for answer in result.objects})
    tracker.close()
    return answers


def others_come_and_go(tracker: Tracker, index: int) -> None:
    if index in (0, 2, 9, 14):
        tracker.prompt(click(50 + 20 * index, 100, object_id=1))
        tracker.prompt(box_prompt(10, 10, 50 + 9 * index, 90, object_id=200 + index))
    if index == 11:
        mask = np.zeros(SIZE[::-1], np.bool_)
        mask[200:260, 50:200] = True
        tracker.prompt(
            replace(
                click(1, 1, object_id=3),
                points_xy_px=np.zeros((0, 2), np.float32),
                labels=np.zeros(0, np.int32),
                mask=mask,
            )
        )
    if index in (8, 20):
        tracker.remove(1)
        tracker.remove(202)


@ALL
def test_other_objects_change_no_bit_of_an_answer(settings: TrackerSettings) -> None:
    alone, among_others = run(settings), run(settings, others_come_and_go)
    assert max(map(len, among_others)) >= 4
    seen = 0
    for before, after in zip(alone, among_others, strict=True):
        if 5 not in before:
            assert 5 not in after
            continue
        one, other = before[5], after[5]
        seen += one.visible
        assert (one.mask_logits is None) == (other.mask_logits is None)
        if one.mask_logits is not None and other.mask_logits is not None:
            assert one.mask_logits.tobytes() == other.mask_logits.tobytes()
        for name in (
            "state",
            "reason",
            "predicted_iou",
            "object_score",
            "motion_iou",
            "box_xyxy_px",
            "admitted",
            "memory_steps",
            "memory_tiers",
        ):
            assert getattr(one, name) == getattr(other, name), name
    assert seen > STEPS // 3


@ALL
def test_the_same_input_gives_the_same_bits(settings: TrackerSettings) -> None:
    for one, other in zip(run(settings), run(settings), strict=True):
        for object_id, answer in one.items():
            again = other[object_id]
            assert answer.object_score == again.object_score
            if answer.mask_logits is not None and again.mask_logits is not None:
                assert answer.mask_logits.tobytes() == again.mask_logits.tobytes()


def test_a_removed_object_comes_back_as_a_new_one() -> None:
    def remove_and_repeat(tracker: Tracker, index: int) -> None:
        if index == 0:
            tracker.prompt(click(9, 9, object_id=5))
        if index == 2:
            tracker.remove(5)
            tracker.prompt(box_prompt(100, 100, 400, 300, object_id=5))

    fresh, again = run(preset("default")), run(preset("default"), remove_and_repeat)
    for one, other in zip(fresh[2:], again[2:], strict=True):
        assert one[5].object_score == other[5].object_score
        assert one[5].memory_steps == other[5].memory_steps


TARGET_Y, EDGE = 20, 10


def chase(settings: TrackerSettings) -> list[float]:
    """Track a square that moves right; from step 20 a look-alike far away scores slightly more.

    Returns the box centres' x in low-resolution pixels.
    """
    script = Script()
    tracker = Tracker(fake_networks(decoder=script.decode), settings)
    tracker.prompt(click(60, 180))
    centres = []
    for index in range(40):
        x = 5 + index // 2
        distractor = index >= 20
        script.masks = (
            (0, 0, 0),
            (x, TARGET_Y, EDGE),
            (50, 45, EDGE) if distractor else (0, 0, 0),
            (x, TARGET_Y, 2),
        )
        script.ious = (0.1, 0.80, 0.84 if distractor else 0.2, 0.3)
        (answer,) = tracker.step(frame(index)).objects
        assert answer.box_xyxy_px is not None
        x1, _, x2, _ = answer.box_xyxy_px
        centres.append((x1 + x2) / 2 * 64 / SIZE[0])
    return centres


TRUTH = [5 + index // 2 + EDGE / 2 for index in range(40)]


@pytest.mark.parametrize("name", ["default", "samurai-paper"])
def test_the_gate_keeps_the_target_where_a_distractor_scores_slightly_more(name: str) -> None:
    np.testing.assert_allclose(chase(preset(name)), TRUTH, atol=0.1)


@pytest.mark.parametrize(
    "settings",
    [
        preset("sam2"),
        preset("default").ungated(),
    ],
)
def test_without_the_gate_the_distractor_wins(settings: TrackerSettings) -> None:
    centres = chase(settings)
    np.testing.assert_allclose(centres[:20], TRUTH[:20], atol=0.1)
    np.testing.assert_allclose(centres[20:], [55.0] * 20, atol=0.1)


def test_what_leaps_off_is_not_remembered_by_the_gated_presets() -> None:
    script = Script()
    tracker = Tracker(fake_networks(decoder=script.decode), preset("samurai-paper"))
    tracker.prompt(click(60, 180))
    for index in range(20):
        assert tracker.step(frame(index)).objects[0].admitted
    script.masks = ((50, 45, 10),) * 4
    (answer,) = tracker.step(frame(20)).objects
    assert answer.visible
    assert answer.motion_iou == 0
    assert not answer.admitted


@ALL
def test_a_lost_object_keeps_its_memories_and_its_id(settings: TrackerSettings) -> None:
    script = Script()
    networks = RecordingNetworks(fake_networks(decoder=script.decode))
    tracker = Tracker(networks, settings)
    tracker.prompt(click(60, 180, object_id=42))
    for index in range(30):
        (answer,) = tracker.step(frame(index)).objects
    assert answer.state is ObjectState.TRACKING
    script.score = -4.0
    lost_with = {
        "sam2": (298, 297, 296, 295, 294, 293),
        "samurai": (298, 29, 28, 27, 26, 25),  # the previous frame, even without the object
        "samurai-paper": (29, 28, 27, 26, 25, 24),
    }.get(settings.name, (29, 26, 21, 16, 11, 6))
    for index in range(30, 300):
        networks.calls.clear()
        (answer,) = tracker.step(frame(index)).objects
        (attended,) = networks.calls.attended
        assert len(attended.tpos) == 7
        assert len(attended.ptr_tpos) == 16
    assert answer.state is ObjectState.LOST
    assert answer.memory_steps == (0, *lost_with)
    script.score = 5.0
    states = [tracker.step(frame(index)).objects[0].state for index in range(300, 303)]
    assert states == [ObjectState.UNCERTAIN, ObjectState.RECOVERED, ObjectState.RECOVERED]
    assert tracker.object_ids == (42,)


def test_many_corrections_keep_the_first_prompt_and_the_newest() -> None:
    tracker = Tracker(fake_networks(decoder=Script().decode), preset("default"))
    for index in range(60):
        if index % 10 == 0:
            tracker.prompt(click(300, 200))
        (answer,) = tracker.step(frame(index)).objects
    assert answer.memory_steps == (0, 30, 40, 50, 58, 56, 51, 46, 41, 36)
