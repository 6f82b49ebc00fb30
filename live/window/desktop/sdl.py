"""A window of the desktop with its mouse and keys; the one user of pygame-ce, which brings SDL 2.

It is imported inside a function: runs without a window load none of it. Only the display is begun,
never sound, and signals stay the program's own.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import sys
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np

from samcam.live.frames import U8
from samcam.live.window.desktop.display import (
    ALTERNATIVES,
    INSTALL_X11,
    WHERE,
    WITHOUT_X11,
    NoWindowError,
)
from samcam.live.window.desktop.x11_errors import X11Errors
from samcam.live.window.keys import DELETE, KeyPress
from samcam.system import install

if TYPE_CHECKING:
    from pygame.event import Event

    from samcam.live.window.input import WindowInput

_ICON_PX: Final = 64
_SETTINGS: Final = {
    "PYGAME_HIDE_SUPPORT_PROMPT": "1",
    "SDL_NO_SIGNAL_HANDLERS": "1",  # Ctrl-C and SIGTERM are system/interrupts.py's
    "SDL_MOUSE_FOCUS_CLICKTHROUGH": "1",  # the click that brings the window up counts, too
    "SDL_VIDEO_ALLOW_SCREENSAVER": "1",  # the user's own setting stays in force
    "SDL_VIDEO_X11_WMCLASS": "SamCam",
}
_ON_X11: Final = {
    "SDL_VIDEODRIVER": "x11",  # else SDL goes on to the console, where nobody sees a window
    "SDL_FRAMEBUFFER_ACCELERATION": "0",  # a copy of pixels needs no OpenGL
    "SDL_VIDEO_X11_NET_WM_BYPASS_COMPOSITOR": "0",  # that is for games in full screen
}


def load_pygame() -> Any:
    """Return the package, told to leave banner, signals and screen saver alone.

    Raises:
        NoWindowError: It is not installed.
    """
    settings = _SETTINGS if sys.platform in WITHOUT_X11 else {**_SETTINGS, **_ON_X11}
    for name, value in settings.items():
        os.environ.setdefault(name, value)
    try:
        import pygame
    except ImportError as error:
        reason = f"pygame-ce cannot be loaded ({error})"
        raise NoWindowError(reason, f"{install()}, or {ALTERNATIVES}", WHERE) from error
    return pygame


class SdlWindow:
    """One window for the process; every method belongs to the main thread.

    Attributes:
        closed: Whether the user closed it.
        stale: Whether it needs to be drawn again: it was uncovered or has another size.
    """

    def __init__(self, title: str, size_wh: tuple[int, int]) -> None:
        """Open it, its inside `size_wh` pixels large.

        Raises:
            NoWindowError: It cannot be opened.
        """
        self.closed = False
        self.stale = False
        self._errors: X11Errors | None = None
        self._pygame = load_pygame()
        display = self._pygame.display
        try:
            display.init()
            display.set_icon(self._surface(_icon()))
            display.set_caption(title)
            display.set_mode(size_wh, self._pygame.RESIZABLE)
        except self._pygame.error as error:
            display.quit()
            raise NoWindowError(f"no window can be opened: {error}", INSTALL_X11, WHERE) from error
        if sys.platform not in WITHOUT_X11:
            info = display.get_wm_info()
            _tell_old_name(info["window"], title)
            self._errors = X11Errors(info["display"], info["window"])

    @property
    def gone(self) -> str:
        """Why there is no window any more, though nobody closed it; "": there is one."""
        return "" if self._errors is None else self._errors.gone

    @property
    def size_wh(self) -> tuple[int, int]:
        """Of its inside, in pixels."""
        width, height = self._pygame.display.get_window_size()
        return int(width), int(height)

    def show(self, canvas: U8) -> None:
        """Show a (H, W, 3) BGR canvas from the upper left corner on."""
        screen = self._pygame.display.get_surface()
        if screen is not None:
            self.stale = False
            screen.blit(self._surface(canvas), (0, 0))
            self._pygame.display.flip()

    def handle_events(self, receiver: WindowInput | None) -> None:
        """Tell the receiver what the user did since the last time, in pixels of the canvas."""
        for event in self._pygame.event.get():
            if event.type in (self._pygame.QUIT, self._pygame.WINDOWCLOSE):
                self.closed = True
            elif event.type in (self._pygame.WINDOWEXPOSED, self._pygame.WINDOWSIZECHANGED):
                self.stale = True
            elif receiver is not None:
                self._pass_on(event, receiver)

    def close(self) -> None:
        """Take it down. Idempotent."""
        if self.gone:  # SDL would talk to a server that is not there, and the process could end
            atexit.unregister(self._pygame.quit)
        else:
            self._pygame.display.quit()

    def _surface(self, image_bgr: U8) -> Any:
        size_wh = image_bgr.shape[1::-1]
        return self._pygame.image.frombuffer(np.ascontiguousarray(image_bgr), size_wh, "BGR")

    def _pass_on(self, event: Event, receiver: WindowInput) -> None:
        pygame = self._pygame
        if event.type == pygame.MOUSEBUTTONDOWN:
            presses = {
                pygame.BUTTON_LEFT: receiver.press_left,
                pygame.BUTTON_MIDDLE: receiver.press_middle,
                pygame.BUTTON_RIGHT: receiver.press_right,
            }
            if event.button in presses:  # the wheel comes as buttons once more
                presses[event.button](*event.pos)
        elif event.type == pygame.MOUSEBUTTONUP and event.button == pygame.BUTTON_LEFT:
            receiver.release_left(*event.pos)
        elif event.type == pygame.MOUSEWHEEL and event.y:
            receiver.wheel(1 if (event.y > 0) != event.flipped else -1)
        elif event.type == pygame.MOUSEMOTION:
            receiver.move(*event.pos)
        elif event.type == pygame.WINDOWLEAVE:
            receiver.leave()
        elif event.type == pygame.KEYDOWN:  # once for a key that is held
            receiver.key(self._press(event))

    def _press(self, event: Event) -> KeyPress:
        """Say which key it was and what is held with it.

        AltGr types characters, `[` on many keyboards; some systems call it Alt, or Ctrl and Alt.
        """
        pygame, held = self._pygame, event.mod
        base = chr(event.key) if event.key < sys.maxunicode else ""
        character = event.unicode
        if event.key == pygame.K_DELETE or (
            event.key == pygame.K_KP_PERIOD and not held & pygame.KMOD_NUM
        ):
            base = character = DELETE
        names = {
            "<ctrl>": pygame.KMOD_CTRL,
            "<alt>": pygame.KMOD_ALT,
            "<alt_gr>": pygame.KMOD_RALT | pygame.KMOD_MODE,
            "<shift>": pygame.KMOD_SHIFT,
            "<cmd>": pygame.KMOD_GUI,
        }
        pressed = frozenset(name for name, mask in names.items() if held & mask)
        types = "<alt_gr>" in pressed and character.isprintable() and character not in ("", base)
        strong = {"<cmd>"} if types else {"<ctrl>", "<alt>", "<cmd>"}
        return KeyPress(character, base, pressed, shortcut=bool(strong & pressed))


def _tell_old_name(window: int, title: str) -> None:
    """Set the name by which window tools look for it: SDL sets only the newer one, in UTF-8."""
    xlib = ctypes.CDLL("libX11.so.6")
    xlib.XOpenDisplay.restype = ctypes.c_void_p
    connection = ctypes.c_void_p(xlib.XOpenDisplay(None))
    if connection.value:
        xlib.XStoreName(connection, ctypes.c_ulong(window), title.encode("latin-1", "replace"))
        xlib.XCloseDisplay(connection)


def _icon() -> U8:
    """Return a disc in a ring: an object, and what marks it."""
    icon = np.full((_ICON_PX, _ICON_PX, 3), 24, np.uint8)
    centre = _ICON_PX // 2, _ICON_PX // 2
    cv2.circle(icon, centre, _ICON_PX // 5, (240, 240, 240), cv2.FILLED, cv2.LINE_AA)
    cv2.circle(icon, centre, _ICON_PX // 3, (60, 190, 255), _ICON_PX // 12, cv2.LINE_AA)
    return icon
