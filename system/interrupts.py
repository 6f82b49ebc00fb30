"""Ctrl-C, SIGTERM and SIGHUP: the first one asks the run to finish, another one forces it.

SIGHUP means that the terminal was closed. It comes more than once then, from the system and from
the shell, so it only ever asks.
"""

from __future__ import annotations

import queue
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_HANGUP = getattr(signal, "SIGHUP", None)  # Windows has none
_SIGNALS = (signal.SIGINT, signal.SIGTERM, *([_HANGUP] if _HANGUP is not None else []))
_WAKE_S = 1.0


class Interrupted(BaseException):
    """The user or the system ended the run; exit code 128 + signal number."""

    def __init__(self, signum: int) -> None:
        self.signum = signum
        super().__init__(signal.Signals(signum).name)

    @property
    def exit_code(self) -> int:
        """130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP."""
        return 128 + self.signum


class Interrupts:
    """Owns the signal handlers while its `with` block runs; main thread only.

    Outside `graceful`, a signal raises `Interrupted` at once. Inside, the first signal sets the
    given stop event, the second raises.
    """

    def __init__(self, to_the_end: bool = False) -> None:
        """`to_the_end`: the process ends after the block, so signals that come then are ignored;
        the handlers of before would break its exit code."""
        self._to_the_end = to_the_end
        self.received: int | None = None
        self._raised: int | None = None
        # A handler runs between any two instructions of the main thread, perhaps while that
        # thread holds the event's lock: SimpleQueue.put is made for this, Event.set is not.
        self._events: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._graceful = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for signum in _SIGNALS:
                if signum == _HANGUP and signal.getsignal(signum) == signal.SIG_IGN:
                    continue  # started with nohup: it is to outlive its terminal
                self._previous[signum] = signal.signal(signum, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for signum, handler in self._previous.items():
            signal.signal(signum, signal.SIG_IGN if self._to_the_end else handler)
        self._previous.clear()

    @contextmanager
    def graceful(self, stop: threading.Event) -> Iterator[None]:
        """Let the first signal set `stop` instead of raising.

        Raises:
            Interrupted: As `raise_lost`.
        """
        self.raise_lost()
        watcher = threading.Thread(target=self._watch, args=(stop,), name="signals", daemon=True)
        watcher.start()
        self._graceful = True
        try:
            yield
        finally:
            self._graceful = False
            self._events.put(None)
            watcher.join(_WAKE_S)

    @property
    def raised(self) -> bool:
        """Whether an `Interrupted` was raised; if the program goes on, something caught it."""
        return self._raised is not None

    def raise_lost(self) -> None:
        """Raise again what a native module turned into an ImportError while it was loaded.

        pybind11 does ("initialization failed"), and NumPy; an optional package would then count as
        missing.

        Raises:
            Interrupted: One was raised.
        """
        if self._raised is not None:
            raise Interrupted(self._raised)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if signum == _HANGUP and self.received is not None:
            return
        if not self._graceful or self.received is not None:
            self.received = self._raised = signum
            raise Interrupted(signum)
        self.received = signum
        self._events.put(signum)

    def _watch(self, stop: threading.Event) -> None:
        while True:
            try:
                event = self._events.get(timeout=_WAKE_S)
            except queue.Empty:
                continue
            if event is None:
                return
            stop.set()
