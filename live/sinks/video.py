"""`video:FILE.mp4`: H.264 in fragmented mp4 that stays readable whatever ends the program."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.container import OutputContainer
from av.packet import Packet
from av.video.frame import PictureType
from av.video.stream import VideoStream

from live.frames import NS_PER_S, U8
from live.sinks.base import Composite, SinkError

_TICKS_PER_S = 90_000  # exact for 24, 25, 30, 50, 60 and the NTSC rates but 23.976 (3 us off)
_KEYFRAME_TICKS = _TICKS_PER_S  # one fragment a second: what a SIGKILL may cost
# An index at the front, then self-contained fragments: no trailer is needed to read the file.
_MUXER_OPTIONS = {
    "movflags": "frag_keyframe+empty_moov+default_base_moof",
    "flush_packets": "1",
}
# ITU-T H.273 code points for BT.601 525 lines in limited range, which cv2's I420 is.
_BT601_525 = 6
_LIMITED_RANGE = 1

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class VideoOptions:
    """How video files are written.

    Attributes:
        crf: x264 quality, 0..51; lower is better and larger.
        preset: x264 preset. superfast takes 3.3 ms for 854x480 on one core, veryfast 4.1 ms for
            two thirds of the size.
    """

    crf: int = 20
    preset: str = "superfast"


class VideoSink:
    """Writes the feed with the frames' own times; used by one thread.

    The first frame is time 0 of the file. Each frame lasts until the next one's time, the last
    one for a nominal frame interval, so the file lasts as long as the source's media time. Sizes
    are made even, as 4:2:0 needs, by repeating the last column or row.
    """

    def __init__(self, path: Path, fps: float, options: VideoOptions) -> None:
        """Check that the file can be written; an older file stays until the first frame.

        Args:
            path: Its folder is made if missing.
            fps: Nominal rate, for the duration of the last frame.
            options: How.

        Raises:
            SinkError: It cannot be written.
        """
        self._path = path
        self._options = options
        self._last_ticks = max(1, round(_TICKS_PER_S / fps))
        self._file: _OutputFile | None = None
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._held: Packet[VideoStream] | None = (
            None  # its duration is known when the next one comes
        )
        self._start_ns = 0
        self._newest_ticks = -1
        self._keyframe_ticks = 0
        self._closed = False
        self._told = False
        self._is_new = not path.exists()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab"):
                pass
        except OSError as error:
            raise self._failure(error) from error

    @property
    def name(self) -> str:
        """As the user wrote it."""
        return f"video:{self._path}"

    def put(self, composite: Composite) -> None:
        """Encode one picture at its media time; one that repeats a frame is left out.

        Raises:
            SinkError: The file cannot be written, such as on a full disk.
        """
        if composite.repeats:
            return
        feed = composite.feed_bgr
        if composite.alpha is not None and not self._told:
            self._told = True
            _log.warning(
                "%s: an mp4 has no transparency: effect.transparent.color stands around the "
                "object; expected the effect chroma, or another output",
                self.name,
            )
        with self._errors_named():
            stream = self._stream or self._open(feed, composite.time_ns)
            ticks = round((composite.time_ns - self._start_ns) * _TICKS_PER_S / NS_PER_S)
            ticks = max(ticks, self._newest_ticks + 1)  # a clock that stands still or steps back
            frame = av.VideoFrame.from_ndarray(_to_i420(feed, stream), format="yuv420p")
            frame.pts, frame.time_base = ticks, Fraction(1, _TICKS_PER_S)
            if self._newest_ticks < 0 or ticks - self._keyframe_ticks >= _KEYFRAME_TICKS:
                frame.pict_type = PictureType.I
                self._keyframe_ticks = ticks
            self._newest_ticks = ticks
            for packet in stream.encode(frame):
                self._mux(packet)

    def close(self) -> None:
        """Write what is left and close. Idempotent.

        Raises:
            SinkError: The rest cannot be written; what was written before stays readable.
        """
        if self._closed:
            return
        self._closed = True
        if self._container is None or self._file is None:
            self._remove_empty()
            return
        with self._errors_named():
            try:
                if self._stream is not None and self._file.error is None:
                    for packet in self._stream.encode(None):
                        self._mux(packet)
                    self._mux(None)
            finally:
                self._container.close()
                self._file.close()

    def _open(self, feed: U8, time_ns: int) -> VideoStream:
        height, width = feed.shape[:2]
        self._file = _OutputFile(self._path)
        container = av.open(self._file, "w", format="mp4", options=_MUXER_OPTIONS)
        self._container = container
        # zerolatency: one packet per frame, in order, nothing buffered in the encoder.
        stream = container.add_stream(
            "libx264",
            options={
                "preset": self._options.preset,
                "tune": "zerolatency",
                "crf": str(self._options.crf),
                "forced-idr": "1",
            },
        )
        stream.width, stream.height = width + width % 2, height + height % 2
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.thread_count = 1  # the other cores are for inference
        context.time_base = stream.time_base = Fraction(1, _TICKS_PER_S)
        context.color_primaries = context.color_trc = context.colorspace = _BT601_525
        context.color_range = _LIMITED_RANGE
        self._stream = stream
        self._start_ns = time_ns
        return stream

    def _mux(self, packet: Packet[VideoStream] | None) -> None:
        """Write the packet before this one, whose duration is now known; None: the last one."""
        held, self._held = self._held, packet
        if held is None or held.pts is None or self._container is None or self._file is None:
            return
        ends = held.pts + self._last_ticks if packet is None or packet.pts is None else packet.pts
        held.duration = ends - held.pts
        self._container.mux(held)
        self._file.end_of_packet()

    def _remove_empty(self) -> None:
        """Take away the empty file that checking left, if no frame came."""
        if self._is_new and self._path.is_file() and self._path.stat().st_size == 0:
            self._path.unlink()
            _log.warning("%s: no frame came, no file was written", self.name)

    @contextlib.contextmanager
    def _errors_named(self) -> Iterator[None]:
        try:
            yield
        except (av.FFmpegError, OSError) as error:
            raise self._failure(error) from error

    def _failure(self, error: Exception) -> SinkError:
        reason = getattr(error, "strerror", None) or str(error)
        return SinkError(
            f"--output {self.name}: cannot be written: {reason}; "
            "expected a file in a folder that you may write to, on a disk with room"
        )


class _OutputFile:
    """The file under the muxer. FFmpeg never sees a write fail.

    A muxer whose header could not be written crashes the process when it is used or closed
    (FFmpeg 8 under PyAV 18). So the error is kept, the rest is thrown away, and the file ends
    after the last fragment that got there whole.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb", buffering=0)
        self._whole = 0
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        """Write all of `data`, or from the first error on nothing any more."""
        rest = memoryview(data)
        while rest and self.error is None:
            try:
                rest = rest[self._file.write(rest) :]
            except OSError as error:
                self.error = error
        return len(data)

    def end_of_packet(self) -> None:
        """Note that what was written so far is whole; raise what went wrong before."""
        if self.error is not None:
            raise self.error
        self._whole = self._file.tell()

    def close(self) -> None:
        """Cut off a broken end and close. Idempotent."""
        if self.error is not None and not self._file.closed:
            with contextlib.suppress(OSError):  # no regular file: nothing to cut
                self._file.truncate(self._whole)
        self._file.close()


def _to_i420(feed: U8, stream: VideoStream) -> U8:
    """Return (H * 3 / 2, W) uint8 planes of the stream's size."""
    height, width = feed.shape[:2]
    missing_x, missing_y = stream.width - width, stream.height - height
    if not (0 <= missing_x <= 1 and 0 <= missing_y <= 1):
        # A camera that came back with another picture size: the file keeps its own.
        feed = np.asarray(cv2.resize(feed, (stream.width, stream.height)), np.uint8)
    elif missing_x or missing_y:
        padded = cv2.copyMakeBorder(feed, 0, missing_y, 0, missing_x, cv2.BORDER_REPLICATE)
        feed = np.asarray(padded, np.uint8)
    return np.asarray(cv2.cvtColor(feed, cv2.COLOR_BGR2YUV_I420), np.uint8)
