"""Opening and decoding with PyAV, shared by video files and URLs."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import stat
import time
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NoReturn, cast

import av
import av.error
from av.container import InputContainer
from av.format import Flags
from av.packet import Packet
from av.stream import Disposition
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from samcam.live.errors import CaptureError
from samcam.live.sources.options import MAX_MEGAPIXELS, too_large
from samcam.live.sources.video.media_time import MediaClock
from samcam.live.sources.video.open_errors import reason_and_advice
from samcam.live.sources.video.tail import MOST_IN_TAIL, Tail, end_of, stamp
from samcam.system.files import waiting_for_writer

# Demuxers that accept nearly anything (text as a terminal picture) or are for single pictures.
_FOREIGN_FORMATS = frozenset(("tty", "image2", "bin", "xbin", "adf", "idf"))
_MOST_PIXELS = (1 << 31) - 1  # FFmpeg's own limit
_DEFAULT_STREAM_PX = 5_000_000
_MAX_BROKEN_IN_A_ROW = 300  # ten seconds at 30 fps


def ended_by_closing(container: InputContainer, error: BaseException) -> bool:
    """Return whether a server that gave no length closed the connection: the only end it can mark.

    FFmpeg calls it an error, as if 2^64 bytes were to come; a connection that broke has another.
    """
    is_http = container.format.name != "rtsp"
    return is_http and container.size <= 0 and getattr(error, "errno", None) == errno.EIO


def open_file(
    path: Path,
    name: str,
    max_megapixels: float = MAX_MEGAPIXELS,
    container_format: str | None = None,
) -> InputContainer:
    """Open a file for reading, whatever its name looks like to FFmpeg.

    Args:
        path: The file. FFmpeg would take "10:30.mp4" for the protocol "10" without its prefix.
        name: What the user wrote, for messages.
        max_megapixels: Larger pictures are refused before they are decoded.
        container_format: The only one that it may have; None: any.

    Raises:
        CaptureError: It is empty, cannot be opened, or is no video.
    """
    try:
        status = path.stat()
        is_file = stat.S_ISREG(status.st_mode)
        if not is_file and not stat.S_ISFIFO(status.st_mode):
            raise CaptureError(
                f"source {name!r}: a folder or device; expected a video file or a pipe"
            )
        if is_file and status.st_size == 0:
            raise CaptureError(
                f"source {name!r}: is empty (0 bytes); expected a video or picture; was its "
                "recording cut off?"
            )
        with waiting_for_writer(path, name):
            return open_container(
                f"file:{path}",
                name,
                max_megapixels=max_megapixels,
                container_format=container_format,
            )
    except CaptureError:  # an OSError, too
        raise
    except OSError as error:
        raise CaptureError(
            f"source {name!r}: cannot be read: {error.strerror}; expected a video file"
        ) from error


def open_container(
    address: str,
    name: str,
    options: dict[str, str] | None = None,
    timeouts_s: tuple[float, float] | None = None,
    max_megapixels: float = MAX_MEGAPIXELS,
    container_format: str | None = None,
) -> InputContainer:
    """Open a URL for reading.

    Args:
        options: FFmpeg's options of the protocol and the demuxer.
        timeouts_s: (open, read) seconds of silence; None: wait for ever.
        name, max_megapixels, container_format: As for `open_file`.

    Raises:
        CaptureError: It cannot be opened, or is no video.
    """
    begin = time.monotonic()
    # Decoders refuse larger ones by themselves, also where FFmpeg looks at the first pictures.
    limited = _limit_of(max_megapixels) | (options or {})
    try:
        container = av.open(
            address, "r", format=container_format, options=limited, timeout=timeouts_s
        )
    except (av.error.FFmpegError, OSError, ValueError) as error:
        why = reason_and_advice(error, address, timeouts_s, time.monotonic() - begin)
        raise CaptureError(f"source {name!r}: cannot be opened as a video: {why}") from error
    problem = _problem(container, max_megapixels)
    if problem:
        container.close()
        raise CaptureError(f"source {name!r}: {problem}")
    return container


def _limit_of(max_megapixels: float) -> dict[str, str]:
    """Return FFmpeg's option; a number beyond its range would refuse every file."""
    return {"max_pixels": str(min(round(max_megapixels * 1e6), _MOST_PIXELS))}


