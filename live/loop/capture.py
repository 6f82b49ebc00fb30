"""The body of the capture thread: from a source into a slot."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Literal, TypeAlias

from samcam.live.control import PlayGate
from samcam.live.frames import NS_PER_S, Frame
from samcam.live.slots import Closed, FrameQueue, Slot
from samcam.live.sources import NoSignal, VideoSource, broken_frames

_log = logging.getLogger(__name__)

Pace: TypeAlias = Literal["live", "all", "recorded"]

_INTERVALS = 5  # between frames; their median says what is usual
_WAIT_S = 0.25  # longest wait without looking at the stop event


@dataclass(frozen=True, slots=True)
class CaptureStats:
    """Where capture stands, at one moment.

    Attributes:
        frames_read: Frames that came out of the source.
        broken_frames: Frames that the source skipped because they could not be decoded.
        no_signal: Why a live source has no picture just now; None while it has.
        last_captured_ns: `time.perf_counter_ns()` at the newest frame's grab; None before it. A
            camera that is stuck without an error shows only here.
        waiting: Whether the newest frame waits for a busy reader: the source is fine.
        usual_ms: Median time between the last frames; None before there are some.
    """

    frames_read: int = 0
    broken_frames: int = 0
    no_signal: str | None = None
    last_captured_ns: int | None = None
    waiting: bool = False
    usual_ms: float | None = None
    ended: bool = False


class CaptureMonitor:
    """Lets other threads see the newest statistics; written by the capture thread only.

    Needs no lock: the statistics are frozen, and replacing one reference is atomic.
    """

    def __init__(self) -> None:
        self._stats = CaptureStats()

    @property
    def stats(self) -> CaptureStats:
        return self._stats

    def publish(self, stats: CaptureStats) -> None:
        self._stats = stats


@dataclass(frozen=True, slots=True, eq=False)
class CaptureOptions:
    """What capture does with the frames of a source.

    Attributes:
        pace: In `live` a source that is not live plays in real time by its frames' times.
        display: Gets every frame too, without waiting, and is closed with the slot.
        play: Waited at after the first frame, which has been delivered by then.
    """

    pace: Pace
    display: FrameQueue | None = None
    play: PlayGate = field(default_factory=PlayGate)


def run_capture(
    source: VideoSource,
    frames: Slot[Frame],
    stop: threading.Event,
    options: CaptureOptions,
    monitor: CaptureMonitor | None = None,
) -> None:
    """Read until the end, `stop` or an error; then close the slot, and the source last.

    Never raises: an error goes to the reader through `frames`. Run it in a daemon thread: a
    camera may hang in `read`, and nobody should wait for it. `stop` ends the loop within a
    quarter of a second, unless the source itself is stuck.

    Args:
        source: Used and closed by this thread alone.
        frames: Newest-wins for `live`, blocking for `all` and `recorded`.
    """
    error: BaseException | None = None
    loop = _CaptureLoop(source, frames, stop, options, monitor or CaptureMonitor())
    try:
        loop.run()
    except Closed:
        pass  # the reader wants no more, which is an end like any other
    except BaseException as raised:
        error = raised
    finally:
        loop.publish(ended=True)
        frames.close(error)
        if options.display is not None:
            options.display.close()
        try:
            source.close()
        except Exception:
            _log.warning("capture: closing the source failed", exc_info=True)


class _CaptureLoop:
    """The state of one run."""

    def __init__(
        self,
        source: VideoSource,
        frames: Slot[Frame],
        stop: threading.Event,
        options: CaptureOptions,
        monitor: CaptureMonitor,
    ) -> None:
        self._source = source
        self._frames = frames
        self._stop = stop
        self._options = options
        self._monitor = monitor
        self._real_time = options.pace == "live" and not source.info.live
        self._frames_read = 0
        self._no_signal: str | None = None
        self._last_captured_ns: int | None = None
        self._waiting = False
        self._intervals_ns: deque[int] = deque(maxlen=_INTERVALS)
        self._start_ns: int | None = None  # perf counter at media time 0

    def run(self) -> None:
        """Read and deliver; returns at the end and at `stop`."""
        while not self._stop.is_set():
            try:
                frame = self._source.read()
            except NoSignal as lost:
                self._no_signal = lost.reason
                self.publish()
                self._stop.wait(min(lost.retry_in_s, _WAIT_S))
                continue
            if frame is None:
                return
            if self._real_time:
                frame = self._wait_until_due(frame)
            self._note(frame)
            if self._options.display is not None:
                self._options.display.put(frame)
            while not self._stop.is_set() and not self._frames.put(frame, _WAIT_S):
                pass
            if self._waiting:
                self._waiting = False
                self.publish()
            if self._options.play.wait(self._stop):
                self._start_ns = None  # media time stood still

    def _note(self, frame: Frame) -> None:
        """Take a frame's figures, before it is handed on."""
        if self._last_captured_ns is not None and self._no_signal is None:
            self._intervals_ns.append(frame.captured_ns - self._last_captured_ns)
        self._no_signal = None
        self._frames_read += 1
        self._last_captured_ns = frame.captured_ns
        self._waiting = self._frames.mode == "blocking"
        self.publish()

    def publish(self, ended: bool = False) -> None:
        self._monitor.publish(
            CaptureStats(
                self._frames_read,
                broken_frames(self._source),
                self._no_signal,
                self._last_captured_ns,
                self._waiting,
                1000 * median(self._intervals_ns) / NS_PER_S if self._intervals_ns else None,
                ended,
            )
        )

    def _wait_until_due(self, frame: Frame) -> Frame:
        """Wait for the frame's time; stamp it then, as if a camera had just grabbed it."""
        now_ns = time.perf_counter_ns()
        if self._start_ns is None:
            self._start_ns = now_ns - frame.time_ns
        self._stop.wait(max(0.0, (self._start_ns + frame.time_ns - now_ns) / NS_PER_S))
        return replace(frame, captured_ns=time.perf_counter_ns())
