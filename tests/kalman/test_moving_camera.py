"""Filter and gate under a moving camera, cuts, dropped frames and long gaps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from samcam.kalman import MAX_HOLD_STEPS, CameraFinding, CameraMotion, GateSettings, MotionGate
from samcam.kalman.box_filter import (
    MAX_COAST_S,
    XYAH,
    XYWH,
    BoxForm,
    BoxState,
    initiate,
    move_camera,
    predict,
    update,
)
from samcam.live.frames import F32

FRAME_S = 1 / 30
SIDE = 256.0
RULES = GateSettings(
    weight=0.25,
    stable_steps=5,
    stable_iou=0.3,
    reset_when_weak=False,
    start_iou=0.5,
    follow_iou=0.3,
    hold_steps=MAX_HOLD_STEPS,
    hold_s=0.0,
    slack=1.0,
)
CUT = CameraMotion.still(CameraFinding.CUT).scaled(SIDE)
FORMS = pytest.mark.parametrize("form", [XYWH, XYAH], ids=["xywh", "xyah"])


def box(x: float, y: float, w: float = 30, h: float = 20) -> F32:
    return np.array((x, y, x + w, y + h), np.float32)


def similarity(rng: np.random.Generator) -> CameraMotion:
    """Return shift, roll and zoom of a square picture."""
    angle, zoom = rng.normal(0, 0.1), np.exp(rng.normal(0, 0.1))
    turn = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return CameraMotion(np.column_stack((turn, rng.normal(0, 20, 2))), side=SIDE)


def joined(first: CameraMotion, then: CameraMotion) -> CameraMotion:
    rows = np.vstack((first.affine, (0, 0, 1)))
    return CameraMotion(then.affine @ rows, side=SIDE)


def undone(camera: CameraMotion) -> CameraMotion:
    whole = np.linalg.inv(np.vstack((camera.affine, (0, 0, 1))))
    return CameraMotion(whole[:2].copy(), side=SIDE)


def followed(form: BoxForm, rng: np.random.Generator) -> BoxState:
    state = initiate(box(*rng.uniform(20, 200, 2), *rng.uniform(5, 60, 2)), form)
    for _ in range(6):
        x, y = state.box_xyxy[:2] + rng.normal(2, 1, 2)
        state = update(predict(state, FRAME_S), box(x, y, *rng.uniform(20, 40, 2)))
    return state


def assert_same(one: BoxState, other: BoxState, rtol: float = 1e-9) -> None:
    np.testing.assert_allclose(one.mean, other.mean, rtol=rtol, atol=1e-9)
    np.testing.assert_allclose(one.cov, other.cov, rtol=rtol, atol=1e-9)


@FORMS
@pytest.mark.parametrize("seed", range(5))
def test_camera_motions_join_and_undo(form: BoxForm, seed: int) -> None:
    rng = np.random.default_rng(seed)
    state, first, then = followed(form, rng), similarity(rng), similarity(rng)
    twice = move_camera(move_camera(state, first), then)
    assert_same(twice, move_camera(state, joined(first, then)))
    assert_same(move_camera(move_camera(state, first), undone(first)), state)
    assert_same(move_camera(state, CameraMotion(np.eye(2, 3), side=SIDE)), state, rtol=0)
    np.testing.assert_array_equal(twice.cov, twice.cov.T)
    assert np.linalg.eigvalsh(twice.cov).min() > 0


@FORMS
def test_a_state_moves_as_what_it_shows_does(form: BoxForm) -> None:
    """A state of the first picture, moved, is the state of boxes that were measured moved."""
    zoom, dx, dy = 1.25, 12.0, -7.0
    camera = CameraMotion(np.array([[zoom, 0, dx], [0, zoom, dy]]), side=SIDE)
    shift = np.array((dx, dy, dx, dy), np.float32)
    plain, moved = initiate(box(40, 50), form), initiate(box(40, 50) * zoom + shift, form)
    for i in range(1, 8):
        seen = box(40 + 3 * i, 50 + i)
        plain = update(predict(plain, FRAME_S), seen)
        moved = update(predict(moved, FRAME_S), seen * np.float32(zoom) + shift)
    there = move_camera(plain, camera)
    np.testing.assert_allclose(there.box_xyxy, moved.box_xyxy, rtol=1e-5)
    np.testing.assert_allclose(there.mean[4:], moved.mean[4:], rtol=1e-4, atol=1e-4)


@FORMS
@pytest.mark.parametrize("steps", [[0.5, 0.5], [1, 2, 3], [0.1, 7.9, 30], [60] * 15])
def test_the_uncertainty_of_a_time_is_that_of_its_parts(form: BoxForm, steps: list[float]) -> None:
    """Dropped frames and irregular times; the noise scales with the size, which stands still."""
    state = initiate(box(40, 50), form)
    for frames in steps:
        state = predict(state, frames * FRAME_S)
    once = predict(initiate(box(40, 50), form), sum(steps) * FRAME_S)
    assert_same(once, state, rtol=1e-8)


@FORMS
def test_one_frame_at_a_time_adds_what_samurai_adds(form: BoxForm) -> None:
    before = initiate(box(40, 50), form)
    std = form.process_std(before.mean)
    grown = np.diag(predict(before, FRAME_S).cov) - np.diag(before.cov)
    np.testing.assert_allclose(grown[4:], (std * std)[4:], rtol=1e-9)


def test_half_a_minute_s_gap_leaves_the_box_and_no_certainty() -> None:
    state = initiate(box(40, 50))
    for i in range(1, 20):
        state = update(predict(state, FRAME_S), box(40 + 2 * i, 50))
    gap, coast = predict(state, 30.0), predict(state, MAX_COAST_S)
    np.testing.assert_array_equal(gap.mean, coast.mean)
    assert gap.doubt[0] > 10 * coast.doubt[0] > 0
    assert state.doubt.max() == 0
    back = update(gap, box(200, 100))
    np.testing.assert_allclose(back.box_xyxy, box(200, 100), atol=0.5)


class Film:
    """A scene seen by a moving camera: what stands and what walks, in cells of each picture."""

    def __init__(self, seed: int, moves: bool) -> None:
        self.rng = np.random.default_rng(seed)
        self.pose = CameraMotion(np.eye(2, 3), side=SIDE)
        self.place = np.array((110.0, 100.0))
        self.speed = np.array((0.4, 0.2)) if moves else np.zeros(2)

    def next(self, kind: str) -> tuple[CameraMotion, F32]:
        """Return the camera's motion since the last picture, and the object's box in this one."""
        camera = self._camera(kind)
        self.pose = joined(self.pose, camera)
        self.place = self.place + self.speed
        size = np.array((30, 20)) * self.pose.zoom
        middle = np.array(self.pose.moved(*self.place))
        return camera, np.concatenate((middle - size / 2, middle + size / 2)).astype(np.float32)

    def _camera(self, kind: str) -> CameraMotion:
        angle, zoom, shift = 0.0, 1.0, np.zeros(2)
        if kind == "shake":
            shift = self.rng.normal(0, 8, 2)
        elif kind == "pan":
            shift = np.array((-3.0, 1.0))
        elif kind == "zoom":
            zoom = 1.03
        else:
            angle = 0.05
        middle = np.array((SIDE / 2, SIDE / 2))
        turn = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        return CameraMotion(np.column_stack((turn, middle - turn @ middle + shift)), side=SIDE)


@pytest.mark.parametrize("moves", [False, True], ids=["stands", "walks"])
@pytest.mark.parametrize("kind", ["shake", "pan", "zoom", "roll"])
def test_a_moving_camera_is_foreseen(kind: str, moves: bool) -> None:
    """Also over steps without a mask: the prediction follows the camera, and only then."""
    film, known, blind = Film(4, moves), MotionGate(RULES), MotionGate(replace(RULES, slack=0))
    for index in range(30):
        camera, there = film.next(kind)
        known.advance(FRAME_S, camera)
        blind.advance(FRAME_S)
        if index < 6:
            known.observe_prompt(there)
        elif index % 4 == 0:
            known.observe(there, 0.9)
        if index % 4 == 0 or index < 6:
            blind.observe(there, 0.9)
        if index > 6:
            assert known.motion_iou(there) == pytest.approx(1, abs=0.2)
    ours = MotionGate(replace(RULES, slack=0))
    assert ours.motion_iou(there) is None
    if kind == "shake":
        assert known.box is not None
        assert blind.box is not None
        ahead, off = np.abs(known.box - there).max(), np.abs(blind.box - there).max()
        assert ahead < 3 < off


def settled(slack: float = 1.0) -> MotionGate:
    gate = MotionGate(replace(RULES, slack=slack))
    for index in range(20):
        gate.advance(FRAME_S)
        gate.observe(box(40 + index, 60), 0.9)
    return gate


def overlap(gate: MotionGate, there: F32) -> float:
    iou = gate.motion_iou(there)
    assert iou is not None
    return iou


def test_a_cut_opens_the_gate_and_the_next_mask_closes_it() -> None:
    gate, far = settled(), box(200, 180, 36, 24)
    gate.advance(FRAME_S)
    assert overlap(gate, far) == 0
    gate.advance(FRAME_S, CUT)
    assert overlap(gate, far) > 0.9
    assert gate.choose(np.array((0.7, 0.6), np.float32), np.stack([far, box(61, 60)])) == 0
    gate.observe(far, 0.9)
    assert gate.box is not None
    np.testing.assert_allclose(gate.box, far, atol=1)
    for _ in range(2):
        gate.advance(FRAME_S)
        gate.observe(far, 0.9)
    gate.advance(FRAME_S)
    assert overlap(gate, far) > 0.9
    assert overlap(gate, box(40, 60)) < 0.3


def test_a_gate_without_slack_is_never_opened() -> None:
    gate = settled(0.0)
    gate.advance(FRAME_S, CUT)
    assert overlap(gate, box(200, 180)) == 0


def test_what_could_not_be_measured_counts_as_still() -> None:
    one, other = settled(), settled()
    one.advance(FRAME_S)
    other.advance(FRAME_S, CameraMotion.still(CameraFinding.UNKNOWN).scaled(SIDE))
    np.testing.assert_array_equal(one.box, other.box)  # type: ignore[arg-type]


def test_the_gate_opens_with_time_and_not_with_steps() -> None:
    beside = box(40 + 20 + 40, 60)
    seen = []
    for steps, dt_s in ((1, 0.6), (6, 0.1), (18, FRAME_S)):
        gate = settled()
        for _ in range(steps):
            gate.advance(dt_s)
        seen.append(overlap(gate, beside))
    assert seen == pytest.approx([seen[0]] * 3, abs=0.02)
    overlaps = []
    gate = settled()
    for _ in range(30):
        gate.advance(FRAME_S)
        overlaps.append(overlap(gate, box(120, 60)))
    assert overlaps[0] == 0
    assert overlaps == sorted(overlaps)
    assert overlaps[-1] > 0.3


def test_after_half_a_minute_a_mask_anywhere_moves_the_gate() -> None:
    gate, far = settled(), box(200, 180)
    gate.advance(30.0)
    assert overlap(gate, far) > 0.9
    gate.observe(far, 0.9)
    assert gate.moved
    gate.advance(FRAME_S)
    assert overlap(gate, far) > 0.7


def test_a_followed_object_s_gate_forgives_nothing() -> None:
    """The same numbers as without slack, so long as every frame moves it."""
    strict, kind = settled(0.0), settled(1.0)
    for index in range(20, 40):
        for gate in (strict, kind):
            gate.advance(FRAME_S)
        here = box(40 + index + index % 3, 60)
        assert overlap(strict, here) == pytest.approx(overlap(kind, here), abs=1e-6)
        for gate in (strict, kind):
            gate.observe(here, 0.9)
