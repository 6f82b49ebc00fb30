"""Prompts before they reach the networks: checks, waiting, merging, coordinates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from samcam.live.frames import MAX_PENDING_PROMPTS, Prompt
from samcam.live.tracker.prompts import PromptQueue, merge_prompts, scale_points

SIZE = (640, 360)


def click(
    x: float, y: float, label: int = 1, object_id: int = 1, frame: int | None = None
) -> Prompt:
    return Prompt(object_id, frame, np.array([[x, y]], np.float32), np.array([label], np.int32))


def boxed(*corners: float, frame: int | None = None) -> Prompt:
    return Prompt(frame_index=frame, box_xyxy_px=np.array(corners, np.float32))


def masked(width: int = 640, height: int = 360, reference: tuple[int, ...] | None = None) -> Prompt:
    mask = np.zeros((height, width), np.bool_)
    mask[10:50, 20:60] = True
    picture = None if reference is None else np.zeros(reference, np.uint8)
    return Prompt(mask=mask, reference_bgr=picture)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (click(640, 10), "object 1: point 640,10 lies outside the picture 640x360"),
        (click(10, -1, object_id=7), "object 7: point 10,-1 lies outside"),
        (click(10, 360), "point 10,360 lies outside"),
        (boxed(700, 10, 800, 50), "box 700,10,800,50 lies outside the picture 640x360"),
        (boxed(-50, 10, 0, 50), "lies outside"),
        (masked(320, 180), "expected the size of the picture 640x360, got 320x180"),
        (masked(64, 64, (64, 65, 3)), "expected the size of its image 65x64, got 64x64"),
        (masked(64, 64, (64, 64)), "image: expected .H, W, 3. uint8"),
        (Prompt(mask=np.zeros((360, 640), np.bool_)), "at least one pixel set"),
        (
            Prompt(
                points_xy_px=np.array([[1, 1]], np.float32),
                labels=np.array([1], np.int32),
                reference_bgr=np.zeros((4, 4, 3), np.uint8),
            ),
            "needs a mask",
        ),
    ],
)
def test_what_does_not_fit_is_refused(prompt: Prompt, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        prompt.fitted(SIZE)


@pytest.mark.parametrize(
    "prompt",
    [
        click(0, 0),
        click(639.9, 359.9),
        boxed(-5, -5, 700, 400),
        masked(),
        masked(64, 48, (48, 64, 3)),
    ],
)
def test_what_fits_passes(prompt: Prompt) -> None:
    prompt.fitted(SIZE)


def test_positions_pass_while_the_size_is_unknown() -> None:
    click(10_000, 10).fitted(None)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_prompt_without_a_place_is_none(bad: float) -> None:
    """Not a number in any corner, whether the picture's size is known or not."""
    for place in range(4):
        corners = [10.0, 10.0, 50.0, 50.0]
        corners[place] = bad
        with pytest.raises(ValueError, match="object 1: coordinates: expected finite numbers"):
            boxed(*corners)
    with pytest.raises(ValueError, match="expected finite numbers"):
        click(bad, 10)


def test_clicks_add_up_and_a_later_box_wins() -> None:
    merged = merge_prompts(
        [boxed(1, 1, 5, 5), click(10, 20), click(30, 40, label=0), boxed(2, 2, 9, 9)]
    )
    np.testing.assert_array_equal(merged.points_xy_px, [[10, 20], [30, 40]])
    np.testing.assert_array_equal(merged.labels, [1, 0])
    assert merged.box_xyxy_px is not None
    np.testing.assert_array_equal(merged.box_xyxy_px, [2, 2, 9, 9])


def test_masks_and_points_replace_each_other() -> None:
    assert merge_prompts([click(1, 1), masked()]).mask is not None
    merged = merge_prompts([masked(), click(1, 1), click(2, 2)])
    assert merged.mask is None
    assert len(merged.labels) == 2


def test_the_last_prompt_says_which_candidate_answers() -> None:
    chosen = replace(click(1, 1), candidate=2)
    assert merge_prompts([click(2, 2), chosen]).candidate == 2
    assert merge_prompts([chosen, click(2, 2)]).candidate is None


def test_box_corners_come_before_the_clicks_in_pixels_of_the_square() -> None:
    prompt = merge_prompts([click(320, 90, label=0), boxed(64, 36, 640, 360)])
    scaled = scale_points(prompt, SIZE, 256)
    expected = np.array([[25.6, 25.6], [256, 256], [128, 64]], np.float32)
    np.testing.assert_allclose(scaled.points_xy, expected, rtol=1e-6)
    np.testing.assert_array_equal(scaled.labels, [2, 3, 0])
    assert scaled.points_xy.dtype == np.float32
    assert scaled.labels.dtype == np.int32


def test_prompts_wait_for_their_frame() -> None:
    queue = PromptQueue()
    queue.add(click(1, 1, frame=5))
    queue.add(click(2, 2, object_id=2))
    queue.add(click(3, 3, frame=9))
    assert list(queue.take_due(4, SIZE)) == [2]
    assert queue.take_due(4, SIZE) == {}
    due = queue.take_due(7, SIZE)  # 5 and 6 were dropped frames
    np.testing.assert_array_equal(due[1][0].points_xy_px, [[1, 1]])
    assert len(queue) == 1


def test_prompts_for_dropped_frames_are_taken_together_in_order() -> None:
    queue = PromptQueue()
    queue.add(click(1, 1, frame=5))
    queue.add(click(2, 2, frame=6))
    due = queue.take_due(6, SIZE)[1]
    assert [prompt.points_xy_px[0, 0] for prompt in due] == [1, 2]


def test_the_last_prompt_for_the_next_frame_can_be_taken_back() -> None:
    queue = PromptQueue()
    queue.add(click(1, 1))
    queue.add(click(2, 2, object_id=2))
    queue.add(click(3, 3, frame=9))
    assert queue.pop_last(3) is None
    found = [queue.pop_last(None), queue.pop_last(1), queue.pop_last(None)]
    assert [None if prompt is None else prompt.object_id for prompt in found] == [2, 1, None]
    assert len(queue) == 1  # what waits for its frame stays


def test_a_bad_prompt_is_dropped_and_the_others_stay() -> None:
    queue = PromptQueue()
    queue.add(click(1, 1))
    queue.add(click(9_999, 1, object_id=2))
    queue.add(click(3, 3, object_id=3))
    with pytest.raises(ValueError, match="object 2: point 9999,1 lies outside"):
        queue.take_due(0, SIZE)
    assert sorted(queue.take_due(0, SIZE)) == [1, 3]


def test_dropping_prompts_of_one_object_and_of_all() -> None:
    queue = PromptQueue()
    for object_id in (1, 2, 1, 3):
        queue.add(click(1, 1, object_id=object_id))
    queue.drop(1)
    assert len(queue) == 2
    assert not queue.names(1, None)
    assert queue.names(2, None)
    queue.drop(None)
    assert len(queue) == 0


def test_the_queue_is_bounded() -> None:
    queue = PromptQueue()
    for _ in range(MAX_PENDING_PROMPTS):
        queue.add(click(1, 1, frame=1))
    with pytest.raises(ValueError, match="4096 prompts wait"):
        queue.add(click(1, 1))
