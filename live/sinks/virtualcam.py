"""`virtualcam[:DEVICE]`: a camera that other programs can choose; the one user of pyvirtualcam.

pyvirtualcam is GPL-2.0 and optional: it is imported inside one function, when it is asked for.
"""

from __future__ import annotations

import logging
import platform
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import cv2
import numpy as np

from samcam.live.effects import to_rgba
from samcam.live.errors import SinkError
from samcam.live.frames import U8, Composite
from samcam.live.sinks.video import made_even
from samcam.live.sources.video import letterboxed
from samcam.live.watchdog import Watchdog
from samcam.system import FixableError, install, program

SYSFS: Final = Path("/sys/class/video4linux")
MODULES: Final = Path("/lib/modules")
MODPROBE: Final = "sudo modprobe v4l2loopback devices=1 exclusive_caps=1 card_label=SamCam"
_MODULE: Final = "v4l2loopback"
_MAX_FPS: Final = 60.0  # of a source's own rate; no program asks a webcam for more
_JOIN_S: Final = 2.0
_NO_ALPHA: Final = (
    "sends no transparency, effect.transparent.color stands around the object: the camera takes no "
    "RGBA (Unity Capture does), or the program was not started with the effect transparent"
)

_log = logging.getLogger(__name__)


class NoVirtualCameraError(FixableError, SinkError):
    """There is no virtual camera to send to."""


@dataclass(frozen=True, slots=True)
class VirtualCameraOptions:
    """How a virtual camera is fed.

    Attributes:
        size_wh: Width and height in pixels, made even by rounding up; None: the source's.
        fps: Pictures per second; None: the source's rate, at most 60.
        required: Whether the run fails where there is no virtual camera, even with other outputs.
        alpha: Whether to send transparency, where the camera takes it.
    """

    size_wh: tuple[int, int] | None = None
    fps: float | None = None
    required: bool = False
    alpha: bool = False


class Camera(Protocol):
    """The part of pyvirtualcam.Camera that is used."""

    @property
    def device(self) -> str: ...
    @property
    def backend(self) -> str: ...
    def send(self, frame: U8) -> None: ...
    def close(self) -> None: ...


class VirtualCameraSink:
    """Sends the newest picture at a constant rate and size, whatever comes in.

    A thread of its own (`virtualcam-sender`) repeats the last picture while none come: programs
    take a webcam that stops sending for a broken one. It sends black until the first picture.
    """

    def __init__(
        self,
        device: str | None,
        source_size_wh: tuple[int, int],
        source_fps: float,
        options: VirtualCameraOptions,
        watchdog: Watchdog | None = None,
    ) -> None:
        """Open the camera and begin to send.

        Args:
            device: As the user wrote it; None: the first that works.
            source_size_wh: Width and height of the source in pixels.
            source_fps: Its nominal rate.
            options: How.
            watchdog: Names a driver that hangs; None: not watched.

        Raises:
            NoVirtualCameraError: pyvirtualcam is not installed, or no camera takes pictures.
        """
        self._name = _name_of(device)
        self._size_wh = even_size(options.size_wh or source_size_wh)
        fps = options.fps or min(source_fps, _MAX_FPS)
        self._takes_alpha = options.alpha
        try:
            self._camera = open_virtual_camera(device, self._size_wh, fps, options.alpha)
        except NoVirtualCameraError as error:
            if not options.alpha:
                raise
            _log.info("virtual camera: no RGBA (%s)", error.reason)
            self._takes_alpha = False
            self._camera = open_virtual_camera(device, self._size_wh, fps)
        self._watchdog = watchdog or Watchdog()
        self._told = False
        channels = 4 if self._takes_alpha else 3
        self._picture: U8 = np.zeros((self._size_wh[1], self._size_wh[0], channels), np.uint8)
        self._period_s = 1.0 / fps
        self._stop = threading.Event()
        self._error: SinkError | None = None
        _log.info(
            "virtual camera %s (%s): %dx%d at %.4g fps",
            *(self._camera.device, self._camera.backend, *self._size_wh, fps),
        )
        self._sender = threading.Thread(target=self._send, name="virtualcam-sender", daemon=True)
        self._sender.start()

    @property
    def name(self) -> str:
        """As the user wrote it."""
        return self._name

    def put(self, composite: Composite) -> None:
        """Make this the picture that is sent from now on; never waits.

        Raises:
            SinkError: The camera broke.
        """
        if self._error is not None:
            raise self._error
        picture = fit_picture(composite.feed_bgr, self._size_wh)
        alpha = composite.alpha
        if not self._takes_alpha:
            if alpha is not None and not self._told:
                self._told = True
                _log.warning("%s: %s", self._name, _NO_ALPHA)
            self._picture = picture
        elif alpha is None:
            self._picture = np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGBA), np.uint8)
        else:  # fitted while mixed: scaling colours that stand beside nothing would darken borders
            fitted = fit_picture(np.asarray(cv2.merge((alpha,) * 3), np.uint8), self._size_wh)
            self._picture = to_rgba(picture, fitted[..., 0], composite.backdrop_rgb)

    def close(self) -> None:
        """Stop sending and give the camera back. Idempotent.

        Raises:
            SinkError: The camera broke before.
        """
        if self._stop.is_set():
            return
        self._stop.set()
        self._sender.join(_JOIN_S)
        if self._sender.is_alive():  # closing under a driver that hangs would crash or hang, too
            _log.warning("%s: the driver takes no pictures and was left behind", self._name)
            return
        self._camera.close()
        if self._error is not None:
            raise self._error

    def _send(self) -> None:
        told = f"output {self._name} has taken no picture for"
        due_s = time.monotonic()
        while not self._stop.is_set():
            try:
                with self._watchdog.watching(f"output {self._name}: send", told):
                    self._camera.send(self._picture)
            except Exception as error:  # a backend raises what it likes
                self._error = SinkError(
                    f"--output {self._name}: stopped taking pictures ({_one_line(error)}); "
                    f"{program()} --doctor says whether it is there"
                )
                _log.warning("%s", self._error)
                return
            # From due time to due time: the rate stays exact. After a stall no burst follows.
            due_s = max(due_s, time.monotonic() - self._period_s) + self._period_s
            self._stop.wait(max(0.0, due_s - time.monotonic()))


