"""Holds a file on its first picture until a prompt is taken, so that there is time to click."""

from __future__ import annotations

import threading
import time
from typing import Final

_WAIT_S: Final = 0.25  # longest wait without looking at the stop event


class PlayGate:
    """Open, unless `hold` closed it before the run; `play` opens it for good.

    The window opens it for space, the inference thread once a prompt was taken; the capture thread
    waits at it.
    """

    def __init__(self) -> None:
        self._open = threading.Event()
        self._open.set()
        self._held_ns = 0

    @property
    def holds(self) -> bool:
        """Whether the source waits on its first picture."""
        return not self._open.is_set()

    @property
    def held_s(self) -> float:
        """How long the source waited, in seconds; 0 until that is over."""
        return self._held_ns / 1e9

    def hold(self) -> None:
        self._open.clear()

    def play(self) -> None:
        self._open.set()

    def wait(self, stop: threading.Event) -> bool:
        """Wait until the source may go on, or the run ends; return whether there was a wait."""
        if not self.holds:
            return False
        start_ns = time.perf_counter_ns()
        while not stop.is_set() and not self._open.wait(_WAIT_S):
            pass
        self._held_ns = time.perf_counter_ns() - start_ns
        return True
