"""The published gate of SAMURAI: its filter by its own numbers, its regimes, not its hazards."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from samcam.kalman import MAX_HOLD_STEPS, Gate, GateSettings, SamuraiGate
from samcam.live.frames import F32
from samcam.system import lacks

EMPTY = np.zeros(4, np.float32)
PUBLISHED = GateSettings(
    weight=0.25,
    stable_steps=15,
    stable_iou=0.3,
    reset_when_weak=True,
    start_iou=0.0,
    follow_iou=0.0,
    hold_steps=MAX_HOLD_STEPS,
    hold_s=0.0,
)


def box(x: float, y: float = 10, w: float = 20, h: float = 40) -> F32:
    return np.array((x, y, x + w, y + h), np.float32)


def place(gate: SamuraiGate) -> F32:
    assert gate.box is not None
    return gate.box


@dataclass
class ByTheBook:
    """SAMURAI's filter written down from its published constants, one step per frame."""

    mean: NDArray[np.float64]
    cov: NDArray[np.float64]

    @classmethod
    def at(cls, measured: F32) -> ByTheBook:
        z = xyah(measured)
        p, v = 2 * z[3] / 20, 10 * z[3] / 160
        return cls(np.r_[z, np.zeros(4)], np.diag(np.square([p, p, 1e-2, p, v, v, 1e-5, v])))

    def predict(self) -> None:
        h = self.mean[3]
        p, v = h / 20, h / 160
        frame = np.eye(8) + np.eye(8, k=4)
        self.mean = frame @ self.mean
        noise = np.diag(np.square([p, p, 1e-2, p, v, v, 1e-5, v]))
        self.cov = frame @ self.cov @ frame.T + noise

    def update(self, measured: F32) -> None:
        p = self.mean[3] / 20
        innovation = self.cov[:4, :4] + np.diag(np.square([p, p, 1e-1, p]))
        gain = np.linalg.solve(innovation, self.cov[:4]).T
        self.mean = self.mean + gain @ (xyah(measured) - self.mean[:4])
        self.cov = self.cov - gain @ innovation @ gain.T

    @property
    def box(self) -> NDArray[np.float64]:
        cx, cy, a, h = self.mean[:4]
        return np.array((cx - a * h / 2, cy - h / 2, cx + a * h / 2, cy + h / 2))


def xyah(measured: F32) -> NDArray[np.float64]:
    x1, y1, x2, y2 = (float(v) for v in measured)
    return np.array(((x1 + x2) / 2, (y1 + y2) / 2, (x2 - x1) / (y2 - y1), y2 - y1))


def follow(gate: SamuraiGate, steps: int, start: float = 0, speed: float = 1) -> float:
    """Show it a box moving right; return where it ended."""
    x = start
    for _ in range(steps):
        gate.advance(1 / 30)
        gate.observe(box(x), 0.9)
        x += speed
    return x


@pytest.mark.parametrize("seed", range(4))
def test_its_filter_is_the_published_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    corner, size = np.array((300.0, 200.0)), np.array((80.0, 50.0))
    first = box(*corner, *size)
    gate, book = SamuraiGate(PUBLISHED), ByTheBook.at(first)
    gate.advance(1 / 30)
    gate.observe(first, 0.9)
    for _ in range(200):
        gate.advance(float(rng.uniform(0.01, 1.0)))  # frames count, seconds do not
        book.predict()
        np.testing.assert_allclose(place(gate), book.box, rtol=1e-4, atol=1e-2)
        corner += rng.normal(1, 3, 2)
        size = np.clip(size * rng.uniform(0.93, 1.07, 2), 10, 200)
        if rng.random() < 0.7:
            gate.observe(box(*corner, *size), 0.9)
            book.update(box(*corner, *size))


def test_it_is_a_gate_and_acts_after_fifteen_good_masks() -> None:
    gate = SamuraiGate(PUBLISHED)
    assert not lacks(gate, Gate)
    x = follow(gate, 14)
    gate.advance(1 / 30)
    assert gate.motion_iou(box(x)) is None
    gate.observe(box(x), 0.9)
    gate.advance(1 / 30)
    assert gate.motion_iou(box(x + 1)) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("masks", [1, 7, 14, 40])
def test_one_weak_mask_starts_it_over_where_the_next_mask_is(masks: int) -> None:
    gate = SamuraiGate(PUBLISHED)
    x = follow(gate, masks)
    for weak in (200, 300):
        gate.advance(1 / 30)
        gate.observe(box(x + weak), 0.3)
        if weak == 200:
            assert place(gate)[0] < x + 5  # the weak one itself moves nothing
    np.testing.assert_allclose(place(gate), box(x + 300))  # blind: whatever its predicted IoU
    follow(gate, 13, x + 301)
    assert gate.motion_iou(box(x + 314)) is None
    follow(gate, 1, x + 314)
    assert gate.motion_iou(box(x + 314)) is not None


def test_a_quarter_of_the_choice_is_the_motion_s_once_it_is_stable() -> None:
    gate = SamuraiGate(PUBLISHED)
    here, there = box(20), box(90)
    boxes = np.stack([there, here])
    close, clear = np.array((0.9, 0.6), np.float32), np.array((0.95, 0.55), np.float32)
    follow(gate, 14, 20, 0)
    gate.advance(1 / 30)
    assert gate.choose(close, boxes) == 0
    gate.observe(here, 0.9)
    gate.advance(1 / 30)
    assert gate.choose(close, boxes) == 1  # 0.25 + 0.75 * 0.6 = 0.7 against 0.675
    assert gate.choose(clear, boxes) == 0  # 0.6625 against 0.7125


@pytest.mark.parametrize("masks", [0, 1, 7, 14, 30])
def test_an_empty_mask_is_no_measurement(masks: int) -> None:
    gate = SamuraiGate(PUBLISHED)
    x = follow(gate, masks)
    gate.advance(1 / 30)
    before, overlap = gate.box, gate.motion_iou(box(x))
    for iou in (0.0, 0.29, 0.99):
        gate.observe(EMPTY, iou)
    gate.observe_prompt(EMPTY)
    assert (gate.box is None) == (before is None)
    if before is not None:
        np.testing.assert_array_equal(place(gate), before)
        assert gate.motion_iou(box(x)) == overlap
        follow(gate, max(0, 15 - masks), x)  # it goes on where it was
        assert gate.motion_iou(box(x)) is not None


def test_a_prompt_starts_it_at_once() -> None:
    gate = SamuraiGate(PUBLISHED)
    gate.advance(1 / 30)
    gate.observe_prompt(box(50))
    np.testing.assert_allclose(place(gate), box(50))
    assert gate.moved


def test_gates_of_two_objects_share_nothing() -> None:
    one, other = SamuraiGate(PUBLISHED), SamuraiGate(PUBLISHED)
    follow(one, 20)
    assert other.box is None
    twin = one.fork()
    before = place(twin)
    follow(one, 20, 20)
    np.testing.assert_array_equal(place(twin), before)
