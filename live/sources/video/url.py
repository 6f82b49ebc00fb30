"""rtsp:// and http:// through PyAV.

Over HTTP a URL whose server says how long the file is, or whose header says how long the video is,
is a recording: every frame, its own times, like a file. Where the connection is cut before the
length that the server gave, it is opened again and read on where it was. Everything else is live:
stamped on arrival, reconnected when lost.
"""

from __future__ import annotations

import logging
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import av.error
from av.container import InputContainer

from samcam.live.errors import CaptureError
from samcam.live.frames import Frame
from samcam.live.sources.base import VideoSource, WrappedSource
from samcam.live.sources.options import SourceOptions
from samcam.live.sources.reconnect import (
    Connection,
    Grab,
    ReconnectingSource,
    SignalEnded,
    SignalLost,
    SignalRepeats,
    nominal_fps,
)
from samcam.live.sources.video.decoding import (
    Decoder,
    TooManyBrokenFramesError,
    ended_by_closing,
    open_container,
)
from samcam.live.sources.video.displayed import DisplayedPictures
from samcam.live.sources.video.file import ClosedEarlyError, VideoFile
from samcam.live.sources.video.open_errors import describe, probe_http
from samcam.live.watchdog import announced_wait
from samcam.system import hide_in_url

_log = logging.getLogger(__name__)

_PLAYLISTS: Final = frozenset(("hls", "dash"))
_WITHOUT_TIMES: Final = frozenset(("mpjpeg", "mjpeg"))
_MOST_ATTEMPTS: Final = 5
_STARTS_AGAIN: Final = (
    "it starts again: a recording without a length, read until the server closed the connection"
)
_MOST_COMPARED: Final = 1_000_000  # pictures of a recording: eleven hours, in 8 MB

SCHEMES = ("rtsp", "rtsps", "http", "https")


def open_url(url: str, options: SourceOptions) -> VideoSource:
    """Open a stream or a recording behind a URL.

    Raises:
        CaptureError: Unknown scheme, no answer, or no video.
    """
    name = hide_in_url(url)
    scheme = url.split("://", 1)[0].lower()
    if scheme not in SCHEMES:
        raise CaptureError(
            f"source {name!r}: unknown scheme {scheme!r}; expected "
            f"{', '.join(s + '://' for s in SCHEMES)}"
        )
    try:
        first = [_open(url, scheme, name, options)]
    except CaptureError as error:
        is_http = scheme.startswith("http")
        why = probe_http(error.__cause__, url, options.open_timeout_s) if is_http else ""
        if not why:
            raise
        raise CaptureError(f"source {name!r}: cannot be opened as a video: {why}") from error

    def container() -> InputContainer:
        return first.pop() if first else _open(url, scheme, name, options)

    if scheme.startswith("http") and is_recording(first[0]):
        return RemoteRecording(
            lambda: VideoFile(container(), name, "url", max_megapixels=options.max_megapixels),
            options,
        )

    previous = Previous()

    def connect() -> Connection:
        return UrlConnection(container(), name, options, previous)

    return ReconnectingSource(name, "url", connect, options)


def is_recording(container: InputContainer) -> bool:
    """Return whether what was opened over HTTP has an end: its length in time or bytes is known."""
    if (container.duration or 0) > 0:
        return True
    # A playlist's own length is not its stream's.
    return container.format.name not in _PLAYLISTS and container.size > 0


def _open(url: str, scheme: str, name: str, options: SourceOptions) -> InputContainer:
    if scheme.startswith("rtsp"):
        protocol = {"rtsp_transport": "tcp"}  # UDP loses packets without a word
    else:
        # Continues a recording after a hiccup, where the server gives parts of a file.
        protocol = {"reconnect": "1", "reconnect_delay_max": "2"}
    timeouts_s = options.open_timeout_s, options.read_timeout_s
    return open_container(url, name, protocol, timeouts_s, options.max_megapixels)


class RemoteRecording(WrappedSource):
    """A recording behind a URL: opened again where it is cut, and read on where it was."""

    _source: VideoFile

    def __init__(self, reopen: Callable[[], VideoFile], options: SourceOptions) -> None:
        """Open it.

        Args:
            reopen: Connects again; called by the reading thread after every cut.
            options: How long to wait between attempts.

        Raises:
            CaptureError: It cannot be opened.
        """
        super().__init__(reopen())
        self._reopen = reopen
        self._options = options
        self._newest = -1
        self._newest_at_closing = -1
        self._closed = False
        self._attempts = 0  # since the last new frame

    def read(self) -> Frame | None:
        """Return the next frame.

        Raises:
            CaptureError: It was cut again and again, with nothing new in between.
        """
        while not self._closed:
            try:
                frame = self._source.read()
            except ClosedEarlyError as error:
                if self._newest == self._newest_at_closing:
                    _log.warning("%s, twice at the same place: taken for its end", error)
                    self._source.take_for_end()
                    continue
                self._newest_at_closing = self._newest
                self._read_on(error)
                continue
            except CaptureError as error:
                self._read_on(error)
                continue
            if frame is None or frame.index > self._newest:
                self._attempts = 0
                self._newest = self._newest if frame is None else frame.index
                return frame
        return None

    def close(self) -> None:
        """Close the connection. Idempotent."""
        self._closed = True
        super().close()

    def _read_on(self, error: CaptureError) -> None:
        """Connect again; frames up to the newest are then read past."""
        while True:
            self._attempts += 1
            if self._attempts > _MOST_ATTEMPTS:
                raise error
            _log.warning("%s; connecting again (%d of %d)", error, self._attempts, _MOST_ATTEMPTS)
            if self._attempts > 1:
                wait_s = self._options.retry_first_s * 2 ** (self._attempts - 2)
                with announced_wait():
                    time.sleep(min(wait_s, self._options.retry_max_s))
            try:
                file = self._reopen()
            except CaptureError as refused:
                error = refused
                continue
            self._source.close()
            self._source = file
            return


