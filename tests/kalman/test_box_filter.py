"""The box filter: one worked example, and what must hold for any box."""

from __future__ import annotations

import numpy as np
import pytest

from samcam.kalman.box_filter import F32, BoxState, initiate, predict, update

FRAME_S = 1 / 30


def box(*values: float) -> F32:
    return np.array(values, np.float32)


def moving(steps: int, speed_px_s: float, dt_s: float = FRAME_S) -> BoxState:
    """Follow a 20 x 40 box that moves right."""
    state = initiate(box(0, 0, 20, 40))
    for i in range(1, steps + 1):
        x = speed_px_s * dt_s * i
        state = update(predict(state, dt_s), box(x, 0, x + 20, 40))
    return state


def test_a_worked_step_of_the_horizontal_axis() -> None:
    """w = 20: position std 2·20/20 = 2, velocity std 10·20/160·30 = 37.5 px/s.

    After 1/30 s: P = 4 + 37.5²/900 + 1 = 6.5625, R = 1, so K = 6.5625 / 7.5625 and a box 3 px to
    the right moves the centre by 3 K; P shrinks to K R.
    """
    predicted = predict(initiate(box(0, 0, 20, 40)), FRAME_S)
    assert predicted.cov[0, 0] == pytest.approx(6.5625)
    corrected = update(predicted, box(3, 0, 23, 40))
    gain = 6.5625 / 7.5625
    assert corrected.mean[0] == pytest.approx(10 + 3 * gain)
    assert corrected.cov[0, 0] == pytest.approx(gain)
    # the velocity learns through the covariance with the position: P_xv = 37.5² / 30
    assert corrected.mean[4] == pytest.approx(3 * (37.5**2 / 30) / 7.5625)


def test_the_noise_of_a_longer_step_is_that_of_its_frames() -> None:
    doubled = predict(initiate(box(0, 0, 20, 40)), 2 * FRAME_S)
    # of the first frame's noise in the velocity the second one has made a place: (20 / 160)²
    moved = 37.5**2 * (2 * FRAME_S) ** 2 + 0.125**2
    assert doubled.cov[0, 0] == pytest.approx(4 + moved + 2 * 1)
    assert doubled.cov[4, 4] == pytest.approx(37.5**2 + 2 * (20 / 160 * 30) ** 2)


def test_two_steps_of_one_end_where_one_step_of_two_does() -> None:
    state = moving(10, 60)
    twice = predict(predict(state, 1.0), 1.0)
    once = predict(state, 2.0)
    np.testing.assert_allclose(once.mean, twice.mean, rtol=1e-12)


def test_speed_is_per_second_whatever_the_frame_rate() -> None:
    slow, fast = moving(30, 60, 1 / 15), moving(60, 60, 1 / 30)
    assert slow.mean[4] == pytest.approx(60, rel=0.05)
    assert fast.mean[4] == pytest.approx(60, rel=0.05)


def test_it_foresees_a_steady_motion() -> None:
    state = predict(moving(30, 90), FRAME_S)
    np.testing.assert_allclose(state.box_xyxy, box(93, 0, 113, 40), atol=0.5)


def test_without_measurements_the_uncertainty_grows() -> None:
    state = moving(10, 60)
    spread = np.diag(state.cov)
    for _ in range(50):
        state = predict(state, FRAME_S)
        grown = np.diag(state.cov)
        assert (grown > spread).all()
        spread = grown


def test_the_covariance_stays_symmetric_and_positive() -> None:
    rng = np.random.default_rng(3)
    state = initiate(box(100, 100, 140, 130))
    for _ in range(3_000):
        state = predict(state, float(rng.uniform(0, 0.5)))
        if rng.random() < 0.7:
            x, y, w, h = rng.uniform((0, 0, 0.5, 0.5), (500, 500, 300, 300))
            state = update(state, box(x, y, x + w, y + h))
        np.testing.assert_array_equal(state.cov, state.cov.T)
        assert np.linalg.eigvalsh(state.cov).min() > 0
        assert np.isfinite(state.mean).all()


def test_stretching_the_axes_stretches_the_answer() -> None:
    """The filter may run on the square mask instead of the picture."""
    plain, stretched = initiate(box(10, 20, 50, 60)), initiate(box(30, 10, 150, 30))
    scale = np.array((3, 0.5, 3, 0.5), np.float32)
    for i in range(1, 8):
        seen = box(10 + 2 * i, 20 + i, 52 + 2 * i, 61 + i)
        plain = update(predict(plain, FRAME_S), seen)
        stretched = update(predict(stretched, FRAME_S), seen * scale)
    np.testing.assert_allclose(stretched.box_xyxy, plain.box_xyxy * scale, rtol=1e-5)


def test_a_box_extrapolated_below_nothing_is_empty_and_recovers() -> None:
    state = initiate(box(0, 0, 100, 100))
    for i in range(1, 10):
        state = update(predict(state, FRAME_S), box(0, 0, 100 - 10 * i, 100 - 10 * i))
    gone = predict(state, 2.0)
    x1, y1, x2, y2 = gone.box_xyxy
    assert x1 == x2
    assert y1 == y2
    for _ in range(30):
        gone = update(predict(gone, FRAME_S), box(40, 40, 60, 60))
    np.testing.assert_allclose(gone.box_xyxy, box(40, 40, 60, 60), atol=1)


@pytest.mark.parametrize(
    "bad",
    [(0, 0, 0, 10), (0, 0, 10, 0), (5, 0, 4, 10), (0, 0, np.nan, 10), (0, 0, np.inf, 10)],
)
def test_degenerate_boxes_are_refused(bad: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="box: expected finite x1 < x2"):
        initiate(box(*bad))
    with pytest.raises(ValueError, match="box: expected finite x1 < x2"):
        update(initiate(box(0, 0, 1, 1)), box(*bad))


@pytest.mark.parametrize("dt_s", [-0.1, float("nan"), float("inf")])
def test_impossible_times_are_refused(dt_s: float) -> None:
    with pytest.raises(ValueError, match="dt_s"):
        predict(initiate(box(0, 0, 1, 1)), dt_s)


def test_states_do_not_change() -> None:
    state = moving(3, 30)
    before = state.mean.copy()
    update(predict(state, FRAME_S), box(0, 0, 5, 5))
    np.testing.assert_array_equal(state.mean, before)
    with pytest.raises(ValueError, match="read-only"):
        state.mean[0] = 1