def even_size(size_wh: tuple[int, int]) -> tuple[int, int]:
    """Round up to even numbers, which 4:2:0 pictures need."""
    width, height = size_wh
    return width + width % 2, height + height % 2


def fit_picture(picture: U8, size_wh: tuple[int, int]) -> U8:
    """Return a (H, W, 3) uint8 BGR picture of an even size: the same one where it fits, else made
    even without scaling, else letterboxed."""
    fitted = made_even(picture, size_wh)
    return letterboxed(picture, size_wh) if fitted is None else fitted


def open_virtual_camera(
    device: str | None, size_wh: tuple[int, int], fps: float, rgba: bool = False
) -> Camera:
    """Open a virtual camera for BGR pictures, or for RGBA ones as Unity Capture takes them.

    Args:
        device: Its name or, on Linux, its number, `/dev/videoN` or part of its label; None: the
            first that works.
        size_wh: Even width and height in pixels.

    Raises:
        NoVirtualCameraError: Says in one line why, and what to do.
    """
    where = f"--output {_name_of(device)}: "
    try:
        import pyvirtualcam
    except (ImportError, OSError) as error:
        reason = f"pyvirtualcam cannot be imported ({_one_line(error)})"
        raise NoVirtualCameraError(reason, f"run: {install('virtualcam')}", where) from error
    wanted = device if device is None or sys.platform != "linux" else linux_device(device)
    form = pyvirtualcam.PixelFormat.RGBA if rgba else pyvirtualcam.PixelFormat.BGR
    try:
        opened: Camera = pyvirtualcam.Camera(*size_wh, fps, fmt=form, device=wanted)
    except Exception as error:  # backends raise what they like, such as KeyError and OSError
        reason = f"no virtual camera takes pictures ({_one_line(error)})"
        raise NoVirtualCameraError(reason, fix_command(), where) from error
    return opened


def linux_device(device: str, sysfs: Path = SYSFS) -> str:
    """Return /dev/videoN for a number or part of one label; anything else as it is."""
    if device.isdecimal():
        return f"/dev/video{device}"
    labels = {}
    for file in sysfs.glob("video[0-9]*/name"):
        try:
            labels[file.parent.name] = file.read_text().strip()
        except OSError:  # unplugged while looking
            continue
    found = [node for node, label in labels.items() if device.casefold() in label.casefold()]
    return f"/dev/{found[0]}" if len(found) == 1 else device


def driver_is_loaded(sysfs: Path = SYSFS) -> bool:
    """Whether Linux's virtual camera is there at all; elsewhere this cannot be told: False."""
    return (sysfs.parent.parent / "module" / _MODULE).is_dir()


def fix_command(system: str = sys.platform, modules: Path = MODULES, sysfs: Path = SYSFS) -> str:
    """Return what to do to get a virtual camera on this system, in the imperative."""
    if system == "darwin":
        return (
            "install OBS (brew install --cask obs), start it, click 'Start Virtual Camera' once, "
            "allow it, then 'Stop Virtual Camera', and close OBS"
        )
    if system == "win32":
        return (
            "install OBS (winget install OBSProject.OBSStudio), and stop OBS's own virtual camera; "
            "where OBS is to receive the picture, install Unity Capture and use "
            '--output "virtualcam:Unity Video Capture"'
        )
    if driver_is_loaded(sysfs):
        return f"run: sudo modprobe -r {_MODULE} && {MODPROBE}"  # loaded, but otherwise or busy
    if any((modules / platform.release()).rglob(f"{_MODULE}.ko*")):
        return f"run: {MODPROBE}"
    return f"run: sudo apt-get install v4l2loopback-dkms && {MODPROBE}"


def _name_of(device: str | None) -> str:
    """Return an output as the user wrote it."""
    return "virtualcam" if device is None else f"virtualcam:{device}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
