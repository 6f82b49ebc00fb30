"""Video files, pictures, folders, and what open_source makes of a text."""

from __future__ import annotations

import logging
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from samcam.live.errors import CaptureError
from samcam.live.frames import Frame
from samcam.live.sources.base import VideoSource, broken_frames
from samcam.live.sources.choose import open_source
from samcam.live.sources.options import SourceOptions
from samcam.live.sources.pictures.listing import natural_key
from samcam.live.sources.video import tail
from tests.helpers.synthetic_video import (
    CORNERS,
    VideoSpec,
    corner_order,
    numbered_picture,
    read_number,
    write_video,
)

OPTIONS = SourceOptions()


def read_all(source: VideoSource) -> list[Frame]:
    """Read to the end and close."""
    frames = []
    while (frame := source.read()) is not None:
        frames.append(frame)
    source.close()
    return frames


def error_of(spec: str | Path, options: SourceOptions = OPTIONS) -> str:
    """Open and read something that must not work; return the message, which must be one line."""
    with pytest.raises(CaptureError) as caught:
        read_all(open_source(str(spec), options))
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_every_frame_in_order(tmp_path: Path, suffix: str) -> None:
    path = write_video(tmp_path / f"clip{suffix}", VideoSpec(count=30, keyframe_every=10))
    source = open_source(str(path), OPTIONS)
    assert (source.info.kind, source.info.size_wh, source.info.live) == ("file", (96, 64), False)
    assert source.info.name == str(path)
    if suffix != ".mkv":
        assert source.info.frame_count == 30
        assert source.info.fps == pytest.approx(25)
    frames = read_all(source)
    assert [read_number(frame.image_bgr) for frame in frames] == list(range(30))
    assert [frame.time_ns for frame in frames] == [i * 40_000_000 for i in range(30)]


def test_variable_rate_keeps_its_times(tmp_path: Path) -> None:
    """The output lasts as long as its source only when times are taken, not frames counted."""
    times_ms = [0, 10, 50, 51, 1000, 1033, 5000]
    path = write_video(tmp_path / "vfr.mp4", VideoSpec(times_ms=times_ms))
    frames = read_all(open_source(str(path), OPTIONS))
    assert [frame.time_ns for frame in frames] == [t * 1_000_000 for t in times_ms]


def test_times_count_from_the_first_frame(tmp_path: Path) -> None:
    path = write_video(tmp_path / "late.mkv", VideoSpec(times_ms=[700, 740, 780]))
    frames = read_all(open_source(str(path), OPTIONS))
    assert [frame.time_ns for frame in frames] == [0, 40_000_000, 80_000_000]


def test_a_file_without_times_gets_its_rate(tmp_path: Path) -> None:
    """A raw H.264 stream has no container and so no times."""
    path = write_video(tmp_path / "clip.h264", VideoSpec(count=5))
    frames = read_all(open_source(str(path), OPTIONS))
    assert len(frames) == 5
    steps = np.diff([frame.time_ns for frame in frames])
    assert (steps > 0).all()
    assert len(set(steps)) == 1


@pytest.mark.parametrize(
    ("rotation", "seen"),
    [
        (0, CORNERS),
        (90, ("top right", "bottom right", "top left", "bottom left")),
        (180, tuple(reversed(CORNERS))),
        (-90, ("bottom left", "top left", "bottom right", "top right")),
    ],
)
def test_rotation_metadata_is_honoured(
    tmp_path: Path, rotation: int, seen: tuple[str, ...]
) -> None:
    """A phone held upright writes a lying picture and a note to turn it."""
    path = write_video(tmp_path / "turned.mp4", VideoSpec(count=2, rotation=rotation))
    source = open_source(str(path), OPTIONS)
    assert source.info.size_wh == ((96, 64) if rotation in (0, 180) else (64, 96))
    for frame in read_all(source):
        assert corner_order(frame.image_bgr) == seen


def test_the_rotation_of_a_phone_video_is_clockwise(tmp_path: Path) -> None:
    """Checked against the file format, not against the library that also wrote the file.

    The matrix (a b / c d) = (0 1 / -1 0) in the track header, which phones held upright write,
    sends the picture's right to down: the top left corner is shown at the top right.
    """
    path = write_video(tmp_path / "phone.mp4", VideoSpec(count=2))
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 4 + 20 + 8 + 8  # version 0: flags, times, reserved, volume
    one = 1 << 16
    matrix = [0, one, 0, -one, 0, 0, 64 * one, 0, 1 << 30]
    data[at : at + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in matrix)
    path.write_bytes(data)
    (first, _) = read_all(open_source(str(path), OPTIONS))
    assert first.size_wh == (64, 96)
    assert corner_order(first.image_bgr)[1] == "top left"


