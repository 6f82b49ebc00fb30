"""A picture, moving pictures, the pages of a document, or a folder of pictures."""

from __future__ import annotations

import logging
import statistics
import time
from abc import ABC, abstractmethod
from contextlib import closing
from pathlib import Path
from typing import Final

from samcam.live.errors import CaptureError
from samcam.live.frames import NS_PER_MS, NS_PER_S, U8, Frame
from samcam.live.sources.base import SourceInfo, SteadySource, VideoSource, media_time_ns
from samcam.live.sources.options import MAX_MEGAPIXELS, SourceOptions
from samcam.live.sources.pictures.file import PictureError, PictureFile
from samcam.live.sources.pictures.kinds import PICTURE_SUFFIXES
from samcam.live.sources.pictures.listing import list_pictures
from samcam.live.sources.pictures.pixels import Depth
from samcam.live.sources.video.displayed import letterboxed

_MOST_NAMED: Final = 20  # unreadable pictures with a line of their own; further ones are counted

_log = logging.getLogger(__name__)


def read_picture(path: Path, name: str, max_megapixels: float = MAX_MEGAPIXELS) -> U8:
    """Return a picture file as (H, W, 3) BGR, upright; of several the first.

    Args:
        name: What it is, as the user wrote it, for messages.
        max_megapixels: Larger ones are refused before they are decoded.

    Raises:
        PictureError: It is no picture, damaged or too large.
        OSError: It cannot be read at all.
    """
    with closing(PictureFile(path, max_megapixels)) as file:
        image = file.read().image_bgr
        _log_notes(name, file, set(), first_only=True)
    return image


def open_picture(path: Path, name: str, options: SourceOptions) -> VideoSource:
    """Open a picture file: one picture, or all that it holds one after the other.

    Raises:
        CaptureError: It is missing, no picture, damaged or too large.
    """
    try:
        file = PictureFile(path, options.max_megapixels)
        if file.page_count > 1:
            return PictureSequence(file, name, options.fps)
        with closing(file):
            image = file.read().image_bgr
            _log_notes(name, file, set())
    except PictureError as error:
        raise CaptureError(f"source {name!r}: {error}") from error
    except OSError as error:
        raise CaptureError(
            f"source {name!r}: cannot be read: {error.strerror or error}; "
            "check that it exists and that you may read it"
        ) from error
    count = None if options.repeat_picture else 1
    info = SourceInfo(name, "picture", image.shape[1::-1], options.fps, count, live=False)
    return SteadySource(info, lambda index: image)


def _log_notes(name: str, file: PictureFile, logged: set[str], first_only: bool = False) -> None:
    """Log what was left out of a picture that was read, each thing once.

    Args:
        name: As the user wrote it.
        logged: What was logged before; grows.
        first_only: Whether one page of several was read.
    """
    notes = list(file.notes)
    if first_only and file.page_count > 1:
        notes.append(f"of its {file.page_count} pictures the first is taken")
    for note in notes:
        if note not in logged:
            logged.add(note)
            _log.warning("%s: %s", name, note)


class _Pictures(ABC):
    """What sequences and folders share: sizes, gaps of what cannot be read, and warnings.

    Attributes:
        info: Its `frame_count` includes pictures that may turn out to be broken.
        broken_frames: Pictures skipped because they could not be read.
    """

    info: SourceInfo

    def __init__(self, name: str, count: int) -> None:
        self.broken_frames = 0
        self._name = name
        self._count = count
        self._next = 0
        self._closed = False
        self._logged: set[str] = set()
        self._size_wh: tuple[int, int] | None = None
        self._first: Frame | None = None
        self._why_none = ""  # what is wrong with the first one that could not be read

    def read(self) -> Frame | None:
        """Return the next picture; its index is its place in the order.

        Those of another size than the first are scaled into it, with black bars. What cannot be
        read is named and counted; its index stays empty.
        """
        if self._closed:
            return None
        frame, self._first = self._first or self._read_next(), None
        return frame

    def close(self) -> None:
        """Stop reading. Idempotent."""
        self._closed = True
        self._first = None

    def _read_next(self) -> Frame | None:
        while self._next < self._count:
            index = self._next
            self._next += 1
            try:
                image, time_ns, duration_ns = self._picture(index)
            except PictureError as error:
                self._skip(index, str(error))
                continue
            except OSError as error:
                self._skip(index, f"cannot be read: {error.strerror or error}")
                continue
            fitted = self._fitted(image, index)
            return Frame(index, time_ns, time.perf_counter_ns(), fitted, duration_ns)
        return None

    @abstractmethod
    def _picture(self, index: int) -> tuple[U8, int, int | None]:
        """Return a picture, its media time and how long it is shown, in ns, where that is known.

        Raises:
            PictureError: It is broken.
            OSError: It cannot be read.
        """

    @abstractmethod
    def _title(self, index: int) -> str:
        """Return what a picture is called in messages."""

    def _skip(self, index: int, reason: str) -> None:
        self._why_none = self._why_none or reason
        self.broken_frames += 1
        if self.broken_frames <= _MOST_NAMED:
            _log.warning("source %r: %s skipped: %s", self._name, self._title(index), reason)
        elif self.broken_frames == _MOST_NAMED + 1:
            _log.warning("source %r: further ones are skipped and counted", self._name)

    def _fitted(self, image: U8, index: int) -> U8:
        size_wh = image.shape[1], image.shape[0]
        if self._size_wh is None:
            self._size_wh = size_wh
        note = "other sizes"
        if size_wh != self._size_wh and note not in self._logged:
            self._logged.add(note)
            _log.warning(
                "source %r: %s is %dx%d; what is not %dx%d, as the first one, is scaled into it",
                *(self._name, self._title(index), *size_wh, *self._size_wh),
            )
        return letterboxed(image, self._size_wh)


