"""A source of which only the first frame is wanted."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from samcam.live.errors import ConfigError
from samcam.live.frames import Frame
from samcam.live.sources.base import SourceInfo, VideoSource, WrappedSource

_STILL_KINDS: Final = ("picture", "folder")


class FirstFrame(WrappedSource):
    """A source of which only the first frame is read."""

    def __init__(self, source: VideoSource) -> None:
        """Wrap a source; `close` closes it."""
        super().__init__(source)
        self._read = False

    @property
    def info(self) -> SourceInfo:
        """As the source says, but for its length."""
        return replace(self._source.info, frame_count=1)

    def read(self) -> Frame | None:
        """Return the first frame, then None.

        Raises:
            CaptureError: The source cannot be read.
        """
        if self._read:
            return None
        self._read = True
        return super().read()


def to_suggest_for(source: VideoSource) -> VideoSource:
    """Return a source with what proposals are made for: all pictures, of a video the first frame.

    Raises:
        ConfigError: A camera or a URL.
    """
    info = source.info
    if info.live:
        raise ConfigError(
            f"--suggest: source {info.name!r} is live; expected a picture, a folder of pictures, "
            "or a video file, of which the first frame is taken"
        )
    return source if info.kind in _STILL_KINDS else FirstFrame(source)
