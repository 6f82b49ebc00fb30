"""A picture, or a folder of pictures in natural order."""

from __future__ import annotations

import logging
import re
import time
from pathlib import Path
from typing import cast

import cv2
import numpy as np

from live.frames import NS_PER_S, U8, Frame
from live.sources.base import CaptureError, SourceInfo
from live.sources.quiet import quiet_opencv

_log = logging.getLogger(__name__)

PICTURE_SUFFIXES = frozenset(
    (".bmp", ".jp2", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
)


def natural_key(name: str) -> list[tuple[int, str]]:
    """Return a sort key that puts "2.png" before "10.png"."""
    parts = re.split(r"(\d+)", name.casefold())
    return [(int(p), "") if p.isdecimal() else (-1, p) for p in parts]


def read_picture(path: Path) -> U8 | None:
    """Return the file as (H, W, 3) BGR, turned as its EXIF says; None when it is no picture.

    Raises:
        CaptureError: The file cannot be read at all.
    """
    try:
        data = np.fromfile(path, np.uint8)  # not cv2.imread: on Windows it fails on some paths
    except OSError as error:
        raise CaptureError(
            f"source {str(path)!r}: cannot be read: {error.strerror or error}; "
            "check that it exists and that you may read it"
        ) from error
    if data.size == 0:
        return None
    try:
        with quiet_opencv():
            image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    except cv2.error:  # beyond OpenCV's limit of pixels, among others
        return None
    return None if image is None else cast(U8, image)


def _media_time_ns(index: int, fps: float) -> int:
    return round(index * NS_PER_S / fps)


class Picture:
    """One picture: one frame, or with `repeat` the same one at `fps` until closed."""

    def __init__(self, path: Path, name: str, fps: float, repeat: bool = False) -> None:
        """Read the file.

        Raises:
            CaptureError: It is missing or no picture.
        """
        image = read_picture(path)
        if image is None:
            raise CaptureError(
                f"source {name!r}: not a readable picture; expected one of "
                f"{' '.join(sorted(PICTURE_SUFFIXES))} or a video file; is it complete?"
            )
        self._image: U8 | None = image
        self._fps = fps
        self._count = None if repeat else 1
        self._next = 0
        self._info = SourceInfo(
            name, "picture", (image.shape[1], image.shape[0]), fps, self._count, live=False
        )

    @property
    def info(self) -> SourceInfo:
        """What is known."""
        return self._info

    def read(self) -> Frame | None:
        """Return the picture, at the next multiple of 1 / fps."""
        if self._image is None or (self._count is not None and self._next >= self._count):
            return None
        index = self._next
        self._next += 1
        return Frame(index, _media_time_ns(index, self._fps), time.perf_counter_ns(), self._image)

    def close(self) -> None:
        """Let go of the picture."""
        self._image = None


class PictureFolder:
    """The pictures of a folder, in natural order of their names; all must have one size.

    A picture that cannot be decoded is counted and skipped; its index stays empty.
    """

    def __init__(self, folder: Path, name: str, fps: float) -> None:
        """List the folder and read its first picture.

        Raises:
            CaptureError: The folder cannot be listed or has no readable picture.
        """
        try:
            found = [p for p in folder.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES]
        except OSError as error:
            raise CaptureError(f"source {name!r}: cannot list the folder: {error}") from error
        if not found:
            raise CaptureError(
                f"source {name!r}: no pictures in this folder; expected files ending in "
                f"{' '.join(sorted(PICTURE_SUFFIXES))}"
            )
        self._paths = sorted(found, key=lambda p: (natural_key(p.name), p.name))
        self._name = name
        self._fps = fps
        self._next = 0
        self._broken = 0
        self._closed = False
        self._size_wh: tuple[int, int] | None = None
        self._first: Frame | None = self._decode_next()
        if self._first is None:
            raise CaptureError(
                f"source {name!r}: none of its {len(self._paths)} pictures can be read; the first "
                f"is {self._paths[0].name!r}"
            )
        self._info = SourceInfo(
            name, "folder", self._first.size_wh, fps, len(self._paths), live=False
        )

    @property
    def info(self) -> SourceInfo:
        """What is known; `frame_count` includes pictures that may turn out to be broken."""
        return self._info

    @property
    def broken_frames(self) -> int:
        """Pictures skipped because they could not be decoded."""
        return self._broken

    def read(self) -> Frame | None:
        """Return the next picture; its index is its place in the order.

        Raises:
            CaptureError: A file cannot be read, or has another size than the first.
        """
        if self._closed:
            return None
        frame, self._first = self._first or self._decode_next(), None
        return frame

    def _decode_next(self) -> Frame | None:
        while self._next < len(self._paths):
            index, path = self._next, self._paths[self._next]
            self._next += 1
            image = read_picture(path)
            if image is None:
                self._broken += 1
                _log.warning("source %r: %s cannot be decoded, skipped", self._name, path.name)
                continue
            size_wh = image.shape[1], image.shape[0]
            if self._size_wh is None:
                self._size_wh = size_wh
            if size_wh != self._size_wh:
                raise CaptureError(
                    f"source {self._name!r}: {path.name} is {size_wh[0]} x {size_wh[1]}, expected "
                    f"{self._size_wh[0]} x {self._size_wh[1]} like the first picture; put pictures "
                    "of one size into the folder"
                )
            return Frame(index, _media_time_ns(index, self._fps), time.perf_counter_ns(), image)
        return None

    def close(self) -> None:
        """Stop reading."""
        self._closed = True
        self._first = None
