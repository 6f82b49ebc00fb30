"""Turning and mirroring, for every kind of source."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import cv2

from samcam.live.frames import U8, Frame
from samcam.live.sources.base import SourceInfo, VideoSource, WrappedSource
from samcam.live.sources.options import SourceOptions

_CLOCKWISE = {
    90: cv2.ROTATE_90_CLOCKWISE,
    180: cv2.ROTATE_180,
    270: cv2.ROTATE_90_COUNTERCLOCKWISE,
}


def orient(source: VideoSource, options: SourceOptions) -> VideoSource:
    """Return the source, turned and mirrored where the options ask for it."""
    if options.rotate or options.mirror:
        return OrientedSource(source, options.rotate, options.mirror)
    return source


class OrientedSource(WrappedSource):
    """Another source, turned and then mirrored left to right, as the user sees it."""

    def __init__(self, source: VideoSource, rotate: int, mirror: bool) -> None:
        super().__init__(source)
        self._rotate = rotate
        self._mirror = mirror

    @property
    def info(self) -> SourceInfo:
        """What is known, with the size after turning."""
        info = self._source.info
        width, height = info.size_wh
        return replace(
            info, size_wh=(height, width) if self._rotate in (90, 270) else (width, height)
        )

    def read(self) -> Frame | None:
        """Return the next frame, turned; raises what the source raises."""
        frame = self._source.read()
        if frame is None:
            return None
        image = frame.image_bgr
        if self._rotate:
            image = cast(U8, cv2.rotate(image, _CLOCKWISE[self._rotate]))
        if self._mirror:
            image = cast(U8, cv2.flip(image, 1))
        return replace(frame, image_bgr=image)
