"""What a source of pictures is, and how it reports that it has none for now."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Protocol

from samcam.live.frames import NS_PER_S, U8, Frame


class NoSignal(Exception):
    """A live source has no picture for now; it retries by itself, so read again.

    Not an error: nothing is raised further. Whoever reads waits `retry_in_s` on something that
    can be woken (the stop event), shows "no signal" meanwhile, and calls `read` again, which
    returns the next frame as soon as the source is back.

    Attributes:
        reason: One line for the user.
        retry_in_s: Seconds until `read` tries to reconnect; sooner it raises this again at once.
    """

    def __init__(self, reason: str, retry_in_s: float) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_in_s = retry_in_s


@dataclass(frozen=True, slots=True)
class SoundOrigin:
    """Where a source's sound is.

    Attributes:
        path: The file; None where the source is none, and its sound is not kept.
        name: As the user wrote it, for messages.
        start_s: Corrected container time of media time 0.
        interval_s: How long a picture usually lasts.
        looped: Whether the file starts again at its end.
    """

    path: Path | None
    name: str
    start_s: Fraction
    interval_s: Fraction
    looped: bool = False


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What is known of a source before its first frame.

    Attributes:
        name: As the user wrote it.
        kind: camera, file, picture, folder, url or demo.
        size_wh: Picture size in pixels, after rotation and mirroring.
        fps: Nominal rate in frames per second; times come from the frames.
        frame_count: Number of frames, None when unknown or endless.
        live: True for cameras and URLs, where frames come whether read or not.
        sound: Where its sound is; None where it has none, or none that is kept.
    """

    name: str
    kind: str
    size_wh: tuple[int, int]
    fps: float
    frame_count: int | None
    live: bool
    sound: SoundOrigin | None = None


class VideoSource(Protocol):
    """Gives frames in order. Used by one thread only (the capture thread)."""

    @property
    def info(self) -> SourceInfo: ...

    def read(self) -> Frame | None:
        """Return the next frame; None at the end, again and again, and after `close`.

        Raises:
            NoSignal: Live sources only: lost for now, read again later.
            CaptureError: The source broke and reading on is pointless.
        """

    def close(self) -> None:
        """Release the device or file. Idempotent."""


def broken_frames(source: VideoSource) -> int:
    """Return how many frames `source` could not decode and skipped, each a gap in `index`.

    Kinds of source that can meet such frames count them in an attribute `broken_frames`.
    """
    return int(getattr(source, "broken_frames", 0))


def media_time_ns(index: int, fps: float) -> int:
    """Return the media time of a picture that has none of its own."""
    return round(index * NS_PER_S / fps)


class SteadySource:
    """Pictures that are there whenever they are wanted, at the rate `info.fps`."""

    def __init__(self, info: SourceInfo, picture: Callable[[int], U8]) -> None:
        """Start at frame 0.

        Args:
            info: Its `frame_count` is how many there are; None: no end.
            picture: Returns the (H, W, 3) BGR picture of an index.
        """
        self.info = info
        self._picture = picture
        self._next = 0
        self._closed = False

    def read(self) -> Frame | None:
        """Return the next picture, at the next multiple of 1 / fps."""
        index = self._next
        if self._closed or index == self.info.frame_count:
            return None
        self._next += 1
        image = self._picture(index)
        return Frame(index, media_time_ns(index, self.info.fps), time.perf_counter_ns(), image)

    def close(self) -> None:
        """Stop reading. Idempotent."""
        self._closed = True


class WrappedSource:
    """Another source as it is, for those that change one thing about it."""

    def __init__(self, source: VideoSource) -> None:
        """Wrap a source; `close` closes it."""
        self._source = source

    @property
    def info(self) -> SourceInfo:
        """The source's own."""
        return self._source.info

    @property
    def broken_frames(self) -> int:
        """The source's own."""
        return broken_frames(self._source)

    def read(self) -> Frame | None:
        """Read from the source; raises what it raises."""
        return self._source.read()

    def close(self) -> None:
        """Close the source. Idempotent."""
        self._source.close()
