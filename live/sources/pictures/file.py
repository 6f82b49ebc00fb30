"""One picture file: its size is looked at first, then its pages or moving pictures are decoded."""

from __future__ import annotations

import stat
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, cast

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from samcam.live.frames import U8
from samcam.live.sources.options import MAX_MEGAPIXELS
from samcam.live.sources.pictures.avif_crop import crop_of
from samcam.live.sources.pictures.kinds import (
    HEAD_BYTES,
    LOSSY_FORMATS,
    PICTURE_SUFFIXES,
    RAW_SUFFIXES,
    format_of,
)
from samcam.live.sources.pictures.pixels import (
    DAMAGE,
    IN_EIGHT_BITS,
    Depth,
    deep_to_bgr,
    to_bgr,
    upright,
)
from samcam.live.sources.quiet import quiet_opencv
from samcam.system import install

# Without those that run other programs (EPS, WMF) or hold no pixels themselves.
_FORMATS: Final = (
    *("AVIF", "BMP", "DIB", "GIF", "ICO", "JPEG", "JPEG2000", "PCX", "PNG", "PPM", "PSD"),
    *("QOI", "SGI", "SUN", "TGA", "TIFF", "WEBP"),
)
_MOVING: Final = ("AVIF", "GIF", "PNG", "WEBP")
_MAX_PAGES: Final = 1_000_000
# Browsers take what asks for less than 11 ms, or for no time at all, as this.
_SHORTEST_MS, _DEFAULT_MS = 11.0, 100.0
_TIFF_KIND, _TIFF_DNG = 254, 50706
_TIFF_REDUCED, _TIFF_MASK = 1, 4
_NARROW_MOST = 15  # the upper eight of 16 bits are at most this where only 12 are in use
_COLOURS: Final = ("RGB", "RGBA")
_WEBP_SEARCHED: Final = 1 << 16  # bytes in which its first picture begins
_MOST_TIMED: Final = 9
_PILLOW_LOCK = threading.Lock()  # its limit of pixels and Python's warnings are one per process


class PictureError(Exception):
    """A file is no picture, damaged or too large; the message says why and what to do."""


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """One picture of a file.

    Attributes:
        image_bgr: (H, W, 3) uint8.
        duration_ms: How long it is shown, of moving pictures; else None.
    """

    image_bgr: U8
    duration_ms: float | None


@contextmanager
def _pillow() -> Iterator[None]:
    """Let Pillow work without limits and warnings of its own: sizes are checked before."""
    with _PILLOW_LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


