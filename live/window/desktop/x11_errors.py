"""Keeps Xlib from ending the process where its server is gone or the window was destroyed.

By itself Xlib prints a line of its own and calls `exit`: no file would be finished.
"""

from __future__ import annotations

import ctypes
import logging
from typing import Any, Final

log = logging.getLogger(__name__)

_BAD_WINDOW: Final = 3
_BAD_DRAWABLE: Final = 9


class _XErrorEvent(ctypes.Structure):
    """XErrorEvent of Xlib.h."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("display", ctypes.c_void_p),
        ("resource", ctypes.c_ulong),
        ("serial", ctypes.c_ulong),
        ("code", ctypes.c_ubyte),
        ("request", ctypes.c_ubyte),
        ("minor", ctypes.c_ubyte),
    )


_OnError = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(_XErrorEvent))
_OnIOError = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)
_OnExit = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)
_handlers: list[Any] = []  # Xlib keeps their addresses for the life of the process


class X11Errors:
    """Takes note of what Xlib would end the process for.

    Attributes:
        gone: Why there is no window any more; "": there is one.
    """

    def __init__(self, display: object, window: int) -> None:
        """Listen from now on; `display` is a capsule "display" with the `Display *`."""
        self.gone = ""
        self._window = window
        xlib = ctypes.CDLL("libX11.so.6")  # the one that SDL loaded
        on_error, on_io_error = _OnError(self._error), _OnIOError(self._io_error)
        _handlers.extend((on_error, on_io_error))
        xlib.XSetErrorHandler(on_error)
        xlib.XSetIOErrorHandler(on_io_error)
        if not hasattr(xlib, "XSetIOErrorExitHandler"):  # libX11 before 1.7: it exits all the same
            return
        pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
        pointer_of.restype, pointer_of.argtypes = (
            ctypes.c_void_p,
            (ctypes.py_object, ctypes.c_char_p),
        )
        on_exit = _OnExit(lambda display, data: None)  # returning is what keeps the process
        _handlers.append(on_exit)
        xlib.XSetIOErrorExitHandler(ctypes.c_void_p(pointer_of(display, b"display")), on_exit, None)

    def _error(self, display: int | None, event: Any) -> int:
        error = event.contents
        if error.code in (_BAD_WINDOW, _BAD_DRAWABLE) and error.resource == self._window:
            self.gone = self.gone or "another program destroyed it"
        else:
            log.debug("X error %d for request %d.%d", error.code, error.request, error.minor)
        return 0

    def _io_error(self, display: int | None) -> int:
        self.gone = self.gone or "the connection to the X server was lost"
        return 0
