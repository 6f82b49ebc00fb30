"""Gives a sink its own thread and slot, so that a slow one does not stall the others."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from samcam.live.errors import SinkError
from samcam.live.frames import Composite
from samcam.live.sinks.base import FrameSink
from samcam.live.slots import Closed, Slot, SlotMode

BLOCKED_S = 30.0  # at the end of a run, a sink that takes longer for one call is abandoned
_WAIT_S = 0.25  # longest wait without looking around

_log = logging.getLogger(__name__)


class SinkWorker:
    """Runs one sink; `put`, `check` and `finish` are for the main thread."""

    def __init__(self, sink: FrameSink, mode: SlotMode, thread_name: str) -> None:
        """Make the worker; `start` starts its thread.

        Args:
            sink: Used by the worker's thread alone from `start` on.
            mode: "newest" drops what the sink is too slow for, "blocking" makes `put` wait.
            thread_name: Such as `sink-video`.
        """
        self._sink = sink
        self._slot: Slot[Composite] = Slot(mode)
        self._error: BaseException | None = None
        self._busy_since_s: float | None = None  # inside a call of the sink
        self._thread = threading.Thread(target=self._run, name=thread_name, daemon=True)

    @property
    def name(self) -> str:
        """The sink's name as the user wrote it."""
        return self._sink.name

    @property
    def kind(self) -> str:
        """The kind of sink, such as `video`."""
        return self.name.partition(":")[0]

    @property
    def is_file(self) -> bool:
        """Whether it writes files, which have every frame once."""
        return self.kind in ("masks", "video")

    @property
    def thread_name(self) -> str:
        """Name of the thread in the log, and of the slot among the figures."""
        return self._thread.name

    @property
    def dropped(self) -> int:
        """Pictures the sink was too slow for."""
        return self._slot.dropped

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def put(self, composite: Composite, timeout: float | None = None) -> bool:
        """Hand over one picture.

        One that repeats a frame is not for files, and must not take the place of a frame there
        that is still to be written.

        Args:
            timeout: Seconds to wait for room in a blocking slot.

        Returns:
            False when no room came in time.

        Raises:
            BaseException: What broke the sink.
        """
        if composite.repeats and self.is_file:
            return True
        try:
            return self._slot.put(composite, timeout)
        except Closed:
            self.check()
            raise

    def check(self) -> None:
        """Raise what broke the sink, if anything did."""
        if self._error is not None:
            raise self._error

    def end_input(self) -> None:
        """Say that no picture follows; the thread finishes what it has and closes the sink."""
        self._slot.close()

    def finish(self, deadline_s: float | None) -> BaseException | None:
        """Wait for the sink to be closed.

        Args:
            deadline_s: `time.monotonic()` at which to give up; None: wait for all that it was
                given, as long as it takes something at all.

        Returns:
            What broke the sink, if anything did.
        """
        self.end_input()
        if self._thread.ident is None:
            self._close_sink()
            return self._error
        while self._thread.is_alive():
            left_s = _WAIT_S if deadline_s is None else deadline_s - time.monotonic()
            since_s = self._busy_since_s
            if deadline_s is None and since_s and time.monotonic() - since_s > BLOCKED_S:
                self._error = self._error or SinkError(
                    f"--output {self.name}: has taken nothing for {BLOCKED_S:g} s; its end is "
                    "missing: is its reader, disk or driver still there?"
                )
                break
            if left_s <= 0:
                _log.warning("%s: not finished in time, its end may be missing", self.name)
                break
            self._thread.join(min(left_s, _WAIT_S))
        return self._error

    def _run(self) -> None:
        try:
            while True:
                composite = self._slot.get(_WAIT_S)
                if composite is not None:
                    self._busy_since_s = time.monotonic()
                    self._sink.put(composite)
                    self._busy_since_s = None
        except Closed:
            pass
        except BaseException as error:
            self._error = error
        finally:
            self._slot.close()  # wakes a main thread that waits for room
            self._close_sink()

    def _close_sink(self) -> None:
        self._busy_since_s = time.monotonic()
        try:
            self._sink.close()
        except BaseException as error:
            if self._error is None:  # else it is a consequence of the first one
                self._error = error


@contextmanager
def running(
    workers: Sequence[SinkWorker], stop: threading.Event, shutdown_s: float
) -> Iterator[None]:
    """Run sinks beside a block; they write what they were given, or what they can after `stop`.

    Args:
        workers: Not started yet.
        stop: Set when the run is to end.
        shutdown_s: Time that ending may take.

    Raises:
        BaseException: What broke a sink, where the block itself ended well.
    """
    for worker in workers:
        worker.start()
    try:
        yield
    finally:
        for worker in workers:
            worker.end_input()
        deadline_s = time.monotonic() + shutdown_s if stop.is_set() else None
        errors = [worker.finish(deadline_s) for worker in workers]
    for error in filter(None, errors):
        raise error