class PictureFile:
    """An open picture file. Used by one thread.

    Attributes:
        format: Pillow's name of it, such as PNG.
        notes: What is left out of it or was changed, a line each; grows as pages are read.
    """

    def __init__(
        self, path: Path, max_megapixels: float = MAX_MEGAPIXELS, depth: Depth | None = None
    ) -> None:
        """Look at the file's size and pages; no pixel is decoded.

        Args:
            path: A regular file.
            max_megapixels: Larger ones are refused.
            depth: Shared by the pictures of a folder.

        Raises:
            PictureError: It is no picture, or too large.
            OSError: It cannot be read at all.
        """
        self._path = path
        self._limit = max_megapixels
        self._depth = Depth() if depth is None else depth
        self._is_deep = False
        self.notes: list[str] = []
        if not stat.S_ISREG(path.stat().st_mode):
            raise PictureError("not a regular file; expected a picture file")
        self._file: IO[bytes] = path.open("rb")
        try:
            with self._guarded():
                self._image = self._open()
                self.format = str(self._image.format)
                self._check_size()
                self._pages = self._list_pages()
                self._seek(self._pages[0])
        except BaseException:
            self._file.close()
            raise

    @property
    def size_wh(self) -> tuple[int, int]:
        """Size of the page that was last sought, in pixels, before EXIF turns it."""
        return self._image.size

    @property
    def page_count(self) -> int:
        """Number of pages or moving pictures, at least 1."""
        return len(self._pages)

    @property
    def moves(self) -> bool:
        """Whether its pages have durations."""
        return self.page_count > 1 and self.format in _MOVING

    @property
    def lossy(self) -> bool:
        """Whether its pixels are not exactly what was saved."""
        if self.format == "WEBP":  # a lossless one has VP8L parts
            with self._path.open("rb") as file:
                return b"VP8 " in file.read(_WEBP_SEARCHED)
        if self.format == "TIFF":
            return self._image.info.get("compression") in ("jpeg", "tiff_jpeg")
        return self.format in LOSSY_FORMATS

    def read(self, number: int = 0) -> Page:
        """Decode one page as it is meant to be seen; moving pictures best in order.

        Raises:
            PictureError: It is damaged or too large.
        """
        with self._guarded():
            image = self._load(number)
            pixels = to_bgr(image, self._depth, self._note)
            if self._is_deep and image.mode in _COLOURS:
                pixels = self._from_deep(number, pixels)
            return Page(pixels, _duration_ms(image) if self.moves else None)

    def first_durations_ms(self) -> list[float]:
        """Return how long the first moving pictures are shown, for the usual rate; at least one."""
        durations: list[float] = []
        with suppress(PictureError), self._guarded():  # `read` says what is wrong with it
            for number in range(min(self.page_count, _MOST_TIMED)):
                durations.append(_duration_ms(self._load(number)))
        return durations or [_DEFAULT_MS]

    def read_raw(self) -> Image.Image:
        """Decode the first page and return it upright, else as stored: palette, alpha, 16 bits.

        Raises:
            PictureError: It is damaged.
        """
        with self._guarded():
            return upright(self._load(0), self._note)

    def close(self) -> None:
        """Close the file. Idempotent."""
        self._image.close()
        self._file.close()

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Turn all that damaged files make Pillow raise into one error."""
        with _pillow():
            try:
                yield
            except (PictureError, MemoryError):
                raise
            except UnidentifiedImageError as error:
                raise PictureError(f"not a readable picture; {_kinds()}") from error
            except DAMAGE as error:
                reason = str(error).replace(str(self._path), self._path.name) or repr(error)
                raise PictureError(
                    f"not a readable picture: {reason.splitlines()[0]}; expected an undamaged file"
                ) from error

    def _open(self) -> Image.Image:
        head = self._file.read(HEAD_BYTES)
        self._file.seek(0)
        if not head:
            raise PictureError(f"is empty; {_kinds()}")
        found = format_of(head)
        if found == "JXL":
            raise PictureError("JPEG XL pictures are not read; convert it to PNG or JPEG")
        raw = PictureError("raw pictures of cameras are not read; convert it to JPEG or TIFF")
        if self._path.suffix.lower() in RAW_SUFFIXES:
            raise raw
        if found == "HEIF":
            return _open_heif(self._file)
        image = Image.open(self._file, formats=_FORMATS)
        if _TIFF_DNG in _tags(image):
            raise raw
        return image

    def _check_size(self) -> None:
        width, height = self._image.size
        if width * height > self._limit * 1e6:
            raise PictureError(
                f"{width}x{height} pixels are {width * height / 1e6:.1f} megapixels; expected at "
                f"most {self._limit:g}, which is source.max_megapixels"
            )

    def _list_pages(self) -> list[int]:
        """Return the numbers of the pages that are shown, and note which are not."""
        image, count = self._image, getattr(self._image, "n_frames", 1)
        if count > _MAX_PAGES:
            raise PictureError(f"{count} pictures in one file; expected at most {_MAX_PAGES}")
        if image.format == "PNG" and image.info.get("default_image") and count > 1:
            return list(range(1, count))  # what programs show that know no moving PNG
        if image.format in _MOVING:
            return list(range(count))
        if image.format == "TIFF":
            return self._list_tiff_pages(count)
        if count > 1:
            what = "layers" if image.format == "PSD" else "pictures"
            self.notes.append(f"of its {count} {what} the main one is shown")
        if b"MotionPhoto" in _xmp(image) or b"MicroVideo" in _xmp(image):
            self.notes.append("the short film in this motion photo is left out")
        return [image.tell()]

    def _list_tiff_pages(self, count: int) -> list[int]:
        shown = []
        for number in range(count):
            self._image.seek(number)
            kind = _tags(self._image).get(_TIFF_KIND, 0)
            if not (isinstance(kind, int) and kind & (_TIFF_REDUCED | _TIFF_MASK)):
                shown.append(number)
        if not shown:
            shown = [0]
        if len(shown) < count:
            self.notes.append(f"{count - len(shown)} thumbnails or masks in it are left out")
        return shown

    def _seek(self, number: int) -> None:
        if number != self._image.tell():
            self._image.seek(number)
        self._check_size()

    def _load(self, number: int) -> Image.Image:
        self._seek(self._pages[number])
        # What follows the mode names what is in the file, such as RGB;16B. It is gone once loaded.
        if tiles := getattr(self._image, "tile", None):
            self._is_deep = ";16" in str(tiles[0])
        self._image.load()
        if self.format == "AVIF" and self.page_count == 1:
            box = crop_of(self._path.read_bytes(), self._image.size)
            return self._image if box is None else self._image.crop(box)
        return self._image

    def _from_deep(self, number: int, pixels: U8) -> U8:
        """Return a page of 16 bits a colour in 8; `pixels` has their upper eight, by Pillow."""
        if int(pixels.max()) > _NARROW_MOST:
            self._depth.bits = 16
        if self._depth.bits == 16:
            self._note(IN_EIGHT_BITS)
            return pixels
        data = np.fromfile(self._path, np.uint8)
        page = self._pages[number]
        with quiet_opencv():
            _, found = cv2.imdecodemulti(data, cv2.IMREAD_UNCHANGED, range=(page, page + 1))
        deep = found[0] if found else None
        if deep is None or deep.dtype != np.uint16 or deep.ndim != 3:
            return pixels
        whole = deep_to_bgr(deep, self._image, self._depth, self._note)
        return whole if whole.shape == pixels.shape else pixels

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


def _open_heif(file: IO[bytes]) -> Image.Image:
    """Open a HEIF picture by pi-heif; libheif joins the tiles, crops, turns and mirrors."""
    try:
        from pi_heif import as_plugin
    except ImportError as error:
        raise PictureError(
            f"HEIC and HEIF pictures need the package pi-heif; install it with {install('heif')}, "
            "or convert the picture to JPEG"
        ) from error
    image: Image.Image = as_plugin.HeifImageFile(file)
    return image


def _duration_ms(image: Image.Image) -> float:
    duration = float(image.info.get("duration") or 0.0)
    return duration if duration >= _SHORTEST_MS else _DEFAULT_MS


def _tags(image: Image.Image) -> Mapping[int, Any]:
    """Return a TIFF page's tags; nothing for other formats."""
    return cast(Mapping[int, Any], getattr(image, "tag_v2", {}))


def _xmp(image: Image.Image) -> bytes:
    found = image.info.get("xmp", b"")
    return found if isinstance(found, bytes) else b""


def _kinds() -> str:
    return f"expected one of {' '.join(sorted(PICTURE_SUFFIXES))}"
