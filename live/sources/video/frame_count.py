"""How many frames a file has and how fast they come, as far as that is known before reading it."""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Final

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from samcam.live.sources.iso_boxes import boxes
from samcam.live.sources.video.tail import stamp

PACKETS_FOR_RATE: Final = 24
_DEFAULT_FPS: Final = Fraction(30)
_USUAL_MOST_FPS: Final = 120  # a header that says more may give its clock's ticks: measured instead
_UNKNOWN_FRAMES: Final = 1 << 30  # what an AVI that was written into a pipe says
_DURATION_TAG: Final = re.compile(r"(\d{1,4}):(\d\d):(\d\d(?:\.\d{1,9})?)\Z")
_WHOLE: Final = Fraction(9, 10)  # of the duration that a table must span to be taken for all of it


def indexed(container: InputContainer, stream: VideoStream, path: Path | None) -> tuple[int, int]:
    """Return how many packets and frames a container's index has; 0 where it may not have all.

    A header's own count is no help: of a fragmented mp4 it counts the first part, of an AVI with
    B-frames the fields, and a recorder that was cut off left what it began with.

    Args:
        path: The local file, where it is one.
    """
    if "gif" in container.format.name:
        return 0, stream.frames  # counted by the demuxer, which has read all of it
    if not _index_is_complete(container, stream, path):
        return 0, 0
    entries = [e for e in stream.index_entries if e.size > 0]
    return len(entries), sum(not e.is_discard for e in entries)


def _index_is_complete(container: InputContainer, stream: VideoStream, path: Path | None) -> bool:
    formats = container.format.name.split(",")
    entries = stream.index_entries
    if not len(entries) or not stream.duration or not {"mov", "avi"} & set(formats):
        return False
    if "mov" in formats and (not stream.frames or (path is not None and has_fragments(path))):
        return False
    spanned = entries[len(entries) - 1].timestamp - entries[0].timestamp
    step = spanned / max(1, len(entries) - 1)
    return spanned + step >= stream.duration * _WHOLE


def has_fragments(path: Path) -> bool:
    """Return whether an mp4 goes on in fragments, of which its index need not know; pipes may."""
    if not path.is_file():
        return True
    try:
        with path.open("rb") as file:
            return any(box.kind == b"moof" for box in boxes(file))
    except OSError:  # it is gone, and may have had some
        return True


def header_length_s(container: InputContainer, stream: VideoStream) -> Fraction:
    """Return how long a header says that the whole lasts, in seconds; 0 where it does not."""
    if "avi" in container.format.name.split(",") and 0 < stream.frames < _UNKNOWN_FRAMES:
        # FFmpeg reckons with the bytes that it has, which of a file that was cut are too few.
        return stream.frames * Fraction(stream.time_base or 0)
    return Fraction(container.duration or 0, av.time_base)


def stated_length_s(container: InputContainer, stream: VideoStream) -> Fraction | None:
    """Return how long the pictures of a Matroska file last, in seconds; None where unknown.

    What is known of all streams together, some of which go on longer, says nothing of them. Of
    other formats packets that were cut are known to be.
    """
    whole_s = Fraction(container.duration or 0, av.time_base)
    if not whole_s or "matroska" not in container.format.name.split(","):
        return None
    tag = _DURATION_TAG.match(stream.metadata.get("DURATION", ""))
    if tag is not None:
        hours, minutes, seconds = map(Fraction, tag.groups())
        return min(whole_s, 3600 * hours + 60 * minutes + seconds)
    return whole_s if len(container.streams) == 1 else None


def frame_rate(stream: VideoStream, packets: Sequence[Packet[VideoStream]]) -> Fraction:
    """Return a file's nominal frames per second.

    Args:
        packets: Its first ones, up to `PACKETS_FOR_RATE`: what the header says is checked with
            them where it is missing, doubtful or at odds with itself. An mkv without a frame
            duration says 1000, an MPEG program stream 90,000.
    """
    average = stream.average_rate
    if average and average <= _USUAL_MOST_FPS and average == stream.guessed_rate:
        return average
    times = sorted({at for packet in packets if (at := stamp(packet)) is not None})
    steps = [after - before for before, after in pairwise(times)]
    if steps and stream.time_base:
        return 1 / (statistics.median_high(steps) * stream.time_base)
    usual = (rate for rate in (average, stream.guessed_rate) if rate and rate <= _USUAL_MOST_FPS)
    return next(usual, _DEFAULT_FPS)
