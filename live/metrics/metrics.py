"""Timings of every stage over a bounded window, and counters.

One `Metrics` is shared by all threads; each call holds its lock for a few array writes. Times are
wall-clock milliseconds. Percentiles cover the last `WINDOW` values of a stage, counts the run.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from samcam.live.frames import NS_PER_MS, FrameResult

WINDOW: Final = 4096  # values kept per stage: more than two minutes at 30 fps

CAPTURE_WAIT = "capture_wait"
SOURCE_AGE = "source_age"
COMPOSE = "compose"
TOTAL = "total"  # from the grab until a sink has the picture; followed by the sink's name

LeavingListener: TypeAlias = Callable[[str, int], None]  # an output's name, a tracker step


@dataclass(frozen=True, slots=True)
class StageStats:
    """Spread of one stage's times in milliseconds; `count` values in the whole run."""

    count: int
    mean: float
    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All figures at one moment.

    Attributes:
        elapsed_s: Since the first captured frame.
        captured, processed: Frames read from the source; steps of the tracker.
        source_fps, inference_fps: Over the whole run; 0 before two frames.
        stages: By name, in order of first use.
        dropped: Frames or results thrown away for newer ones, by slot.
        counters: Other events, such as broken frames.
        peak_rss_mb: Largest resident memory of the process in MiB, None where unknown.
    """

    elapsed_s: float
    captured: int
    processed: int
    source_fps: float
    inference_fps: float
    stages: Mapping[str, StageStats]
    dropped: Mapping[str, int]
    counters: Mapping[str, int]
    peak_rss_mb: float | None


class _Ring:
    def __init__(self) -> None:
        self.values: NDArray[np.float64] = np.zeros(WINDOW)
        self.count = 0

    def add(self, value: float) -> None:
        self.values[self.count % WINDOW] = value
        self.count += 1

    def lately(self, count: int) -> float:
        count = min(count, self.count, WINDOW)
        indices = np.arange(self.count - count, self.count) % WINDOW
        return float(self.values[indices].mean()) if count else 0.0

    def stats(self) -> StageStats:
        kept = self.values[: min(self.count, WINDOW)]
        p50, p95, p99 = np.percentile(kept, (50, 95, 99))
        return StageStats(self.count, float(kept.mean()), float(p50), float(p95), float(p99))


class _Rate:
    def __init__(self) -> None:
        self.count = 0
        self.first_ns = 0
        self.last_ns = 0

    def leave_out(self, passed_ns: int) -> None:
        self.first_ns += passed_ns

    def tick(self, now_ns: int) -> None:
        if not self.count:
            self.first_ns = now_ns
        self.last_ns = now_ns
        self.count += 1

    def per_second(self) -> float:
        span_ns = self.last_ns - self.first_ns
        return (self.count - 1) * 1e9 / span_ns if span_ns > 0 else 0.0


class Metrics:
    """Collects figures from every thread, in bounded memory."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stages: dict[str, _Ring] = {}
        self._captured = _Rate()
        self._inferred = _Rate()
        self._counters: dict[str, int] = {}
        self._drops: dict[str, Callable[[], int]] = {}
        self._leaving: tuple[LeavingListener, ...] = ()

    def record(self, stage: str, milliseconds: float) -> None:
        """Add one time of a stage. Stage names come from code and sinks, so they stay few."""
        with self._lock:
            ring = self._stages.get(stage)
            if ring is None:
                ring = self._stages[stage] = _Ring()
            ring.add(milliseconds)

    @contextmanager
    def timing(self, stage: str) -> Iterator[None]:
        """Record the time of a `with` block as one stage, unless it fails."""
        start_ns = time.perf_counter_ns()
        yield
        self.record(stage, (time.perf_counter_ns() - start_ns) / NS_PER_MS)

    def count(self, name: str, amount: int = 1) -> None:
        with self._lock:
            self._counters[name] = self._counters.get(name, 0) + amount

    def watch_drops(self, name: str, read: Callable[[], int]) -> None:
        """Ask `read` for the number of items dropped at `name` whenever figures are wanted."""
        with self._lock:
            self._drops[name] = read

    def captured(self) -> None:
        with self._lock:
            self._captured.tick(time.perf_counter_ns())

    def leave_out(self, passed_s: float) -> None:
        """Exclude a pause after the first frame from the run's rates."""
        with self._lock:
            for rate in (self._captured, self._inferred):
                rate.leave_out(round(passed_s * 1e9))

    def processed(self, result: FrameResult, source_age_ms: float) -> None:
        """Count one tracker step with its stages and the frame's age when it began."""
        with self._lock:
            self._inferred.tick(time.perf_counter_ns())
        self.record(SOURCE_AGE, source_age_ms)
        for stage, milliseconds in result.stage_ms.items():
            self.record(stage, milliseconds)

    def watch_leaving(self, listener: LeavingListener) -> None:
        """Tell a listener of every picture that an output got; before the run's threads start.

        It is called by the outputs' threads, and must not wait.
        """
        self._leaving = (*self._leaving, listener)

    def left(self, output: str, result: FrameResult) -> None:
        """Note that an output has the picture of a result, and how old its frame is by now."""
        age_ms = (time.perf_counter_ns() - result.frame.captured_ns) / NS_PER_MS
        self.record(f"{TOTAL} {output}", age_ms)
        for listener in self._leaving:
            listener(output, result.step)

    def lately(self, stage: str, count: int) -> float:
        """Return the mean of a stage's last `count` times in ms; 0 where there is none."""
        with self._lock:
            ring = self._stages.get(stage)
            return 0.0 if ring is None else ring.lately(count)

    def lately_total(self, count: int) -> float:
        """Return how old pictures are in ms when the slowest output gets them, lately.

        Before the first one, how old they are when inference starts.
        """
        with self._lock:
            totals = [name for name in self._stages if name.startswith(f"{TOTAL} ")]
        return max(self.lately(name, count) for name in totals or [SOURCE_AGE])

    def snapshot(self) -> Snapshot:
        with self._lock:
            stages = {name: ring.stats() for name, ring in self._stages.items()}
            counters = dict(self._counters)
            readers = dict(self._drops)
            captured, inferred = self._captured, self._inferred
            end_ns = max(captured.last_ns, inferred.last_ns)
            elapsed_s = max(0, end_ns - captured.first_ns) / 1e9 if captured.count else 0.0
            figures = (captured.count, inferred.count)
            rates = (captured.per_second(), inferred.per_second())
        return Snapshot(
            elapsed_s=elapsed_s,
            captured=figures[0],
            processed=figures[1],
            source_fps=rates[0],
            inference_fps=rates[1],
            stages=stages,
            dropped={name: read() for name, read in readers.items()},  # their locks, not under ours
            counters=counters,
            peak_rss_mb=peak_rss_mb(),
        )


def peak_rss_mb() -> float | None:
    """Return the largest resident memory of this process in MiB, None where it is unknown."""
    if sys.platform == "win32":
        return _windows_peak_rss_mb()
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)  # bytes there, else KiB


def _windows_peak_rss_mb() -> float | None:
    """Ask psapi's GetProcessMemoryInfo for PeakWorkingSetSize."""
    import ctypes

    size_t, dword = ctypes.c_size_t, ctypes.c_uint32
    counters = type(
        "ProcessMemoryCounters",
        (ctypes.Structure,),
        {
            "_fields_": [("cb", dword), ("faults", dword), ("peak_working_set", size_t)]
            + [(f"unused{n}", size_t) for n in range(7)]
        },
    )()
    counters.cb = ctypes.sizeof(counters)
    loader: Any = getattr(ctypes, "windll", None)
    if loader is None:
        return None
    current = loader.kernel32.GetCurrentProcess
    current.restype = ctypes.c_void_p
    query = loader.psapi.GetProcessMemoryInfo
    query.argtypes = [ctypes.c_void_p, ctypes.c_void_p, dword]
    if not query(current(), ctypes.byref(counters), counters.cb):
        return None
    return float(counters.peak_working_set) / (1024 * 1024)
