"""`--loop`: a source that starts again at its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from samcam.live.errors import CaptureError
from samcam.live.frames import NS_PER_S, Frame
from samcam.live.sources.base import SourceInfo, VideoSource, WrappedSource, broken_frames


class LoopedSource(WrappedSource):
    """Opens a source again whenever it ends; indices and times go on, as if it were one long one.

    The first picture of a round comes one frame's time after the last one of the round before.
    """

    def __init__(self, reopen: Callable[[], VideoSource]) -> None:
        """Open the first round.

        Args:
            reopen: Opens the source; called by the reading thread at every end.

        Raises:
            CaptureError: It cannot be opened.
        """
        self._reopen = reopen
        super().__init__(reopen())
        info = self._source.info
        sound = None if info.sound is None else replace(info.sound, looped=True)
        self._info = replace(info, frame_count=None, sound=sound)
        self._closed = False
        self._earlier_broken = 0
        self._first_index = self._first_ns = 0  # of this round
        self._next_index = self._next_ns = 0  # after the newest frame

    @property
    def info(self) -> SourceInfo:
        """The source's own, without an end."""
        return self._info

    @property
    def broken_frames(self) -> int:
        """Of all rounds."""
        return self._earlier_broken + broken_frames(self._source)

    def read(self) -> Frame | None:
        """Return the next frame; None after `close` only.

        Raises:
            CaptureError: The source broke, is gone, or has no frame any more.
        """
        if self._closed:
            return None
        frame = self._source.read() or self._start_again()
        index, time_ns = self._first_index + frame.index, self._first_ns + frame.time_ns
        self._next_index = index + 1
        lasts_ns = frame.duration_ns or round(NS_PER_S / self._info.fps)
        self._next_ns = time_ns + lasts_ns
        return replace(frame, index=index, time_ns=time_ns)

    def _start_again(self) -> Frame:
        self._earlier_broken = self.broken_frames
        self._source.close()
        source = self._source = self._reopen()
        if source.info.size_wh != self._info.size_wh:
            width, height = source.info.size_wh
            raise CaptureError(
                f"source {self._info.name!r}: has {width} x {height} pixels now, expected "
                f"{self._info.size_wh[0]} x {self._info.size_wh[1]} as in the round before; "
                "with --loop a file must stay as it is"
            )
        frame = source.read()
        if frame is None:
            raise CaptureError(
                f"source {self._info.name!r}: has no picture any more; with --loop a file must "
                "stay as it is"
            )
        # a file's first frame need not be at 0
        self._first_index = self._next_index - frame.index
        self._first_ns = self._next_ns - frame.time_ns
        return frame

    def close(self) -> None:
        """Close the source. Idempotent."""
        self._closed = True
        super().close()
