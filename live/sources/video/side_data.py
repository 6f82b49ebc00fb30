"""What a stream or frame carries besides its pictures, also where PyAV has no name for it."""

from __future__ import annotations

import io
import struct
from typing import Any, Final, NamedTuple, cast

import av
import av.error
from av.buffer import Buffer
from av.sidedata.sidedata import Type
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from samcam.live.sources.iso_boxes import clean_aperture
from samcam.live.sources.video.ebml import SEGMENT, TRACK_ENTRY, TRACKS, VIDEO, elements

_FORMATS_THAT_CROP: Final = frozenset(("mov", "matroska"))
_PIXEL_CROPS: Final = {0x54CC: "left", 0x54BB: "top", 0x54DD: "right", 0x54AA: "bottom"}


def _unnamed(cls: type[Type], value: object) -> Any:
    member: Any = object.__new__(cls)
    member._name_, member._value_ = f"UNNAMED_{value}", value
    return member


# FFmpeg knows newer kinds than PyAV's list of them, such as EXIF, and one of them on a frame hides
# all the others: PyAV reads the kind of each before it gives any. Its enum gives those a name now.
cast(Any, Type)._missing_ = classmethod(_unnamed)


def display_matrix(frame: VideoFrame) -> bytes | None:
    """Return a frame's display matrix as FFmpeg has it: nine int32; None where it has none."""
    found = cast(Buffer | None, frame.side_data.get("DISPLAYMATRIX"))
    return None if found is None else bytes(found)


class Crop(NamedTuple):
    """What is not shown of a decoded picture, in its own pixels."""

    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0

    def size_wh(self, width: int, height: int) -> tuple[int, int]:
        """Return what is left of a picture; 0 or less where it is nothing."""
        return width - self.left - self.right, height - self.top - self.bottom


def container_crop(stream: VideoStream) -> Crop:
    """Return what a Matroska's or mp4's header cuts off the pictures of a stream.

    PyAV gives no access to it, but copies it with all else that a header says of the stream. So it
    is read from the header of a file that is written nowhere: a Matroska file, or where this FFmpeg
    writes the codec to none, as VC-1, a QuickTime one.
    """
    if not _FORMATS_THAT_CROP & set(stream.container.format.name.split(",")):
        return Crop()
    header = _header_of(stream, "matroska")
    if header is not None:
        return _pixel_crop(header)
    header = _header_of(stream, "mov")
    return Crop() if header is None else _clean_aperture(header, stream)


def _header_of(stream: VideoStream, container_format: str) -> bytes | None:
    """Return the header of a file with the stream; None where the format cannot hold its codec."""
    header = io.BytesIO()
    options = {"movflags": "empty_moov"} if container_format == "mov" else {}
    try:
        with av.open(header, "w", format=container_format, container_options=options) as copy:
            # opaque: else the encoder with the decoder's name is asked for; libdav1d has none
            copy.add_stream_from_template(stream, opaque=True)
            copy.start_encoding()
    except (av.error.FFmpegError, OSError, ValueError):
        return None
    return header.getvalue()


def _pixel_crop(matroska: bytes) -> Crop:
    found = {}
    entered = SEGMENT, TRACKS, TRACK_ENTRY, VIDEO
    for kind, start, length in elements(io.BytesIO(matroska), entered):
        if kind in _PIXEL_CROPS:
            content = matroska[start : start + (length or 0)]
            found[_PIXEL_CROPS[kind]] = int.from_bytes(content, "big")
    return Crop(**found)


def _clean_aperture(mov: bytes, stream: VideoStream) -> Crop:
    at = mov.rfind(b"clap")  # behind all that the codec itself has in the header
    width, height = stream.codec_context.width, stream.codec_context.height
    try:
        shown = clean_aperture(mov[at + 4 : at + 36] if at >= 0 else b"", (width, height))
    except (ValueError, struct.error, ZeroDivisionError):
        return Crop()
    return Crop(*shown[:2], width - shown[2], height - shown[3])
