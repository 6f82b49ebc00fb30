"""One set of tests for every kind of source: what its reader may rely on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from samcam.live.frames import Frame
from samcam.live.sources.base import VideoSource, broken_frames
from samcam.live.sources.camera import open_camera
from samcam.live.sources.choose import open_source
from samcam.live.sources.options import SourceOptions
from samcam.live.sources.orient import orient
from tests.helpers.fake_camera import FakeDevices
from tests.helpers.synthetic_video import (
    MjpegServer,
    VideoSpec,
    numbered_picture,
    serve_file,
    write_video,
)

AT_MOST = 8  # frames read of endless sources
Opener = Callable[[SourceOptions], VideoSource]


def _file(tmp_path: Path) -> Iterator[Opener]:
    path = write_video(tmp_path / "clip.mp4")
    yield lambda options: open_source(str(path), options)


def _variable(tmp_path: Path) -> Iterator[Opener]:
    spec = VideoSpec(times_ms=[200, 240, 400, 410, 900])
    path = write_video(tmp_path / "clip.mkv", spec)
    yield lambda options: open_source(str(path), options)


def _picture(tmp_path: Path) -> Iterator[Opener]:
    path = tmp_path / "one.png"
    cv2.imwrite(str(path), numbered_picture(0))
    yield lambda options: open_source(str(path), options)


def _folder(tmp_path: Path) -> Iterator[Opener]:
    for number in range(11):
        cv2.imwrite(str(tmp_path / f"{number}.png"), numbered_picture(number))
    yield lambda options: open_source(str(tmp_path), options)


def _demo(tmp_path: Path) -> Iterator[Opener]:
    yield lambda options: open_source("demo", options)


def _recording(tmp_path: Path) -> Iterator[Opener]:
    options = (("movflags", "faststart"),)
    path = write_video(tmp_path / "clip.mp4", VideoSpec(options=options))
    with serve_file(path) as url:
        yield lambda options: open_source(url, options)


def _stream(tmp_path: Path) -> Iterator[Opener]:
    with MjpegServer(per_connection=200).serve() as url:
        yield lambda options: open_source(url, options)


def _camera(tmp_path: Path) -> Iterator[Opener]:
    devices = FakeDevices(tmp_path)
    devices.plug(0, "Some Camera")

    def open_it(options: SourceOptions) -> VideoSource:
        return orient(open_camera("0", options, devices.open, "linux", tmp_path), options)

    yield open_it


KINDS = {
    "file": _file,
    "variable rate": _variable,
    "picture": _picture,
    "folder": _folder,
    "demo": _demo,
    "recording": _recording,
    "stream": _stream,
    "camera": _camera,
}


@pytest.fixture(params=KINDS)
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    """Opens the kind of source with given options."""
    yield from KINDS[request.param](tmp_path)


def read_some(source: VideoSource) -> list[Frame]:
    """Read to the end, or `AT_MOST` frames."""
    frames: list[Frame] = []
    while len(frames) < AT_MOST and (frame := source.read()) is not None:
        frames.append(frame)
    return frames


def test_frames_are_what_info_says(opener: Opener) -> None:
    source = opener(SourceOptions(demo_frames=5))
    info = source.info
    frames = read_some(source)
    assert frames
    assert info.fps > 0
    assert info.kind in ("camera", "file", "picture", "folder", "url", "demo")
    for frame in frames:
        assert frame.size_wh == info.size_wh
        assert frame.image_bgr.dtype == np.uint8
        assert not frame.image_bgr.flags.writeable
    if info.frame_count is not None and info.frame_count <= AT_MOST:
        assert len(frames) == info.frame_count
    assert broken_frames(source) == 0
    source.close()


def test_index_and_time_start_at_zero_and_rise(opener: Opener) -> None:
    source = opener(SourceOptions(demo_frames=5))
    frames = read_some(source)
    source.close()
    assert [frame.index for frame in frames] == list(range(len(frames)))
    times = [frame.time_ns for frame in frames]
    assert times[0] == 0
    assert all(a < b for a, b in pairwise(times))
    grabbed = [frame.captured_ns for frame in frames]
    assert grabbed == sorted(grabbed)


def test_a_frame_outlives_the_next_ones(opener: Opener) -> None:
    source = opener(SourceOptions(demo_frames=5))
    first = source.read()
    assert first is not None
    before = first.image_bgr.copy()
    read_some(source)
    source.close()
    assert np.array_equal(first.image_bgr, before)


def test_the_end_stays_the_end(opener: Opener) -> None:
    source = opener(SourceOptions(demo_frames=5))
    if not source.info.live:
        while source.read() is not None:
            pass
        assert source.read() is None
    source.close()
    source.close()
    assert source.read() is None


@pytest.mark.parametrize("rotate", [90, 180, 270])
def test_turned_and_mirrored(opener: Opener, rotate: int) -> None:
    plain = opener(SourceOptions(demo_frames=1))
    expected = plain.read()
    size_wh = plain.info.size_wh
    plain.close()
    assert expected is not None
    turned = opener(SourceOptions(demo_frames=1, rotate=rotate, mirror=True))
    frame = turned.read()
    assert frame is not None
    assert turned.info.size_wh == (size_wh if rotate == 180 else size_wh[::-1])
    assert frame.size_wh == turned.info.size_wh
    by_hand = np.fliplr(np.rot90(expected.image_bgr, -rotate // 90))
    assert np.array_equal(frame.image_bgr, by_hand)
    turned.close()
