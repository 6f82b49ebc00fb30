"""Short videos in any codec, pixel format and colours, with what players look at."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
from av.video.stream import VideoStream

from live.frames import Frame
from live.sources import SourceOptions, open_source
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


def frames_of(spec: Path | str, options: SourceOptions | None = None) -> list[Frame]:
    """Read a source to its end; every frame has the size that the source said."""
    source = open_source(str(spec), options or SourceOptions())
    frames = []
    while (frame := source.read()) is not None:
        assert frame.size_wh == source.info.size_wh
        frames.append(frame)
    source.close()
    return frames
