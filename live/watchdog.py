"""Says which stage hangs: what has taken longer than five seconds is named, with its stack."""

from __future__ import annotations

import logging
import math
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Final

from samcam.live.own_thread import OwnThread

PATIENCE_S: Final = 5.0
THREAD_NAME: Final = "watchdog"
_LOOK_S: Final = 1.0
_SAY_AGAIN_S: Final = 60.0  # a stage that is slow each time is named once a minute
_MOST_LEVELS: Final = 12  # innermost frames of a stack

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Call:
    """A call under way; `since_s`: since it began, or got on last; infinity while it may wait.

    `outer` is the one that this one is made in: while this one takes its time it is not named.
    """

    what: str
    told: str
    thread_id: int
    since_s: float
    outer: _Call | None
    said: bool = False

    def get_on(self, since_s: float) -> None:
        """Restart its time."""
        if self.said:
            _log.info("%s: went on after %.0f s", self.what, time.monotonic() - self.since_s)
        self.since_s, self.said = since_s, False


class _Own(threading.local):
    """The call under way of each thread."""

    call: _Call | None = None


_own = _Own()


def note_progress() -> None:
    """Note that this thread's call makes progress: one of many small parts is done."""
    if _own.call is not None:
        _own.call.get_on(time.monotonic())


@contextmanager
def announced_wait() -> Iterator[None]:
    """Let a call wait on purpose, without being named."""
    if _own.call is not None:
        _own.call.get_on(math.inf)
    try:
        yield
    finally:
        note_progress()


class Watchdog(OwnThread):
    """Looks at the calls of other threads once a second, on a thread of its own in its `with`.

    Calls that may hang in a camera, a network, a disk or a GPU are made inside `watching`, which
    costs two dictionary writes.
    """

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        """Calls that take longer than `patience_s` are named."""
        super().__init__(THREAD_NAME)
        self._patience_s = patience_s
        self._calls: dict[int, _Call] = {}  # by thread; each writes its own entry only
        self._said_s: dict[str, float] = {}  # as many as there are stages
        self._ending = threading.Event()

    def _end(self, error: BaseException | None) -> None:
        self._ending.set()
        self._thread.join()  # it never waits for anything but the event

    @contextmanager
    def watching(self, what: str, told: str = "") -> Iterator[None]:
        """Name this thread's block if it takes too long; one inside another counts alone.

        Args:
            what: Stage and call for the log, such as "output video:x.mp4: write".
            told: The same for the user, up to the number of seconds, such as "a step has taken".
        """
        thread_id, outer = threading.get_ident(), _own.call
        call = _Call(what, told or f"{what} has taken", thread_id, time.monotonic(), outer)
        self._calls[thread_id] = _own.call = call
        try:
            yield
        finally:
            _own.call = outer
            if outer is None:
                del self._calls[thread_id]
            else:
                self._calls[thread_id] = outer
                note_progress()
            call.get_on(time.monotonic())

    def hanging(self) -> str:
        """Return what hangs just now, in one line for the user; "" where nothing does."""
        now_s = time.monotonic()
        late = [
            f"{call.told} {now_s - call.since_s:.0f} s"
            for call in list(self._calls.values())
            if now_s - call.since_s >= self._patience_s
        ]
        return "; ".join(late)

    def _run(self) -> None:
        while not self._ending.wait(min(_LOOK_S, self._patience_s)):
            for call in list(self._calls.values()):
                self._look_at(call, time.monotonic())

    def _look_at(self, call: _Call, now_s: float) -> None:
        passed_s = now_s - call.since_s
        if call.said or passed_s < self._patience_s:
            return
        if now_s - self._said_s.get(call.what, -_SAY_AGAIN_S) < _SAY_AGAIN_S:
            return
        call.said, self._said_s[call.what] = True, now_s
        frame = sys._current_frames().get(call.thread_id)
        _log.warning(
            "%s: hangs, for %.0f s now; it is here:\n%s", call.what, passed_s, _stack_of(frame)
        )


def _stack_of(frame: FrameType | None) -> str:
    """Return the innermost frames of a thread, the last one below."""
    if frame is None:
        return "  nowhere: it has just ended"
    frames = traceback.extract_stack(frame)[-_MOST_LEVELS:]
    return "".join(traceback.format_list(frames)).rstrip()
