"""Short videos in any codec, pixel format and colours, with what players look at."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
from av.video.stream import VideoStream

from samcam.live.frames import Frame
from samcam.live.sources.choose import open_source
from samcam.live.sources.options import SourceOptions
from tests.helpers.synthetic_video import numbered_picture

ONE = 1 << 16


@dataclass(frozen=True, slots=True)
class Clip:
    """How to write a short video, one stream.

    Attributes:
        aspect: Width of a pixel by its height.
        matrix: (a, b, c, d) of the display matrix.
        planes: Flat levels of the planes, 8 bits each, in place of numbered pictures.
        luma: The first plane's level of each picture, in place of `planes[0]`.
        tags: (range, primaries, transfer, matrix), FFmpeg's numbers; 0 or 2 say nothing.
    """

    size_wh: tuple[int, int] = (96, 64)
    count: int = 3
    codec: str = "libx264"
    pix_fmt: str = "yuv420p"
    aspect: Fraction | None = None
    matrix: tuple[int, int, int, int] | None = None
    planes: tuple[int, ...] = ()
    luma: tuple[int, ...] = ()
    tags: tuple[int, int, int, int] = (0, 2, 2, 2)


def write_clip(path: Path, clip: Clip) -> Path:
    """Write a clip and return `path`."""
    with av.open(str(path), "w") as container:
        stream = cast(VideoStream, container.add_stream(clip.codec, rate=25))
        stream.width, stream.height = clip.size_wh
        stream.pix_fmt = clip.pix_fmt
        context = stream.codec_context
        if clip.codec == "libx264":
            stream.options = {"preset": "ultrafast", "crf": "5"}
        if clip.aspect is not None:
            context.sample_aspect_ratio = clip.aspect
        if clip.matrix is not None:
            a, b, c, d = (value * ONE for value in clip.matrix)
            stream.set_display_matrix([a, b, 0, c, d, 0, 0, 0, 1 << 30])
        context.color_range, context.color_primaries, context.color_trc, context.colorspace = (
            clip.tags
        )
        for number in range(clip.count):
            container.mux(stream.encode(_frame(clip, number)))
        container.mux(stream.encode())
    return path


def _frame(clip: Clip, number: int) -> av.VideoFrame:
    if not clip.planes:
        picture = numbered_picture(number, clip.size_wh)
        return av.VideoFrame.from_ndarray(picture, format="bgr24")
    frame = av.VideoFrame(*clip.size_wh, clip.pix_fmt)
    levels = (clip.luma[number], *clip.planes[1:]) if clip.luma else clip.planes
    for plane, level in zip(frame.planes, levels, strict=True):
        plane.update(bytes([level]) * plane.buffer_size)
    frame.color_range, frame.color_primaries, frame.color_trc, frame.colorspace = clip.tags
    return frame


def crop_in_mp4(path: Path, size_wh: tuple[int, int], crop: tuple[int, int, int, int]) -> None:
    """Write a clean aperture into a plain mp4, whose index is at its end, as phones do.

    Args:
        size_wh: Of its pictures.
        crop: Pixels that are not shown: left, top, right, bottom.
    """
    left, top, right, bottom = crop
    values = (size_wh[0] - left - right, 1, size_wh[1] - top - bottom, 1)
    values += (left - right, 2, top - bottom, 2)
    box = struct.pack(">I4s8i", 40, b"clap", *values)
    data = bytearray(path.read_bytes())
    heads = [data.index(kind) for kind in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")]
    heads.append(heads[-1] + 16)  # the only entry's kind, behind version, count and size
    at = heads[-1] - 4 + int.from_bytes(data[heads[-1] - 4 : heads[-1]], "big")
    data[at:at] = box
    for head in heads:
        size = int.from_bytes(data[head - 4 : head], "big")
        data[head - 4 : head] = (size + len(box)).to_bytes(4, "big")
    path.write_bytes(data)


def crop_in_mkv(path: Path, crop: tuple[int, int, int, int]) -> None:
    """Write PixelCrop into the header of an mkv of this FFmpeg, over what it leaves free there.

    Args:
        crop: Pixels that are not shown: left, top, right, bottom.
    """
    left, top, right, bottom = crop
    data = bytearray(path.read_bytes())
    free = bytes.fromhex("54b28104 55ee8100 ec0100000000000002 0000")
    at = data.index(free)  # display unit, block additions, void
    crops = ((0x54AA, bottom), (0x54BB, top), (0x54CC, left), (0x54DD, right))
    new = b"".join(struct.pack(">HBB", kind, 0x81, pixels) for kind, pixels in crops)
    data[at : at + len(free)] = new + bytes((0xEC, 0x80 | len(free) - len(new) - 2, 0))
    video = data.rindex(b"\xe0", 0, at)
    assert data[video + 1] == 0x80 | at + 4 - video - 2  # the display unit is its last
    data[video + 1] += len(free) - 4
    checksum = data.rindex(bytes.fromhex("1654ae6b"), 0, at) + 4
    checksum += 9 - data[checksum].bit_length()  # bytes of a length
    assert data[checksum] == 0xBF
    data[checksum : checksum + 2] = bytes.fromhex("ec84")
    path.write_bytes(data)


def vc1_in_mkv(size_wh: tuple[int, int], crop: tuple[int, int, int, int]) -> bytes:
    """Return an mkv whose track is VC-1, as disc copies have it; it has no picture.

    Args:
        crop: Pixels that are not shown: left, top, right, bottom.
    """
    codec = bytes.fromhex("24 0000010f c20002f01f0880 0000010e c00080")  # sequence, entry point
    head = struct.pack("<IiiHH4s20x", 40 + len(codec), *size_wh, 1, 24, b"WVC1")
    numbers = zip(("b0", "ba", "54cc", "54bb", "54dd", "54aa"), (*size_wh, *crop), strict=True)
    video = b"".join(_element(kind, struct.pack(">I", number)) for kind, number in numbers)
    track = [("d7", b"\1"), ("73c5", b"\1"), ("83", b"\1"), ("86", b"V_MS/VFW/FOURCC")]
    track += [("63a2", head + codec), ("e0", video)]
    entry = _element("ae", b"".join(_element(*part) for part in track))
    cluster = _element("1f43b675", _element("e7", b"\0") + _element("a3", b"\x81\0\0\x80" + head))
    segment = _element("1654ae6b", entry) + cluster
    return _element("1a45dfa3", _element("4282", b"matroska")) + _element("18538067", segment)


def _element(kind: str, content: bytes) -> bytes:
    return bytes.fromhex(kind) + (1 << 56 | len(content)).to_bytes(8, "big") + content


def frames_of(spec: Path | str, options: SourceOptions | None = None) -> list[Frame]:
    """Read a source to its end; every frame has the size that the source said."""
    source = open_source(str(spec), options or SourceOptions())
    frames = []
    while (frame := source.read()) is not None:
        assert frame.size_wh == source.info.size_wh
        frames.append(frame)
    source.close()
    return frames
