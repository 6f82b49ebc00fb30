"""The desktop's part of the window: SDL, the display, an X server that goes away."""

from samcam.live.window.desktop.display import NoWindowError, check_display, prepare_display

__all__ = ["NoWindowError", "check_display", "prepare_display"]
