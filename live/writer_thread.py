"""Writes files on a thread of its own, while the run goes on: a slow disk holds nobody up."""

from __future__ import annotations

import logging
import threading
from abc import abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from samcam.live.errors import SinkError
from samcam.live.own_thread import OwnThread
from samcam.live.watchdog import Watchdog

T = TypeVar("T")

MAX_WAITING: Final = 4096  # rows
PATIENCE_S: Final = 10.0  # for a disk that has stopped
_WAIT_S: Final = 0.25  # longest wait without looking around

_log = logging.getLogger(__name__)


class NotFinishedError(SinkError):
    """What was to be written was not by the end of the run: the disk has stopped."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a writer writes, for messages.

    Attributes:
        option: Of the command line, such as "--metrics m.jsonl".
        told: What the user reads while it hangs, up to the number of seconds.
        kept: What is left of a file that cannot be finished.
    """

    option: str
    told: str
    kept: str


class WriterThread(OwnThread, Generic[T]):
    """Writes what it is given, in order, from a bounded queue.

    A disk that stands still is named by the watchdog, makes who gives wait, and then fails.
    """

    def __init__(self, name: str, destination: Destination, watchdog: Watchdog | None) -> None:
        """Prepare; nothing is written yet. `watchdog` names a write that hangs."""
        super().__init__(name)
        self._destination = destination
        self._watchdog = watchdog or Watchdog()
        self._changed = threading.Condition()
        self._waiting: deque[T] = deque()
        self._closing = False
        self._error: SinkError | None = None

    @abstractmethod
    def _begin(self) -> None:
        """Open what is to be written to, on the thread."""

    @abstractmethod
    def _write(self, item: T) -> None:
        """Write one thing, on the thread."""

    @abstractmethod
    def _finish(self, whole: bool) -> None:
        """Finish the files, on the thread; `whole`: all that was given is in them."""

    @abstractmethod
    def _abandon(self) -> None:
        """Close the files after an error, on the thread; another one adds nothing."""

    @abstractmethod
    def _failure(self, error: BaseException) -> SinkError:
        """Return the one line that the run ends with."""

    def _is_ready(self, item: T) -> bool:
        """Whether it may be written now, asked with the lock held; at the end everything is."""
        return True

    def _taken(self, item: T) -> None:
        """Note that something left the queue, with the lock held."""

    def _give(self, item: T) -> None:
        """Take something; only a disk that stands still makes this wait, and then fail."""
        with self._changed:
            if not self._changed.wait_for(self._has_room, PATIENCE_S):
                where, kept = self._destination.option, self._destination.kept
                self._error = SinkError(
                    f"{where}: cannot be written: the disk has taken nothing for {PATIENCE_S:g} s; "
                    f"{kept}"
                )
            if self._error is None:
                self._waiting.append(item)
                self._changed.notify_all()

    def _has_room(self) -> bool:
        return self._error is not None or len(self._waiting) < MAX_WAITING

    def _check(self) -> None:
        """Raise what went wrong, if anything did."""
        with self._changed:
            if self._error is not None:
                raise self._error

    def _end(self, error: BaseException | None) -> None:
        """Write what waits, finish the files; raises SinkError unless another error is raised."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(PATIENCE_S)
        if self._thread.is_alive():
            self._error = self._error or NotFinishedError(
                f"{self._destination.option}: not finished within {PATIENCE_S:g} s; "
                f"{self._destination.kept}"
            )
        if self._error is None:
            return
        if error is None:
            raise self._error
        if error is not self._error:
            _log.warning("%s", self._error)

    def _run(self) -> None:
        try:
            self._watched(self._begin)
            while (item := self._next()) is not None:
                self._watched(lambda item=item: self._write(item))  # type: ignore[misc]
            self._watched(lambda: self._finish(self._error is None))
        except BaseException as error:
            self._fail(error)

    def _watched(self, call: Callable[[], None]) -> None:
        with self._watchdog.watching(f"{self._destination.option}: write", self._destination.told):
            call()

    def _fail(self, error: BaseException) -> None:
        """Tell whoever gives, and only then close the files, which a disk may hold up or refuse."""
        with self._changed:
            self._error = self._error or self._failure(error)
            self._waiting.clear()
            self._changed.notify_all()
        try:
            self._watched(self._abandon)
        except Exception as another:
            _log.debug("%s: closing after an error: %s", self._destination.option, another)

    def _next(self) -> T | None:
        """Wait for something to write; None at the end."""
        with self._changed:
            while not (self._waiting and (self._closing or self._is_ready(self._waiting[0]))):
                if self._error is not None or (self._closing and not self._waiting):
                    return None
                self._changed.wait(_WAIT_S)
            item = self._waiting.popleft()
            self._taken(item)
            self._changed.notify_all()
        return item
