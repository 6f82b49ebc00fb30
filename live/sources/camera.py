"""Cameras through OpenCV; the one place that uses cv2.VideoCapture."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias, cast

import cv2

from samcam.live.errors import CaptureError
from samcam.live.frames import U8
from samcam.live.sources.options import SourceOptions
from samcam.live.sources.quiet import quiet_opencv
from samcam.live.sources.reconnect import (
    Connection,
    Grab,
    ReconnectingSource,
    SignalLost,
    nominal_fps,
)

_log = logging.getLogger(__name__)

SYSFS = Path("/sys/class/video4linux")
_PROBED_INDICES = range(5)
_MAX_FAILURES_IN_A_ROW = 10  # cameras skip single frames; so many mean that it is gone
_READ_TIMEOUT_MS = 2000


@dataclass(frozen=True, slots=True)
class CameraInfo:
    """A camera that the system knows: its index, and its name ("" where that is not known)."""

    index: int
    name: str

    def __str__(self) -> str:
        return f"{self.index} {self.name!r}" if self.name else str(self.index)


class Device(Protocol):
    """The part of cv2.VideoCapture that is used."""

    def isOpened(self) -> bool: ...
    def set(self, propId: int, value: float) -> bool: ...
    def get(self, propId: int) -> float: ...
    def grab(self) -> bool: ...
    def retrieve(self) -> tuple[bool, Any]: ...
    def release(self) -> None: ...


OpenDevice: TypeAlias = Callable[[int], Device]


def open_device(index: int) -> Device:
    """Open a camera with the system's own interface."""
    api = {"linux": cv2.CAP_V4L2, "win32": cv2.CAP_DSHOW, "darwin": cv2.CAP_AVFOUNDATION}
    with quiet_opencv():
        return cast(Device, cv2.VideoCapture(index, api.get(sys.platform, cv2.CAP_ANY)))


def list_cameras(
    platform: str = sys.platform, sysfs: Path = SYSFS, device: OpenDevice = open_device
) -> list[CameraInfo]:
    """Return the cameras by index; elsewhere than on Linux without names, by trying 0..4."""
    if platform == "linux":
        return _list_sysfs(sysfs)
    found = []
    for index in _PROBED_INDICES:
        probe = device(index)
        if probe.isOpened():
            found.append(CameraInfo(index, ""))
        probe.release()
    return found


def _list_sysfs(sysfs: Path) -> list[CameraInfo]:
    found = []
    for folder in sysfs.glob("video[0-9]*"):
        try:
            # A USB camera has a second node, with index 1, that gives metadata but no pictures.
            if (folder / "index").read_text().strip() != "0":
                continue
            name = (folder / "name").read_text().strip()
        except OSError:  # unplugged while listing
            continue
        found.append(CameraInfo(int(folder.name.removeprefix("video")), name))
    return sorted(found, key=lambda camera: camera.index)


def find_camera(spec: str, cameras: list[CameraInfo], by_name: bool = True) -> int:
    """Return the index of the camera that `spec` means: an index, or part of one name.

    Args:
        by_name: Whether names are known here, so that an index that is not listed is missing.

    Raises:
        CaptureError: There is none, or several match; names those that were found.
    """
    if spec.isdecimal():
        index = int(spec)
        if by_name and index not in [camera.index for camera in cameras]:
            raise CaptureError(f"source {spec!r}: no camera {index}; {_found(cameras)}")
        return index
    matching = [c for c in cameras if spec.casefold() in c.name.casefold()]
    if len(matching) == 1:
        return matching[0].index
    if matching:
        listed = ", ".join(map(str, matching))
        raise CaptureError(
            f"source {spec!r}: fits several cameras ({listed}); give a longer part of the name, "
            "or the index"
        )
    if not by_name:
        raise CaptureError(
            f"source {spec!r}: camera names are not known on this system; give the index; "
            f"{_found(cameras)}"
        )
    raise CaptureError(f"source {spec!r}: no camera with this in its name; {_found(cameras)}")


def _found(cameras: list[CameraInfo]) -> str:
    if not cameras:
        return "found no camera at all; plug one in, or use --source demo, a file or a URL"
    return f"found: {', '.join(map(str, cameras))}"


def open_camera(
    spec: str,
    options: SourceOptions,
    device: OpenDevice = open_device,
    platform: str = sys.platform,
    sysfs: Path = SYSFS,
) -> ReconnectingSource:
    """Open a camera by index or by part of its name; a lost one is looked up again.

    Raises:
        CaptureError: Missing or without pictures; names the cameras that were found.
    """
    by_name = platform == "linux"

    def connect() -> Connection:
        cameras = []
        if by_name or not spec.isdecimal():
            cameras = list_cameras(platform, sysfs, device)
        index = find_camera(spec, cameras, by_name)
        opened = device(index)
        if not opened.isOpened():
            opened.release()
            listed = cameras or list_cameras(platform, sysfs, device)
            raise CaptureError(
                f"source {spec!r}: camera {index} cannot be opened; is it in use, or may you not "
                f"read it (on Linux: group video)? {_found(listed)}"
            )
        return CameraConnection(spec, opened, options)

    return ReconnectingSource(spec, "camera", connect, options)


class CameraConnection:
    """One open camera, set up as asked."""

    def __init__(self, name: str, device: Device, options: SourceOptions) -> None:
        self._device = device
        if options.mjpg:  # before the size: the format decides which sizes there are
            device.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
        wanted = [
            ("width", cv2.CAP_PROP_FRAME_WIDTH, options.width),
            ("height", cv2.CAP_PROP_FRAME_HEIGHT, options.height),
            ("fps", cv2.CAP_PROP_FPS, options.camera_fps),
        ]
        for _, prop, value in wanted:
            if value is not None:
                device.set(prop, float(value))
        # OpenCV queues frames where it can, and a queue shows the past (opencv #13145, #10671).
        device.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        device.set(cv2.CAP_PROP_READ_TIMEOUT_MSEC, _READ_TIMEOUT_MS)
        for what, prop, value in wanted:
            got = device.get(prop)
            if value is not None and round(got) != round(value):
                _log.warning(
                    "camera %r: %s %g was asked for, the camera gives %g", name, what, value, got
                )
        self.fps = nominal_fps(device.get(cv2.CAP_PROP_FPS))

    def grab(self) -> Grab:
        """Wait for the next picture and stamp it when it arrives, before it is decoded.

        Raises:
            SignalLost: Several in a row failed.
        """
        for failures in range(_MAX_FAILURES_IN_A_ROW):
            if not self._device.grab():
                continue
            captured_ns = time.perf_counter_ns()
            decoded, image = self._device.retrieve()
            if decoded and image is not None and image.size:
                if image.ndim == 2:
                    image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
                return Grab(cast(U8, image), captured_ns, failures)
        raise SignalLost("the camera gives no pictures")

    def close(self) -> None:
        """Release the camera."""
        self._device.release()
