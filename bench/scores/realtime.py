"""A stream that waits for nobody: pictures that come while a step runs are missed."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import replace
from typing import Final

from bench.scores.evaluate import StepTracker
from samcam.live.frames import NS_PER_S, Frame, FrameResult, Prompt

MS_PER_S: Final = 1000.0
_ROUNDING_S: Final = 1e-9


class RealTimeTracker:
    """A tracker under VOT's real-time rule: at each picture the last answer that is ready counts.

    Picture i comes at i / fps. A free tracker takes it; a busy one takes the newest as soon as it
    is free. What is ready when the next picture comes counts for this one; if nothing new is, the
    answer before does. On a picture with a prompt the stream waits, as VOT waits for a tracker's
    start.

    Args:
        tracker: What answers.
        fps: Rate of the pictures; their times follow it.
        step_ms: How long a step takes; None: as long as it takes here.

    Source: Kristan et al., "The Visual Object Tracking VOT2017 Challenge Results", section 3.3.
        vot-toolkit's own RealtimeTrackerRuntime forgives more: there the answer counts for its
        own picture however late it is, and lateness below a whole interval is forgotten.
    """

    def __init__(self, tracker: StepTracker, fps: float, step_ms: float | None) -> None:
        self._tracker = tracker
        self._interval_s = 1 / fps
        self._step_s = None if step_ms is None else step_ms / MS_PER_S
        self._free_s = 0.0
        self._running: deque[tuple[float, FrameResult]] = deque()
        self._ready: FrameResult | None = None
        self._prompted = False

    def prompt(self, prompt: Prompt) -> None:
        self._tracker.prompt(prompt)
        self._prompted = True

    def step(self, frame: Frame) -> FrameResult:
        """Show the next picture; the answer is the one that counts for it."""
        now_s = frame.index * self._interval_s
        next_s = now_s + self._interval_s
        timed = replace(frame, time_ns=round(now_s * NS_PER_S))
        if self._prompted or self._ready is None:
            self._ready, _ = self._run(timed)
            self._running.clear()
            self._free_s, self._prompted = next_s, False
        elif self._free_s < next_s - _ROUNDING_S:
            result, took_s = self._run(timed)
            self._free_s = max(now_s, self._free_s) + took_s
            self._running.append((self._free_s, result))
        while self._running and self._running[0][0] <= next_s + _ROUNDING_S:
            self._ready = self._running.popleft()[1]
        return replace(self._ready, frame=timed)

    def _run(self, frame: Frame) -> tuple[FrameResult, float]:
        begun = time.perf_counter()
        result = self._tracker.step(frame)
        took_s = time.perf_counter() - begun
        return result, took_s if self._step_s is None else self._step_s
