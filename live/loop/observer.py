"""Takes the figures of a run from outside, so that no stage has to."""

from __future__ import annotations

import time

from samcam.live.frames import NS_PER_MS, Composite, Frame, FrameResult
from samcam.live.metrics import CAPTURE_WAIT, Metrics, MetricsWriter, Progress
from samcam.live.sinks import FrameSink
from samcam.live.slots import Slot
from samcam.live.sources import VideoSource, WrappedSource
from samcam.live.watchdog import Watchdog
from samcam.system import hide_secrets


class ObservedSource(WrappedSource):
    """A source that counts its frames and times how long each read waits."""

    def __init__(self, source: VideoSource, metrics: Metrics, watchdog: Watchdog) -> None:
        super().__init__(source)
        self._metrics = metrics
        self._watchdog = watchdog
        self._call = f"source {hide_secrets(source.info.name)}: read"

    def read(self) -> Frame | None:
        start_ns = time.perf_counter_ns()
        with self._watchdog.watching(self._call, "the source has not answered for"):
            frame = self._source.read()
        if frame is not None:
            self._metrics.record(CAPTURE_WAIT, (time.perf_counter_ns() - start_ns) / NS_PER_MS)
            self._metrics.captured()
        return frame


class ObservedSink:
    """A sink that times each put, and the way of a frame from the grab to here."""

    def __init__(self, sink: FrameSink, metrics: Metrics, watchdog: Watchdog) -> None:
        self._sink = sink
        self._metrics = metrics
        self._watchdog = watchdog

    @property
    def name(self) -> str:
        return self._sink.name

    def put(self, composite: Composite) -> None:
        output = f"output {self._sink.name}"
        watching = self._watchdog.watching(f"{output}: write", f"{output} has taken no picture for")
        with self._metrics.timing(self._sink.name), watching:
            self._sink.put(composite)
        if composite.is_new_frame:
            self._metrics.left(self._sink.name, composite.result)

    def close(self) -> None:
        with self._watchdog.watching(f"output {self._sink.name}: finish"):
            self._sink.close()


class StepFigures:
    """Called after every tracker step, on the inference thread: figures, rows, progress."""

    def __init__(
        self,
        metrics: Metrics,
        frames: Slot[Frame],
        writer: MetricsWriter | None,
        progress: Progress,
    ) -> None:
        self._metrics = metrics
        self._frames = frames
        self._writer = writer
        self._progress = progress

    def __call__(self, result: FrameResult, source_age_ms: float) -> None:
        """Take one step's figures; SinkError where the metrics file cannot be written."""
        self._metrics.processed(result, source_age_ms)
        if self._writer is not None:
            self._writer.write(result, source_age_ms, self._frames.dropped)
        self._progress.update(result.frame.index)
