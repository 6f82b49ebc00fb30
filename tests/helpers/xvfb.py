"""A display without a screen, and a hand that types and clicks on it.

Xvfb keeps its picture in a memory-mapped file in X's own dump format (`-fbdir`), so a screenshot
needs no further program.
"""

from __future__ import annotations

import ctypes
import os
import select
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from samcam.live.frames import U8
from tests.conftest import require_tool
from tests.helpers.bounds import WAIT_S

PACKAGES = "xvfb xdotool"
POLL_S = 0.05
_HEADER_FIELDS = 25  # XWDFile.h: 25 unsigned 32-bit numbers, big-endian
_BYTES_PER_COLOUR = 12


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = WAIT_S) -> None:
    """Look again and again until `condition` holds; fail with `what` when it does not."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline_s:
            raise AssertionError(f"not within {timeout_s:.0f} s: {what}")
        time.sleep(POLL_S)  # another process changes what is looked at: nothing to wait on


@dataclass(frozen=True)
class Display:
    """A running X server.

    Attributes:
        name: For the environment variable DISPLAY, such as ":7".
        dump: The server's picture, in xwd format.
        pid: Of the server.
    """

    name: str
    dump: Path
    pid: int

    @property
    def environment(self) -> dict[str, str]:
        """This process's environment with this display in it."""
        return {**os.environ, "DISPLAY": self.name}

    def screenshot(self) -> U8:
        """Return the (H, W, 3) BGR picture on the screen."""
        data = self.dump.read_bytes()
        header = struct.unpack(f">{_HEADER_FIELDS}I", data[: 4 * _HEADER_FIELDS])
        header_size, width, height = header[0], header[4], header[5]
        bytes_per_line, colours = header[12], header[19]
        start = header_size + colours * _BYTES_PER_COLOUR
        pixels = np.frombuffer(data, np.uint8, bytes_per_line * height, start)
        return pixels.reshape(height, -1, 4)[:, :width, :3].copy()

    def xdotool(self, *arguments: str | int) -> str:
        """Run xdotool and return what it prints."""
        done = subprocess.run(
            ["xdotool", *map(str, arguments)],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=WAIT_S,
            check=True,
        )
        return done.stdout.strip()

    def find_window(self, title: str, alive: Callable[[], bool]) -> Window:
        """Wait for a window with this title, shown by a process that must stay alive."""
        found: list[str] = []

        def look() -> bool:
            assert alive(), "the program ended before its window came up"
            done = subprocess.run(
                ["xdotool", "search", "--onlyvisible", "--name", f"^{title}$"],
                env=self.environment,
                capture_output=True,
                text=True,
                timeout=WAIT_S,
                check=False,  # it fails while there is none
            )
            found[:] = done.stdout.split()
            return bool(found)

        wait_until(look, f"a window called {title}")
        return Window(self, found[-1])


class _ClientMessage(ctypes.Structure):
    """XClientMessageEvent of Xlib.h, with room for the union it is part of."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("serial", ctypes.c_ulong),
        ("send_event", ctypes.c_int),
        ("display", ctypes.c_void_p),
        ("window", ctypes.c_ulong),
        ("message_type", ctypes.c_ulong),
        ("format", ctypes.c_int),
        ("data", ctypes.c_long * 5),
        ("rest", ctypes.c_long * 12),
    )


@dataclass(frozen=True)
class Window:
    """One window; positions are its own pixels."""

    display: Display
    id: str

    def geometry(self) -> dict[str, int]:
        """Return X, Y, WIDTH and HEIGHT on the screen."""
        lines = self.display.xdotool("getwindowgeometry", "--shell", self.id).splitlines()
        pairs = (line.split("=") for line in lines)
        return {key: int(value) for key, value in pairs}

    def screenshot(self) -> U8:
        """Return the (H, W, 3) BGR pixels of the window's place on the screen."""
        g = self.geometry()
        screen = self.display.screenshot()
        return screen[g["Y"] : g["Y"] + g["HEIGHT"], g["X"] : g["X"] + g["WIDTH"]]

    def click(self, x: int, y: int, button: int = 1) -> None:
        """Move there, press and release; with --sync it would wait for ever where it already is."""
        self.display.xdotool("mousemove", "--window", self.id, x, y, "click", button)

    def drag(self, start: tuple[int, int], end: tuple[int, int], release: bool = True) -> None:
        """Press the left button at `start`, move to `end`, and let go unless told not to."""
        move = ("mousemove", "--window", self.id)
        self.display.xdotool(*move, *start, "mousedown", 1, *move, *end)
        if release:
            self.display.xdotool("mouseup", 1)

    def ask_to_close(self) -> None:
        """Do what the cross in a title bar does: send WM_DELETE_WINDOW (ICCCM 4.2.8.1).

        There is no window manager here and this xdotool cannot; Xlib, which it needs, is there.
        """
        xlib = ctypes.CDLL("libX11.so.6")
        xlib.XOpenDisplay.restype = ctypes.c_void_p
        xlib.XInternAtom.restype = ctypes.c_ulong
        connection = ctypes.c_void_p(xlib.XOpenDisplay(self.display.name.encode()))
        assert connection.value, f"cannot connect to {self.display.name}"
        protocols = xlib.XInternAtom(connection, b"WM_PROTOCOLS", 0)
        delete = xlib.XInternAtom(connection, b"WM_DELETE_WINDOW", 0)
        event = _ClientMessage(
            type=33, window=int(self.id), message_type=protocols, format=32, data=(delete,)
        )
        xlib.XSendEvent(connection, ctypes.c_ulong(int(self.id)), 0, 0, ctypes.byref(event))
        xlib.XCloseDisplay(connection)

    def key(self, *names: str) -> None:
        """Press keys; there is no window manager, so the focus is given by hand."""
        self.display.xdotool("windowfocus", "--sync", self.id, "key", *names)


@contextmanager
def running_xvfb(folder: Path, size_wh: tuple[int, int] = (1280, 800)) -> Iterator[Display]:
    """Start Xvfb on a free display number; skip (with CI=true: fail) where it is missing.

    Args:
        folder: Empty; the server keeps its picture there.
    """
    program = require_tool("Xvfb", PACKAGES)
    require_tool("xdotool", PACKAGES)
    number_read, number_write = os.pipe()
    where = ("-screen", "0", f"{size_wh[0]}x{size_wh[1]}x24", "-fbdir", str(folder))
    # Without -noreset the server starts over whenever its last client leaves, such as an xdotool
    # that looks for a window, and refuses whoever comes in that moment.
    server = subprocess.Popen(
        [program, "-displayfd", str(number_write), *where, "-nolisten", "tcp", "-noreset"],
        pass_fds=(number_write,),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(number_write)
    try:
        ready, _, _ = select.select([number_read], [], [], WAIT_S)
        number = os.read(number_read, 32).decode().strip() if ready else ""
        assert number, f"Xvfb did not start within {WAIT_S} s"
        yield Display(f":{number}", folder / "Xvfb_screen0", server.pid)
    finally:
        os.close(number_read)
        server.terminate()
        server.wait(WAIT_S)
