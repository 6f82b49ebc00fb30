"""Files that were cut off give what FFmpeg makes of them, and are called incomplete; others not."""

from __future__ import annotations

import logging
import re
import struct
from pathlib import Path
from typing import cast

import av
import av.error
import numpy as np
import pytest
from av.video.stream import VideoStream

from samcam.live.sources.video.cut_off import is_cut_off
from tests.helpers.clips import Clip, frames_of, write_clip
from tests.helpers.synthetic_video import VideoSpec, numbered_picture, read_number, write_video

COUNT = 40
FASTSTART = (("movflags", "faststart"),)
FRAGMENTED = (("movflags", "frag_keyframe+empty_moov"),)
SPEC = VideoSpec(count=COUNT, noise=40, options=FASTSTART)


def write_reordered(path: Path, codec: str) -> Path:
    """Write a video whose pictures are not stored in the order in which they are shown."""
    options = {"movflags": "faststart"} if path.suffix == ".mp4" else {}
    with av.open(str(path), "w", container_options=options) as container:
        stream = cast(VideoStream, container.add_stream(codec, rate=25))
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = 96, 64, "yuv420p", 12
        stream.bit_rate = 1_000_000
        stream.options = {"bf": "2"} if codec == "mpeg4" else {"bf": "2", "preset": "fast"}
        for number in range(COUNT):
            grain = np.random.default_rng(number).integers(0, 40, (64, 96, 3))
            picture = np.minimum(numbered_picture(number) + grain, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        container.mux(stream.encode())
    return path


def frames_of_ffmpeg(path: Path) -> int:
    """Return how many frames FFmpeg's decoder makes of a file, all on one thread."""
    count = 0
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "NONE"
        for packet in container.demux(video=0):
            try:
                count += len(packet.decode())
            except av.error.InvalidDataError:
                continue
    return count


def cut(path: Path, share: float) -> None:
    """Cut a file off after a share of its bytes, not between two packets of 188."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share) // 188 * 188 + 94])


def incomplete(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return how much was given, as the log has it, of every file that it calls incomplete."""
    return re.findall(r"incomplete: cut off after (.*?);", caplog.text)


@pytest.mark.parametrize("share", [0.4, 0.62, 0.75])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".avi", ".flv"])
def test_a_cut_off_file_is_called_incomplete(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, suffix: str, share: float
) -> None:
    """A Matroska file or a transport stream was not; of an mp4 one frame too many was counted."""
    path = write_video(tmp_path / f"clip{suffix}", SPEC)
    cut(path, share)
    frames = len(frames_of(path))
    assert frames == frames_of_ffmpeg(path)
    (gave,) = incomplete(caplog)
    if suffix == ".mp4":
        assert gave == f"{frames} of {COUNT} frames"
    else:
        assert gave.startswith(f"{frames} frames")
    if suffix in (".mkv", ".flv", ".avi"):
        assert gave == f"{frames} frames, {frames / 25:.1f} of {COUNT / 25:.1f} s"


@pytest.mark.parametrize("share", [0.35, 0.6, 0.88])
@pytest.mark.parametrize(
    ("codec", "suffix"),
    [("libx264", ".ts"), ("libx264", ".avi"), ("mpeg4", ".avi"), ("mpeg4", ".mp4")],
)
def test_a_cut_file_with_reordered_pictures_gives_what_ffmpeg_gives(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, codec: str, suffix: str, share: float
) -> None:
    """The last one in the file need not be the last one that is shown; AVI has no times at all."""
    path = write_reordered(tmp_path / f"clip{suffix}", codec)
    cut(path, share)
    assert len(frames_of(path)) == frames_of_ffmpeg(path)
    assert len(incomplete(caplog)) == 1


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm", ".ts", ".avi", ".flv"])
def test_an_intact_file_is_not_called_incomplete(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, suffix: str
) -> None:
    path = tmp_path / f"clip{suffix}"
    if suffix == ".webm":
        write_clip(path, Clip(codec="libvpx", count=8))
    else:
        write_video(path, VideoSpec(count=8))
    with caplog.at_level(logging.INFO):
        assert len(frames_of(path)) == 8
    assert "incomplete" not in caplog.text


@pytest.mark.parametrize(("suffix", "options"), [(".mkv", (("live", "1"),)), (".mp4", FRAGMENTED)])
def test_a_recorder_that_is_killed_leaves_no_length(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    suffix: str,
    options: tuple[tuple[str, str], ...],
) -> None:
    """Whether it is whole is seen from its last element; without a length it may well be."""
    path = write_video(
        tmp_path / f"clip{suffix}", VideoSpec(count=COUNT, noise=40, options=options)
    )
    with av.open(str(path)) as container:
        container_format = container.format.name
    assert not is_cut_off(path, container_format)
    frames_of(path)
    assert incomplete(caplog) == []
    cut(path, 0.7)
    frames = len(frames_of(path))
    (gave,) = incomplete(caplog)
    assert gave.startswith(f"{frames} ")


