"""Streams and recordings behind URLs, from a server on this machine."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import av
import pytest

from samcam.live.errors import CaptureError
from samcam.live.frames import Frame
from samcam.live.sources.base import NoSignal, VideoSource, broken_frames
from samcam.live.sources.choose import open_source
from samcam.live.sources.options import SourceOptions
from samcam.system.redact import hide_in_url
from tests.helpers.bounds import WAIT_S
from tests.helpers.synthetic_video import (
    CORNERS,
    MjpegServer,
    RecordingServer,
    VideoSpec,
    corner_order,
    numbered_picture,
    read_number,
    serve_file,
    write_video,
)

QUICK = SourceOptions(
    retry_first_s=0.05, retry_max_s=0.05, open_timeout_s=WAIT_S, read_timeout_s=WAIT_S
)


def read_or_lost(source: VideoSource) -> Frame | NoSignal:
    """Return the next frame, or what says that there is none for now, when it is time to try."""
    try:
        frame = source.read()
    except NoSignal as lost:
        time.sleep(lost.retry_in_s)
        return lost
    assert frame is not None
    return frame


def test_a_recording_is_read_like_a_file(tmp_path: Path) -> None:
    spec = VideoSpec(times_ms=[0, 40, 300, 340], options=(("movflags", "faststart"),))
    with serve_file(write_video(tmp_path / "clip.mp4", spec)) as url:
        source = open_source(url, QUICK)
        assert (source.info.kind, source.info.live) == ("url", False)
        frames = []
        while (frame := source.read()) is not None:
            frames.append(frame)
        source.close()
    assert [frame.time_ns for frame in frames] == [0, 40_000_000, 300_000_000, 340_000_000]
    assert [read_number(frame.image_bgr) for frame in frames] == [0, 1, 2, 3]


def test_a_stream_is_live_and_stamped_on_arrival() -> None:
    with MjpegServer(per_connection=50).serve() as url:
        source = open_source(url, QUICK)
        assert (source.info.kind, source.info.live, source.info.frame_count) == ("url", True, None)
        frames = [source.read() for _ in range(10)]
        source.close()
    stamps = [frame.captured_ns for frame in frames if frame]
    assert [frame.time_ns for frame in frames if frame] == [s - stamps[0] for s in stamps]
    numbers = [read_number(frame.image_bgr) for frame in frames if frame]
    assert numbers == list(range(numbers[0], numbers[0] + 10))


def test_a_stream_that_hangs_up_is_connected_again() -> None:
    server = MjpegServer(per_connection=20)
    with server.serve() as url:
        source = open_source(url, QUICK)
        frames: list[Frame] = []
        lost = 0
        while len(frames) < 45 and lost < 10:
            frame = read_or_lost(source)
            if isinstance(frame, NoSignal):
                lost += 1
            else:
                frames.append(frame)
        source.close()
    assert server.connections >= 3
    assert lost >= 2
    assert [frame.index for frame in frames] == list(range(45))


def test_a_stream_that_is_gone_is_no_signal_until_it_is_back() -> None:
    server = MjpegServer(per_connection=20)
    with server.serve() as url:
        source = open_source(url, QUICK)
        server.refuse = True
        lost: list[NoSignal] = []
        while len(lost) < 3:
            answer = read_or_lost(source)
            if isinstance(answer, NoSignal):
                lost.append(answer)
        assert "cannot be opened" in lost[-1].reason
        server.refuse = False
        assert source.read() is not None
        source.close()


def test_a_silent_stream_is_lost_after_the_read_time_out() -> None:
    server = MjpegServer(per_connection=20)
    server.silent.set()
    with server.serve() as url:
        source = open_source(url, SourceOptions(read_timeout_s=2.0))
        answers = [read_or_lost(source) for _ in range(21)]  # 20 pictures, the first too
        source.close()
    *frames, last = answers
    assert all(isinstance(frame, Frame) for frame in frames)
    assert isinstance(last, NoSignal)
    assert last.reason == "no answer in time"


def test_a_stream_of_garbage_is_connected_again() -> None:
    server = MjpegServer(per_connection=5000)
    server.garbage_numbers = set(range(15, 5000))
    with server.serve() as url:
        source = open_source(url, QUICK)
        answers = [read_or_lost(source) for _ in range(16)]
        lost = [a for a in answers if isinstance(a, NoSignal)]
        assert [a.reason for a in lost] == ["nothing it sends can be decoded"]
        source.close()


def test_broken_pictures_of_a_stream_are_skipped_and_counted() -> None:
    server = MjpegServer(per_connection=20)
    server.garbage_numbers = {9, 10, 12}
    with server.serve() as url:
        source = open_source(url, QUICK)
        frames = [read_or_lost(source) for _ in range(15)]
        assert broken_frames(source) == 3
        source.close()
    numbers = [read_number(frame.image_bgr) for frame in frames if isinstance(frame, Frame)]
    assert {9, 10, 12} & set(numbers) == set()
    assert numbers[-1] - numbers[0] == 17


def webm_without_duration(path: Path, count: int = 24) -> bytes:
    """Return a webm as browsers record it: no duration, no index."""
    with av.open(str(path), "w", options={"live": "1"}) as container:
        stream = container.add_stream("libvpx", rate=24)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.options = {"deadline": "realtime", "cpu-used": "8"}
        stream.bit_rate = 400_000
        for number in range(count):
            picture = numbered_picture(number)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        container.mux(stream.encode())
    return path.read_bytes()


def numbers_to_the_end(source: VideoSource, most: int = 200) -> list[int]:
    """Read until the source says that it ended; the numbers of the pictures."""
    numbers = []
    for _ in range(most):
        try:
            frame = source.read()
        except NoSignal as lost:
            time.sleep(lost.retry_in_s)
            continue
        if frame is None:
            source.close()
            return numbers
        numbers.append(read_number(frame.image_bgr))
    pytest.fail(f"no end after {most} pictures: {numbers}")


def test_a_finished_recording_without_a_duration_ends(tmp_path: Path) -> None:
    """It was taken for a live stream and started again for ever."""
    server = RecordingServer(webm_without_duration(tmp_path / "a.webm"))
    with server.serve("a.webm") as url:
        source = open_source(url, QUICK)
        assert (source.info.kind, source.info.live, source.info.frame_count) == ("url", False, None)
        assert numbers_to_the_end(source) == list(range(24))
        assert source.read() is None
    assert server.connections == 1


def test_a_recording_that_is_cut_is_read_on(tmp_path: Path) -> None:
    """The server gives no ranges: what was read already is read past."""
    data = webm_without_duration(tmp_path / "a.webm")
    server = RecordingServer(data)
    server.cuts = [len(data) // 2, len(data) * 2 // 3, 0]
    server.refuse_numbers = {2}
    with server.serve("a.webm") as url:
        source = open_source(url, QUICK)
        assert numbers_to_the_end(source) == list(range(24))
    assert server.connections == 4


def test_a_recording_that_is_always_cut_is_given_up(tmp_path: Path) -> None:
    data = webm_without_duration(tmp_path / "a.webm")
    server = RecordingServer(data)
    server.cuts = [len(data) // 2] * 100
    with server.serve("a.webm") as url:
        source = open_source(url, QUICK)
        with pytest.raises(CaptureError, match="cannot be read on after"):
            numbers_to_the_end(source)
        source.close()
    assert server.connections < 10


@pytest.mark.parametrize("chunked", [True, False])
def test_a_recording_whose_server_says_no_length_ends(tmp_path: Path, chunked: bool) -> None:
    """Nothing tells it from a live stream but that it starts again.

    Where the server closes the connection at the end, all was shown a second time.
    """
    data = webm_without_duration(tmp_path / "a.webm")
    server = RecordingServer(data, length=False, chunked=chunked)
    with server.serve("a.webm") as url:
        source = open_source(url, QUICK)
        assert source.info.live
        assert numbers_to_the_end(source) == list(range(24))
    assert server.connections == 2


@pytest.mark.parametrize("suffix", [".mkv", ".flv"])
def test_a_duration_says_where_a_recording_without_a_length_ends(
    tmp_path: Path, suffix: str
) -> None:
    """After its last picture it was connected to five times more, and the run failed."""
    path = write_video(tmp_path / f"a{suffix}", VideoSpec(count=10))
    server = RecordingServer(path.read_bytes(), length=False)
    with server.serve(path.name) as url:
        source = open_source(url, QUICK)
        assert not source.info.live
        assert numbers_to_the_end(source) == list(range(10))
        assert source.read() is None
    assert server.connections == 1


@pytest.mark.parametrize("cut_again", [False, True])
def test_a_connection_that_is_closed_before_the_duration_is_read_on_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, cut_again: bool
) -> None:
    """A file that is itself cut off ends at the same place again: that is its end."""
    path = write_video(tmp_path / "a.mkv", VideoSpec(count=40, noise=40))
    data = path.read_bytes()
    server = RecordingServer(data, length=False)
    server.cuts = [len(data) // 2] * (9 if cut_again else 1)
    with server.serve(path.name) as url:
        source = open_source(url, QUICK)
        numbers = numbers_to_the_end(source)
        assert source.read() is None
    assert numbers == list(range(len(numbers)))
    assert (len(numbers) < 40) is cut_again
    assert server.connections == 2
    assert ("twice at the same place" in caplog.text) is cut_again


@pytest.mark.parametrize("again", [False, True])
def test_a_connection_that_is_closed_before_the_first_picture_is_told(
    tmp_path: Path, again: bool
) -> None:
    """At the start, and where it is connected again: both were an AttributeError."""
    path = write_video(tmp_path / "a.mkv", VideoSpec(count=40, noise=40))
    data = path.read_bytes()
    first = data.index(bytes.fromhex("1f43b675")) + 400  # in the first picture
    server = RecordingServer(data, length=False)
    server.cuts = [len(data) // 2, first] if again else [first]
    with server.serve(path.name) as url:
        if again:
            assert numbers_to_the_end(open_source(url, QUICK)) == list(range(40))
        else:
            with pytest.raises(CaptureError, match="after 0 frames: the server closed the conn"):
                open_source(url, QUICK)
    assert server.connections == (3 if again else 1)


def test_an_index_says_where_a_recording_without_a_length_ends(tmp_path: Path) -> None:
    """After all ten of ten pictures it was connected to five times more, and the run failed."""
    spec = VideoSpec(count=10, options=(("movflags", "faststart"),))
    server = RecordingServer(write_video(tmp_path / "a.mp4", spec).read_bytes(), length=False)
    with server.serve("a.mp4") as url:
        source = open_source(url, QUICK)
        assert numbers_to_the_end(source) == list(range(10))
        source.close()
    assert server.connections == 1


def test_a_stream_without_a_length_goes_on_where_it_is(tmp_path: Path) -> None:
    """Every connection of a live stream sends something else, also where it ends properly."""
    parts = []
    for part in range(3):
        times_ms = [1000 * part + 40 * n for n in range(12)]
        parts.append(write_video(tmp_path / f"{part}.ts", VideoSpec(times_ms=times_ms)))
    server = RecordingServer(b"", length=False, chunked=True)
    with server.serve("live.ts") as url:
        frames = 0
        server.show(parts[0].read_bytes())
        source = open_source(url, QUICK)
        for part in parts[1:]:
            server.show(part.read_bytes())
            while not isinstance(read_or_lost(source), NoSignal):
                frames += 1
        source.close()
    assert frames > 9


def test_a_size_that_changes_in_a_stream_is_letter_boxed() -> None:
    """A network camera whose resolution is changed was stretched."""
    server = MjpegServer(per_connection=20)
    with server.serve() as url:
        source = open_source(url, QUICK)
        server.size_wh = (64, 96)
        for _ in range(60):
            frame = read_or_lost(source)
            if isinstance(frame, Frame) and not frame.image_bgr[:, :20].any():
                break
        source.close()
    assert isinstance(frame, Frame)
    assert frame.size_wh == (96, 64)
    inner = frame.image_bgr[:, 27:69]
    assert corner_order(inner) == CORNERS


def test_nobody_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        for scheme in ("http", "rtsp"):
            with pytest.raises(CaptureError, match="cannot be opened") as caught:
                open_source(f"{scheme}://user:secret@127.0.0.1:{port}/x", QUICK)
            assert "secret" not in str(caught.value)
            assert "refused" in str(caught.value)
            assert "\n" not in str(caught.value)


def test_a_server_that_never_answers_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        for scheme in ("http", "rtsp"):
            with pytest.raises(CaptureError, match="no answer in time"):
                open_source(f"{scheme}://127.0.0.1:{port}/x", SourceOptions(open_timeout_s=0.3))


def test_a_page_that_is_no_video(tmp_path: Path) -> None:
    page = tmp_path / "index.html"
    page.write_text("<html>" + "no video here " * 100)
    with serve_file(page) as url, pytest.raises(CaptureError, match="expected a video"):
        open_source(url, QUICK)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://user:secret@host:554/live", "rtsp://***@host:554/live"),
        ("http://host/a@b", "http://host/a@b"),
        ("http://host/clip.mp4", "http://host/clip.mp4"),
    ],
)
def test_passwords_do_not_reach_messages(url: str, shown: str) -> None:
    assert hide_in_url(url) == shown
