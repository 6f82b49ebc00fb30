"""Token rule, presence rule and limits, on cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from samcam.engines.host_rules import (
    TokenChoice,
    TokenRule,
    apply_presence,
    choose_token,
    clamp_mask_input,
    mask_prompt_score,
    stability_score,
    uses_multimask_tokens,
)


@pytest.mark.parametrize(
    ("num_points", "tracking", "expected"),
    [
        (0, True, True),  # a tracked frame
        (1, False, True),  # the first click
        (1, True, True),  # one correcting click
        (2, False, False),  # a box, or two clicks
        (2, True, False),
        (3, False, False),
        (0, False, False),  # a mask prompt
    ],
)
def test_multimask_tokens_answer_for_at_most_one_point(num_points, tracking, expected) -> None:
    assert uses_multimask_tokens(num_points, tracking) is expected


def test_multimask_limit_is_the_models() -> None:
    assert uses_multimask_tokens(2, False, TokenRule(multimask_max_points=2))
    assert not uses_multimask_tokens(1, False, TokenRule(multimask_max_points=0))


@pytest.mark.parametrize(
    ("logits", "expected"),
    [
        # above +0.05: 5, 6; above -0.05: also 0.0 and -0.04
        ([[5.0, 6.0, 0.0], [-0.04, -0.05, -9.0]], 2 / 4),
        ([[5.0, 0.05, -0.05]], 1 / 2),  # both borders are exclusive
        ([[-9.0, -8.0]], 1.0),  # an empty mask counts as stable
        ([[9.0, 8.0]], 1.0),
        ([[0.0, -8.0]], 0.0),
    ],
)
def test_stability_score(logits, expected) -> None:
    assert stability_score(np.array(logits, np.float32), 0.05) == pytest.approx(expected)


def masks_with_stability(stable: int, shaky: int) -> np.ndarray:
    """Return (4, 10, 10) masks; token 0 has `stable` sure and `shaky` doubtful pixels."""
    masks = np.full((4, 10, 10), -5.0, np.float32)
    masks[0].flat[:stable] = 5.0
    masks[0].flat[stable : stable + shaky] = 0.0
    return masks


IOUS = np.array([0.99, 0.5, 0.8, 0.7], np.float32)


def test_candidates_compete_by_iou_without_the_single_mask_token() -> None:
    masks = masks_with_stability(50, 0)
    assert choose_token(masks, IOUS, multimask=True) == TokenChoice(2, 2)


def test_first_of_equal_candidates_wins() -> None:
    ious = np.array([0.0, 0.8, 0.8, 0.8], np.float32)
    assert choose_token(masks_with_stability(9, 0), ious, multimask=True) == TokenChoice(1, 1)


def test_negative_ious_do_not_bring_the_single_mask_token_back() -> None:
    ious = np.array([5.0, -3.0, -1.0, -2.0], np.float32)
    choice = choose_token(masks_with_stability(9, 0), ious, multimask=True)
    assert choice == TokenChoice(2, 2)


def test_stable_single_mask_stays() -> None:
    # 49 / 50 = 0.98: at the threshold is stable
    assert choose_token(masks_with_stability(49, 1), IOUS, multimask=False) == TokenChoice(0, 0)


def test_unstable_single_mask_gives_way_but_keeps_its_pointer() -> None:
    # 48 / 49 = 0.9796 is below 0.98
    masks = masks_with_stability(48, 1)
    assert choose_token(masks, IOUS, multimask=False) == TokenChoice(2, 0)


def test_rule_numbers_and_token_places_come_from_the_model() -> None:
    lenient = TokenRule(stability_threshold=0.5)
    assert choose_token(masks_with_stability(3, 2), IOUS, False, lenient) == TokenChoice(0, 0)
    last = TokenRule(single_mask_token=3)
    assert choose_token(masks_with_stability(3, 2), IOUS, True, last) == TokenChoice(0, 0)


def test_model_with_one_token_has_no_choice() -> None:
    masks, ious = masks_with_stability(3, 2)[:1], IOUS[:1]
    assert choose_token(masks, ious, multimask=True) == TokenChoice(0, 0)
    assert choose_token(masks, ious, multimask=False) == TokenChoice(0, 0)


def test_choosing_changes_no_input() -> None:
    ious, masks = IOUS.copy(), masks_with_stability(48, 1)
    before = masks.copy()
    choose_token(masks, ious, multimask=True)
    choose_token(masks, ious, multimask=False)
    np.testing.assert_array_equal(ious, IOUS)
    np.testing.assert_array_equal(masks, before)


@pytest.mark.parametrize(
    ("score", "threshold", "present"),
    [(0.1, 0.0, True), (0.0, 0.0, False), (-0.1, 0.0, False), (-0.5, -1.0, True)],
)
def test_presence(score, threshold, present) -> None:
    mask = np.array([[3.0, -3.0]], np.float32)
    pointer, no_pointer = np.ones(4, np.float32), np.full(4, -2.0, np.float32)
    answer = apply_presence(mask, pointer, score, threshold, no_pointer)
    assert answer.present is present
    np.testing.assert_array_equal(answer.obj_ptr, pointer if present else no_pointer)
    expected = mask if present else np.full((1, 2), -1024.0)
    np.testing.assert_array_equal(answer.low_res_mask, expected)
    assert answer.low_res_mask.dtype == np.float32
    np.testing.assert_array_equal(mask, [[3.0, -3.0]])


def test_mask_prompt_score() -> None:
    assert mask_prompt_score(np.array([[False, True]])) == 10.0
    assert mask_prompt_score(np.zeros((2, 2), np.bool_)) == -10.0


def test_mask_input_is_limited_to_32() -> None:
    logits = np.array([[-1024.0, -32.0, 0.5, 31.0, 99.0]], np.float32)
    limited = clamp_mask_input(logits)
    np.testing.assert_array_equal(limited, [[-32.0, -32.0, 0.5, 31.0, 32.0]])
    assert limited.dtype == np.float32
    assert logits[0, 0] == -1024.0
