"""Fragmented mp4 that stays readable however the program ends; for outputs and recordings."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
from av.container import OutputContainer
from av.packet import Packet
from av.video.frame import PictureType
from av.video.stream import VideoStream

from samcam.live.frames import NS_PER_S, U8
from samcam.live.sinks.sound import Sound
from samcam.system.files import say_if_pipe

_LONGEST_HEADER: Final = 1 << 16  # ours take some hundred bytes

TICKS_PER_S = 90_000  # exact for 24, 25, 30, 50, 60 and the NTSC rates but 23.976 (3 us off)
_KEYFRAME_TICKS = TICKS_PER_S  # one fragment a second: what a SIGKILL may cost
# An index at the front, then self-contained fragments: no trailer is needed to read the file.
_MUXER_OPTIONS = {
    "movflags": "frag_keyframe+empty_moov+default_base_moof",
    "flush_packets": "1",
}
# The index comes with the first fragment: the beginning of sound is known by then, and what of it
# lies before the first picture can be marked as not to be played. Sound that ends before the
# pictures must not hold them back.
_MUXER_OPTIONS_WITH_SOUND = {
    "movflags": "frag_keyframe+delay_moov+default_base_moof",
    "flush_packets": "1",
    "max_interleave_delta": "1000000",
}
# ITU-T H.273 code points for BT.601 525 lines in limited range, which cv2's I420 is.
_BT601_525 = 6
_LIMITED_RANGE = 1


@dataclass(frozen=True, slots=True)
class H264:
    """How pictures are encoded.

    Attributes:
        crf: x264 quality, 0..51; lower is better and larger.
        preset: x264 preset.
        lossless: Every BGR pixel as it was, in planes of blue, green and red; `crf` is not used.
    """

    crf: int = 20
    preset: str = "superfast"
    lossless: bool = False


class FragmentedMp4:
    """One H.264 stream with the pictures' own times, and sound beside it; used by one thread.

    The first picture is time 0 of the file. Each lasts until the next one's time, the last one
    for a nominal interval. Every method raises av.FFmpegError or OSError where the file cannot be
    written; what was written before stays readable.
    """

    def __init__(
        self,
        path: Path,
        size_wh: tuple[int, int],
        fps: float,
        encoding: H264,
        sound: Sound | None = None,
    ) -> None:
        """Open the file, replacing an older one.

        Args:
            path: Of the file.
            size_wh: Even numbers, unless the encoding is lossless.
            fps: Nominal rate, for the duration of the last picture.
            encoding: How.
            sound: Of the source; closed with the file.
        """
        self._lossless = encoding.lossless
        self._usual_ticks = self._last_ticks = max(1, round(TICKS_PER_S / fps))
        self._start_ns: int | None = None
        self._newest_ticks = -1
        self._keyframe_ticks = 0
        self._held: Packet[VideoStream] | None = None  # its duration is known with the next one
        self._file = _OutputFile(path)
        options = _MUXER_OPTIONS if sound is None else _MUXER_OPTIONS_WITH_SOUND
        self._container: OutputContainer = av.open(self._file, "w", format="mp4", options=options)
        self._stream = self._add_stream(encoding)
        self._stream.width, self._stream.height = size_wh
        self._sound = sound
        if sound is not None:
            sound.join(self._container)

    @property
    def broken(self) -> bool:
        """Whether the file took no more at some point, such as on a full disk."""
        return self._file.error is not None

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self._stream.width, self._stream.height

    def write(self, pixels: U8, time_ns: int, duration_ns: int | None = None) -> int:
        """Encode one picture.

        Args:
            pixels: (H * 3 / 2, W) planes of I420; (H, W, 3) BGR where the encoding is lossless.
            time_ns: Its media time.
            duration_ns: How long it is shown if no other follows; None: as the nominal rate says.

        Returns:
            Its time in the file, in 1 / 90,000 s.
        """
        if self._start_ns is None:
            self._start_ns = time_ns
            if self._sound is not None:
                self._sound.begin(time_ns)
        ticks = round((time_ns - self._start_ns) * TICKS_PER_S / NS_PER_S)
        ticks = max(ticks, self._newest_ticks + 1)  # a clock that stands still or steps back
        self._last_ticks = self._usual_ticks
        if duration_ns is not None:
            self._last_ticks = max(1, round(duration_ns * TICKS_PER_S / NS_PER_S))
        pixel_format = "bgr24" if self._lossless else "yuv420p"
        frame = av.VideoFrame.from_ndarray(pixels, format=pixel_format)
        frame.pts, frame.time_base = ticks, Fraction(1, TICKS_PER_S)
        if self._newest_ticks < 0 or ticks - self._keyframe_ticks >= _KEYFRAME_TICKS:
            frame.pict_type = PictureType.I
            self._keyframe_ticks = ticks
        self._newest_ticks = ticks
        for packet in self._stream.encode(frame):
            self._mux(packet)
        return ticks

    def close(self) -> None:
        """Write what is left and close."""
        try:
            if self._file.error is None:
                for packet in self._stream.encode(None):
                    self._mux(packet)
                self._mux(None)
                self._mux_rest_of_sound()
        finally:
            if self._sound is not None:
                self._sound.close()
            self._container.close()
            self._file.close()

    def _add_stream(self, encoding: H264) -> VideoStream:
        # zerolatency: one packet per frame, in order, nothing buffered in the encoder.
        options = {"preset": encoding.preset, "tune": "zerolatency", "forced-idr": "1"}
        options |= {"qp": "0"} if encoding.lossless else {"crf": str(encoding.crf)}
        add = self._container.add_stream
        stream = (
            add("libx264rgb", options=options)
            if encoding.lossless
            else add("libx264", options=options)
        )
        context = stream.codec_context
        context.thread_count = 1  # the other cores are for inference
        context.time_base = stream.time_base = Fraction(1, TICKS_PER_S)
        if encoding.lossless:
            stream.pix_fmt = "bgr24"
        else:
            stream.pix_fmt = "yuv420p"
            context.color_primaries = context.color_trc = context.colorspace = _BT601_525
            context.color_range = _LIMITED_RANGE
        return stream

    def _mux(self, packet: Packet[VideoStream] | None) -> None:
        """Write the packet before this one, whose duration is now known; None: the last one."""
        held, self._held = self._held, packet
        if held is None or held.pts is None:
            return
        ends = held.pts + self._last_ticks if packet is None or packet.pts is None else packet.pts
        held.duration = ends - held.pts
        if self._sound is not None:  # before the picture: the muxer holds nothing back then
            for part in self._sound.until(Fraction(held.pts, TICKS_PER_S)):
                self._container.mux(part)
        self._container.mux(held)
        self._file.end_of_packet()

    def _mux_rest_of_sound(self) -> None:
        if self._sound is None or self._newest_ticks < 0:
            return
        newest_s = Fraction(self._newest_ticks, TICKS_PER_S)
        ends_s = newest_s + Fraction(self._last_ticks, TICKS_PER_S)
        for part in self._sound.rest(newest_s, ends_s):
            self._container.mux(part)
        self._file.end_of_packet()


class _OutputFile:
    """The file under the muxer. FFmpeg never sees a write fail.

    A muxer whose header could not be written crashes the process when it is used or closed
    (FFmpeg 8 under PyAV 18). So the error is kept, the rest is thrown away, and the file ends
    after the last fragment that got there whole.
    """

    def __init__(self, path: Path) -> None:
        say_if_pipe(path)
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


def has_pictures(path: Path) -> bool:
    """Whether an mp4 of ours has a fragment; the first one stands right after its header."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        return b"moof" in file.read(_LONGEST_HEADER)
    return True
