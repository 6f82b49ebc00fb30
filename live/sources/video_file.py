"""A video file, or a recording behind a URL: true times, every frame, no clock of its own."""

from __future__ import annotations

import logging
import time
from fractions import Fraction
from pathlib import Path

import av.error
from av.container import InputContainer
from av.video.frame import VideoFrame

from live.frames import NS_PER_S, Frame
from live.sources.base import CaptureError, SourceInfo
from live.sources.decoding import Decoder, describe, open_container, to_bgr

_log = logging.getLogger(__name__)

_DEFAULT_FPS = Fraction(30)


class VideoFile:
    """Frames of a container in display order, with their presentation times from 0.

    A frame that cannot be decoded is counted and skipped; its index stays empty. A file that was
    cut off gives what is there.
    """

    def __init__(self, container: InputContainer, name: str, kind: str = "file") -> None:
        """Take over an open container and decode its first frame.

        Raises:
            CaptureError: It has no readable frame.
        """
        self._container: InputContainer | None = container
        self._name = name
        self._decoder = Decoder(container)
        stream = self._decoder.stream
        rate = stream.average_rate or stream.guessed_rate or _DEFAULT_FPS
        self._interval_ns = round(NS_PER_S / rate)
        self._expected_frames = stream.frames
        self._start: Fraction | None = None
        self._last_ns = -1
        try:
            first = self._next_decoded()
            if first is None:
                raise CaptureError(
                    f"source {name!r}: has a video stream but not one readable frame; is the file "
                    "complete?"
                )
        except CaptureError:
            container.close()
            raise
        self._coded_size_wh = first.width, first.height
        self._pending: Frame | None = self._to_frame(first)
        self._info = SourceInfo(
            name, kind, self._pending.size_wh, float(rate), stream.frames or None, live=False
        )

    @classmethod
    def open(cls, path: Path, name: str) -> VideoFile:
        """Open a file.

        Raises:
            CaptureError: It is missing, unreadable or no video.
        """
        return cls(open_container(str(path), name), name)

    @property
    def info(self) -> SourceInfo:
        """What is known; `frame_count` as the file's header says."""
        return self._info

    @property
    def broken_frames(self) -> int:
        """Frames skipped because they could not be decoded."""
        return self._decoder.broken

    def read(self) -> Frame | None:
        """Return the next frame.

        Raises:
            CaptureError: The file or the connection broke.
        """
        if self._container is None:
            return None
        if self._pending is not None:
            frame, self._pending = self._pending, None
            return frame
        decoded = self._next_decoded()
        if decoded is None:
            self._check_complete()
            return None
        return self._to_frame(decoded)

    def close(self) -> None:
        """Close the file."""
        self._pending = None
        if self._container is not None:
            self._container.close()
            self._container = None

    def _next_decoded(self) -> VideoFrame | None:
        try:
            return self._decoder.next_frame()
        except av.error.InvalidDataError:  # of the container, not of a frame: nothing follows
            return None
        except (av.error.FFmpegError, OSError) as error:
            raise CaptureError(
                f"source {self._name!r}: cannot be read on after {self._decoder.decoded} frames: "
                f"{describe(error)}; check the disk or the network"
            ) from error

    def _check_complete(self) -> None:
        """Say once when the end came early; the demuxer takes a cut-off file for a short one."""
        expected, got = self._expected_frames, self._decoder.decoded + self._decoder.broken
        self._expected_frames = 0
        if got < expected:
            _log.warning(
                "source %r: ended after %d of %d frames; is the file complete?",
                self._name,
                got,
                expected,
            )

    def _to_frame(self, decoded: VideoFrame) -> Frame:
        index = self._decoder.decoded + self._decoder.broken - 1
        image = to_bgr(decoded, self._coded_size_wh)
        return Frame(index, self._time_ns(decoded), time.perf_counter_ns(), image)

    def _time_ns(self, decoded: VideoFrame) -> int:
        """Return the frame's time since the first; missing or repeated times get an interval."""
        time_ns = self._last_ns
        if decoded.pts is not None and decoded.time_base is not None:
            at = decoded.pts * decoded.time_base
            if self._start is None:
                self._start = at
            time_ns = round((at - self._start) * NS_PER_S)
        if time_ns <= self._last_ns:
            time_ns = 0 if self._last_ns < 0 else self._last_ns + self._interval_ns
        self._last_ns = time_ns
        return time_ns
