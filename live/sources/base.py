"""What a source of pictures is, and the error it raises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from live.frames import Frame


class CaptureError(OSError):
    """A source cannot be opened or read; the message says which, why and what to do."""


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
    """

    name: str
    kind: str
    size_wh: tuple[int, int]
    fps: float
    frame_count: int | None
    live: bool


class VideoSource(Protocol):
    """Gives frames in order. Used by one thread only (the capture thread)."""

    @property
    def info(self) -> SourceInfo: ...

    def read(self) -> Frame | None:
        """Return the next frame, None at the end.

        Raises:
            CaptureError: The source broke and reading on is pointless.
        """

    def close(self) -> None:
        """Release the device or file. Idempotent."""
