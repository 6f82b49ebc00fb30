"""A video as background: the picture of a media time, over and over, decoded as it is needed."""

from __future__ import annotations

import logging
from pathlib import Path

from samcam.live.effects.blend import scaled_to_cover
from samcam.live.errors import CaptureError
from samcam.live.frames import U8
from samcam.live.sources import MAX_MEGAPIXELS, SourceOptions, VideoSource
from samcam.live.sources.pictures import is_picture, open_picture
from samcam.live.sources.video import VideoFile
from samcam.system.files import is_pipe

_MOST_FRAMES_AT_ONCE = 600  # decoded for one picture; beyond, the video is behind for a while

_log = logging.getLogger(__name__)


class BackgroundVideo:
    """One picture of the video and the next one; used by one thread.

    The first picture asked for is the video's first. Where it breaks while running, its last good
    picture stays and the log says so once: a background must not end a stream.
    """

    def __init__(self, path: Path, name: str, max_megapixels: float = MAX_MEGAPIXELS) -> None:
        """Open the video and decode its first picture.

        Args:
            path: The file.
            name: As the user wrote it, for messages.
            max_megapixels: A larger video is refused.

        Raises:
            CaptureError: It is missing, unreadable, too large or no video.
        """
        self._path, self._name, self._max_megapixels = path, name, max_megapixels
        self._reader: VideoSource | None = self._open()
        first = self._reader.read()
        assert first is not None  # nothing opens without one
        self._now = self._next = first
        self._interval_ns = round(1e9 / self._reader.info.fps)
        self._origin_ns: int | None = None  # media time at which this turn began
        self._asked_ns = 0
        self._shown: tuple[object, tuple[int, int], U8] | None = None

    def picture(self, time_ns: int, size_wh: tuple[int, int]) -> U8:
        """Return the (H, W, 3) uint8 BGR picture of a media time, scaled to cover; read-only.

        Args:
            time_ns: Media time; where it steps back, the video starts again.
            size_wh: Width and height in pixels.
        """
        if self._origin_ns is None or (time_ns < self._asked_ns and self._rewind()):
            self._origin_ns = time_ns
        self._asked_ns = time_ns
        for _ in range(_MOST_FRAMES_AT_ONCE):
            if self._origin_ns + self._next.time_ns > time_ns or not self._advance():
                break
        if self._shown is None or self._shown[0] is not self._now or self._shown[1] != size_wh:
            self._shown = (self._now, size_wh, scaled_to_cover(self._now.image_bgr, size_wh))
        return self._shown[2]

    def close(self) -> None:
        """Close the file; the last picture stays. Idempotent."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _advance(self) -> bool:
        """Make the next picture the present one; False where there is none any more."""
        if self._reader is None or self._origin_ns is None or self._reader.info.frame_count == 1:
            return False
        self._now = self._next
        try:
            following = self._reader.read()
        except CaptureError as error:
            self._give_up(error)
            return False
        if following is not None:
            self._next = following
            return True
        length_ns = self._now.time_ns + (self._now.duration_ns or self._interval_ns)
        if not self._rewind():
            return False
        # The last picture stays for its interval; then the first one of the next turn follows.
        self._origin_ns += length_ns
        return True

    def _open(self) -> VideoSource:
        """Open a video, or a picture, which need not move."""
        if is_pipe(self._path):
            raise CaptureError(f"source {self._name!r}: a pipe, which can be read once only")
        try:
            picture = is_picture(self._path)
        except OSError:
            picture = False  # `VideoFile` says what is wrong
        if picture:
            options = SourceOptions(max_megapixels=self._max_megapixels)
            return open_picture(self._path, self._name, options)
        return VideoFile.open(self._path, self._name, self._max_megapixels)

    def _rewind(self) -> bool:
        """Start the video again: `_next` is its first picture."""
        if self._reader is None:
            return False
        self._reader.close()
        try:
            self._reader = self._open()
            first = self._reader.read()
        except CaptureError as error:
            self._give_up(error)
            return False
        assert first is not None
        self._next = first
        return True

    def _give_up(self, error: CaptureError) -> None:
        _log.warning("effect.replace.video: %s; its last picture stays", error)
        self.close()
