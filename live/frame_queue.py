"""A short queue of camera frames for whoever shows them all."""

from __future__ import annotations

import threading
from collections import deque
from typing import Final

from live.frames import Frame
from live.slot import Closed

_PLACES: Final = 4


class FrameQueue:
    """A few frames in order between two threads; a full one drops its oldest and counts it."""

    def __init__(self, places: int = _PLACES) -> None:
        """Make an empty, open queue."""
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
