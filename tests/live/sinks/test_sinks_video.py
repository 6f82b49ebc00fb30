"""`video:`: times, sizes, faults; and a file that outlives its writer."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from samcam.live.effects.effects import Effect
from samcam.live.errors import SinkError
from samcam.live.feed.compositor import compose
from samcam.live.frames import U8, Composite
from samcam.live.sinks.video import VideoOptions, VideoSink
from tests.conftest import REPO_ROOT
from tests.helpers.bounds import RUN_TIMEOUT_S
from tests.helpers.full_disk import fill_disk
from tests.helpers.results import MS, result_of, stand_in

PLAIN = Effect("highlight")


def flat(level: int, size_wh: tuple[int, int] = (64, 48)) -> U8:
    return np.full((size_wh[1], size_wh[0], 3), level, np.uint8)


def at(time_ns: int, image: U8, index: int = 0) -> Composite:
    return compose(result_of(image, (), index, time_ns), PLAIN)


@dataclass(frozen=True)
class Recording:
    """What a reader sees of a file."""

    times_s: list[float]
    images: list[U8]
    keyframes: list[bool]
    duration_s: float
    codec: str
    pixel_format: str


def read_video(path: Path) -> Recording:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        assert stream.time_base is not None
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(video=0) if p.pts is not None and p.duration]
    last = packets[-1]
    assert last.pts is not None
    assert last.duration is not None
    base = Fraction(last.time_base)
    return Recording(
        [float(f.pts * base) for f in frames if f.pts is not None],
        [np.asarray(f.to_ndarray(format="bgr24"), np.uint8) for f in frames],
        [f.key_frame for f in frames],
        float((last.pts + last.duration) * base),
        stream.codec_context.name,
        stream.codec_context.pix_fmt or "",
    )


def write(path: Path, items: Sequence[Composite], fps: float = 25.0) -> Recording:
    sink = VideoSink(path, fps, VideoOptions())
    for item in items:
        sink.put(item)
    sink.close()
    return read_video(path)


def test_constant_rate_keeps_times_and_duration(tmp_path: Path) -> None:
    """NTSC's 30000/1001 frames a second: 45 frames last 1.5015 s, to the tick."""
    step_ns = 1e9 * 1001 / 30000
    items = [at(round(i * step_ns), flat(20 + 4 * i)) for i in range(45)]
    got = write(tmp_path / "a.mp4", items, 30000 / 1001)
    assert got.times_s == pytest.approx([i * 1001 / 30000 for i in range(45)], abs=1e-5)
    assert got.duration_s == pytest.approx(1.5015, abs=1e-5)
    assert (got.codec, got.pixel_format) == ("h264", "yuv420p")


def test_variable_rate_and_drops_keep_their_times(tmp_path: Path) -> None:
    """Times of a camera clock that starts anywhere, with gaps; the last frame lasts 1/fps."""
    start_ns = 7_123_456_789
    offsets_ms = [0, 33, 50, 300, 317, 2317]
    items = [at(start_ns + ms * MS, flat(40 * i)) for i, ms in enumerate(offsets_ms)]
    got = write(tmp_path / "a.mp4", items, fps=20.0)
    assert got.times_s == pytest.approx([ms / 1000 for ms in offsets_ms], abs=2e-5)
    assert got.duration_s == pytest.approx(2.317 + 0.05, abs=2e-5)
    levels = [float(image.mean()) for image in got.images]
    assert levels == pytest.approx([40 * i for i in range(6)], abs=4)


def test_a_clock_that_stands_still_or_steps_back_loses_no_frame(tmp_path: Path) -> None:
    items = [at(ms * MS, flat(50)) for ms in (0, 40, 40, 20, 80)]
    got = write(tmp_path / "a.mp4", items)
    assert len(got.times_s) == 5
    assert got.times_s == sorted(set(got.times_s))


def test_a_keyframe_comes_at_least_every_second(tmp_path: Path) -> None:
    """Each keyframe ends a fragment; 50 fps and 0.4 fps alike."""
    fast = write(tmp_path / "a.mp4", [at(i * 20 * MS, flat(i)) for i in range(175)], 50.0)
    keys = [t for t, key in zip(fast.times_s, fast.keyframes, strict=True) if key]
    assert keys == pytest.approx([0.0, 1.0, 2.0, 3.0])
    slow = write(tmp_path / "b.mp4", [at(i * 2500 * MS, flat(i)) for i in range(4)], 0.4)
    assert slow.keyframes == [True] * 4
    assert slow.duration_s == pytest.approx(10.0)


@pytest.mark.parametrize("size_wh", [(63, 48), (64, 47), (33, 31), (1, 1)])
def test_odd_sizes_are_made_even_by_repeating_the_edge(
    size_wh: tuple[int, int], tmp_path: Path
) -> None:
    image = flat(0, size_wh)
    image[..., 1] = np.linspace(40, 200, size_wh[0], dtype=np.uint8)[None]
    got = write(tmp_path / "a.mp4", [at(0, image)]).images[0]
    width, height = size_wh
    assert got.shape[:2] == (height + height % 2, width + width % 2)
    assert np.abs(got[:height, :width, 1].astype(int) - image[..., 1]).mean() < 12
    assert abs(int(got[-1, -1, 1]) - int(image[-1, -1, 1])) < 20


