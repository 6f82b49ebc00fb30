"""Progress of an engine build on the terminal, and Ctrl-C while TensorRT has the thread."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """Give an event that Ctrl-C sets instead of raising: no exception can pass through TensorRT."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    before = signal.signal(signal.SIGINT, lambda number, frame: event.set())
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, before)


def make_monitor(trt: Any, title: str, interrupt: threading.Event) -> Any:
    """Return a progress monitor with one bar, called `title`, for the outermost phase.

    `interrupt` ends the build once it is set.
    """

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        """Called by TensorRT, from several threads, which no exception may pass through."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._lock = threading.Lock()
            self._outer: str | None = None
            self._bar = tqdm(desc=title, unit="step", leave=False, disable=None)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            with self._lock:
                if parent_phase is None:
                    self._outer = phase_name
                    self._bar.reset(total=num_steps)
                else:
                    self._bar.set_postfix_str(phase_name[:40], refresh=False)

        def step_complete(self, phase_name: str, step: int) -> bool:
            with self._lock:
                if phase_name == self._outer:
                    self._bar.update(1)
            return not interrupt.is_set()

        def phase_finish(self, phase_name: str) -> None:
            with self._lock:
                if phase_name == self._outer:
                    self._outer = None

        def close(self) -> None:
            """Take the bar off the terminal."""
            self._bar.close()

    return Monitor()
