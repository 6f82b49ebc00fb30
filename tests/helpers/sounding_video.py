"""Small videos that flash white and beep at the same moments, and what eye and ear find of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import numpy as np

from samcam.live.frames import F32

FPS: Final = 25
RATE_HZ: Final = 48_000
SIZE_WH: Final = (96, 64)
EVENTS_S: Final = (0.6, 1.4)
LONG_S: Final = 0.2
_LOUD: Final = 0.03
_APART_S: Final = 0.3


def write_clip(
    path: Path,
    codecs: tuple[str, str],
    seconds: float = 2.0,
    sound_s: float | None = None,
    shift_s: float = 0.0,
    last_s: float | None = None,
) -> Path:
    """Write a video that flashes and beeps at `EVENTS_S`.

    Args:
        path: Its name says which container.
        codecs: Encoders of pictures and sound.
        seconds: Length of the pictures.
        sound_s: Length of the sound; None: as long as the pictures.
        shift_s: How much later than the pictures the sound begins and beeps.
        last_s: How long the last picture stays; None: as long as the others.
    """
    with av.open(str(path), "w") as file:
        pictures = file.add_stream(codecs[0], rate=FPS)
        pictures.width, pictures.height = SIZE_WH
        pictures.pix_fmt = "yuv420p"
        sound = file.add_stream(codecs[1], rate=RATE_HZ, layout="mono")
        wave = beeps(seconds if sound_s is None else sound_s)
        made: list[av.Packet] = []
        for index in range(round(seconds * FPS)):
            at_s = index / FPS
            level = 235 if any(e <= at_s < e + LONG_S - 1e-6 for e in EVENTS_S) else 16
            image = np.full((SIZE_WH[1], SIZE_WH[0], 3), level, np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            frame.pts, frame.time_base = index, Fraction(1, FPS)
            made += pictures.encode(frame)
        made += pictures.encode(None)
        if last_s is not None:
            last = max(made, key=lambda packet: packet.pts or 0)
            last.duration = round(last_s / last.time_base)
        resampler = av.AudioResampler(sound.format.name, "mono", RATE_HZ, sound.frame_size or 1024)
        whole = av.AudioFrame.from_ndarray(wave[None], "flt", "mono")
        whole.sample_rate, whole.pts, whole.time_base = RATE_HZ, 0, Fraction(1, RATE_HZ)
        begin = round(shift_s * RATE_HZ)
        for part in [*resampler.resample(whole), *resampler.resample(None)]:
            part.pts = (part.pts or 0) + begin
            made += sound.encode(part)
        made += sound.encode(None)
        for packet in sorted(made, key=lambda packet: (packet.dts or 0) * packet.time_base):
            file.mux(packet)
    return path


def beeps(seconds: float) -> F32:
    """Return the sound: 1 kHz at `EVENTS_S`, else silence."""
    at_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    on = np.any([(at_s >= e) & (at_s < e + LONG_S) for e in EVENTS_S], axis=0)
    return (0.5 * np.sin(2 * np.pi * 1000 * at_s) * on).astype(np.float32)


@dataclass(frozen=True)
class Seen:
    """What a file shows, in seconds of the file.

    Attributes:
        flashes, beeps: Where they begin.
        pictures_s, sound_s: Where pictures and sound end; 0 where there are none.
        codec: Of the sound; "" where there is none.
        packets: Of the sound as they are stored, without their times.
    """

    flashes: Sequence[float]
    beeps: Sequence[float]
    pictures_s: float
    sound_s: float
    codec: str
    packets: Sequence[bytes]


def look_and_listen(path: Path) -> Seen:
    """Play a file."""
    white, pictures_s = [], 0.0
    with av.open(str(path)) as file:
        for frame in file.decode(video=0):
            at_s = float((frame.pts or 0) * (frame.time_base or 0))
            pictures_s = at_s + 1 / FPS
            if frame.to_ndarray(format="gray").mean() > 128:
                white.append(at_s)
    with av.open(str(path)) as file:
        if not file.streams.audio:
            return Seen(_starts(white), (), pictures_s, 0.0, "", ())
        codec = file.streams.audio[0].codec_context.codec.canonical_name
        resampler = av.AudioResampler("flt", "mono", RATE_HZ)
        loud, sound_s = [], 0.0
        for frame in file.decode(audio=0):
            for part in resampler.resample(frame):
                samples = np.abs(part.to_ndarray()[0])
                begin_s = float((part.pts or 0) * (part.time_base or 0))
                loud += (begin_s + np.flatnonzero(samples > _LOUD) / RATE_HZ).tolist()
                sound_s = begin_s + len(samples) / RATE_HZ
    with av.open(str(path)) as file:
        packets = [bytes(packet) for packet in file.demux(audio=0) if packet.size]
    return Seen(_starts(white), _starts(loud), pictures_s, sound_s, codec, packets)


def _starts(times_s: Sequence[float]) -> list[float]:
    """Return the times that do not follow another one closely."""
    return [
        at_s
        for place, at_s in enumerate(times_s)
        if not place or at_s - times_s[place - 1] > _APART_S
    ]
