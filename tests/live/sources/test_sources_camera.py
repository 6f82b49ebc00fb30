"""Cameras: finding, naming, setting up, losing and getting back; against a stand-in device."""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path

import cv2
import pytest

from samcam.live.errors import CaptureError
from samcam.live.sources.base import NoSignal, VideoSource, broken_frames
from samcam.live.sources.camera import CameraInfo, find_camera, list_cameras, open_camera
from samcam.live.sources.choose import open_source
from samcam.live.sources.options import SourceOptions
from samcam.live.sources.reconnect import Connection, Grab, ReconnectingSource, SignalLost
from tests.helpers.fake_camera import FakeDevices
from tests.helpers.synthetic_video import numbered_picture, read_number

CAMERAS = [CameraInfo(0, "HD Pro Webcam C920"), CameraInfo(2, "Capture Card")]


@pytest.fixture
def devices(tmp_path: Path) -> FakeDevices:
    """A machine with one camera."""
    devices = FakeDevices(tmp_path)
    devices.plug(0, "HD Webcam")
    return devices


def open_fake(
    devices: FakeDevices, sysfs: Path, spec: str = "0", options: SourceOptions | None = None
) -> VideoSource:
    """Open a camera of the stand-in machine."""
    return open_camera(spec, options or SourceOptions(), devices.open, "linux", sysfs)


def test_cameras_are_listed_by_index_without_metadata_nodes(tmp_path: Path) -> None:
    devices = FakeDevices(tmp_path)
    devices.plug(10, "Capture Card")
    devices.plug(2, "HD Webcam")
    (tmp_path / "video30").mkdir()  # unplugged while listing: the folder is empty already
    found = list_cameras("linux", tmp_path)
    assert found == [CameraInfo(2, "HD Webcam"), CameraInfo(10, "Capture Card")]
    assert list_cameras("linux", tmp_path / "none") == []


def test_elsewhere_the_first_indices_are_tried(tmp_path: Path) -> None:
    devices = FakeDevices(tmp_path)
    devices.plug(1, "")
    devices.plug(4, "")
    assert list_cameras("darwin", tmp_path, devices.open) == [CameraInfo(1, ""), CameraInfo(4, "")]
    assert len(devices.opened) == 5
    assert all(device.released for device in devices.opened)


@pytest.mark.parametrize(
    ("spec", "index"), [("0", 0), ("2", 2), ("c920", 0), ("Capture", 2), ("PRO WEB", 0)]
)
def test_found_by_index_or_part_of_the_name(spec: str, index: int) -> None:
    assert find_camera(spec, CAMERAS) == index


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("1", r"no camera 1; found: 0 'HD Pro Webcam C920', 2 'Capture Card'"),
        ("brio", r"no camera with this in its name; found: 0 'HD Pro Webcam C920'"),
        ("ca", r"fits several cameras \(0 'HD Pro Webcam C920', 2 'Capture Card'\)"),
    ],
)
def test_a_missing_camera_names_those_that_are_there(spec: str, said: str) -> None:
    with pytest.raises(CaptureError, match=said):
        find_camera(spec, CAMERAS)


def test_names_are_refused_where_they_are_not_known() -> None:
    with pytest.raises(CaptureError, match="camera names are not known on this system"):
        find_camera("webcam", [CameraInfo(0, "")], by_name=False)
    assert find_camera("3", [], by_name=False) == 3


@pytest.mark.skipif(sys.platform != "linux", reason="lists cameras through sysfs")
def test_this_machine() -> None:
    """Whatever is plugged in here: the list is a list, and what is missing is one clear line."""
    cameras = list_cameras()
    assert all(isinstance(camera, CameraInfo) for camera in cameras)
    with pytest.raises(CaptureError, match="no camera 987; found") as caught:
        open_source("987", SourceOptions())
    assert "\n" not in str(caught.value)
    with pytest.raises(CaptureError, match=r"no camera with this in its name.*no file or folder"):
        open_source("no camera has this name", SourceOptions())


def test_a_camera_that_does_not_open_says_so(devices: FakeDevices, tmp_path: Path) -> None:
    del devices.plugged[0]  # still listed, but another program has it
    with pytest.raises(CaptureError, match="camera 0 cannot be opened; is it in use"):
        open_fake(devices, tmp_path)
    assert devices.opened[0].released


