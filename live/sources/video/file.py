"""A video file, or a recording behind a URL: true times, every frame, no clock of its own."""

from __future__ import annotations

import logging
import time
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import av.error
from av.container import InputContainer
from av.video.frame import VideoFrame

from samcam.live.errors import CaptureError
from samcam.live.frames import NS_PER_S, Frame
from samcam.live.sources.base import SoundOrigin, SourceInfo
from samcam.live.sources.options import MAX_MEGAPIXELS
from samcam.live.sources.video.cut_off import is_cut_off
from samcam.live.sources.video.decoding import Decoder, ended_by_closing, open_file
from samcam.live.sources.video.displayed import DisplayedPictures, letterboxed
from samcam.live.sources.video.frame_count import (
    PACKETS_FOR_RATE,
    frame_rate,
    header_length_s,
    indexed,
    stated_length_s,
)
from samcam.live.sources.video.media_time import FrameTimes, own_length_s
from samcam.live.sources.video.open_errors import describe
from samcam.system.files import is_pipe

_END_WITHIN_S: Final = 0.25  # of the whole; sound and pictures do not end at the same moment

_log = logging.getLogger(__name__)


class ClosedEarlyError(CaptureError):
    """A connection of unknown length ended before the end that the header states."""


class VideoFile:
    """Frames of a container in display order, as a good player shows them, with their times from 0.

    What the times mean stands in `live.sources.video.media_time`. A frame that cannot be decoded is
    counted and skipped; its index stays empty, unless it comes before the first good one: frame 0
    is the first that can be shown. A file that was cut off gives what is there. Pictures of
    another size in the middle are letter-boxed. `info.frame_count` is there only where the file's
    index has every frame.
    """

    def __init__(
        self,
        container: InputContainer,
        name: str,
        kind: str = "file",
        path: Path | None = None,
        max_megapixels: float = MAX_MEGAPIXELS,
    ) -> None:
        """Take over an open container and decode its first frame.

        Args:
            path: The local file, where it is one.

        Raises:
            CaptureError: It has no readable frame, or is too large.
        """
        self._container: InputContainer | None = container
        self._name = name
        self._path = path
        self._checked_complete = self._taken_for_end = False
        self._newest_ns = self._longest_step_ns = 0
        self._size_wh: tuple[int, int] | None = None
        # Whether its end may be the connection's: FFmpeg takes half a chunk for the last one.
        self._may_go_on = path is None and container.size <= 0
        self._decoder = Decoder(container, max_megapixels=max_megapixels, may_go_on=self._may_go_on)
        stream = self._decoder.stream
        try:
            self._indexed_packets, self._indexed_frames = indexed(container, stream, path)
            self._header_s = header_length_s(container, stream)
            self._stated_s = stated_length_s(container, stream)
            rate = frame_rate(stream, self._decoder.look_ahead(PACKETS_FOR_RATE))
            self._interval_s = 1 / rate
            self._times = FrameTimes(round(NS_PER_S / rate), container)
            self._pictures = DisplayedPictures(stream, name, max_megapixels)
            first = self._next_decoded()
            if first is None:
                raise CaptureError(
                    f"source {name!r}: has a video stream but not one readable frame; is the file "
                    "complete?"
                )
            self._first_index = self._decoder.broken
            self._pending: Frame | None = self._to_frame(first)
        except BaseException:
            container.close()
            raise
        self.info = SourceInfo(
            name,
            kind,
            self._pending.size_wh,
            float(rate),
            self._indexed_frames or None,
            live=False,
            sound=self._sound_origin(container, path),
        )

    @classmethod
    def open(cls, path: Path, name: str, max_megapixels: float = MAX_MEGAPIXELS) -> VideoFile:
        """Open a file.

        Raises:
            CaptureError: It is missing, unreadable, too large or no video.
        """
        container = open_file(path, name, max_megapixels)
        return cls(container, name, path=path, max_megapixels=max_megapixels)

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

    def take_for_end(self) -> None:
        """Take the place where the connection was closed for the end, and call that incomplete.

        What is there of a picture cut in the middle is given too, as of a file.
        """
        self._taken_for_end = True
        self._decoder.take_left_out()

    def close(self) -> None:
        """Close the file."""
        self._pending = None
        if self._container is not None:
            self._container.close()
            self._container = None

    def _sound_origin(self, container: InputContainer, path: Path | None) -> SoundOrigin | None:
        start_s = self._times.start
        if start_s is None or not container.streams.audio:
            return None
        again = None if path is None or is_pipe(path) else path  # a pipe cannot be read twice
        return SoundOrigin(again, self._name, start_s, self._interval_s)

    def _next_decoded(self) -> VideoFrame | None:
        try:
            decoded = self._decoder.next_frame()
        except av.error.InvalidDataError:  # of the container, not of a frame: nothing follows
            return None
        except (av.error.FFmpegError, OSError) as error:
            if self._container is None or not ended_by_closing(self._container, error):
                raise CaptureError(self._not_read_on(describe(error))) from error
            if self._is_at_its_end() or self._taken_for_end:
                return None
            raise self._closed_early() from error
        if decoded is not None or not self._may_go_on:
            return decoded
        is_cut = self._decoder.cut_off or self._ends_before_stated()
        if is_cut and not self._taken_for_end:
            raise self._closed_early()
        self._decoder.take_left_out()
        return self._decoder.next_frame()

    def _closed_early(self) -> ClosedEarlyError:
        return ClosedEarlyError(self._not_read_on("the server closed the connection"))

    def _not_read_on(self, why: str) -> str:
        return (
            f"source {self._name!r}: cannot be read on after {self._decoder.decoded} frames"
            f"{self._seconds_of()}: {why}; check the disk or the network"
        )

    def _is_at_its_end(self) -> bool:
        """Return whether all was given of which the index, or else the header, tells."""
        if self._indexed_packets:
            return self._decoder.packets >= self._indexed_packets
        container = self._container
        if container is None or not container.duration:
            return True
        return self._end_s() >= Fraction(container.duration, av.time_base) - _END_WITHIN_S

    def _end_s(self) -> Fraction:
        """Return where the newest frame ends, on the container's own clock from its start."""
        start_s = Fraction((self._container and self._container.start_time) or 0, av.time_base)
        late_s = (self._times.start or start_s) - start_s
        return late_s + Fraction(self._newest_ns, NS_PER_S) + self._interval_s

    def _check_complete(self) -> None:
        """Say once when the end came early; the demuxer takes a cut-off file for a short one."""
        if self._checked_complete:
            return
        self._checked_complete = True
        decoder = self._decoder
        ends_early = decoder.cut_off or self._taken_for_end or self._ends_early()
        if decoder.packets >= self._indexed_packets and not ends_early:
            return
        gave = f"{decoder.decoded} frames{self._seconds_of()}"
        if decoder.decoded < self._indexed_frames:
            gave = f"{decoder.decoded} of {self._indexed_frames} frames"
        _log.warning(
            "source %r: incomplete: cut off after %s; was its recording or copy cut short?",
            *(self._name, gave),
        )

    def _ends_early(self) -> bool:
        container, path = self._container, self._path
        if container is None:
            return False
        if path is None or is_pipe(path):  # nobody can look into its structure
            return self._ends_before_stated()
        try:
            return is_cut_off(path, container.format.name)
        except OSError:  # all of it was read; that it is gone by now is no matter
            return False

    def _ends_before_stated(self) -> bool:
        if self._stated_s is None:
            return False
        # The last picture of a screen that stands still stays for as long as others did.
        longest_s = 2 * Fraction(self._longest_step_ns, NS_PER_S)
        end_s = max(self._end_s(), self._decoder.packets_end_s)
        return end_s < self._stated_s - max(Fraction(_END_WITHIN_S), longest_s)

    def _seconds_of(self) -> str:
        """Return how much of the length in its header was given, "" where it tells of none."""
        if not self._decoder.decoded:
            return ""
        end_s = self._end_s()
        length_s = self._header_s
        return f", {float(end_s):.1f} of {float(length_s):.1f} s" if length_s > end_s else ""

    def _to_frame(self, decoded: VideoFrame) -> Frame:
        index = self._decoder.decoded + self._decoder.broken - 1 - self._first_index
        image = self._pictures.picture(decoded)
        if self._size_wh is None:
            self._size_wh = image.shape[1], image.shape[0]
        image = letterboxed(image, self._size_wh)
        time_ns = self._times.time_ns(decoded)
        self._longest_step_ns = max(self._longest_step_ns, time_ns - self._newest_ns)
        self._newest_ns = time_ns
        length_s = own_length_s(decoded.duration, decoded.time_base, self._interval_s)
        duration_ns = None if length_s is None else round(length_s * NS_PER_S)
        return Frame(index, time_ns, time.perf_counter_ns(), image, duration_ns)
