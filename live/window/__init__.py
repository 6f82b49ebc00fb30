"""The picture to click in: a window of the desktop, its mouse and its keys."""

from samcam.live.window.window import PreviewWindow, WindowOptions

__all__ = ["PreviewWindow", "WindowOptions"]
