"""Sound for an mp4: copied where players know the codec in one, else encoded as AAC."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Final, cast

import av.error
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.bitstream import BitStreamFilterContext
from av.codec.context import CodecContext
from av.container import OutputContainer
from av.packet import Packet

from samcam.live.errors import CaptureError
from samcam.live.frames import F32
from samcam.live.sources import SoundOrigin
from samcam.live.sources.video import SoundPacket, SoundTrack

COPIED: Final = ("aac", "mp3", "ac3", "eac3", "alac", "opus", "flac")
_LAYOUTS: Final = {
    1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1",
}  # fmt: skip
_ENCODED_LAYOUTS: Final = ("mono", "stereo", "5.1")  # all others become stereo
_RATES_HZ: Final = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025)
_LEAST_HZ: Final = 8000
_BIT_RATE_PER_CHANNEL: Final = 96_000
_SAMPLES: Final = 1024  # in one packet of AAC
_LONGEST_TAIL: Final = 2048  # packets after the last picture, about 40 s
_LARGEST_SLIP_S: Final = 0.012  # larger gaps become silence; smaller ones are rounding

_log = logging.getLogger(__name__)


def codec_name(stream: AudioStream) -> str:
    """Return the codec's own name, whichever decoder is in use: mp3 for mp3float."""
    return stream.codec_context.codec.canonical_name


def open_sound(origin: SoundOrigin, output: str) -> Sound | None:
    """Open a source's sound for an output; where that cannot be, say so in one line.

    Args:
        origin: Where it is.
        output: Name of the output, for messages.
    """
    try:
        track = SoundTrack(origin)
        first = track.read()
    except (CaptureError, ValueError, av.error.FFmpegError, OSError) as error:
        _log.warning("%s: the sound is left out: %s", output, error)
        return None
    if first is None:  # a stream without a packet, or of which no round of a loop plays any
        _log.info("%s: the source's sound is empty", output)
        track.close()
        return None
    codec = codec_name(track.stream)
    if codec in COPIED:
        return Sound(track, origin.name, first)
    channels = _channels(track.stream, first.packet)
    if channels not in _LAYOUTS:
        _log.warning("%s: the sound is left out: it has %d channels", output, channels)
        track.close()
        return None
    _log.info("%s: the sound (%s) is re-encoded as AAC", output, codec)
    return Sound(track, origin.name, first, _LAYOUTS[channels])


def _channels(stream: AudioStream, packet: Packet[AudioStream]) -> int:
    """Return how many channels a stream has, of PCM from the size of a packet.

    PyAV must not be asked for channels in an unusual order, such as a QuickTime file may have: it
    frees their names twice, which ends the process (PyAV 18.1).
    """
    bits = re.match(r"pcm_(?:[suf](\d+)|(?:mu|a)law)", codec_name(stream))
    if bits is None or not packet.duration or packet.time_base is None:
        return stream.codec_context.channels
    samples = packet.duration * packet.time_base * stream.codec_context.sample_rate
    return round(packet.size * 8 / (int(bits[1] or 8) * samples))


class Sound:
    """A file's sound on its way into an mp4; used by one thread.

    Where the file breaks on the way, the sound ends there, and the log says so once: pictures must
    not end with it.
    """

    def __init__(
        self, track: SoundTrack, name: str, first: SoundPacket, layout: str | None = None
    ) -> None:
        """Take over a track: `close` closes it.

        Args:
            track: The source's.
            name: Of the source, for messages.
            first: What was read from the track already.
            layout: Of its channels, where it is to be encoded; None: packets are passed on.
        """
        self._track = track
        self._name = name
        self._next: SoundPacket | None = first
        self._layout = layout
        self._ended = False
        self._begin_s = Fraction(0)
        self._writer: _Copy | _Encoding | None = None

    def join(self, container: OutputContainer) -> None:
        """Add a stream to a file whose header is not written yet."""
        stream = self._track.stream
        self._writer = (
            _Copy(stream, container)
            if self._layout is None
            else _Encoding(stream, container, self._layout)
        )

    def begin(self, media_ns: int) -> None:
        """Say at which media time the file begins."""
        self._begin_s = Fraction(media_ns, 1_000_000_000)

    def until(self, file_s: Fraction) -> Iterator[Packet[AudioStream]]:
        """Give the packets that begin before a time of the file, with times of the file."""
        while self._writer is not None and not self._ended:
            sound = self._next or self._read()
            if sound is None:
                return
            at_s = sound.at_s - self._begin_s
            if at_s >= file_s:
                self._next = sound
                return
            self._next = None
            # One packet from before the beginning stays: decoders need it for the one after it.
            if at_s + 2 * (sound.ends_s - sound.at_s) > 0:
                yield from self._written(self._writer, sound.packet, at_s)

    def rest(self, picture_s: Fraction, file_s: Fraction) -> Iterator[Packet[AudioStream]]:
        """Give what is left at the end, and what the encoder holds back.

        Args:
            picture_s: Time of the last picture in the file. Where it is the source's last, sound
                that is longer than the pictures is kept whole.
            file_s: Time at which that picture ends; else the sound is cut there.
        """
        yield from self.until(file_s)
        if self._writer is None:
            return
        last_s = picture_s + self._begin_s + self._track.half_picture_s
        for sound in self._tail(last_s):
            yield from self._written(self._writer, sound.packet, sound.at_s - self._begin_s)
        yield from self._writer.rest()

    def _tail(self, last_s: Fraction) -> Sequence[SoundPacket]:
        """Return what follows the last picture, nothing where another picture follows it."""
        tail: list[SoundPacket] = []
        while not self._ended and not self._track.looped and len(tail) < _LONGEST_TAIL:
            sound, self._next = self._next or self._read(), None
            if self._track.newest_picture_s > last_s:
                return ()
            if sound is not None:
                tail.append(sound)
        return tail

    def close(self) -> None:
        """Close the track. Idempotent."""
        self._ended = True
        self._track.close()

    def _read(self) -> SoundPacket | None:
        try:
            sound = self._track.read()
        except (av.error.FFmpegError, OSError, CaptureError) as error:
            _log.warning("source %r: its sound cannot be read on: %s", self._name, error)
            sound = None
        self._ended = sound is None
        return sound

    def _written(
        self, writer: _Copy | _Encoding, packet: Packet[AudioStream], at_s: Fraction
    ) -> Iterator[Packet[AudioStream]]:
        try:
            yield from writer.write(packet, at_s)
        except av.error.InvalidDataError:
            return  # a broken packet: what it held stays silent


