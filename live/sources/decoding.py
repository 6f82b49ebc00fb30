"""Opening and decoding with PyAV, shared by video files and URLs."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Iterator
from typing import Any, cast

import av
import av.error
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from live.frames import U8
from live.sources.base import CaptureError
from live.sources.orient import rotate_clockwise

# Demuxers that accept nearly anything (text as a terminal picture) or are for single pictures.
_FOREIGN_FORMATS = frozenset(("tty", "image2", "bin", "xbin", "adf", "idf"))
_MAX_BROKEN_IN_A_ROW = 300  # ten seconds at 30 fps


def without_password(text: str) -> str:
    """Return a URL that may stand in messages and logs: user and password replaced."""
    return re.sub(r"//[^/@\s]*@", "//***@", text)


def describe(error: BaseException) -> str:
    """Return what went wrong in a few words, without the address that FFmpeg appends."""
    if isinstance(error, av.error.ExitError):  # how PyAV's own time-outs surface
        return "no answer in time"
    if isinstance(error, av.error.FFmpegError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def open_container(
    address: str,
    name: str,
    options: dict[str, str] | None = None,
    timeouts_s: tuple[float, float] | None = None,
) -> InputContainer:
    """Open a file or URL for reading.

    Args:
        address: What FFmpeg opens.
        name: What the user wrote, for messages.
        options: FFmpeg's options of the protocol and the demuxer.
        timeouts_s: (open, read) seconds of silence; None: wait for ever.

    Raises:
        CaptureError: It cannot be opened, or is no video.
    """
    begin = time.monotonic()
    try:
        container = av.open(address, "r", options=options or {}, timeout=timeouts_s)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        # RTSP reports a time-out as invalid data.
        late = timeouts_s is not None and time.monotonic() - begin >= timeouts_s[0]
        reason = "no answer in time" if late else describe(error)
        raise CaptureError(
            f"source {name!r}: cannot be opened as a video: {reason}; "
            + (
                "expected a video or picture that FFmpeg can read"
                if timeouts_s is None
                else "expected a video; check the address, the password and the network"
            )
        ) from error
    if container.format.name in _FOREIGN_FORMATS or not video_streams(container):
        kind = container.format.long_name or container.format.name
        container.close()
        raise CaptureError(
            f"source {name!r}: has no video (it looks like: {kind}); expected a video file, a "
            "picture or a folder of pictures"
        )
    return container


def video_streams(container: InputContainer) -> list[VideoStream]:
    """Return the video streams, without cover pictures of music."""
    streams = container.streams.video
    return [s for s in streams if not s.disposition & Disposition.attached_pic]


class TooManyBrokenFramesError(Exception):
    """A stream sends nothing but frames that cannot be decoded."""


class Decoder:
    """Gives the decoded frames of a container's first video stream, past what is broken."""

    def __init__(self, container: InputContainer, live: bool = False) -> None:
        """Start at the beginning.

        Args:
            live: Decode with threads within a frame only, since others hold frames back, and
                give up on a stream that is all broken, which need not end as a file does.
        """
        self._broken_limit = _MAX_BROKEN_IN_A_ROW if live else None
        self.stream = video_streams(container)[0]
        self.stream.thread_type = cast(Any, "SLICE" if live else "AUTO")
        self.broken = 0
        self.decoded = 0
        self._packets: Iterator[Packet[VideoStream]] = container.demux(self.stream)
        self._ready: deque[VideoFrame] = deque()

    def next_frame(self) -> VideoFrame | None:
        """Return the next good frame, None at the end.

        Frames and packets that cannot be decoded are counted in `broken` and skipped.

        Raises:
            av.error.FFmpegError: The file or stream itself broke.
            TooManyBrokenFramesError: Live only: none could be decoded for too long.
        """
        broken_before = self.broken
        while True:
            if self._broken_limit and self.broken - broken_before > self._broken_limit:
                raise TooManyBrokenFramesError("nothing it sends can be decoded")
            while self._ready:
                frame = self._ready.popleft()
                if not frame.is_corrupt:
                    self.decoded += 1
                    return frame
                self.broken += 1
            packet = next(self._packets, None)
            if packet is None:
                return None
            try:
                self._ready.extend(packet.decode())
            except av.error.InvalidDataError:
                self.broken += 1


def to_bgr(frame: VideoFrame, coded_size_wh: tuple[int, int] | None = None) -> U8:
    """Return a frame as a (H, W, 3) BGR picture, turned as its display matrix says.

    Args:
        coded_size_wh: Size to scale to before turning; None: the frame's own.
    """
    width, height = coded_size_wh or (frame.width, frame.height)
    image = cast(U8, frame.to_ndarray(format="bgr24", width=width, height=height))
    return rotate_clockwise(image, -90 * round(frame.rotation / 90) % 360)
