"""Media time of files and recordings: the one place for its rules.

1. Container times come packet by packet, in the order of the file, and pass `MediaClock.correct`
   before anything is decoded or copied. It works on decoding times (dts), which only grow, so
   B-frames need no care.
2. A clock that steps back by more than 0.1 s, or ahead by more than a limit, has started again: two
   recordings were joined, or a camera was restarted. The packet is moved to where the one before it
   ended, and everything after it by as much. The limits are the ffmpeg program's: 10 s in formats
   whose clocks may jump (MPEG-TS and PS, HLS, Ogg), 30 hours in all others, where a long gap is a
   long picture.
3. One stream leads, the shown video; its times do not depend on which others are read. The others
   follow its corrections: around a joint they run on by their own durations until their packets
   have crossed it too.
4. An edit list is the demuxer's matter: packets before the cut are marked "discard", their frames
   never leave the decoder, and they neither move nor are moved by a jump.
5. Media time 0 is the first frame that is shown, whatever the container's clock says there. Sound
   that began earlier has negative times. `FrameTimes.start` is that frame's container time.
6. A frame has a presentation and a decoding time; the one counts that has stepped back less often
   (FFmpeg's "best effort"), which is the decoding time in AVI. Frames without any, or with one that
   is not later than the frame before, follow that one by a nominal interval. Media time only grows.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from samcam.live.frames import NS_PER_S

_TS_DISCONT: Final = 0x200  # AVFMT_TS_DISCONT
# ffmpeg's -dts_delta_threshold and -dts_error_threshold.
_AHEAD_S: Final = 10
_AHEAD_WHERE_CLOCKS_DO_NOT_JUMP_S: Final = 30 * 3600
_BACK_S: Final = Fraction(1, 10)
_DEFAULT_INTERVAL_S: Final = Fraction(1, 30)  # of packets that do not say how long they last
_LONGEST_S: Final = Fraction(3600)  # of one picture; beyond, a header is damaged


@dataclass(slots=True, eq=False)
class _StreamClock:
    """One stream's times, in ticks of its time base.

    Attributes:
        ahead, back: Steps from which on the clock has jumped.
        interval: Length of a packet that does not say its own.
        offset: Added to the container's times.
        expected: Corrected time at which the newest packet ends; None before the first.
        newest: Corrected time of the newest packet.
    """

    time_base: Fraction
    ahead: int
    back: int
    interval: int
    offset: int = 0
    expected: int | None = None
    newest: int = 0

    def jumps(self, at: int) -> bool:
        """Return whether a corrected time cannot follow the newest packet."""
        return self.expected is not None and (
            at - self.expected > self.ahead or at + self.back < self.newest
        )


def own_length_s(
    duration: int | None, time_base: Fraction | None, usual_s: Fraction
) -> Fraction | None:
    """Return how long a picture is shown where it says so and that is long; else None.

    Containers err by a field or a tick, so what is nearly as usual says nothing.

    Args:
        duration: Of its packet or frame, in ticks of `time_base`.
        usual_s: A nominal interval.
    """
    if not duration or time_base is None:
        return None
    length_s = duration * time_base
    return min(length_s, _LONGEST_S) if length_s > 1.5 * usual_s else None


class MediaClock:
    """Makes the times of a container's packets run on where its clock starts again."""

    def __init__(self, container: InputContainer, lead: VideoStream) -> None:
        """Start at the beginning of the container; `lead` is the stream that is shown."""
        jumpy = container.format.flags & _TS_DISCONT
        self._ahead_s = _AHEAD_S if jumpy else _AHEAD_WHERE_CLOCKS_DO_NOT_JUMP_S
        self._lead = lead.index
        self._offset_s = Fraction(0)  # the lead's
        self._streams: dict[int, _StreamClock] = {}

    def correct(self, packet: Packet[Stream] | Packet[VideoStream]) -> None:
        """Move the times of a packet in place; packets come in the order of the file.

        Those of other streams than the lead may be left out, all or some.
        """
        clock = self._streams.get(packet.stream.index) or self._add(packet)
        dts = packet.dts
        if dts is not None and not packet.is_discard:
            self._follow(clock, packet.stream.index, dts)
            clock.newest = dts + clock.offset
            clock.expected = clock.newest + (packet.duration or clock.interval)
        if clock.offset:
            if dts is not None:
                packet.dts = dts + clock.offset
            if packet.pts is not None:
                packet.pts += clock.offset

    def _follow(self, clock: _StreamClock, index: int, dts: int) -> None:
        """Bring `clock.offset` up to date for a packet."""
        if index != self._lead:
            leads = round(self._offset_s / clock.time_base)
            if clock.offset != leads and not clock.jumps(dts + leads):
                clock.offset = leads
        if clock.expected is not None and clock.jumps(dts + clock.offset):
            clock.offset = clock.expected - dts
            if index == self._lead:
                self._offset_s = clock.offset * clock.time_base

    def _add(self, packet: Packet[Stream] | Packet[VideoStream]) -> _StreamClock:
        stream = packet.stream
        base = packet.time_base
        rate = stream.average_rate if isinstance(stream, VideoStream) else None
        interval_s = 1 / rate if rate else _DEFAULT_INTERVAL_S
        clock = _StreamClock(
            time_base=base,
            ahead=round(self._ahead_s / base),
            back=round(_BACK_S / base),
            interval=max(1, round(interval_s / base)),
            offset=round(self._offset_s / base),
        )
        self._streams[stream.index] = clock
        return clock


class FrameTimes:
    """Media times of the shown frames of one stream, from 0, in the order in which they come.

    Attributes:
        start: Corrected container time of media time 0 in seconds; None before a frame had a time.
    """

    def __init__(self, interval_ns: int, container: InputContainer) -> None:
        """Start before the first frame; those without a time last `interval_ns`."""
        self._interval_ns = interval_ns
        self.start: Fraction | None = None
        self._last_ns = -interval_ns
        self._newest_pts = self._newest_dts = -(2**63)
        self._faulty_dts = 0
        # AVI stores no presentation times, and FFmpeg's own are wrong where there are B-frames.
        self._faulty_pts = 1 if container.format.name == "avi" else 0

    def time_ns(self, frame: VideoFrame) -> int:
        """Return the media time of the next frame."""
        next_ns = self._last_ns + self._interval_ns
        stamp = self._stamp(frame)
        time_ns = next_ns
        if stamp is not None and frame.time_base is not None:
            at = stamp * frame.time_base
            if self.start is None:
                self.start = at - Fraction(next_ns, NS_PER_S)
            time_ns = round((at - self.start) * NS_PER_S)
        if time_ns <= self._last_ns:
            time_ns = next_ns
        self._last_ns = time_ns
        return time_ns

    def _stamp(self, frame: VideoFrame) -> int | None:
        """Return a frame's time in ticks: of its two the one that stepped back less often."""
        pts, dts = frame.pts, frame.dts
        if dts is not None:
            self._faulty_dts += dts <= self._newest_dts
            self._newest_dts = dts
        if pts is not None:
            self._faulty_pts += pts <= self._newest_pts
            self._newest_pts = pts
        if pts is None or (dts is not None and self._faulty_pts > self._faulty_dts):
            return dts
        return pts
