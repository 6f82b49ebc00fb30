"""What kind of file this is, by its first bytes; the name decides only where they say nothing."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Final

PICTURE_SUFFIXES: Final = frozenset(
    (
        *(".apng", ".avif", ".bmp", ".gif", ".heic", ".heif", ".hif", ".ico", ".j2k", ".jfif"),
        *(".jp2", ".jpe", ".jpeg", ".jpg", ".mpo", ".pbm", ".pgm", ".png", ".pnm", ".ppm"),
        *(".psd", ".qoi", ".sgi", ".tga", ".tif", ".tiff", ".webp"),
    )
)
VIDEO_SUFFIXES: Final = frozenset(
    (".avi", ".flv", ".m4v", ".mjpeg", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm")
)
RAW_SUFFIXES: Final = frozenset(
    (
        *(".3fr", ".arw", ".cr2", ".cr3", ".dng", ".erf", ".nef", ".nrw", ".orf", ".pef", ".raf"),
        *(".rw2", ".srw", ".x3f"),
    )
)
# Those that FFmpeg or Pillow would take for something smaller, or not at all.
REFUSED_SUFFIXES: Final = RAW_SUFFIXES | {".jxl", ".svg"}
LOSSY_FORMATS: Final = frozenset(("AVIF", "HEIF", "JPEG", "JPEG2000", "MPO"))

HEAD_BYTES: Final = 64
_HEIF_BRANDS: Final = (b"heic", b"heix", b"heim", b"heis")
_HEIF_SEQUENCES: Final = (b"hevc", b"hevx", b"hevm", b"hevs", b"msf1")
_STARTS: Final = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"\0\0\0\x0cjP  ", "JPEG2000"),
    (b"\xff\x4f\xff\x51", "JPEG2000"),
    (b"8BPS\0\1", "PSD"),
    (b"qoif", "QOI"),
    (b"\xff\x0a", "JXL"),
    (b"\0\0\0\x0cJXL ", "JXL"),
    (b"\x1aE\xdf\xa3", "VIDEO"),  # Matroska, WebM
)


def format_of(head: bytes) -> str | None:
    """Return Pillow's name of a picture format, JXL, VIDEO, or None where the bytes say nothing."""
    for start, name in _STARTS:
        if head.startswith(start):
            return name
    if head[:4] == b"RIFF":
        return "WEBP" if head[8:12] == b"WEBP" else "VIDEO" if head[8:12] == b"AVI " else None
    if head[4:8] == b"ftyp":
        return _iso_format(head)
    if head[:1] == b"P" and head[1:2] in b"123456" and head[2:3].isspace():
        return "PPM"
    return None


def _iso_format(head: bytes) -> str:
    """Tell pictures from films in what begins as an ISO base media file does."""
    major = head[8:12]
    length = min(int.from_bytes(head[:4], "big"), len(head))
    brands = [head[i : i + 4] for i in range(16, length - 3, 4)]
    if major in _HEIF_SEQUENCES:
        return "VIDEO"  # a film that a phone calls a picture; FFmpeg plays it whole
    if major in (b"avif", b"avis") or (major == b"mif1" and {b"avif", b"avis"} & set(brands)):
        return "AVIF"
    if major in _HEIF_BRANDS or major == b"mif1":
        return "HEIF"
    return "VIDEO"


def is_picture(path: Path) -> bool:
    """Whether a file is to be opened as a picture and not as a video.

    Raises:
        OSError: It cannot be read.
    """
    suffix = path.suffix.lower()
    head = b""
    if stat.S_ISREG(path.stat().st_mode):  # a pipe would lose its first bytes
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    found = format_of(head)
    if found == "JPEG" and suffix in VIDEO_SUFFIXES:  # motion JPEG: one after the other
        return False
    if found is not None:
        return found != "VIDEO"
    return suffix in PICTURE_SUFFIXES | REFUSED_SUFFIXES