def test_colours_survive(tmp_path: Path) -> None:
    """The file says which matrix was used: readers that believe it give the colours back."""
    colours = [(0, 0, 255), (0, 255, 0), (255, 0, 0), (255, 255, 255), (0, 0, 0), (90, 140, 200)]
    items = [at(i * 40 * MS, np.full((48, 64, 3), c, np.uint8)) for i, c in enumerate(colours)]
    for image, colour in zip(write(tmp_path / "a.mp4", items).images, colours, strict=True):
        assert np.abs(image.mean(axis=(0, 1)) - colour).max() < 6


def test_a_stand_in_picture_is_written_at_its_time(tmp_path: Path) -> None:
    first = at(0, flat(200))
    got = write(tmp_path / "a.mp4", [first, stand_in(first, 600 * MS), at(4000 * MS, flat(200))])
    assert got.times_s == pytest.approx([0, 0.6, 4.0])
    assert got.images[1].mean() < 60


def test_an_older_file_stays_until_the_first_frame(tmp_path: Path) -> None:
    """A run that fails to start must not cost the last recording."""
    path = tmp_path / "a.mp4"
    path.write_bytes(b"precious")
    VideoSink(path, 25.0, VideoOptions()).close()
    assert path.read_bytes() == b"precious"
    assert len(write(path, [at(0, flat(9))]).times_s) == 1


def test_unwritable_places_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "a.mp4", Path("/proc/nowhere/a.mp4")):
        with pytest.raises(SinkError, match=f"--output video:{path}: cannot be written: .*; expec"):
            VideoSink(path, 25.0, VideoOptions())
    (tmp_path / "dir.mp4").mkdir()
    with pytest.raises(SinkError, match="Is a directory"):
        VideoSink(tmp_path / "dir.mp4", 25.0, VideoOptions())


def test_a_disk_that_is_full_from_the_start_is_one_clear_line(tmp_path: Path) -> None:
    """/dev/full takes the opening and refuses the first byte.

    FFmpeg's muxer crashed the process here when it was closed after its header had failed.
    """
    path = tmp_path / "a.mp4"
    path.symlink_to("/dev/full")
    sink = VideoSink(path, 25.0, VideoOptions())
    sink.put(at(0, flat(0)))  # held back until the next one says how long it lasts
    for time_ns in (40 * MS, 80 * MS):
        with pytest.raises(SinkError, match=r"a\.mp4: cannot be written: No space left on device"):
            sink.put(at(time_ns, flat(0)))
    sink.close()
    sink.close()


NOISE = """
import numpy as np
from samcam.live.sinks.video import VideoOptions, VideoSink
from tests.live.sinks.test_sinks_video import at
sink = VideoSink(path, 25.0, VideoOptions())
noise = np.random.default_rng(0).integers(0, 256, (1000, 48, 64, 3)).astype(np.uint8)
"""


def test_a_disk_that_fills_up_leaves_a_readable_file(tmp_path: Path) -> None:
    """A real limit of the file's size: what was whole before it stays, in whole seconds."""
    path = tmp_path / "a.mp4"
    done = fill_disk(path, 200_000, NOISE, "at(i * 40_000_000, noise[i], i)")
    assert f"--output video:{path}: cannot be written: File too large" in done.stdout
    assert len(done.stdout.splitlines()) == 1
    got = read_video(path)
    assert len(got.times_s) >= 25
    assert len(got.times_s) % 25 == 0


def test_a_disk_without_room_for_a_picture_leaves_no_file(tmp_path: Path) -> None:
    """The header fitted: a file without pictures, which no player opens."""
    path = tmp_path / "a.mp4"
    done = fill_disk(path, 2_000, NOISE, "at(i * 40_000_000, noise[i], i)")
    assert f"--output video:{path}: cannot be written: File too large" in done.stdout
    assert "no picture got there: the file is removed" in done.stderr
    assert not path.exists()


WRITER = """
import sys, time
import numpy as np
from pathlib import Path
from samcam.live.sinks.video import VideoOptions, VideoSink
from tests.live.sinks.test_sinks_video import at
sink = VideoSink(Path(sys.argv[1]), 25.0, VideoOptions())
for i in range(1000000):
    sink.put(at(i * 40_000_000, np.full((48, 64, 3), i % 250, np.uint8), i))
    if i == 130:
        print("far enough", flush=True)
    if i > 130:
        time.sleep(0.01)
"""


def test_a_killed_writer_leaves_a_readable_file(tmp_path: Path) -> None:
    """SIGKILL in the middle: all but the last second is there, in order, with its times."""
    path = tmp_path / "a.mp4"
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], cwd=REPO_ROOT, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"far enough\n"
        process.kill()
        assert process.wait(RUN_TIMEOUT_S) == -signal.SIGKILL
    got = read_video(path)
    assert len(got.times_s) >= 130 - 26
    assert got.times_s == pytest.approx([i * 0.04 for i in range(len(got.times_s))], abs=1e-6)
    levels = [round(float(image.mean())) for image in got.images]
    assert np.abs(np.array(levels) - np.arange(len(levels)) % 250).max() <= 4