def _problem(container: InputContainer, max_megapixels: float) -> str:
    """Return why a container cannot be shown, "" where it can."""
    kind = container.format.long_name or container.format.name
    found = [] if container.format.name in _FOREIGN_FORMATS else video_streams(container)
    if not found:
        sound = ", only sound" if container.streams.audio else ""
        return (
            f"has no video{sound} (it looks like: {kind}); expected a video file, a picture or a "
            "folder of pictures"
        )
    stream = best_video_stream(container)
    if _context(stream) is None:
        return (
            f"its video (in {kind}) is in a format that this FFmpeg cannot decode; expected a "
            "usual one such as H.264; convert it with ffmpeg"
        )
    width, height = stream.codec_context.width, stream.codec_context.height
    return too_large(width, height, max_megapixels)


def video_streams(container: InputContainer) -> list[VideoStream]:
    """Return the video streams, without cover pictures and thumbnails."""
    pictures = Disposition.attached_pic | Disposition.timed_thumbnails
    return [s for s in container.streams.video if not s.disposition & pictures]


def best_video_stream(container: InputContainer) -> VideoStream:
    """Return the stream that players show: by default, else the largest, as ffmpeg chooses.

    One that can be decoded comes before one that cannot, a default one counts as five megapixels
    more, and of equal ones the first is taken.
    """
    return max(video_streams(container), key=_rank)


def _rank(stream: VideoStream) -> tuple[bool, int]:
    context = _context(stream)
    if context is None:
        return False, 0
    area = context.width * context.height
    known = area > 0 and context.pix_fmt is not None  # else not one frame of it was met
    default = bool(stream.disposition & Disposition.default)
    return known, area + default * _DEFAULT_STREAM_PX


def _context(stream: VideoStream) -> VideoCodecContext | None:
    """Return the stream's decoder; PyAV has None there where FFmpeg has none."""
    return cast(VideoCodecContext | None, stream.codec_context)


class TooManyBrokenFramesError(Exception):
    """A stream sends nothing but frames that cannot be decoded."""


