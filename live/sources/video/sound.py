"""The sound of a video file, packet by packet, on the media time of its pictures.

It is read beside the pictures, from a second opening of the file and on another thread: who writes
it asks for it as far as it is wanted. The video's packets pass by too, undecoded, because the rules
of `live.sources.video.media_time` need them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, cast

from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition, Stream

from samcam.live.sources.base import SoundOrigin
from samcam.live.sources.video.decoding import best_video_stream, open_file
from samcam.live.sources.video.media_time import MediaClock, own_length_s

_MOST_WAITING: Final = 4096  # packets of a looped file that wait for its video, for a minute


@dataclass(frozen=True, slots=True, eq=False)
class SoundPacket:
    """A packet of sound.

    Attributes:
        packet: As the file has it, its times corrected; of a stream that may be closed by now.
        at_s: Its media time; before 0 where the sound begins before the pictures.
        ends_s: Media time at which it ends.
    """

    packet: Packet[AudioStream]
    at_s: Fraction
    ends_s: Fraction


def sound_stream(container: InputContainer) -> AudioStream | None:
    """Return the sound that is marked as the default one, else the first; None without any."""
    # Where FFmpeg has no decoder, PyAV has None for it, and not even the rate is known.
    known = [s for s in container.streams.audio if getattr(s.codec_context, "sample_rate", 0)]
    return max(known, key=lambda stream: stream.disposition & Disposition.default, default=None)


class SoundTrack:
    """Gives the sound of a file in order; used by one thread.

    Attributes:
        looped: Whether it has no end.
        half_picture_s: Half of what a picture lasts: times that are closer are the same picture's.
        stream: Of the newest round.
    """

    def __init__(self, origin: SoundOrigin) -> None:
        """Open the file.

        Raises:
            CaptureError: It cannot be opened any more.
            ValueError: It is no file, or has no sound that can be read.
        """
        if origin.path is None:
            raise ValueError(f"source {origin.name!r} is no file; expected a copy on this machine")
        self._path = origin.path
        self._origin = origin
        self.looped = origin.looped
        self.half_picture_s = origin.interval_s / 2
        self._round_s = Fraction(0)  # media time at which this round of a looped file began
        self._newest_s = Fraction(0)  # of the round's pictures
        self._newest_ends_s = Fraction(0)
        self._ready: deque[SoundPacket] = deque()
        self._open()

    @property
    def newest_picture_s(self) -> Fraction:
        """Media time of the latest picture that was passed by."""
        return self._round_s + self._newest_s

    def read(self) -> SoundPacket | None:
        """Return the next packet; None at the end.

        Raises:
            av.error.FFmpegError: The file cannot be read on.
            OSError: As above.
            CaptureError: A looped file cannot be opened again.
        """
        while not self._ready:
            packet = next(self._packets, None)
            if packet is None and not self._next_round():
                return None
            if packet is not None:
                self._take(packet)
        self._gave = True
        return self._ready.popleft()

    def close(self) -> None:
        """Close the file. Idempotent."""
        self._ready.clear()
        self._container.close()

    def _open(self) -> None:
        self._container = open_file(self._path, self._origin.name)
        stream = sound_stream(self._container)
        if stream is None:
            self._container.close()
            raise ValueError(f"source {self._origin.name!r} has no sound that this FFmpeg can read")
        lead = best_video_stream(self._container)
        self.stream, self._lead = stream, lead
        self._clock = MediaClock(self._container, lead)
        self._packets: Iterator[Packet[Stream]] = self._container.demux(lead, stream)
        self._gave = False  # a packet, in this round
        self._waiting: deque[SoundPacket] = deque()

    def _take(self, packet: Packet[Stream]) -> None:
        """Note how far the pictures are; make a packet of sound ready to be given."""
        if packet.pts is None or not packet.size or packet.time_base is None:
            return
        self._clock.correct(packet)
        at_s = packet.pts * packet.time_base - self._origin.start_s
        if packet.stream is self._lead:
            if not packet.is_discard and at_s >= self._newest_s:
                usual_s = self._origin.interval_s
                length_s = own_length_s(packet.duration, packet.time_base, usual_s)
                self._newest_s, self._newest_ends_s = at_s, at_s + (length_s or usual_s)
        else:
            ends_s = at_s + (packet.duration or 0) * packet.time_base
            sound = cast("Packet[AudioStream]", packet)
            self._waiting.append(SoundPacket(sound, at_s + self._round_s, ends_s + self._round_s))
        if self.looped:  # what comes after the last picture is left out
            limit_s = self._round_s + self._newest_s
            if len(self._waiting) > _MOST_WAITING:
                self._ready.append(self._waiting.popleft())
        while self._waiting and (not self.looped or self._waiting[0].ends_s <= limit_s):
            self._ready.append(self._waiting.popleft())

    def _next_round(self) -> bool:
        """Open a looped file again; False where it is not looped, or has nothing to give."""
        ends_s = self._round_s + self._newest_ends_s
        self._ready.extend(sound for sound in self._waiting if sound.ends_s <= ends_s)
        if not self.looped or not (self._ready or self._gave):
            return False  # no round will ever give what this one has not
        self._container.close()
        self._round_s = ends_s
        self._newest_s = self._newest_ends_s = Fraction(0)
        self._open()
        return True