@dataclass(slots=True, eq=False)
class Previous:
    """What the connection before sent, to tell a recording that starts again from a live stream.

    A server that gives no length, such as one that sends chunks, does not tell which of both it
    serves. A stream goes on where it is when it is connected again; a recording starts again, and
    would do so for ever.

    Attributes:
        first_packet, all_packets: Of `Decoder`.
        to_its_end: Whether it ended as servers end what is complete.
        shown: Of the pictures given so far: `Decoder.all_packets` as each was decoded.
    """

    first_packet: str = ""
    all_packets: int | None = None
    to_its_end: bool = False
    shown: array[int] = field(default_factory=lambda: array("q"))


class UrlConnection:
    """One open live stream."""

    def __init__(
        self, container: InputContainer, name: str, options: SourceOptions, previous: Previous
    ) -> None:
        """Take over an open container.

        Args:
            options: How large pictures may be, and for how long there may be none.
            previous: What the connection before sent; this one's is noted there when it ends.
        """
        self._container = container
        limit = options.max_megapixels
        self._decoder = Decoder(container, live=True, max_megapixels=limit)
        stream = self._decoder.stream
        self._pictures = DisplayedPictures(stream, name, limit)
        self._patience_s = options.read_timeout_s
        self._begin_s = time.monotonic()
        self._next = 0
        self.fps = nominal_fps(float(stream.average_rate or stream.guessed_rate or 0))
        self._previous = previous
        # Pictures without times of their own may be the same again.
        self._comparable = container.format.name not in _WITHOUT_TIMES
        self._reads_on = self._comparable and container.format.name != "rtsp"

    def grab(self) -> Grab:
        """Decode the next picture and stamp it on arrival.

        Raises:
            SignalLost: The stream ended, broke, or was silent for the read time-out.
            SignalRepeats: It is a picture that the connection before gave already.
            SignalEnded: It was a recording, and all of it was read.
        """
        decoder, previous = self._decoder, self._previous
        took_s = time.monotonic() - self._begin_s  # without a silence that ends in this one
        broken_before = decoder.broken
        is_first = not decoder.decoded
        try:
            frame = decoder.next_frame()
        except (av.error.FFmpegError, OSError, TooManyBrokenFramesError) as error:
            if not ended_by_closing(self._container, error):
                self._note_end(describe(error))
                raise SignalLost(describe(error)) from error
            frame = None
        captured_ns = time.perf_counter_ns()
        if frame is None:
            self._note_end("it ends in the middle of a picture" if decoder.cut_off else "")
            raise SignalLost("the stream ended")
        starts_again = previous.to_its_end and decoder.first_packet == previous.first_packet
        if is_first and self._comparable and starts_again:
            raise SignalEnded(_STARTS_AGAIN)
        if self._reads_on and self._is_shown(took_s):
            raise SignalRepeats
        return Grab(self._pictures.picture(frame), captured_ns, decoder.broken - broken_before)

    def close(self) -> None:
        """Close the stream."""
        self._container.close()

    def _is_shown(self, took_s: float) -> bool:
        """Return whether the newest picture was given before, and note it where it was not.

        A recording that broke is so read on where it was. What sends the same again no faster than
        it is watched would be without a picture for as long as it ran: that is shown again.

        Args:
            took_s: From the connection to the picture before.
        """
        at, shown, newest = self._next, self._previous.shown, self._decoder.all_packets
        self._next += 1
        if at < len(shown):
            is_slow = took_s > self._patience_s and at < 2 * self.fps * took_s
            if shown[at] == newest and not is_slow:
                return True
            del shown[at:]
        if at == len(shown) < _MOST_COMPARED:
            shown.append(newest)
        return False

    def _note_end(self, broke: str) -> None:
        """Note what this connection sent; end the source where it was all the same again.

        Args:
            broke: Why it ended in the middle; "" where it ended as what is complete.
        """
        decoder, previous = self._decoder, self._previous
        same = decoder.packets > 0 and decoder.all_packets == previous.all_packets
        if same and self._comparable:
            if not broke:
                raise SignalEnded(_STARTS_AGAIN)
            raise SignalEnded(
                f"incomplete: a recording without a length that breaks off after {self._next} "
                f"frames, twice at the same place ({broke}); is it whole on the server?",
                is_incomplete=True,
            )
        previous.first_packet, previous.all_packets = decoder.first_packet, decoder.all_packets
        previous.to_its_end = not broke