class Decoder:
    """Gives the decoded frames of a container's best video stream, past what is broken."""

    def __init__(
        self,
        container: InputContainer,
        live: bool = False,
        max_megapixels: float = MAX_MEGAPIXELS,
        may_go_on: bool = False,
    ) -> None:
        """Start at the beginning.

        Args:
            live: Decode with threads within a frame only, since others hold frames back, and
                give up on a stream that is all broken, which need not end as a file does.
            max_megapixels: Larger pictures are not decoded.
            may_go_on: Its end may be a connection's: half a last picture waits for `take_left_out`.
        """
        self._live = live
        self._may_go_on = may_go_on
        self._broken_limit = _MAX_BROKEN_IN_A_ROW if live else None
        self.stream = best_video_stream(container)
        self.stream.thread_type = cast(Any, "SLICE" if live else "AUTO")
        context = self.stream.codec_context
        context.options = context.options | _limit_of(max_megapixels)
        self.broken = 0
        self.decoded = 0
        self.packets = 0
        self.packets_end_s = Fraction(0)  # of those so far, as the container has it
        self.first_packet = ""  # SHA-256 of the first one with its time
        self.all_packets = 0  # hash of the times and sizes of all so far
        self._clock = MediaClock(container, self.stream)
        self._packets: Iterator[Packet[VideoStream]] = container.demux(self.stream)
        self._ahead: deque[Packet[VideoStream]] = deque()
        self._ready: deque[VideoFrame | None] = deque()  # None: a broken one
        self._tail = Tail()
        no_times = cast(int, Flags.no_timestamps.value)
        self._without_times = not live and bool(container.format.flags & no_times)
        # There a packet that is not whole is known to be so: what is damaged is not cut off.
        self._says_lengths = bool({"mov", "matroska"} & set(container.format.name.split(",")))
        self._discarded = 0  # packets that an edit list cuts away
        self._given: deque[int | None] = deque(maxlen=MOST_IN_TAIL)  # stamps of frames
        self._newest_packet: int | None = None  # its stamp
        self._numbered = 0  # packets of a stream without times
        self._left_out = False  # the last packet, since it is cut off
        self._took_last = False  # what is held at the end
        self.cut_off = False  # whether the end came in the middle of a picture
        self._failure: Exception | None = None  # of the container, raised after what came before it

    def next_frame(self) -> VideoFrame | None:
        """Return the next good frame, its times corrected by `MediaClock`; None at the end.

        Frames and packets that cannot be decoded are counted in `broken` and skipped, and so are
        frames that the decoder made up in part; but of a file's last picture, cut off in the
        middle, what is there is given, as the ffmpeg program does.

        Raises:
            av.error.FFmpegError: The file or stream itself broke; all frames before it were given.
            TooManyBrokenFramesError: Live only: none could be decoded for too long.
        """
        broken_before = self.broken
        while True:
            if self._broken_limit and self.broken - broken_before > self._broken_limit:
                raise TooManyBrokenFramesError("nothing it sends can be decoded")
            while self._ready:
                frame = self._ready.popleft()
                self._given.append(None if frame is None else stamp(frame))
                if frame is not None and (not frame.is_corrupt or self._is_cut_off(frame)):
                    self.decoded += 1
                    if self._without_times:
                        frame.pts = None
                    return frame
                self.broken += 1
            packet = self._next_to_decode()
            if packet is None and self._failure is None:
                return None
            if packet is None and self._may_go_on and self._left_out:
                self._raise_failure()  # what the decoder holds is read again, or left out too
            if packet is not None and not packet.size and packet.dts is not None:
                continue  # "the picture before stays"; a decoder would take it for the end
            if packet is not None and packet.is_corrupt and not self.look_ahead(1):
                # Cut off in the middle of its last picture: its error would take those with it
                # that the decoder's threads hold still. At the end the tail is decoded by one.
                self.cut_off = self._left_out = True
                self.broken += self._live
                continue
            if packet is not None and not packet.size and not self._live:
                if not (self._may_go_on and self._left_out):
                    self._take_last()
                continue
            try:
                # Where the stream broke the decoder may hold frames back still.
                self._ready.extend((packet or end_of(self.stream)).decode())
            except av.error.InvalidDataError:
                self.broken += 1
            except av.error.EOFError:
                self._raise_failure()

    def _raise_failure(self) -> NoReturn:
        failure, self._failure = self._failure, None
        assert failure is not None
        raise failure from None

    def take_left_out(self) -> None:
        """Have the last pictures, left out since the stream broke in one, given next after all."""
        if self._left_out and not self._took_last:
            self._take_last()

    def _take_last(self) -> None:
        """Take what the decoder holds at the end of the file, all of it."""
        self._took_last = True
        if not self._left_out:
            self._drain()
        missing = self.packets - self._discarded - self.decoded - self.broken - len(self._ready)
        again: list[VideoFrame | None] = []
        # Some may miss for good: a decoder leaves out those after the first key frame that need
        # one before it. So what is found is told from what was given by its stamp, not counted.
        if missing > 0:
            waiting = {stamp(frame) for frame in self._ready if frame is not None}
            again = self._tail.remaining(waiting.union(self._given), missing, end_of(self.stream))
        if self._left_out and not again:
            self._drain()
            again = [None]
        self._ready.extend(again)

    def _drain(self) -> None:
        with contextlib.suppress(av.error.InvalidDataError):  # met again in the tail
            self._ready.extend(end_of(self.stream).decode())

    def _next_to_decode(self) -> Packet[VideoStream] | None:
        """Return the next packet; one of a stream without any times has a number for a time."""
        packet = self._ahead.popleft() if self._ahead else self._next_packet()
        if packet is None or not packet.size or not self._without_times:
            return packet
        if not self._numbered and stamp(packet) is not None:
            self._without_times = False  # the demuxer finds some, as in MPEG-2
            return packet
        self._numbered += 1
        packet.pts = self._newest_packet = self._numbered
        return packet

    def _is_cut_off(self, damaged: VideoFrame) -> bool:
        """Return whether a damaged frame is the last one of a file, which ended in its middle."""
        if self._live or self.look_ahead(1) or (self._says_lengths and not self._left_out):
            return False
        is_last = stamp(damaged) == self._newest_packet
        self.cut_off = self.cut_off or is_last
        return is_last

    def look_ahead(self, count: int) -> list[Packet[VideoStream]]:
        """Return up to `count` packets that come next; they are still decoded in their turn."""
        while len(self._ahead) < count:
            packet = self._next_packet()
            if packet is None:
                break
            self._ahead.append(packet)
        return [packet for packet in self._ahead if packet.size]

    def _next_packet(self) -> Packet[VideoStream] | None:
        """Return the next packet; None at the end, or where the stream broke: see `_failure`."""
        try:
            packet = next(self._packets, None)
        except (av.error.FFmpegError, OSError) as error:
            self._failure = error
            return None
        if packet is not None and packet.size:
            if not self.packets:
                content = f"{packet.pts} {packet.dts} ".encode() + bytes(packet)
                self.first_packet = hashlib.sha256(content).hexdigest()
            self.packets += 1
            self.all_packets = hash((self.all_packets, packet.pts, packet.dts, packet.size))
            end = (stamp(packet) or 0) + (packet.duration or 0)
            self.packets_end_s = max(self.packets_end_s, end * Fraction(self.stream.time_base or 0))
            self._clock.correct(packet)
            self._newest_packet = stamp(packet)
            if not self._live:
                self._discarded += packet.is_discard
                self._tail.note(packet)
        return packet
