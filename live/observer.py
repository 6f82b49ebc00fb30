"""Takes the figures of a run where frames pass, so that no stage has to."""

from __future__ import annotations

import time

from live.frames import Frame, FrameResult
from live.metrics import CAPTURE_WAIT, NS_PER_MS, TOTAL, Metrics, MetricsWriter, Stopwatch
from live.progress import Progress
from live.sinks.base import Composite, FrameSink
from live.slot import Slot
from live.sources.base import VideoSource, WrappedSource


class ObservedSource(WrappedSource):
    """A source that counts its frames and times how long each read waits."""

    def __init__(self, source: VideoSource, metrics: Metrics) -> None:
        super().__init__(source)
        self._metrics = metrics

    def read(self) -> Frame | None:
        """Read from the source; raises what it raises."""
        start_ns = time.perf_counter_ns()
        frame = self._source.read()
        if frame is not None:
            self._metrics.record(CAPTURE_WAIT, (time.perf_counter_ns() - start_ns) / NS_PER_MS)
            self._metrics.captured()
        return frame


class ObservedSink:
    """A sink that times each put, and the way of a frame from the grab to here."""

    def __init__(self, sink: FrameSink, metrics: Metrics) -> None:
        self._sink = sink
        self._metrics = metrics

    @property
    def name(self) -> str:
        """The sink's own."""
        return self._sink.name

    def put(self, composite: Composite) -> None:
        """Put into the sink; raises what it raises."""
        with Stopwatch(self._metrics, self._sink.name):
            self._sink.put(composite)
        if composite.stand_in_time_ns is None and not composite.repeats:
            passed_ns = time.perf_counter_ns() - composite.result.frame.captured_ns
            self._metrics.record(f"{TOTAL} {self._sink.name}", passed_ns / NS_PER_MS)

    def close(self) -> None:
        """Close the sink."""
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
        """Take one step's figures.

        Raises:
            SinkError: The metrics file cannot be written.
        """
        self._metrics.processed(result, source_age_ms)
        if self._writer is not None:
            self._writer.write(result, source_age_ms, self._frames.dropped)
        self._progress.update(result.frame.index)
