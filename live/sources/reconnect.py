"""A live source that comes back: one connection after the other, with back-off between them.

Cameras and live URLs differ only in what a connection is.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, NoReturn, Protocol

from samcam.live.errors import CaptureError
from samcam.live.frames import U8, Frame
from samcam.live.sources.base import NoSignal, SourceInfo
from samcam.live.sources.options import SourceOptions
from samcam.live.sources.video.displayed import letterboxed

_log = logging.getLogger(__name__)

_MOST_FPS: Final = 500.0  # streams without a rate report 1000 or 90,000: their clock's ticks


class SignalLost(Exception):
    """A connection broke; a new one may work."""


class SignalRepeats(Exception):
    """A connection begins with what the one before gave; new pictures may follow."""


class SignalEnded(Exception):
    """A connection gave all there is; a new one would only give the same again."""

    def __init__(self, reason: str, is_incomplete: bool = False) -> None:
        """Say why, and whether the user is to be warned of it."""
        super().__init__(reason)
        self.is_incomplete = is_incomplete


@dataclass(frozen=True, slots=True, eq=False)
class Grab:
    """One picture as it came in.

    Attributes:
        image_bgr: (H, W, 3) uint8.
        captured_ns: `time.perf_counter_ns()` when it arrived.
        skipped: Frames before it that could not be decoded.
    """

    image_bgr: U8
    captured_ns: int
    skipped: int = 0


class Connection(Protocol):
    """One open device or stream."""

    @property
    def fps(self) -> float:
        """Nominal frames per second."""

    def grab(self) -> Grab:
        """Wait for the next picture.

        Raises:
            SignalLost: None came.
            SignalEnded: There will be none any more.
            SignalRepeats: It came from the connection before already.
        """

    def close(self) -> None:
        """Release it. Idempotent."""


class ReconnectingSource:
    """Frames of a camera or live URL, stamped with the capture clock, 0 at the first frame.

    While the signal is lost `read` raises `NoSignal` at once between attempts, so the reader can
    wait where it can be woken. The size stays that of the first picture: others, in mid-stream or
    after a reconnect, are letter-boxed, because outputs cannot change size in the middle.

    Attributes:
        info: As of the first connection.
        broken_frames: Frames that arrived but could not be decoded.
    """

    def __init__(
        self,
        name: str,
        kind: str,
        connect: Callable[[], Connection],
        options: SourceOptions,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Connect, and look at one picture to learn the size.

        Args:
            connect: Opens a connection; raises CaptureError where that fails.
            clock: Seconds, for the back-off.

        Raises:
            CaptureError: The first connection fails or gives no picture.
        """
        self._name = name
        self._connect = connect
        self._options = options
        self._clock = clock
        self.broken_frames = 0
        self._next_index = 0
        self._start_ns: int | None = None
        self._closed = False
        self._lost_at = 0.0
        self._retry_at = 0.0
        self._wait_s = options.retry_first_s
        self._reason = ""
        self._connection: Connection | None = connect()
        try:
            first = self._connection.grab()
        except (SignalLost, SignalEnded, SignalRepeats) as error:
            self._connection.close()
            raise CaptureError(
                f"source {name!r}: opened, but gives no picture ({error}); is it in use by "
                "another program?"
            ) from error
        except BaseException:  # such as a picture that is too large
            self._connection.close()
            raise
        image = first.image_bgr
        # A camera's is old when the first is read. A URL's waits in line with those behind it, and
        # of a recording of unknown length none may be lost.
        self._first = first if kind == "url" else None
        fps = self._connection.fps
        self.info = SourceInfo(name, kind, image.shape[1::-1], fps, None, live=True)

    def read(self) -> Frame | None:
        """Wait for the next picture.

        Raises:
            NoSignal: Lost for now.
            CaptureError: Lost for longer than `retry_limit_s`.
        """
        if self._closed:
            return None
        connection = self._connection or self._reconnect()
        try:
            grab = self._take_first() or connection.grab()
        except SignalLost as error:
            self._lose(connection, str(error))
        except SignalRepeats:
            raise NoSignal(self._reason, 0.0) from None
        except SignalEnded as error:
            level = logging.WARNING if error.is_incomplete else logging.INFO
            _log.log(level, "source %r: %s", self._name, error)
            self.close()
            return None
        if self._reason:
            _log.info("source %r: the signal is back", self._name)
            self._reason = ""
        self._wait_s = self._options.retry_first_s
        self.broken_frames += grab.skipped
        if self._start_ns is None:
            self._start_ns = grab.captured_ns
        index = self._next_index + grab.skipped
        self._next_index = index + 1
        time_ns = grab.captured_ns - self._start_ns
        image = letterboxed(grab.image_bgr, self.info.size_wh)
        return Frame(index, time_ns, grab.captured_ns, image)

    def close(self) -> None:
        """Close the connection and stop retrying."""
        self._closed = True
        self._first = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _take_first(self) -> Grab | None:
        """Return the picture that the size was taken from, once; it is stamped now, as all are."""
        first, self._first = self._first, None
        return first and replace(first, captured_ns=time.perf_counter_ns(), skipped=0)

    def _lose(self, connection: Connection, reason: str) -> NoReturn:
        connection.close()
        self._connection = None
        if not self._reason:  # not when a new connection broke before its first picture
            self._lost_at = self._clock()
            _log.warning("source %r: lost (%s), trying again", self._name, reason)
        self._back_off(reason)

    def _reconnect(self) -> Connection:
        if self._clock() < self._retry_at:
            raise NoSignal(self._reason, self._retry_at - self._clock())
        try:
            self._connection = self._connect()
        except CaptureError as error:
            self._back_off(str(error))
        return self._connection

    def _back_off(self, reason: str) -> NoReturn:
        now = self._clock()
        limit_s = self._options.retry_limit_s
        if limit_s is not None and now - self._lost_at >= limit_s:
            raise CaptureError(
                f"source {self._name!r}: lost for {now - self._lost_at:.0f} s ({reason}); gave up "
                f"after retry_limit_s = {limit_s:g}"
            )
        wait_s, self._wait_s = self._wait_s, min(2 * self._wait_s, self._options.retry_max_s)
        self._retry_at = now + wait_s
        self._reason = reason
        raise NoSignal(reason, wait_s)


def nominal_fps(value: float) -> float:
    """Return a reported rate, or 30 where a device or stream reports none or its clock's ticks."""
    return float(value) if 0 < value <= _MOST_FPS else 30.0
