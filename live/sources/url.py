"""rtsp:// and http:// through PyAV.

A URL with a known length over HTTP is a recording: every frame, its own times, like a file.
Everything else is live: stamped on arrival, reconnected when lost.
"""

from __future__ import annotations

import time

import av.error
from av.container import InputContainer

from live.sources.base import CaptureError, VideoSource
from live.sources.decoding import (
    Decoder,
    TooManyBrokenFramesError,
    describe,
    open_container,
    to_bgr,
    without_password,
)
from live.sources.options import SourceOptions
from live.sources.reconnect import Connection, Grab, ReconnectingSource, SignalLost, nominal_fps
from live.sources.video_file import VideoFile

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
    if scheme.startswith("http") and (first[0].duration or 0) > 0:
        return VideoFile(first[0], name, kind="url")

    def connect() -> Connection:
        return UrlConnection(first.pop() if first else _open(url, scheme, name, options))

    return ReconnectingSource(name, "url", connect, options)


def _open(url: str, scheme: str, name: str, options: SourceOptions) -> InputContainer:
    if scheme.startswith("rtsp"):
        protocol = {"rtsp_transport": "tcp"}  # UDP loses packets without a word
    else:
        # Continues a recording after a hiccup; what cannot be continued ends at once.
        protocol = {"reconnect": "1", "reconnect_delay_max": "2"}
    return open_container(url, name, protocol, (options.open_timeout_s, options.read_timeout_s))


class UrlConnection:
    """One open live stream."""

    def __init__(self, container: InputContainer) -> None:
        self._container = container
        self._decoder = Decoder(container, live=True)
        stream = self._decoder.stream
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
        return Grab(to_bgr(frame), captured_ns, skipped)

    def close(self) -> None:
        """Close the stream."""
        self._container.close()
