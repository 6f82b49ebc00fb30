"""Makes sure that a window can come up, and says in one line why not."""

from __future__ import annotations

import ctypes
import os
import socket
import sys
from typing import Final

from samcam.live.errors import SinkError
from samcam.system import FixableError

ALTERNATIVES = "use --output with virtualcam, video:FILE.mp4, masks:DIR or none"
WITHOUT_X11: Final = ("win32", "darwin")
PACKAGES: Final = "libx11-6 libxext6 libxcursor1 libxi6 libxrandr2"
INSTALL_X11: Final = f"on Debian and Ubuntu: sudo apt-get install {PACKAGES}; or {ALTERNATIVES}"
WHERE = "--output window: "
_CONNECT_TIMEOUT_S = 2.0
_X11_TCP_PORT = 6000
_LIBRARIES = ("libX11.so.6", "libXext.so.6")  # SDL brings all else, or does without it


class NoWindowError(FixableError, SinkError):
    """No window can come up here."""


def prepare_display() -> None:
    """Check the display and what windows load from the system; harmless when repeated.

    Raises:
        NoWindowError: There is no display, nobody answers there, or a system library is missing.
    """
    check_display()
    if sys.platform not in WITHOUT_X11:
        check_libraries()


def check_display() -> None:
    """Look at DISPLAY and connect to it once, so that the message says what is wrong there.

    Windows and macOS have no such thing to look at.

    Raises:
        NoWindowError: There is no display, or nobody answers there.
    """
    if sys.platform in WITHOUT_X11:
        return
    display = os.environ.get("DISPLAY", "")
    if not display:
        wayland = bool(os.environ.get("WAYLAND_DISPLAY"))
        hint = "; Wayland alone will not do, start XWayland" if wayland else ""
        raise NoWindowError(f"there is no display (DISPLAY is not set{hint})", ALTERNATIVES, WHERE)
    if not _x_server_answers(display):
        raise NoWindowError(f"no X server answers at DISPLAY={display}", ALTERNATIVES, WHERE)


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


def check_libraries() -> None:
    """Load what SDL loads from the system: where that is missing it only says "not available".

    Raises:
        NoWindowError: It cannot be loaded; names the library.
    """
    for library in _LIBRARIES:
        try:
            ctypes.CDLL(library)
        except OSError as error:
            reason = f"a system library is missing: {error}"
            raise NoWindowError(reason, INSTALL_X11, WHERE) from error
