"""The state of a run: rates of the last seconds, whoever asks."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from samcam.live.loop.capture import CaptureMonitor, CaptureStats
from samcam.live.loop.status_meter import WINDOW_S, RateMeter, StatusMeter
from samcam.live.metrics.metrics import SOURCE_AGE, WINDOW, Metrics
from tests.helpers.results import disc_logits, result_of, tracked


@pytest.mark.parametrize("rate", [3.0, 15.0, 240.0])
def test_a_steady_rate_is_found_and_a_change_is_followed(rate: float) -> None:
    meter = RateMeter()
    now_s = 0.0
    assert meter.per_second(now_s) == 0.0
    for count in range(round(4 * rate)):
        now_s = count / rate
        meter.add(now_s, count)
        meter.add(now_s + 0.001, count)  # no news
    assert meter.per_second(now_s) == pytest.approx(rate, rel=1e-6)
    for count in range(1, round(2.5 * rate)):  # half as fast from here
        now_s += 2 / rate
        meter.add(now_s, round(4 * rate) - 1 + count)
    assert meter.per_second(now_s) == pytest.approx(rate / 2, rel=1e-6)


def test_the_rate_sinks_while_nothing_comes() -> None:
    meter = RateMeter()
    for count in range(61):
        meter.add(count / 30, count)
    assert meter.per_second(2.0) == pytest.approx(30)
    assert meter.per_second(3.0) == pytest.approx(20, rel=0.4)
    assert meter.per_second(2.0 + WINDOW_S + 0.1) == 0.0


def test_the_state_has_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [100.0]
    cpu_s = [7.0]
    monkeypatch.setattr(time, "process_time", lambda: cpu_s[0])
    monkeypatch.setattr(time, "perf_counter_ns", lambda: round(now_s[0] * 1e9))
    monitor, metrics = CaptureMonitor(), Metrics()
    for age_ms in (500.0, *[40.0] * 30):  # the first is too long ago to count
        metrics.record(SOURCE_AGE, age_ms)
    meter = StatusMeter(monitor, metrics, lambda: 5, lambda: now_s[0])
    image = np.zeros((48, 64, 3), np.uint8)
    objects = (tracked(1, disc_logits(16, 8, 8, 4)), tracked(2, None))
    assert not meter.is_due()
    for step in range(41):
        result = replace(result_of(image, objects, time_ns=10**9), step=step)
        grabbed_ns = round(now_s[0] * 1e9) - 10**7
        monitor.publish(CaptureStats(2 * step, 0, None, grabbed_ns, ended=False))
        status = meter.take(result, {2: "none"})
        now_s[0] += 0.1
        cpu_s[0] += 0.13
    assert (status.step, status.frame, status.time_s, status.dropped) == (40, 0, 1.0, 5)
    assert status.source_fps == pytest.approx(20)
    assert status.inference_fps == pytest.approx(10)
    assert status.source_age_ms == pytest.approx(40)
    assert status.cpu_percent == pytest.approx(130)
    assert [(o.object_id, o.state, o.visible, o.effect) for o in status.objects] == [
        (1, "tracking", True, None),
        (2, "lost", False, "none"),
    ]
    now_s[0] += 1.0
    assert meter.is_due()


def test_lately_looks_around_the_end_of_the_ring() -> None:
    metrics = Metrics()
    assert metrics.lately("stage", 3) == 0.0
    for value in range(WINDOW + 2):
        metrics.record("stage", value)
    assert metrics.lately("stage", 4) == WINDOW - 0.5


def test_a_machine_that_cannot_keep_up_is_told_what_would_help() -> None:
    """Thirty objects took seconds a step, and the status said that pictures are 30 ms old."""
    now_s = [100.0]
    monitor, metrics = CaptureMonitor(), Metrics()
    meter = StatusMeter(monitor, metrics, lambda: 0, lambda: now_s[0])
    image = np.zeros((48, 64, 3), np.uint8)
    objects = tuple(tracked(number, disc_logits(16, 8, 8, 4)) for number in range(1, 31))
    metrics.record(SOURCE_AGE, 30.0)
    metrics.record("total none", 4000.0)
    for step, stage_ms, said in ((0, 2500.0, True), (1, 2500.0, True), (2, 40.0, False)):
        grabbed_ns = time.perf_counter_ns() + 10**12  # to come: no real time is counted
        for frame in range(15):
            monitor.publish(CaptureStats(15 * step + frame, 0, None, grabbed_ns, ended=False))
            result = replace(
                result_of(image, objects, time_ns=10**9), step=step, stage_ms={"decode": stage_ms}
            )
            status = meter.take(result, {})
            now_s[0] += 1 / 30
        assert status.source_age_ms == 4000.0
        text = "this machine cannot keep up with 30 objects: 0.4 of 30 frames a second; fewer"
        assert status.trouble.startswith(text) == said, status.trouble