class _Copy:
    """Passes packets on."""

    def __init__(self, template: AudioStream, container: OutputContainer) -> None:
        self._stream = container.add_stream_from_template(template)
        self._tick_s = Fraction(1, template.codec_context.sample_rate)
        self._newest = -(1 << 62)  # in ticks
        self._framed: BitStreamFilterContext | None = None
        if codec_name(template) == "aac" and not template.codec_context.extradata:
            # ADTS, as in MPEG-TS: an mp4 has what its headers say in one place
            self._framed = BitStreamFilterContext("aac_adtstoasc", template)

    def write(self, packet: Packet[AudioStream], at_s: Fraction) -> Iterator[Packet[AudioStream]]:
        """Give the packet with its new time; none where it would step back."""
        at = round(at_s / self._tick_s)
        if at <= self._newest or packet.time_base is None:
            return
        self._newest = at
        duration = round((packet.duration or 0) * packet.time_base / self._tick_s)
        for part in [packet] if self._framed is None else self._framed.filter(packet):
            part.stream = self._stream
            part.time_base = self._tick_s
            part.pts = part.dts = at
            part.duration = duration
            yield part

    def rest(self) -> Sequence[Packet[AudioStream]]:
        """Return nothing: no packet is held back."""
        return ()


class _Encoding:
    """Decodes, and encodes as AAC."""

    def __init__(self, template: AudioStream, container: OutputContainer, layout: str) -> None:
        rate_hz = _nearest_rate(template.codec_context.sample_rate)
        self._decoder = _decoder_of(template, layout)
        layout = layout if layout in _ENCODED_LAYOUTS else "stereo"
        self._stream = container.add_stream("aac", rate=rate_hz, layout=layout)
        self._stream.bit_rate = _BIT_RATE_PER_CHANNEL * self._stream.codec_context.channels
        self._rate_hz, self._layout = rate_hz, layout
        self._resampler = AudioResampler(format="fltp", layout=layout, rate=rate_hz)
        self._samples: F32 = np.zeros((self._stream.codec_context.channels, 0), np.float32)
        self._done = 0  # samples that went to the encoder

    def write(self, packet: Packet[AudioStream], at_s: Fraction) -> Iterator[Packet[AudioStream]]:
        """Give what the encoder makes of a packet."""
        assert packet.pts is not None
        assert packet.time_base is not None
        shift_s = at_s - packet.pts * packet.time_base
        for frame in self._decoder.decode(packet):
            at_frame_s = at_s
            if frame.pts is not None and frame.time_base is not None:
                at_frame_s = frame.pts * frame.time_base + shift_s
            frame.pts = None
            for ready in self._resampler.resample(frame):
                self._add(np.asarray(ready.to_ndarray(), np.float32), at_frame_s)
        while self._samples.shape[1] >= _SAMPLES:
            yield from self._encode(_SAMPLES)

    def rest(self) -> Iterator[Packet[AudioStream]]:
        """Give the last packets."""
        if self._samples.shape[1]:
            yield from self._encode(self._samples.shape[1])
        if self._done:
            yield from self._stream.encode(None)

    def _add(self, samples: F32, at_s: Fraction) -> None:
        """Append samples at their time: gaps are filled with silence, overlaps cut."""
        slip = round(at_s * self._rate_hz) - self._done - self._samples.shape[1]
        if not self._done and not self._samples.size and slip < 0:
            samples = samples[:, -slip:]  # before the beginning of the file
        elif slip > _LARGEST_SLIP_S * self._rate_hz or (slip > 0 and not self._done):
            silence = np.zeros((samples.shape[0], slip), np.float32)
            samples = np.concatenate((silence, samples), axis=1)
        elif slip < -_LARGEST_SLIP_S * self._rate_hz:
            samples = samples[:, -slip:]
        self._samples = np.concatenate((self._samples, samples), axis=1)

    def _encode(self, count: int) -> Iterator[Packet[AudioStream]]:
        part, self._samples = self._samples[:, :count], self._samples[:, count:]
        frame = AudioFrame.from_ndarray(np.ascontiguousarray(part), "fltp", self._layout)
        frame.sample_rate = self._rate_hz
        frame.pts, frame.time_base = self._done, Fraction(1, self._rate_hz)
        self._done += count
        yield from self._stream.encode(frame)


def _decoder_of(stream: AudioStream, layout: str) -> AudioCodecContext:
    """Return what decodes a stream.

    PCM gets one of its own, with the usual order of its channels; see `_channels`.
    """
    codec = codec_name(stream)
    if not codec.startswith("pcm_"):
        return stream.codec_context
    made = cast(AudioCodecContext, CodecContext.create(codec, "r"))
    made.sample_rate = stream.codec_context.sample_rate
    made.layout = layout
    return made


def _nearest_rate(rate_hz: int) -> int:
    """Return the rate of AAC that is as high, or the next lower one."""
    return next((known for known in _RATES_HZ if known <= rate_hz), _LEAST_HZ)