def test_a_cut_off_file_gives_what_is_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spec = VideoSpec(count=40, keyframe_every=1, options=(("movflags", "faststart"),))
    path = write_video(tmp_path / "cut.mp4", spec)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    source = open_source(str(path), OPTIONS)
    with caplog.at_level(logging.WARNING):
        frames = read_all(source)
    assert 10 < len(frames) < 40
    numbers = [read_number(frame.image_bgr) for frame in frames]
    assert numbers == list(range(len(frames)))
    assert "of 40 frames" in caplog.text


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".flv", ".mkv", ".ts"])
def test_a_cut_off_file_gives_every_whole_frame(tmp_path: Path, suffix: str) -> None:
    """The decoder's threads lost the last ones, as many as there are threads, with the cut one.

    Of that, too, FFmpeg makes a picture in formats that mark where parts of one begin.
    """
    spec = VideoSpec(count=40, noise=40, options=(("movflags", "faststart"),))
    path = write_video(tmp_path / f"cut{suffix}", spec)
    with av.open(str(path)) as container:
        places = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    start, size = places[30]
    assert start is not None
    path.write_bytes(path.read_bytes()[: start + size // 2])
    numbers = [read_number(f.image_bgr) for f in read_all(open_source(str(path), OPTIONS))]
    assert numbers[:30] == list(range(30))
    assert len(numbers) == (31 if suffix in (".avi", ".ts") else 30)


def test_a_file_without_its_index_is_refused(tmp_path: Path) -> None:
    """An mp4 whose end is missing has no table of contents and cannot be opened at all."""
    path = write_video(tmp_path / "cut.mp4")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    message = error_of(path)
    assert str(path) in message
    assert "Invalid data" in message


@pytest.mark.parametrize("damaged", [(7, 8, 13), (18,), (19,), (17, 18), (18, 19), (0,), (0, 16)])
def test_broken_frames_are_counted_and_skipped(tmp_path: Path, damaged: tuple[int, ...]) -> None:
    """Every frame stands alone here, so exactly the damaged ones go missing.

    Near the end the decoder's threads took good ones with them, or hid that one was broken.
    """
    path = write_video(tmp_path / "clip.mp4", VideoSpec(count=20, keyframe_every=1))
    with av.open(str(path)) as container:
        places = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    data = bytearray(path.read_bytes())
    for number in damaged:
        start, size = places[number]
        assert start is not None
        data[start : start + size] = b"\xff" * size
    path.write_bytes(data)
    source = open_source(str(path), OPTIONS)
    frames = read_all(source)
    kept = [n for n in range(20) if n not in damaged]
    assert [read_number(frame.image_bgr) for frame in frames] == kept
    assert [frame.time_ns for frame in frames] == [(n - kept[0]) * 40_000_000 for n in kept]
    assert broken_frames(source) == len(damaged)
    # A broken frame keeps its place in the count; frame 0 is the first that can be shown.
    assert [frame.index for frame in frames] == [n - kept[0] for n in kept]


def test_what_is_kept_for_the_end_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """48 packets of an uncompressed film in 4K are more than a gigabyte."""
    path = write_video(tmp_path / "clip.mp4", VideoSpec(count=60, keyframe_every=1, noise=60))
    kept: dict[int, int] = {}
    for most in (tail._MOST_BYTES, 20_000):
        monkeypatch.setattr(tail, "_MOST_BYTES", most)
        newest = tail.Tail()
        with av.open(str(path)) as container:
            for packet in container.demux(video=0):
                if packet.size:
                    newest.note(packet)
        kept[most] = sum(packet.size for group in newest._groups for packet in group)
    whole, bounded = kept.values()
    assert 0 < bounded <= 20_000 < whole


def test_a_frame_that_the_decoder_made_up_is_broken_too(tmp_path: Path) -> None:
    """FFmpeg fills half a picture from the one before; a mask would follow what is not there."""
    path = write_video(tmp_path / "clip.mp4", VideoSpec(size_wh=(256, 192), noise=60))
    with av.open(str(path)) as container:
        places = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    start, size = places[5]
    assert start is not None
    data = bytearray(path.read_bytes())
    data[start + size * 9 // 10 : start + size] = bytes(size - size * 9 // 10)
    path.write_bytes(data)
    source = open_source(str(path), OPTIONS)
    frames = read_all(source)
    assert broken_frames(source) == 1
    assert [frame.index for frame in frames] == [i for i in range(12) if i != 5]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("notes.txt", b"not a video at all\n" * 40),
        ("clip.mp4", b"this says it is a video, and is none " * 40),
        ("empty.mp4", b""),
        ("empty.png", b""),
        ("photo.jpg", b"\xff\xd8\xff\xe0 and then nothing"),
        ("photo.png", b"\x89PNG\r\n\x1a\n and then nothing"),
        ("data.bin", bytes(range(256)) * 16),
    ],
)
def test_foreign_files_are_one_clear_line(
    tmp_path: Path, name: str, content: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    message = error_of(path)
    assert capfd.readouterr().err == "", "a library under us has something to say of its own"
    assert name in message
    assert "expected" in message


def test_sound_without_pictures_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 48000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert "has no video" in error_of(path)


def test_a_picture_is_one_frame_or_repeats(tmp_path: Path) -> None:
    path = tmp_path / "photo"  # by content: the name says nothing
    ok, png = cv2.imencode(".png", numbered_picture(9))
    assert ok
    path.write_bytes(png.tobytes())
    (frame,) = read_all(open_source(str(path), OPTIONS))
    assert read_number(frame.image_bgr) == 9
    source = open_source(str(path), SourceOptions(repeat_picture=True, fps=10))
    assert (source.info.kind, source.info.frame_count) == ("picture", None)
    again = [source.read() for _ in range(3)]
    assert [frame.time_ns for frame in again if frame] == [0, 100_000_000, 200_000_000]
    source.close()
    assert source.read() is None


def test_a_folder_is_read_in_natural_order_at_fps(tmp_path: Path) -> None:
    for number in (1, 2, 9, 10, 11, 100):
        cv2.imwrite(str(tmp_path / f"Shot{number}.png"), numbered_picture(number))
    (tmp_path / "readme.txt").write_text("not a picture")
    source = open_source(str(tmp_path), SourceOptions(fps=50))
    assert (source.info.kind, source.info.frame_count, source.info.fps) == ("folder", 6, 50)
    frames = read_all(source)
    assert [read_number(frame.image_bgr) for frame in frames] == [1, 2, 9, 10, 11, 100]
    assert [frame.time_ns for frame in frames] == [i * 20_000_000 for i in range(6)]


def test_natural_key_orders_names() -> None:
    names = ["a10b2", "A2", "a10b10", "10", "9", "a", "b1", "a1"]
    ordered = ["9", "10", "a", "a1", "A2", "a10b2", "a10b10", "b1"]
    assert sorted(names, key=natural_key) == ordered


def test_a_broken_picture_in_a_folder_leaves_a_gap(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(4):
        cv2.imwrite(str(tmp_path / f"{number}.png"), numbered_picture(number))
    (tmp_path / "2.png").write_bytes(b"broken")
    source = open_source(str(tmp_path), OPTIONS)
    with caplog.at_level(logging.WARNING):
        frames = read_all(source)
    assert [frame.index for frame in frames] == [0, 1, 3]
    assert broken_frames(source) == 1
    assert "2.png" in caplog.text


def test_mixed_sizes_in_a_folder_are_scaled_into_the_first(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A folder of photographs holds upright and lying ones; it was refused."""
    cv2.imwrite(str(tmp_path / "1.png"), numbered_picture(1))
    cv2.imwrite(str(tmp_path / "2.png"), np.full((96, 48, 3), 200, np.uint8))
    cv2.imwrite(str(tmp_path / "3.png"), np.full((64, 96, 3), 200, np.uint8))
    with caplog.at_level(logging.WARNING):
        frames = read_all(open_source(str(tmp_path), OPTIONS))
    assert [frame.size_wh for frame in frames] == [(96, 64)] * 3
    lit = (frames[1].image_bgr == 200).all(axis=(0, 2))
    assert lit.tolist() == [32 <= x < 64 for x in range(96)]
    assert "2.png is 48x96; what is not 96x64" in caplog.text


def test_a_folder_without_pictures(tmp_path: Path) -> None:
    assert "no pictures in this folder" in error_of(tmp_path)
    (tmp_path / "1.png").write_bytes(b"broken")
    assert "none of its 1 pictures can be read" in error_of(tmp_path)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("missing.mp4", "no such file or folder"),
        ("some/where", "no such file or folder"),
        ("", "is empty"),
        ("ftp://host/clip.mp4", "unknown scheme 'ftp'"),
    ],
)
def test_nothing_fits_says_what_was_expected(spec: str, said: str) -> None:
    message = error_of(spec)
    assert said in message
    assert "expected" in message


def test_options_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="rotate: expected 0, 90, 180 or 270, got 91"):
        SourceOptions(rotate=91)
    with pytest.raises(ValueError, match=r"fps: expected a number 0\.1\.\.1000, got 0"):
        SourceOptions(fps=0)
    with pytest.raises(
        ValueError, match=r"demo_frames: expected a whole number 0\.\.1000000, got -1"
    ):
        SourceOptions(demo_frames=-1)


@pytest.mark.shared
def test_a_real_clip(shared_dir: Path) -> None:
    source = open_source(str(shared_dir / "data/clips/01_dog.mp4"), OPTIONS)
    info = source.info
    frames: list[Frame] = []
    while len(frames) < 20 and (frame := source.read()) is not None:
        frames.append(frame)
    source.close()
    assert len(frames) == 20
    step_ns = (frames[-1].time_ns - frames[0].time_ns) / 19
    assert step_ns == pytest.approx(1e9 / info.fps, rel=0.05)
    assert frames[0].image_bgr.std() > 10
