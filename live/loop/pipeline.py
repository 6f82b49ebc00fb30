"""Starts the threads, wires the slots, runs the render loop, and brings everything down again.

    capture thread --frames--> inference thread --results--> render loop (main) --> sinks

With `--smooth` a carry thread stands between inference and the render loop and gets every frame
from capture too (`live.motion.stage`).

Whatever ends the run (end of the source, quit, a signal, an error anywhere) takes the same way
out: `stop` is set, the slots are closed, the threads are joined with one shared time budget, the
sinks are finished, and the first error is raised again with its own traceback.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

from samcam.live.control import Controls
from samcam.live.errors import CaptureError
from samcam.live.frames import Frame, FrameResult
from samcam.live.loop.capture import CaptureMonitor, CaptureOptions, run_capture
from samcam.live.loop.inference import StepObserver, Stepper, run_inference
from samcam.live.motion import Carrier, run_carry
from samcam.live.slots import FrameQueue, Slot, SlotMode
from samcam.live.sources import VideoSource
from samcam.live.watchdog import Watchdog

log = logging.getLogger(__name__)

PipelinePace: TypeAlias = Literal["live", "all"]


@dataclass(frozen=True, slots=True, eq=False)
class Wiring:
    """What the stages share; made before any of them.

    Attributes:
        pace: live or all; says how the slots treat an unread item.
        frames, results: From capture to inference, and its answers.
        shown: To the render loop: `results` itself, or with `--smooth` one result per frame.
        controls: Commands on their way in, the state of the run on its way out.
        monitor: Where capture stands.
        stop: Set once, by whoever ends the run.
        display: Every frame for the carry thread; None without one.
        carrier: Of the carry thread; None without one.
        watchdog: Names the stage that hangs.
    """

    pace: PipelinePace
    frames: Slot[Frame]
    results: Slot[FrameResult]
    shown: Slot[FrameResult]
    controls: Controls
    monitor: CaptureMonitor
    stop: threading.Event
    display: FrameQueue | None = None
    carrier: Carrier | None = None
    watchdog: Watchdog = field(default_factory=Watchdog)

    @classmethod
    def build(
        cls, pace: PipelinePace, command_queue: int, carrier: Carrier | None = None
    ) -> Wiring:
        """Make fresh slots and queues; `carrier` (live pace only) shows every frame, inferred or
        not."""
        controls = Controls(command_queue)
        mode: SlotMode = "newest" if pace == "live" else "blocking"
        results: Slot[FrameResult] = Slot(mode)
        return cls(
            pace,
            Slot(mode),
            results,
            results if carrier is None else Slot(mode),
            controls,
            CaptureMonitor(),
            controls.stop,
            None if carrier is None else FrameQueue(),
            carrier,
        )

    def close(self) -> None:
        """Wake everybody who waits at a slot; nothing more passes."""
        self.frames.close()
        self.results.close()
        self.shown.close()
        if self.display is not None:
            self.display.close()


class Renderer(Protocol):
    """The main thread's part, with everything behind it."""

    def run(self) -> None:
        """Show results until they end or the user quits; raises the first error it meets."""

    def close(self, drain: bool, deadline_s: float) -> BaseException | None:
        """Finish the sinks and return the first error of theirs, if there is one.

        Args:
            drain: Let them write all they were given, however long that takes.
            deadline_s: Otherwise the `time.monotonic()` by which to be done.
        """


def run_pipeline(
    wiring: Wiring,
    source: VideoSource,
    tracker: Stepper,
    renderer: Renderer,
    observe: StepObserver,
    shutdown_s: float,
) -> bool:
    """Run until the source ends, the user quits, `stop` is set or a stage fails.

    Args:
        wiring: From `Wiring.build`, not used before.
        source, tracker: Closed by their threads.
        renderer: Its `run` is called on this thread; always closed.
        observe: Called after every tracker step.
        shutdown_s: Time for the threads to end, all together.

    Returns:
        Whether the source ended by itself; False after quit or `stop`.

    Raises:
        BaseException: The first error of any stage, with its traceback.
    """
    threads = _make_threads(wiring, source, tracker, observe)
    error: BaseException | None = None
    try:
        for thread in threads:
            thread.start()
        renderer.run()
    except BaseException as raised:
        error = raised
    ended = error is None and not wiring.stop.is_set()
    # a broken source ends a recording early; what came before it is written all the same
    complete = ended or isinstance(error, CaptureError)
    wiring.stop.set()
    deadline_s = time.monotonic() + shutdown_s
    wiring.close()
    failed: BaseException | None = None
    try:
        _join_all(threads, deadline_s)
    finally:  # a second Ctrl-C ends the waiting, not the finishing of the files
        failed = renderer.close(
            complete and wiring.pace == "all", max(deadline_s, time.monotonic() + shutdown_s / 4)
        )
    first = error or failed
    if first is not None:
        raise first
    return ended


def _make_threads(
    wiring: Wiring, source: VideoSource, tracker: Stepper, observe: StepObserver
) -> list[threading.Thread]:
    """Return the capture, the inference and, if wanted, the carry thread, not started.

    All are daemons: a camera that hangs in `read` must not keep the process alive.
    """
    options = CaptureOptions(wiring.pace, wiring.display, wiring.controls.play)
    capture = threading.Thread(
        target=run_capture,
        args=(source, wiring.frames, wiring.stop, options, wiring.monitor),
        name="capture",
        daemon=True,
    )
    inference = threading.Thread(
        target=run_inference,
        args=(
            *(wiring.frames, wiring.results, wiring.controls, tracker),
            *(wiring.watchdog, observe),
        ),
        name="inference",
        daemon=True,
    )
    if wiring.carrier is None or wiring.display is None:
        return [capture, inference]
    carry = threading.Thread(
        target=run_carry,
        args=(wiring.display, wiring.results, wiring.shown, wiring.carrier, wiring.stop),
        name="carry",
        daemon=True,
    )
    return [capture, inference, carry]


def _join_all(threads: Sequence[threading.Thread], deadline_s: float) -> None:
    """Wait for all threads until the deadline; name in the log those that did not end."""
    for thread in threads:
        if thread.ident is not None:
            thread.join(max(0.0, deadline_s - time.monotonic()))
    alive = [thread.name for thread in threads if thread.is_alive()]
    if alive:
        log.warning("shutdown: still running and left behind: %s", ", ".join(alive))