@pytest.mark.parametrize("break_last", [False, True])
@pytest.mark.parametrize("suffix", [".h264", ".hevc"])
def test_a_raw_stream_cut_at_its_start_gives_no_picture_twice(
    tmp_path: Path, suffix: str, break_last: bool
) -> None:
    """No times tell its pictures apart, and those before its first key frame are left out.

    As many of the last ones were given again.
    """
    path = tmp_path / f"clip{suffix}"
    keys = "open-gop=1:keyint=12:min-keyint=12:scenecut=0:bframes=3:b-adapt=0"
    codec, x26x = ("libx264", "x264") if suffix == ".h264" else ("libx265", "x265")
    with av.open(str(path), "w") as container:
        stream = cast(VideoStream, container.add_stream(codec, rate=25))
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        quiet = "" if suffix == ".h264" else ":log-level=none:pools=1"
        stream.options = {f"{x26x}-params": keys + quiet, "preset": "ultrafast"}
        for number in range(COUNT):
            picture = numbered_picture(number)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        container.mux(stream.encode())
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(video=0) if p.size]
        keys_at = [p.pos for p in packets if p.is_keyframe]
        last, size = packets[-1].pos, packets[-1].size
    assert len(packets) == COUNT
    assert last is not None
    data = bytearray(path.read_bytes())
    if break_last:
        data[last + 6 : last + size] = b"\xff" * (size - 6)
    path.write_bytes(data[keys_at[-2] :])
    numbers = [read_number(frame.image_bgr) for frame in frames_of(path)]
    assert len(numbers) == frames_of_ffmpeg(path)
    assert len(numbers) < sum(p.pos >= keys_at[-2] for p in packets)
    assert numbers == sorted(set(numbers))


def test_a_transport_stream_that_ends_between_packets_shows_half_a_picture(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_video(tmp_path / "clip.ts", VideoSpec(count=12, noise=120))
    with av.open(str(path)) as container:
        places = [p.pos for p in container.demux(video=0) if p.size]
    middle = (places[8] + places[9]) // 2
    path.write_bytes(path.read_bytes()[: middle // 188 * 188])
    assert len(frames_of(path)) == frames_of_ffmpeg(path) == 9
    assert incomplete(caplog) == ["9 frames"]


def test_a_transport_stream_that_ends_in_a_packet_is_incomplete(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Where no picture is damaged, since it was cut in a packet of the sound or a table."""
    path = write_video(tmp_path / "clip.ts", VideoSpec(count=8))
    path.write_bytes(path.read_bytes() + b"\x47\x1f\xff" + bytes(50))
    assert len(frames_of(path)) == 8
    assert incomplete(caplog) == ["8 frames"]


def test_a_damaged_last_picture_of_a_whole_file_is_not_cut_off(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_video(tmp_path / "clip.mp4", VideoSpec(size_wh=(256, 192), noise=60))
    with av.open(str(path)) as container:
        *_, (start, size) = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    assert start is not None
    data = bytearray(path.read_bytes())
    data[start + size * 9 // 10 : start + size] = bytes(size - size * 9 // 10)
    path.write_bytes(data)
    assert len(frames_of(path)) == 11
    assert incomplete(caplog) == []


@pytest.mark.parametrize("length", [1 << 45, (1 << 63) - 1, (1 << 64) - 1])
@pytest.mark.parametrize("kind", [b"free", b"mdat", b"moof"])
def test_a_box_that_ends_beyond_what_a_system_can_seek_to(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: bytes, length: int
) -> None:
    """Looking for what follows it was a traceback: an OSError, or a ValueError beyond 2^63."""
    path = write_video(tmp_path / "clip.mp4", VideoSpec(count=8))
    path.write_bytes(path.read_bytes() + struct.pack(">I4sQ", 1, kind, length) + bytes(9))
    assert len(frames_of(path)) == 8
    assert len(incomplete(caplog)) == (kind != b"free")


@pytest.mark.parametrize("content", [b"", b"\x1a", b"\x1a\x45\xdf\xa3\x80", b"\xff" * 64])
def test_no_content_breaks_the_look_at_a_structure(tmp_path: Path, content: bytes) -> None:
    """Whatever the first bytes made FFmpeg take it for."""
    path = tmp_path / "clip"
    path.write_bytes(content)
    for container_format in ("mov,mp4,m4a", "matroska,webm", "avi", "mpegts", "flv"):
        assert is_cut_off(path, container_format) in (False, True)
