"""Media time of files: clocks that start anew, edit lists, missing times, headers that lie."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import pytest

from samcam.live.frames import Frame
from samcam.live.sources.choose import open_source
from samcam.live.sources.options import SourceOptions
from tests.conftest import RunCli
from tests.helpers.synthetic_video import VideoSpec, numbered_picture, read_number, write_video

MS = 1_000_000


def frames_of(path: Path) -> list[Frame]:
    """Read a file to its end."""
    source = open_source(str(path), SourceOptions())
    frames = []
    while (frame := source.read()) is not None:
        frames.append(frame)
    source.close()
    return frames


def write_stretch(path: Path, starts_s: float, count: int = 12, b_frames: int = 0) -> bytes:
    """Write numbered pictures at 25 fps whose clock starts somewhere; return the file."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.options = {"preset": "ultrafast", "crf": "12"}
        stream.codec_context.max_b_frames = b_frames
        if b_frames:
            stream.options |= {"x264-params": f"bframes={b_frames}:b-adapt=0"}
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(numbered_picture(number), format="bgr24")
            frame.pts, frame.time_base = (
                round((starts_s + number / 25) * 90_000),
                Fraction(1, 90_000),
            )
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path.read_bytes()


@pytest.mark.parametrize("b_frames", [0, 2])
@pytest.mark.parametrize(
    "starts_s",
    [(500.0, 3.0), (500.0, 400.0), (3.0, 500.0), (500.0, 499.0, 2.0, 80_000.0)],
    ids=["back to the start", "back", "ahead", "several times"],
)
def test_a_clock_that_starts_anew_goes_on(
    tmp_path: Path, starts_s: Sequence[float], b_frames: int
) -> None:
    """Two recordings in one MPEG-TS: the clip jumped to 94943 s, and a video: of it failed."""
    parts = [
        write_stretch(tmp_path / f"{i}.ts", start, b_frames=b_frames)
        for i, start in enumerate(starts_s)
    ]
    path = tmp_path / "joined.ts"
    path.write_bytes(b"".join(parts))
    frames = frames_of(path)
    assert [read_number(frame.image_bgr) for frame in frames] == [*range(12)] * len(parts)
    assert [frame.time_ns // MS for frame in frames] == [40 * n for n in range(12 * len(parts))]


def test_a_gap_that_a_stream_may_have_is_kept(tmp_path: Path) -> None:
    """Four seconds are a gap in MPEG-TS; in a Matroska even ten minutes are one long picture."""
    first = write_stretch(tmp_path / "a.ts", 10.0, 3)
    path = tmp_path / "gap.ts"
    path.write_bytes(first + write_stretch(tmp_path / "b.ts", 14.0, 3))
    assert [frame.time_ns // MS for frame in frames_of(path)] == [0, 40, 80, 4000, 4040, 4080]
    slides = write_video(tmp_path / "slides.mkv", VideoSpec(times_ms=[0, 40, 600_000, 600_040]))
    assert [frame.time_ns // MS for frame in frames_of(slides)] == [0, 40, 600_000, 600_040]


def test_a_clock_that_steps_back_in_a_matroska_goes_on(tmp_path: Path) -> None:
    """No muxer writes such a file, so the times of its clusters, one a frame, are patched."""
    path = tmp_path / "back.mkv"
    with av.open(str(path), "w", options={"cluster_time_limit": "1"}) as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuvj420p"
        for number in range(6):
            frame = av.VideoFrame.from_ndarray(numbered_picture(number), format="bgr24")
            frame.pts, frame.time_base = 250 + number, Fraction(1, 25)
            container.mux(stream.encode(frame))
    data = path.read_bytes()
    for number in (3, 4, 5):
        before = b"\xe7\x82" + (10_000 + 40 * number).to_bytes(2, "big")
        assert data.count(before) == 1
        data = data.replace(before, b"\xe7\x82" + (1_000 + 40 * number).to_bytes(2, "big"))
    path.write_bytes(data)
    frames = frames_of(path)
    assert [read_number(frame.image_bgr) for frame in frames] == list(range(6))
    assert [frame.time_ns // MS for frame in frames] == [40 * n for n in range(6)]


@pytest.mark.shared
def test_a_joined_recording_to_outputs(shared_dir: Path, run_cli: RunCli, nano_dir: Path) -> None:
    """The whole command: exit 5 with the wrong advice, and half of the clip lost."""
    result = run_cli(
        *("--source", str(shared_dir / "cases/sources/reboot.ts"), "--prompt", "point=40,30"),
        *("--output", "masks:m", "--output", "video:v.mp4", "--pace", "all"),
    )
    assert result.returncode == 0, result.stderr
    assert len(list((result.cwd / "m").glob("*.png"))) == 96
    with av.open(str(result.cwd / "v.mp4")) as container:
        times = [float(frame.time or 0.0) for frame in container.decode(video=0)]
        assert times == pytest.approx([n / 24 for n in range(96)], abs=1e-3)
        assert container.duration == pytest.approx(4_000_000, abs=5000)


@pytest.mark.shared
def test_a_clip_cut_by_an_edit_list_is_whole(
    shared_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """48 frames are stored, 36 of them are shown; the log called it incomplete."""
    source = open_source(str(shared_dir / "cases/sources/editlist.mp4"), SourceOptions())
    assert source.info.frame_count == 36
    with caplog.at_level(logging.WARNING):
        frames = []
        while (frame := source.read()) is not None:
            frames.append(frame)
    source.close()
    assert [frame.index for frame in frames] == list(range(36))
    assert [frame.time_ns for frame in frames] == [round(n * 1e9 / 24) for n in range(36)]
    assert caplog.text == ""


def test_frames_of_an_avi_come_evenly(tmp_path: Path) -> None:
    """AVI stores no presentation times; with B-frames its header counts twice as many frames."""
    path = tmp_path / "clip.avi"
    write_stretch(path, 0.0, 30, b_frames=2)
    source = open_source(str(path), SourceOptions())
    assert (source.info.fps, source.info.frame_count) == (25, 30)
    source.close()
    frames = frames_of(path)
    assert [read_number(frame.image_bgr) for frame in frames] == list(range(30))
    assert [frame.time_ns // MS for frame in frames] == [40 * n for n in range(30)]


@pytest.mark.parametrize("flags", ["frag_keyframe", "frag_keyframe+empty_moov"])
def test_a_header_that_counts_too_few_is_no_length(tmp_path: Path, flags: str) -> None:
    """Of a fragmented mp4 the header counts the first fragment: `frame=10` was refused."""
    spec = VideoSpec(count=30, keyframe_every=4, options=(("movflags", flags),))
    path = write_video(tmp_path / "parts.mp4", spec)
    source = open_source(str(path), SourceOptions())
    assert source.info.frame_count is None
    source.close()
    assert len(frames_of(path)) == 30


@pytest.mark.shared
def test_a_prompt_past_the_header_s_count(
    shared_dir: Path, run_cli: RunCli, nano_dir: Path
) -> None:
    result = run_cli(
        *("--source", str(shared_dir / "cases/sources/sample_partially_fragmented.mp4")),
        *("--prompt", "frame=10 point=40,30", "--output", "masks:m"),
    )
    assert result.returncode == 0, result.stderr
    assert "never took effect" not in result.stderr
    assert len(list((result.cwd / "m").glob("*.png"))) == 30


def test_ticks_of_a_clock_are_no_frame_rate(tmp_path: Path) -> None:
    """An mkv without a frame duration said 1000 fps; the last picture then lasts 1 ms."""
    path = tmp_path / "clip.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264")
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        stream.options = {"preset": "ultrafast", "tune": "zerolatency"}
        for number in range(30):
            frame = av.VideoFrame.from_ndarray(numbered_picture(number), format="bgr24")
            frame.pts, frame.time_base = 40 * number + number % 3, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    source = open_source(str(path), SourceOptions())
    assert source.info.fps == pytest.approx(25, rel=0.06)
    source.close()


def test_a_file_that_begins_in_the_middle_starts_with_its_first_good_frame(tmp_path: Path) -> None:
    """Nothing before the first key frame can be shown; a player starts there, with frame 0."""
    path = write_video(tmp_path / "clip.ts", VideoSpec(count=30, keyframe_every=12))
    with av.open(str(path)) as container:
        places = [packet.pos for packet in container.demux(video=0) if packet.size]
    data, cut = path.read_bytes(), places[4]
    assert cut is not None
    path.write_bytes(data[: 188 * 3] + data[cut:])  # tables first
    frames = frames_of(path)
    assert [read_number(frame.image_bgr) for frame in frames] == list(range(12, 30))
    assert [frame.index for frame in frames] == list(range(18))
    assert [frame.time_ns // MS for frame in frames] == [40 * n for n in range(18)]


def test_a_last_picture_that_stays_long_does_so_in_the_output(
    tmp_path: Path, run_cli: RunCli, nano_dir: Path
) -> None:
    """The last frame lasted a nominal interval: a slide show ended with its last slide's start."""
    path = tmp_path / "slides.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuvj420p"
        for number in range(6):
            frame = av.VideoFrame.from_ndarray(numbered_picture(number), format="bgr24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            for packet in stream.encode(frame):
                packet.duration = 75 if number == 5 else 1
                container.mux(packet)
    frames = frames_of(path)
    assert [frame.duration_ns for frame in frames] == [None] * 5 + [3_000_000_000]
    result = run_cli(
        *("--source", path, "--prompt", "point=40,30", "--output", "video:v.mp4", "--pace", "all")
    )
    assert result.returncode == 0, result.stderr
    with av.open(str(result.cwd / "v.mp4")) as video:
        assert video.duration == pytest.approx(3_200_000, abs=20_000)
