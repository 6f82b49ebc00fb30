"""Recordings that a server cuts in the middle: none of them ends there without a word."""

from __future__ import annotations

import logging
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from samcam.live.sources.choose import open_source
from tests.helpers.clips import frames_of
from tests.helpers.sounding_video import write_clip
from tests.helpers.synthetic_video import RecordingServer, VideoSpec, write_video
from tests.live.sources.test_sources_cut_off import frames_of_ffmpeg, incomplete
from tests.live.sources.test_sources_url import QUICK, numbers_to_the_end

COUNT = 40
SPEC = VideoSpec(count=COUNT, noise=40)


def times_to_the_end(url: str) -> list[int]:
    """Return the times of all pictures, in milliseconds."""
    source = open_source(url, QUICK)
    times_ms = []
    while (frame := source.read()) is not None:
        times_ms.append(round(frame.time_ns / 1e6))
    source.close()
    return times_ms


@pytest.mark.parametrize("how", ["chunks", "closed", "length"])
@pytest.mark.parametrize("suffix", [".mkv", ".flv", ".avi"])
def test_a_cut_recording_is_called_incomplete(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, suffix: str, how: str
) -> None:
    """The end of half a chunk was taken for the end of the file, without a word.

    A file that was cut before it was served has its whole length.
    """
    path = write_video(tmp_path / f"a{suffix}", SPEC)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 5 // 9])
    server = RecordingServer(path.read_bytes(), length=how == "length", chunked=how == "chunks")
    server.cuts = [] if how == "length" else [path.stat().st_size] * 9
    with server.serve(path.name) as url:
        numbers = numbers_to_the_end(open_source(url, QUICK))
    count = frames_of_ffmpeg(path)
    assert numbers[:-1] == list(range(count - 1))  # of the last one there may be the upper half
    assert 9 < count < COUNT
    (gave,) = incomplete(caplog)
    assert gave == f"{count} frames, {count / 25:.1f} of {COUNT / 25:.1f} s"
    assert server.connections == (1 if how == "length" else 2)


@pytest.mark.parametrize("suffix", [".mkv", ".flv", ".avi"])
def test_a_recording_in_chunks_that_is_cut_once_is_read_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, suffix: str
) -> None:
    data = write_video(tmp_path / f"a{suffix}", SPEC).read_bytes()
    server = RecordingServer(data, length=False, chunked=True)
    server.cuts = [len(data) // 2]
    with server.serve(f"a{suffix}") as url:
        assert numbers_to_the_end(open_source(url, QUICK)) == list(range(COUNT))
    assert server.connections == 2
    assert incomplete(caplog) == []


@pytest.mark.parametrize("again", [False, True])
def test_a_recording_without_a_length_that_stalls_is_read_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, again: bool
) -> None:
    """What came before the server fell silent was shown twice, and called all of it."""
    data = write_video(tmp_path / "a.ts", SPEC).read_bytes()
    server = RecordingServer(data, length=False)
    server.silent = True
    server.cuts = [len(data) * 5 // 9] * (2 if again else 1)
    options = replace(QUICK, read_timeout_s=2.0)
    with caplog.at_level(logging.INFO), server.serve("a.ts") as url:
        numbers = numbers_to_the_end(open_source(url, options))
    assert numbers == list(range(len(numbers)))
    assert (9 < len(numbers) < COUNT) if again else len(numbers) == COUNT
    warned = f"incomplete: a recording without a length that breaks off after {len(numbers)} frames"
    assert (warned in caplog.text) is again
    assert "read to its end" not in caplog.text


@pytest.mark.parametrize("length", [False, True])
@pytest.mark.parametrize("suffix", [".mkv", ".flv", ".avi"])
@pytest.mark.parametrize(("sound_s", "last_s"), [(3.0, None), (2.0, 1.0)])
def test_a_whole_recording_is_not_called_incomplete(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    sound_s: float,
    last_s: float | None,
    suffix: str,
    length: bool,
) -> None:
    """Sound that goes on longer, or a last picture that stays, is no cut."""
    codecs = "mpeg4" if suffix == ".avi" else "libx264", "libmp3lame"
    path = write_clip(tmp_path / f"a{suffix}", codecs, 2.0, sound_s, last_s=last_s)
    server = RecordingServer(path.read_bytes(), length=length, chunked=not length)
    with server.serve(path.name) as url:
        assert len(times_to_the_end(url)) == 50
    assert server.connections == 1
    assert incomplete(caplog) == []


@pytest.mark.parametrize("how", ["chunks", "closed", "length"])
def test_the_recording_of_a_screen_is_not_called_incomplete(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    """Its pictures come when something changes, and those held at its end keep their times."""
    times_ms = [0, 40, 80, 2080, 2120, 4000]
    path = write_video(tmp_path / "a.mkv", VideoSpec(times_ms=times_ms))
    server = RecordingServer(path.read_bytes(), length=how == "length", chunked=how == "chunks")
    with server.serve("a.mkv") as url:
        assert times_to_the_end(url) == times_ms
    assert server.connections == 1
    assert incomplete(caplog) == []


@pytest.mark.parametrize("is_cut", [False, True])
def test_a_cut_file_through_a_pipe_is_called_incomplete(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, is_cut: bool
) -> None:
    path = write_video(tmp_path / "a.mkv", SPEC)
    pipe = tmp_path / "pipe.mkv"
    os.mkfifo(pipe)
    data = path.read_bytes()[: path.stat().st_size * 5 // 9 if is_cut else None]
    thread = threading.Thread(target=pipe.write_bytes, args=(data,), name="pipe-writer")
    thread.start()
    count = len(frames_of(pipe))
    thread.join()
    assert (count < COUNT) is is_cut
    said = [f"{count} frames, {count / 25:.1f} of {COUNT / 25:.1f} s"]
    assert incomplete(caplog) == (said if is_cut else [])
