"""One run with its figures: recorder, remote controls and interrupts around the pipeline."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext
from typing import Final

from samcam.live.loop import StepFigures, StepObserver, Wiring
from samcam.live.metrics import Metrics, MetricsWriter, Progress, format_summary
from samcam.live.recording import RecordedSource, Recorder
from samcam.live.sources import VideoSource
from samcam.live.writer_thread import NotFinishedError
from samcam.system import Interrupted, Interrupts, say

_OUTPUT_CODE: Final = 5

log = logging.getLogger(__name__)


class Run:
    """A run from its first frame to its summary.

    Attributes:
        wiring: Slots and events of the stages.
        metrics: Figures.
        remotes: `ctl` and hotkeys, running while the stages do.
    """

    def __init__(
        self, wiring: Wiring, metrics: Metrics, progress: Progress, writer: MetricsWriter | None
    ) -> None:
        self.wiring = wiring
        self.metrics = metrics
        self.remotes: AbstractContextManager[object] = nullcontext()
        self._progress = progress
        self._writer = writer
        self._recorder: Recorder | None = None
        metrics.watch_drops("frames", lambda: wiring.frames.dropped)
        metrics.watch_drops("results", lambda: wiring.results.dropped)
        display = wiring.display
        if display is not None:
            metrics.watch_drops("display", lambda: display.dropped)
            metrics.watch_drops("shown", lambda: wiring.shown.dropped)

    @property
    def records(self) -> bool:
        """Whether the run is being recorded."""
        return self._recorder is not None

    def expect(self, outputs: Collection[str], delayed: int) -> None:
        """Say which outputs get pictures, and how many may wait for that, before the first one."""
        if self._writer is not None:
            self._writer.expect(outputs, delayed)
            self.metrics.watch_leaving(self._writer.left)

    def record(self, recorder: Recorder, source: VideoSource) -> VideoSource:
        """Have this run recorded; return the source to run on."""
        self._recorder = recorder
        self.wiring.controls.watch(recorder.command)
        if not recorder.keeps_pictures:
            return source
        self.metrics.watch_drops("recording", lambda: recorder.dropped)
        return RecordedSource(source, recorder, self.wiring.pace == "all", self.wiring.stop)

    def execute(self, stages: Callable[[StepObserver], bool], interrupts: Interrupts) -> int:
        """Run to the end, whatever it is, print the summary, and return the exit code.

        Args:
            stages: What is run; gets who is told of every step, and returns whether the source
                ended by itself.
            interrupts: The first signal sets `stop`.

        Raises:
            BaseException: What stopped the run, unless it was the first signal.
        """
        observe: StepObserver = StepFigures(
            self.metrics, self.wiring.frames, self._writer, self._progress
        )
        if self._recorder is not None:
            observe = self._recorder.observing(observe)
        ending = "stopped by an error"
        try:
            with (
                interrupts.graceful(self.wiring.stop),
                self._progress.log_above_bar(),
                self.remotes,
                self.wiring.watchdog,
                self._writer or nullcontext(),
                self._recorder or nullcontext(),
            ):
                ending = "end of the source" if stages(observe) else "quit"
        except Interrupted:
            ending = "forced to end"
            raise
        except NotFinishedError as error:
            if interrupts.received is None:
                raise
            log.warning("%s", error)  # as for an output: the user wanted the end
        finally:
            if interrupts.received is not None:
                ending = f"interrupted by {signal.Signals(interrupts.received).name}"
            self.metrics.leave_out(self.wiring.controls.play.held_s)
            self.metrics.count("broken frames", self.wiring.monitor.stats.broken_frames)
            self._progress.close()  # before the summary, so that the bar stays above it
            printed = _print_summary(format_summary(self.metrics.snapshot(), ending))
            self.close()
        if interrupts.received is not None:
            return 128 + interrupts.received
        return 0 if printed else _OUTPUT_CODE

    def close(self) -> None:
        """Finish progress and metrics. Idempotent."""
        self._progress.close()
        if self._writer is not None:
            self._writer.close()


def _print_summary(text: str) -> bool:
    """Print it; False where stdout cannot be written, such as on a full disk.

    Where the reader has gone, it is logged, so that the end of the run is not lost.
    """
    gone = "the summary could not be printed: nobody reads stdout any more"
    return say(text, lambda: log.warning(gone))
