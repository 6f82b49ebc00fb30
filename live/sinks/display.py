"""Makes sure that a window can come up, before a GUI toolkit aborts the process or stays black."""

from __future__ import annotations

import ctypes
import logging
import os
import socket
import sys
from pathlib import Path

import cv2

from live.sinks.base import SinkError

ALTERNATIVES = "use --output with virtualcam, video:FILE.mp4, masks:DIR or none"
_WITHOUT_X11 = ("win32", "darwin")
_CONNECT_TIMEOUT_S = 2.0
_X11_TCP_PORT = 6000
_PACKAGES = "libgl1 libglib2.0-0 libsm6 libxext6 libx11-xcb1"

_log = logging.getLogger(__name__)


def prepare_display() -> None:
    """Check the display and mend what OpenCV's wheel brings along; harmless when repeated.

    Raises:
        SinkError: There is no display, nobody answers there, or a system library is missing.
    """
    check_display()
    if sys.platform in _WITHOUT_X11:
        return
    _load_matching_x11_xcb()
    check_qt_plugin()


def check_display() -> None:
    """Look at DISPLAY and connect to it once: Qt aborts the whole process where it cannot.

    Windows and macOS have no such thing to look at.

    Raises:
        SinkError: There is no display, or nobody answers there.
    """
    if sys.platform in _WITHOUT_X11:
        return
    display = os.environ.get("DISPLAY", "")
    if not display:
        wayland = bool(os.environ.get("WAYLAND_DISPLAY"))
        hint = "; Wayland alone will not do, start XWayland" if wayland else ""
        raise SinkError(
            f"--output window: there is no display (DISPLAY is not set{hint}): {ALTERNATIVES}"
        )
    if not _x_server_answers(display):
        raise SinkError(
            f"--output window: no X server answers at DISPLAY={display}: {ALTERNATIVES}"
        )


def _x_server_answers(display: str) -> bool:
    """Connect to `[host]:number[.screen]` once; access rights are not looked at."""
    host, colon, rest = display.rpartition(":")
    number = rest.partition(".")[0]
    if not colon or not number.isdigit():
        return False
    if host in ("", "unix"):
        path = f"/tmp/.X11-unix/X{number}"
        return any(_connects(socket.AF_UNIX, address) for address in (path, "\0" + path))
    return _connects(socket.AF_INET, (host, _X11_TCP_PORT + int(number)))


def _connects(family: int, address: str | tuple[str, int]) -> bool:
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(_CONNECT_TIMEOUT_S)
        try:
            probe.connect(address)
        except OSError:
            return False
        return True


def _load_matching_x11_xcb() -> None:
    """Load the system's libX11-xcb before the old one in OpenCV's wheel gets its chance.

    The wheel brings libX11-xcb but not libX11. Its `XSetEventQueueOwner` writes to byte 0x40 of a
    private structure of libX11, which in libX11 1.8 is another field (the owner is at 0x48). So
    Xlib believes the event queue is its own, now and then swallows the first MapNotify and Expose,
    and the window stays black: one start in four on Debian 12 with opencv-python 5.0.0.93. A
    library loaded globally before Qt's plugin wins the look-up.
    """
    try:
        ctypes.CDLL("libX11-xcb.so.1", mode=ctypes.RTLD_GLOBAL)
    except OSError:
        _log.warning(
            "window: no libX11-xcb.so.1 on this system (Debian, Ubuntu: libx11-xcb1); "
            "without it the window may stay black"
        )


def check_qt_plugin() -> None:
    """Load Qt's X11 plugin once: where one of its libraries is missing, Qt would abort.

    Raises:
        SinkError: It cannot be loaded; names the library.
    """
    plugin = Path(cv2.__file__).parent / "qt" / "plugins" / "platforms" / "libqxcb.so"
    if not plugin.is_file():
        return  # built otherwise: with GTK, or with the system's Qt
    try:
        ctypes.CDLL(str(plugin))
    except OSError as error:
        raise SinkError(
            f"--output window: a system library is missing: {error}; on Debian and Ubuntu: "
            f"sudo apt-get install {_PACKAGES}; or {ALTERNATIVES}"
        ) from error