class PictureSequence(_Pictures):
    """All pictures of one file: moving ones with their own times, pages at `fps`."""

    def __init__(self, file: PictureFile, name: str, fps: float) -> None:
        """Take over an open file of several pictures and read the first.

        Raises:
            CaptureError: None of them can be read.
        """
        super().__init__(name, file.page_count)
        self._file = file
        self._time_ns = 0
        self._fps = fps
        kind = "folder"
        if file.moves:
            kind, self._fps = "file", 1000.0 / statistics.median(file.first_durations_ms())
        self._first = self._read_next()
        if self._first is None:
            file.close()
            raise CaptureError(
                f"source {name!r}: none of its {self._count} pictures can be read; is it complete?"
            )
        self.info = SourceInfo(name, kind, self._first.size_wh, self._fps, self._count, live=False)

    def close(self) -> None:
        """Close the file. Idempotent."""
        super().close()
        self._file.close()

    def _picture(self, index: int) -> tuple[U8, int, int | None]:
        page = self._file.read(index)
        _log_notes(f"source {self._name!r}", self._file, self._logged)
        if page.duration_ms is None:
            return page.image_bgr, media_time_ns(index, self._fps), None
        time_ns, duration_ns = self._time_ns, round(page.duration_ms * NS_PER_MS)
        self._time_ns += duration_ns
        return page.image_bgr, time_ns, duration_ns

    def _title(self, index: int) -> str:
        return f"picture {index + 1} of {self._count}"

    def _skip(self, index: int, reason: str) -> None:
        super()._skip(index, reason)
        self._time_ns += round(NS_PER_S / self._fps)  # what is broken does not say how long


class PictureFolder(_Pictures):
    """The pictures of a folder, in natural order of their names; the first one's size is theirs."""

    def __init__(self, folder: Path, name: str, options: SourceOptions) -> None:
        """List the folder and read its first picture.

        Raises:
            CaptureError: The folder cannot be listed or has no readable picture.
        """
        try:
            listing = list_pictures(folder)
        except OSError as error:
            raise CaptureError(
                f"source {name!r}: cannot list the folder: {error.strerror or error}; "
                "check that you may read it"
            ) from error
        super().__init__(name, len(listing.paths))
        self._paths = listing.paths
        self._fps = options.fps
        self._limit = options.max_megapixels
        self._depth = Depth()
        left_out = "".join(f"; {note}" for note in listing.notes)
        if not self._paths:
            raise CaptureError(
                f"source {name!r}: no pictures in this folder{left_out}; expected files ending in "
                f"{' '.join(sorted(PICTURE_SUFFIXES))}"
            )
        for note in listing.notes:
            _log.warning("source %r: %s", name, note)
        self._first = self._read_next()
        if self._first is None:
            raise CaptureError(
                f"source {name!r}: none of its {self._count} pictures can be read; the first is "
                f"{self._paths[0].name}: {self._why_none}"
            )
        size_wh = self._first.size_wh
        self.info = SourceInfo(name, "folder", size_wh, self._fps, self._count, live=False)

    def _picture(self, index: int) -> tuple[U8, int, int | None]:
        path = self._paths[index]
        with closing(PictureFile(path, self._limit, self._depth)) as file:
            image = file.read().image_bgr
            title = f"source {self._name!r}, {path.name} the first"
            _log_notes(title, file, self._logged, first_only=True)
        return image, media_time_ns(index, self._fps), None

    def _title(self, index: int) -> str:
        return self._paths[index].name
