"""rtsp:// and http:// through PyAV.

Over HTTP a URL whose server says how long the file is, or whose header says how long the video is,
is a recording: every frame, its own times, like a file. Where the connection is cut before the
length that the server gave, it is opened again and read on where it was. Everything else is live:
stamped on arrival, reconnected when lost.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

import av.error
from av.container import InputContainer

from live.frames import Frame
from live.sources.base import CaptureError, VideoSource, WrappedSource
from live.sources.decoding import (
    Decoder,
    TooManyBrokenFramesError,
    describe,
    open_container,
    without_password,
)
from live.sources.displayed import DisplayedPictures
from live.sources.options import SourceOptions
from live.sources.reconnect import Connection, Grab, ReconnectingSource, SignalLost, nominal_fps
from live.sources.video_file import VideoFile

_log = logging.getLogger(__name__)

_PLAYLISTS: Final = frozenset(("hls", "dash"))
_MOST_ATTEMPTS: Final = 5

SCHEMES = ("rtsp", "rtsps", "http", "https")


def open_url(url: str, options: SourceOptions) -> VideoSource:
    """Open a stream or a recording behind a URL.

    Raises:
        CaptureError: Unknown scheme, no answer, or no video.
    """
    name = without_password(url)
    scheme = url.split("://", 1)[0].lower()
    if scheme not in SCHEMES:
        raise CaptureError(
            f"source {name!r}: unknown scheme {scheme!r}; expected "
            f"{', '.join(s + '://' for s in SCHEMES)}"
        )
    first: list[InputContainer] = [_open(url, scheme, name, options)]

    def container() -> InputContainer:
        return first.pop() if first else _open(url, scheme, name, options)

    if scheme.startswith("http") and is_recording(first[0]):
        return Recording(
            lambda: VideoFile(container(), name, "url", max_megapixels=options.max_megapixels)
        )

    def connect() -> Connection:
        return UrlConnection(container(), name, options.max_megapixels)

    return ReconnectingSource(name, "url", connect, options)


def is_recording(container: InputContainer) -> bool:
    """Return whether what was opened over HTTP has an end: its length in time or bytes is known."""
    if (container.duration or 0) > 0:
        return True
    # A playlist's own length says nothing of its stream's.
    return container.format.name not in _PLAYLISTS and container.size > 0


def _open(url: str, scheme: str, name: str, options: SourceOptions) -> InputContainer:
    if scheme.startswith("rtsp"):
        protocol = {"rtsp_transport": "tcp"}  # UDP loses packets without a word
    else:
        # Continues a recording after a hiccup, where the server gives parts of a file.
        protocol = {"reconnect": "1", "reconnect_delay_max": "2"}
    timeouts_s = options.open_timeout_s, options.read_timeout_s
    return open_container(url, name, protocol, timeouts_s, options.max_megapixels)


class Recording(WrappedSource):
    """A recording behind a URL: opened again where it is cut, and read on where it was."""

    def __init__(self, reopen: Callable[[], VideoFile]) -> None:
        """Open it.

        Args:
            reopen: Connects anew; called by the reading thread after every cut.

        Raises:
            CaptureError: It cannot be opened.
        """
        super().__init__(reopen())
        self._reopen = reopen
        self._newest = -1
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
        """Connect anew; frames up to the newest are then read past."""
        self._attempts += 1
        if self._attempts > _MOST_ATTEMPTS:
            raise error
        _log.warning("%s; connecting again (%d of %d)", error, self._attempts, _MOST_ATTEMPTS)
        source = self._reopen()
        self._source.close()
        self._source = source


class UrlConnection:
    """One open live stream."""

    def __init__(self, container: InputContainer, name: str, max_megapixels: float) -> None:
        """Take over an open container."""
        self._container = container
        self._decoder = Decoder(container, live=True, max_megapixels=max_megapixels)
        stream = self._decoder.stream
        self._pictures = DisplayedPictures(stream, name, max_megapixels)
        self._fps = nominal_fps(float(stream.average_rate or stream.guessed_rate or 0))

    @property
    def fps(self) -> float:
        """As the stream says, or 30."""
        return self._fps

    def grab(self) -> Grab:
        """Decode the next picture and stamp it on arrival.

        Raises:
            SignalLost: The stream ended, broke, or was silent for the read time-out.
        """
        broken_before = self._decoder.broken
        try:
            frame = self._decoder.next_frame()
        except (av.error.FFmpegError, OSError, TooManyBrokenFramesError) as error:
            raise SignalLost(describe(error)) from error
        captured_ns = time.perf_counter_ns()
        if frame is None:
            raise SignalLost("the stream ended")
        skipped = self._decoder.broken - broken_before
        return Grab(self._pictures.picture(frame), captured_ns, skipped)

    def close(self) -> None:
        """Close the stream."""
        self._container.close()
