"""The last frames of a file with a broken one among them, which the decoder's threads would lose.

A decoder with a thread for each frame gives its last frames when it is told that the file ended.
PyAV stops taking them at the first that cannot be decoded, and nobody can ask for the others any
more. So the last packets are kept, and decoded again by one thread where that happened.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Set
from fractions import Fraction
from typing import Final, cast

import av.error
from av.codec.codec import Codec
from av.codec.context import CodecContext, ThreadType
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

_IN_FLIGHT: Final = 48  # packets that a decoder may hold: its threads' and those it reorders
MOST_IN_TAIL: Final = 1000  # packets; a stream without key frames for longer is not decoded again
_MOST_BYTES: Final = 1 << 28  # a decoder holds none of the uncompressed ones, which are this large


class Tail:
    """The newest packets of a stream, from a key frame on."""

    def __init__(self) -> None:
        self._groups: deque[list[Packet[VideoStream]]] = deque()
        self._count = self._bytes = 0

    def note(self, packet: Packet[VideoStream]) -> None:
        """Keep a packet, and forget those that no frame still to come needs."""
        if packet.is_keyframe:
            self._groups.append([])
        if not self._groups:
            return
        self._groups[-1].append(packet)
        self._count += 1
        self._bytes += packet.size
        while self._groups and (
            self._count - len(self._groups[0]) >= _IN_FLIGHT
            or self._count > MOST_IN_TAIL
            or self._bytes > _MOST_BYTES
        ):
            forgotten = self._groups.popleft()
            self._count -= len(forgotten)
            self._bytes -= sum(packet.size for packet in forgotten)

    def remaining(
        self, given: Set[int | None], missing: int, end: Packet[VideoStream]
    ) -> list[VideoFrame | None]:
        """Decode the packets again; return the frames not given yet, None in place of broken ones.

        Args:
            given: Stamps of the frames that were given; they need not grow, as in an AVI. What
                has none cannot be told from these, and is left out.
            missing: How many frames there can be at most; some formats have more packets.
            end: Of `end_of`.
        """
        packets = [packet for group in self._groups for packet in group]
        if not packets:
            return []
        first = end.stream.codec_context
        context = cast(VideoCodecContext, CodecContext.create(Codec(first.codec.name, "r")))
        context.extradata = first.extradata
        context.thread_type = ThreadType.NONE
        context.options = dict(first.options)
        found: list[VideoFrame | None] = []
        for packet in (*packets, end):
            try:
                found += [frame for frame in context.decode(packet) if _is_new(frame, given)]
            except av.error.FFmpegError:  # EINVAL where a stream began in its middle
                if _is_new(packet, given):
                    found.append(None)
        while len(found) > missing and None in found:
            found.remove(None)  # met, and counted, before the end
        return found[-missing:]


def end_of(stream: VideoStream) -> Packet[VideoStream]:
    """Return the packet that tells a decoder of the end; with None frames would have no clock."""
    end = Packet()
    end.stream, end.time_base = stream, cast(Fraction, stream.time_base)
    return cast("Packet[VideoStream]", end)


def stamp(item: Packet[VideoStream] | VideoFrame) -> int | None:
    """Return a packet's or frame's presentation time, or its decoding time where it has none."""
    return item.pts if item.pts is not None else item.dts


def _is_new(item: Packet[VideoStream] | VideoFrame, given: Set[int | None]) -> bool:
    at = stamp(item)
    return at is not None and at not in given
