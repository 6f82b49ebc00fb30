"""The motion gate: when it acts, what moves it, when it forgets."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from samcam.kalman.motion_gate import GateSettings, MotionGate
from samcam.live.frames import F32
from samcam.live.tracker.presets import DEFAULT, PRESETS, SAMURAI_PAPER, preset

FRAME_S = 1 / 30
EMPTY = np.zeros(4, np.float32)

assert DEFAULT.gate is not None
assert SAMURAI_PAPER.gate is not None
OURS: GateSettings = DEFAULT.gate
PAPER: GateSettings = SAMURAI_PAPER.gate


def box(x: float, size: float = 20) -> F32:
    return np.array((x, 10, x + size, 10 + size), np.float32)


def prediction(gate: MotionGate) -> F32:
    predicted = gate.predicted_box
    assert predicted is not None
    return predicted


def follow(gate: MotionGate, steps: int, start: float = 0, speed: float = 1) -> float:
    """Show it a box moving right; return where it ended."""
    x = start
    for _ in range(steps):
        gate.advance(FRAME_S)
        gate.observe(box(x), 0.9)
        x += speed
    return x


@pytest.mark.parametrize(("settings", "steps"), [(OURS, 5), (PAPER, 15)])
def test_it_acts_after_so_many_good_masks(settings: GateSettings, steps: int) -> None:
    gate = MotionGate(settings)
    follow(gate, steps - 1)
    gate.advance(FRAME_S)
    assert gate.predicted_box is None
    assert gate.motion_iou(box(0)) is None
    gate.observe(box(steps - 1), 0.9)
    gate.advance(FRAME_S)
    np.testing.assert_allclose(prediction(gate), box(steps), atol=1)


def test_it_prefers_the_target_to_a_slightly_better_distractor() -> None:
    gate = MotionGate(OURS)
    x = follow(gate, 10)
    gate.advance(FRAME_S)
    ious = np.array((0.84, 0.80), np.float32)
    boxes = np.stack([box(x + 60), box(x)])
    assert gate.choose(ious, boxes) == 1
    assert MotionGate(OURS).choose(ious, boxes) == 0


def test_before_it_acts_the_best_filled_mask_wins() -> None:
    ious = np.array((0.9, 0.5, 0.7), np.float32)
    assert MotionGate(OURS).choose(ious, np.stack([EMPTY, box(0), box(9)])) == 2
    assert MotionGate(OURS).choose(ious, np.stack([EMPTY, EMPTY, EMPTY])) == 0


@pytest.mark.parametrize("settings", [OURS, PAPER])
def test_an_empty_mask_is_no_measurement(settings: GateSettings) -> None:
    gate = MotionGate(settings)
    gate.advance(FRAME_S)
    gate.observe(EMPTY, 0.99)
    gate.observe_prompt(EMPTY)
    assert gate.predicted_box is None
    follow(gate, 20)
    gate.advance(FRAME_S)
    before = prediction(gate)
    gate.observe(EMPTY, 0.99)
    np.testing.assert_array_equal(prediction(gate), before)


def test_ours_starts_on_a_confident_mask_only_and_samurai_on_any() -> None:
    ours, paper = (
        MotionGate(replace(OURS, stable_steps=1)),
        MotionGate(replace(PAPER, stable_steps=1)),
    )
    for gate in (ours, paper):
        gate.observe(box(0), 0.4)
    assert ours.predicted_box is None
    assert paper.predicted_box is not None


def test_one_weak_mask_resets_samurai_and_not_ours() -> None:
    ours, paper = MotionGate(OURS), MotionGate(PAPER)
    for gate in (ours, paper):
        x = follow(gate, 20)
        gate.advance(FRAME_S)
        gate.observe(box(x), 0.2)
    assert ours.predicted_box is not None
    assert paper.predicted_box is None


def test_ours_does_not_follow_a_jump_and_forgets_after_a_while() -> None:
    gate = MotionGate(OURS)
    x = follow(gate, 20)
    for _ in range(10):
        gate.advance(FRAME_S)
        gate.observe(box(x + 200), 0.9)
        assert prediction(gate)[0] < x + 50
    for _ in range(10):
        gate.advance(FRAME_S)
        gate.observe(box(x + 200), 0.9)
    for _ in range(5):
        gate.advance(FRAME_S)
        gate.observe(box(x + 200), 0.9)
    np.testing.assert_allclose(prediction(gate), box(x + 200), atol=1)


def test_a_slow_stream_is_not_forgotten_after_one_miss() -> None:
    gate = MotionGate(OURS)
    for i in range(10):
        gate.advance(1.0)
        gate.observe(box(i), 0.9)
    gate.advance(1.0)
    gate.advance(1.0)
    assert gate.predicted_box is not None


def test_a_prompt_elsewhere_starts_the_filter_anew() -> None:
    gate = MotionGate(replace(OURS, stable_steps=1))
    x = follow(gate, 20, speed=3)
    gate.observe_prompt(box(300))
    np.testing.assert_allclose(prediction(gate), box(300))
    gate.advance(1.0)
    np.testing.assert_allclose(prediction(gate), box(300), atol=1e-3)  # at rest
    assert x < 100


def test_a_prompt_where_it_is_keeps_the_speed() -> None:
    gate = MotionGate(OURS)
    x = follow(gate, 20, speed=2)
    gate.advance(FRAME_S)
    gate.observe_prompt(box(x))
    gate.advance(FRAME_S)
    np.testing.assert_allclose(prediction(gate), box(x + 2), atol=0.5)


def test_a_share_is_a_share() -> None:
    with pytest.raises(ValueError, match=r"weight: expected a number 0..1, got 1.5"):
        replace(OURS, weight=1.5)


def test_presets_are_found_by_name() -> None:
    assert preset("sam2").gate is None
    assert preset("sam2").admission is None
    assert preset("samurai-paper").gate is not None
    assert {name: settings.name for name, settings in PRESETS.items()} == {
        name: name for name in ("default", "sam2", "samurai", "samurai-paper", "dam", "long")
    }


@pytest.mark.parametrize("name", ["samurai-large", "Default", ""])
def test_an_unknown_preset_names_those_there_are(name: str) -> None:
    with pytest.raises(ValueError, match="expected one of default, sam2, samurai, samurai-paper"):
        preset(name)


@pytest.mark.parametrize("fps", [15, 25, 30, 60])
@pytest.mark.parametrize("first", range(7))
def test_when_it_forgets_does_not_hang_on_rounding(fps: int, first: int) -> None:
    """After more than half a second, whatever the clock said before."""
    times_ns = [round(step * 1e9 / fps) for step in range(first, first + 100)]
    gate = MotionGate(OURS)
    follow(gate, 10)
    kept = 0
    for then, now in pairwise(times_ns):
        gate.advance((now - then) / 1e9)
        if gate.box is None:
            break
        kept += 1
    assert kept == fps // 2
