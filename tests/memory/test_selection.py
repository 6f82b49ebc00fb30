"""Policies of the memory bank, as tables."""

from __future__ import annotations

import pytest

from samcam.memory.selection import (
    AdmissionThresholds,
    BankPolicy,
    RecentOrder,
    admits,
    conditioning_to_drop,
    pointer_offset,
    recent_positions,
)

PAPER = AdmissionThresholds(predicted_iou=0.5, object_score=0.0, motion_iou=0.5)


@pytest.mark.parametrize(
    ("iou", "score", "motion", "empty", "expected"),
    [
        (0.9, 3.0, 0.8, False, True),
        (0.9, 3.0, None, False, True),
        (0.5, 3.0, 0.8, False, False),
        (0.51, 3.0, 0.8, False, True),
        (0.9, 0.0, 0.8, False, False),
        (0.9, -2.0, None, False, False),
        (0.9, 3.0, 0.5, False, False),
        (0.9, 3.0, 0.0, False, False),
        (0.9, 3.0, None, True, False),
    ],
)
def test_thresholds_decide_what_enters(
    iou: float, score: float, motion: float | None, empty: bool, expected: bool
) -> None:
    assert admits(PAPER, iou, score, motion, empty) is expected


def test_without_thresholds_everything_enters() -> None:
    assert admits(None, 0.0, -20.0, 0.0, True)


@pytest.mark.parametrize(
    ("steps", "max_cond", "expected"),
    [([0], 1, None), ([0, 5], 2, None), ([0, 5], 1, 1), ([0, 5, 9], 2, 1), ([3, 4, 5, 6, 7], 4, 1)],
)
def test_the_oldest_but_the_first_is_dropped(
    steps: list[int], max_cond: int, expected: int | None
) -> None:
    assert conditioning_to_drop(steps, max_cond) == expected


def test_distance_counts_steps_with_gaps() -> None:
    steps = [3, 5, 8, 9]
    assert recent_positions(steps, 10, RecentOrder.DISTANCE) == [(3, 1), (2, 2), (1, 5)]
    assert recent_positions(steps, 15, RecentOrder.DISTANCE) == [(3, 6)]
    assert recent_positions(steps, 16, RecentOrder.DISTANCE) == []


def test_rank_counts_what_is_there() -> None:
    steps = [3, 5, 8, 9]
    expected = [(3, 1), (2, 2), (1, 3), (0, 4)]
    assert recent_positions(steps, 10, RecentOrder.RANK) == expected
    assert recent_positions(steps, 10_000, RecentOrder.RANK) == expected
    assert len(recent_positions(list(range(20)), 20, RecentOrder.RANK)) == 6


@pytest.mark.parametrize("order", list(RecentOrder))
def test_steps_to_come_are_not_used(order: RecentOrder) -> None:
    assert recent_positions([4, 5, 6], 5, order) == [(0, 1)]


@pytest.mark.parametrize(
    ("step", "clamp", "expected"),
    [(99, True, 1.0), (85, True, 15.0), (84, True, 15.0), (0, True, 15.0), (0, False, 100.0)],
)
def test_pointer_offsets(step: int, clamp: bool, expected: float) -> None:
    assert pointer_offset(100, step, clamp) == expected


def test_a_bank_needs_room_for_one_prompt() -> None:
    with pytest.raises(ValueError, match=r"max_cond: expected a whole number 1\.\.4, got 0"):
        BankPolicy(max_cond=0)
