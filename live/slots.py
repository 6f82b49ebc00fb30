"""What passes between two threads: one place, a few frames in order, the newest value."""

from __future__ import annotations

import threading
from collections import deque
from types import TracebackType
from typing import Final, Generic, Literal, TypeAlias, TypeVar

from samcam.live.frames import Frame

_PLACES: Final = 4  # of a queue of frames

T = TypeVar("T")

SlotMode: TypeAlias = Literal["newest", "blocking"]


class Closed(Exception):
    """The slot is closed: nothing more will come out of it, or go into it."""


class Slot(Generic[T]):
    """A place for one item, under one condition; any number of threads may put, get and close.

    "newest", where the loop runs live: a put replaces an unread item and never blocks, so a slow
    reader always gets the newest item. "blocking", where every item counts: `put` waits for
    room. Closing it wakes both sides and carries the writer's error to the reader, traceback
    included: at once where the newest wins, after the last item where every item counts.
    """

    def __init__(self, mode: SlotMode) -> None:
        """Make an empty, open slot; see the class for `mode`."""
        if mode not in ("newest", "blocking"):
            raise ValueError(f"mode: expected newest or blocking, got {mode!r}")
        self.mode = mode
        self._changed = threading.Condition()
        self._item: T | None = None
        self._full = False
        self._closed = False
        self._error: BaseException | None = None
        self._traceback: TracebackType | None = None
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """Number of items replaced before anyone read them."""
        with self._changed:
            return self._dropped

    @property
    def unread(self) -> bool:
        with self._changed:
            return self._full

    @property
    def closed(self) -> bool:
        """Whether `close` was called; a last item may still be waiting."""
        with self._changed:
            return self._closed

    def put(self, item: T, timeout: float | None = None) -> bool:
        """Leave an item for the reader; return False only when no room came in time.

        `timeout` counts for blocking slots: seconds to wait for room, None without limit.

        Raises:
            Closed: The slot was closed, before or while waiting.
        """
        with self._changed:
            if self.mode == "blocking":
                self._changed.wait_for(lambda: self._closed or not self._full, timeout)
            if self._closed:
                raise Closed("put: the slot is closed")
            if self._full:
                if self.mode == "blocking":
                    return False
                self._dropped += 1
            self._item = item
            self._full = True
            self._changed.notify_all()
            return True

    def get(self, timeout: float | None = None) -> T | None:
        """Take the item; None when none came in `timeout` seconds (None: no limit).

        Raises:
            BaseException: The error the slot was closed with; a blocking slot gives its last
                item first.
            Closed: The slot was closed cleanly and its last item is taken.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._full, timeout)
            if self._error is not None and not self._full:
                # Raising adds to an exception's traceback; a slot read again and again would
                # grow it, so every reader starts from the producer's own.
                raise self._error.with_traceback(self._traceback)
            if self._full:
                item = self._item
                self._item, self._full = None, False
                self._changed.notify_all()
                return item
            if self._closed:
                raise Closed("get: the slot is closed")
            return None

    def close(self, error: BaseException | None = None) -> None:
        """Close for good and wake everyone; every `get` raises `error`, what stopped the writer.

        Closing again is harmless; the first error wins, also over an earlier clean close.
        """
        with self._changed:
            self._closed = True
            if error is not None and self._error is None:
                self._error = error
                self._traceback = error.__traceback__
                if self.mode == "newest":  # nobody waits for a stale item any more
                    self._item, self._full = None, False
            self._changed.notify_all()


class FrameQueue:
    """A few frames in order between two threads; a full one drops its oldest and counts it."""

    def __init__(self, places: int = _PLACES) -> None:
        self._changed = threading.Condition()
        self._frames: deque[Frame] = deque()
        self._places = places
        self._closed = False
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """Frames that were dropped for newer ones."""
        with self._changed:
            return self._dropped

    def put(self, frame: Frame) -> None:
        """Add the newest frame; never waits, and does nothing once the queue is closed."""
        with self._changed:
            if self._closed:
                return
            if len(self._frames) == self._places:
                self._frames.popleft()
                self._dropped += 1
            self._frames.append(frame)
            self._changed.notify_all()

    def get(self, timeout_s: float) -> Frame | None:
        """Take the oldest frame; None where none came in time.

        Raises:
            Closed: The queue is closed and empty.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._frames, timeout_s)
            if self._frames:
                return self._frames.popleft()
            if self._closed:
                raise Closed("get: the queue is closed")
            return None

    def close(self) -> None:
        """Take no more frames and wake the reader. Idempotent."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class Cell(Generic[T]):
    """Room for the newest value; nobody waits for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._value: T | None = None

    def put(self, value: T | None) -> None:
        with self._lock:
            self._value = value

    def take(self) -> T | None:
        """Return the value and leave none."""
        with self._lock:
            value, self._value = self._value, None
        return value

    def peek(self) -> T | None:
        """Return the value and leave it."""
        with self._lock:
            return self._value
