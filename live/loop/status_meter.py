"""The state of a run for the status line and `ctl`: recent rates, not those since the start."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

from samcam.live.control import LiveStatus, ObjectStatus
from samcam.live.frames import NS_PER_S, FrameResult
from samcam.live.loop.capture import CaptureMonitor
from samcam.live.metrics import Metrics
from samcam.live.motion import CARRY

WINDOW_S: Final = 2.0
STILL_EVERY_S: Final = 0.25  # between two states while no picture comes
_MAX_SAMPLES: Final = 1024  # beyond any rate of pictures within the window
_AGE_VALUES: Final = 30
_SLOW_MS: Final = 250.0  # a step of this length, while
_SLOW_FRAMES: Final = 3.0  # so many pictures come, is more than a slow machine's usual few drops


class RateMeter:
    """How fast a counter grows, over the last `WINDOW_S`."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque(maxlen=_MAX_SAMPLES)

    def add(self, now_s: float, count: float) -> None:
        """Note where the counter is; the same value as before is ignored."""
        if self._samples and count <= self._samples[-1][1]:
            return
        self._samples.append((now_s, count))

    def per_second(self, now_s: float) -> float:
        """Return the growth per second; it sinks while nothing comes, to 0 after the window."""
        samples = self._samples
        while len(samples) > 2 and samples[1][0] <= now_s - WINDOW_S:
            samples.popleft()
        if len(samples) < 2 or samples[-1][0] < now_s - WINDOW_S:
            return 0.0
        (first_s, first), (last_s, last) = samples[0], samples[-1]
        if last_s <= first_s:
            return 0.0
        gap_s = (last_s - first_s) / (len(samples) - 1)
        end_s = last_s if now_s - last_s <= 2 * gap_s else now_s
        return (last - first) / (end_s - first_s)


class StatusMeter:
    """Takes the state again and again; render loop only."""

    def __init__(
        self,
        monitor: CaptureMonitor,
        metrics: Metrics,
        dropped: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Connect the parts; `dropped` counts frames and results that were dropped so far."""
        self._monitor = monitor
        self._metrics = metrics
        self._dropped = dropped
        self._clock = clock
        self._captured = RateMeter()
        self._inferred = RateMeter()
        self._cpu = RateMeter()
        self._taken_s = clock()

    def is_due(self) -> bool:
        """Whether the last state is old enough to take another one without a new picture."""
        return self._clock() - self._taken_s >= STILL_EVERY_S

    def take(self, result: FrameResult, own_effects: Mapping[int, str]) -> LiveStatus:
        """Return the state as of now, but for what is done with the picture on its way out.

        Args:
            result: The newest one; its step may be one seen before.
            own_effects: Names by object id.
        """
        now_s = self._taken_s = self._clock()
        stats = self._monitor.stats
        if stats.last_captured_ns is not None:
            ago_s = (time.perf_counter_ns() - stats.last_captured_ns) / NS_PER_S
            self._captured.add(now_s - max(0.0, ago_s), stats.frames_read)
        self._inferred.add(now_s, result.step)
        self._cpu.add(now_s, time.process_time())
        return LiveStatus(
            step=result.step,
            frame=result.frame.index,
            time_s=result.frame.time_ns / NS_PER_S,
            source_fps=self._captured.per_second(now_s),
            inference_fps=self._inferred.per_second(now_s),
            source_age_ms=self._metrics.lately_total(_AGE_VALUES),
            dropped=self._dropped(),
            cpu_percent=100.0 * self._cpu.per_second(now_s),
            objects=tuple(
                ObjectStatus(
                    item.object_id,
                    str(item.state),
                    item.reason,
                    item.visible,
                    own_effects.get(item.object_id),
                )
                for item in result.objects
            ),
            trouble=self._too_slow(result, now_s),
        )

    def _too_slow(self, result: FrameResult, now_s: float) -> str:
        """Say that steps take far longer than pictures come, and what would help."""
        step_ms = sum(ms for stage, ms in result.stage_ms.items() if stage != CARRY)
        source_fps = self._captured.per_second(now_s)
        if step_ms < _SLOW_MS or source_fps * step_ms < _SLOW_FRAMES * 1000.0:
            return ""
        count = len(result.objects)
        with_what = f" with {count} objects" if count > 1 else ""
        helps = "fewer objects, a smaller model" if count > 1 else "a smaller model"
        return (
            f"this machine cannot keep up{with_what}: {1000.0 / step_ms:.1f} of {source_fps:.0f} "
            f"frames a second; {helps}, --smooth or a GPU would help"
        )