@pytest.mark.skipif(sys.platform != "linux", reason="cameras are listed through sysfs")
def test_opencv_itself_on_a_camera_that_is_gone(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The real cv2.VideoCapture; it has nothing to say on stderr, where our one line goes."""
    FakeDevices(tmp_path).plug(987, "Ghost")
    with pytest.raises(CaptureError, match="camera 987 cannot be opened"):
        open_camera("ghost", SourceOptions(), sysfs=tmp_path)
    assert capfd.readouterr().err == ""


def test_a_camera_without_pictures_says_so(devices: FakeDevices, tmp_path: Path) -> None:
    devices.failing_grabs = 1000
    with pytest.raises(CaptureError, match="opened, but gives no picture"):
        open_fake(devices, tmp_path)
    assert devices.opened[0].released


def test_settings_reach_the_camera_format_first(
    devices: FakeDevices, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """MJPG decides which sizes there are, so it comes first; a refusal is said, not hidden."""
    devices.refused_settings = {cv2.CAP_PROP_FPS}
    options = SourceOptions(width=1280, height=720, camera_fps=60, mjpg=True)
    with caplog.at_level(logging.WARNING):
        source = open_fake(devices, tmp_path, options=options)
    device = devices.opened[0]
    assert device.set_order[0] == cv2.CAP_PROP_FOURCC
    assert device.settings[cv2.CAP_PROP_FOURCC] == cv2.VideoWriter.fourcc(*"MJPG")
    assert device.settings[cv2.CAP_PROP_FRAME_WIDTH] == 1280
    assert device.settings[cv2.CAP_PROP_FRAME_HEIGHT] == 720
    assert device.settings[cv2.CAP_PROP_BUFFERSIZE] == 1
    assert [r.getMessage() for r in caplog.records] == [
        "camera '0': fps 60 was asked for, the camera gives 25"
    ]
    assert source.info.fps == 25
    assert source.info.size_wh == (96, 64), "the true size is the picture's, not the setting's"
    source.close()
    assert device.released


def test_frames_are_stamped_at_the_grab(devices: FakeDevices, tmp_path: Path) -> None:
    source = open_fake(devices, tmp_path, "webcam")
    assert source.info.name == "webcam"
    assert source.info.live
    frames = [source.read() for _ in range(3)]
    source.close()
    stamps = [frame.captured_ns for frame in frames if frame]
    assert [frame.time_ns for frame in frames if frame] == [s - stamps[0] for s in stamps]


def test_single_failures_are_counted_not_fatal(devices: FakeDevices, tmp_path: Path) -> None:
    source = open_fake(devices, tmp_path)
    first = source.read()
    devices.failing_grabs = 3
    second = source.read()
    source.close()
    assert first is not None
    assert second is not None
    assert (first.index, second.index) == (0, 4)
    assert broken_frames(source) == 3


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Script:
    """Connections that behave as the test says: pictures until `lost`, refusals while `down`."""

    def __init__(self) -> None:
        self.down = False
        self.lost = self.too_large = False
        self.size_wh = (96, 64)
        self.attempts = 0
        self.open_connections = 0

    fps = 30.0

    def connect(self) -> Connection:
        """Open one more, or refuse."""
        self.attempts += 1
        if self.down:
            raise CaptureError("source 'cam': nobody there")
        self.open_connections += 1
        return self

    def grab(self) -> Grab:
        """Give the number of connections made so far as a picture."""
        if self.too_large:
            raise CaptureError("source 'cam': has pictures of 20000 x 20000 pixels")
        if self.lost:
            raise SignalLost("unplugged")
        return Grab(numbered_picture(self.attempts, self.size_wh), self.attempts)

    def close(self) -> None:
        """Close."""
        self.open_connections -= 1


def make_source(script: Script, clock: Clock, limit_s: float | None = None) -> ReconnectingSource:
    """A source on a script, with waits of 1, 2, 4, 4 ... seconds."""
    options = SourceOptions(retry_first_s=1, retry_max_s=4, retry_limit_s=limit_s)
    return ReconnectingSource("cam", "camera", script.connect, options, clock)


def lost_wait(source: ReconnectingSource) -> float:
    """Read while there is no signal; return how long to wait."""
    with pytest.raises(NoSignal) as caught:
        source.read()
    return caught.value.retry_in_s


def test_back_off_doubles_up_to_its_limit_and_starts_anew() -> None:
    script, clock = Script(), Clock()
    source = make_source(script, clock)
    assert source.read() is not None
    script.lost = script.down = True
    waits = []
    for _ in range(5):
        waits.append(lost_wait(source))
        clock.now += waits[-1]
    assert waits == [1, 2, 4, 4, 4]
    script.lost = script.down = False
    frame = source.read()
    assert frame is not None
    assert frame.index == 1, "the count goes on over the gap"
    script.lost = True
    assert lost_wait(source) == 1, "after a picture the waits start again"
    source.close()
    assert script.open_connections == 0


@pytest.mark.parametrize("fault", ["lost", "too_large"])
def test_a_first_picture_that_is_none_leaves_no_connection(fault: str) -> None:
    """One that was too large left the stream open."""
    script = Script()
    setattr(script, fault, True)
    with pytest.raises(CaptureError):
        make_source(script, Clock())
    assert (script.attempts, script.open_connections) == (1, 0)


def test_between_attempts_nothing_is_tried() -> None:
    script, clock = Script(), Clock()
    source = make_source(script, clock)
    script.lost = script.down = True
    assert lost_wait(source) == 1
    attempts = script.attempts
    clock.now += 0.25
    assert lost_wait(source) == pytest.approx(0.75)
    assert script.attempts == attempts
    clock.now += 0.75
    lost_wait(source)
    assert script.attempts == attempts + 1
    source.close()


def test_it_tries_for_ever_by_default() -> None:
    script, clock = Script(), Clock()
    source = make_source(script, clock)
    script.lost = script.down = True
    for _ in range(200):
        clock.now += lost_wait(source) + 1000
    script.lost = script.down = False
    assert source.read() is not None
    source.close()


def test_with_a_limit_it_gives_up() -> None:
    script, clock = Script(), Clock()
    source = make_source(script, clock, limit_s=10)
    script.lost = script.down = True
    lost_wait(source)
    clock.now += 9
    lost_wait(source)
    clock.now += 4
    with pytest.raises(CaptureError, match=r"lost for 13 s \(.*nobody there.*gave up"):
        source.read()
    source.close()


def test_connections_that_open_but_give_nothing_count_as_lost() -> None:
    """A hub can answer with the camera gone; that must not reset the limit or the waits."""
    script, clock = Script(), Clock()
    source = make_source(script, clock, limit_s=6)
    script.lost = True
    waits = []
    for _ in range(3):
        waits.append(lost_wait(source))
        clock.now += waits[-1]
    assert waits == [1, 2, 4]
    with pytest.raises(CaptureError, match="gave up"):
        source.read()
    assert script.open_connections == 0
    source.close()


def test_another_size_after_a_reconnect_is_scaled() -> None:
    """Outputs keep one size for a session, so the pictures do too."""
    script, clock = Script(), Clock()
    source = make_source(script, clock)
    script.size_wh = (192, 128)
    frame = source.read()
    assert frame is not None
    assert frame.size_wh == source.info.size_wh == (96, 64)
    assert read_number(frame.image_bgr) == 1
    source.close()


def test_an_unplugged_camera_comes_back_under_another_index(
    devices: FakeDevices, tmp_path: Path
) -> None:
    """Found by name again: after plugging in anew Linux often gives the next free number."""
    options = SourceOptions(retry_first_s=0.05, retry_max_s=0.05)
    source = open_fake(devices, tmp_path, "webcam", options)
    assert source.read() is not None
    devices.unplug(0)
    for _ in range(3):
        with pytest.raises(NoSignal) as lost:
            source.read()
    assert devices.opened[0].released
    devices.plug(4, "HD Webcam")
    time.sleep(lost.value.retry_in_s)
    assert source.read() is not None
    source.close()
    assert all(device.released for device in devices.opened)
