"""`window`: the preview, on the main thread; shows the feed with the UI drawn over it."""

from __future__ import annotations

import ctypes
import time
from dataclasses import dataclass, replace

import cv2

from live.controls import Controls, Notice
from live.frames import U8
from live.sinks.base import Composite, SinkError
from live.sinks.display import ALTERNATIVES, prepare_display
from live.sources.base import SourceInfo
from live.ui import View, draw_canvas, letterbox_of
from live.window_input import WindowInput
from live.window_state import InputState

_EVENTS_EVERY_S = 0.008  # handling events takes about 1 ms; mouse and keys need no more
_DRAW_EVERY_S = 1 / 62  # a display shows no more
_NOTICE_S = 4.0
_WHEEL_FLAGS_SHIFT = 16  # the wheel's turn stands in the upper half of the flags, signed


def newest_words(
    state: InputState, said_s: float, notice: Notice | None, now_s: float
) -> tuple[InputState, str]:
    """Choose between what the user's doing and what the program says: the newer one stands.

    A refusal must not stand beside what it refused, nor beside what was done since.

    Args:
        state: With the message on the user's doing.
        said_s: When that was said.
        notice: What the program said last.
        now_s: The present, by the same clock as both.

    Returns:
        The state, without its message where that is older, and the notice or "".
    """
    if notice is None or notice.time_s < said_s or now_s - notice.time_s >= _NOTICE_S:
        return state, ""
    return replace(state, message=""), notice.text


@dataclass(frozen=True, slots=True)
class WindowOptions:
    """How the window opens.

    Attributes:
        title: In its title bar; also its name for window managers.
        max_width, max_height: Largest size to open with, in pixels; the user can resize it.
        object_names: Of the objects 1, 2 and so on, for the status line.
    """

    title: str = "SamCam"
    max_width: int = 1280
    max_height: int = 720
    object_names: tuple[str, ...] = ()


class PreviewWindow:
    """Opens on construction; every method belongs to the main thread.

    The canvas always has the size of the window's inside, and the picture is letterboxed here:
    HighGUI's own scaling (WINDOW_KEEPRATIO) shrinks a canvas that follows the window's size.
    """

    def __init__(self, options: WindowOptions, info: SourceInfo) -> None:
        """Open the window.

        Raises:
            SinkError: There is no display, a system library is missing, or this OpenCV was built
                without windows.
        """
        prepare_display()
        self._title = options.title
        self._names = options.object_names
        width, height = info.size_wh
        scale = min(1.0, options.max_width / width, options.max_height / height)
        self._size_wh = (max(1, round(width * scale)), max(1, round(height * scale)))
        self._input: WindowInput | None = None
        self._controls: Controls | None = None
        self._composite: Composite | None = None
        self._left: Composite | None = None
        self._on_screen: Composite | None = None
        self._drawn: tuple[object, ...] | None = None
        self._drawn_s = self._events_s = 0.0
        self._closed = False
        flags = cv2.WINDOW_NORMAL | cv2.WINDOW_GUI_NORMAL | cv2.WINDOW_FREERATIO
        try:
            cv2.namedWindow(self._title, flags)
            cv2.resizeWindow(self._title, *self._size_wh)
            cv2.setMouseCallback(self._title, self._on_mouse)
            # Loading a model may take a while: something must stand in the window meanwhile.
            cv2.imshow(self._title, draw_canvas(View(None, InputState()), self._size_wh))
            cv2.waitKey(1)
        except cv2.error as error:
            raise SinkError(
                "--output window: this OpenCV has no windows (opencv-python-headless?): install "
                f"opencv-python, or {ALTERNATIVES}"
            ) from error

    @property
    def quit_requested(self) -> bool:
        """Whether the user pressed q or Esc, or closed the window."""
        return self._input is not None and self._input.quit_requested

    def connect(self, controls: Controls) -> None:
        """Say where commands go; until then mouse and keys do nothing."""
        self._controls = controls
        self._input = WindowInput(controls, names=self._names)

    def show(self, composite: Composite) -> None:
        """Take the newest picture; `refresh` draws it."""
        self._composite = composite
        if self._input is not None:
            self._input.set_known_objects([o.object_id for o in composite.result.objects])

    def left(self, composite: Composite) -> None:
        """Take note of a picture that left by another output, and is shown here later."""
        self._left = composite

    def refresh(self, note: str = "") -> None:
        """Draw if anything changed, and handle mouse and keys; cheap when nothing is due.

        Args:
            note: What is wrong with the stream just now, or "".
        """
        now_s = time.monotonic()
        if self._input is None or self._controls is None or self._closed:
            return
        status = self._controls.status
        self._input.set_hidden(status is not None and status.hidden)
        due = now_s - self._drawn_s >= _DRAW_EVERY_S
        if due:
            self._input.look_for_proposals()  # not in between: a click means what is drawn
        self._input.hover()
        if due:
            view = self._view(self._input, self._controls, note, now_s)
            content: tuple[object, ...] = (view.composite, *view.left, view.state, view.status)
            content = (*content, note, view.notice, view.hover)
            if content != self._drawn:
                self._drawn, self._drawn_s = content, now_s
                self._imshow(self._draw(view, self._input))
        if now_s - self._events_s >= _EVENTS_EVERY_S:
            self._events_s = now_s
            self._handle_events()

    def close(self) -> None:
        """Take the window down. Idempotent."""
        if self._closed:
            return
        self._closed = True
        if self._is_open():
            cv2.destroyWindow(self._title)
            cv2.waitKey(1)  # HighGUI removes it while handling events

    def _view(self, user: WindowInput, controls: Controls, note: str, now_s: float) -> View:
        """Return what to show now; a frozen picture stays the one that was on screen."""
        hover = controls.hover_answer.peek()
        if hover is not None and not user.hover_fits(hover.request):
            hover = None
        state, notice = newest_words(user.state, user.said_s, controls.notice, now_s)
        return View(
            composite=self._on_screen if state.frozen else self._composite,
            left=tuple(one for one in (self._composite, self._left) if one is not None),
            state=state,
            status=controls.status,
            note=note,
            notice=notice,
            hover=hover,
            names=self._names,
        )

    def _draw(self, view: View, user: WindowInput) -> U8:
        _, _, width, height = cv2.getWindowImageRect(self._title)
        if width > 0 and height > 0:
            self._size_wh = (width, height)
        composite = self._on_screen = view.composite
        if composite is not None:
            user.letterbox = letterbox_of(composite, self._size_wh)
            stand_in = composite.stand_in_time_ns is not None
            step = None if stand_in else composite.result.step
            user.set_picture(step, composite.object_ids, composite.result.motion)
        return draw_canvas(view, self._size_wh)

    def _imshow(self, canvas: U8) -> None:
        if self._is_open():  # else imshow would open a new one
            cv2.imshow(self._title, canvas)

    def _handle_events(self) -> None:
        code = cv2.waitKeyEx(1)  # waitKey keeps 8 bits, which hold no Delete
        if self._input is None:
            return
        if code != -1:
            self._input.key(code)
        if not self._is_open():
            self._input.quit_requested = True

    def _is_open(self) -> bool:
        try:
            return cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) > 0
        except cv2.error:
            return False

    def _on_mouse(self, event: int, x: int, y: int, flags: int, parameter: object) -> None:
        """Pass on a mouse event; the canvas has the window's size, so x and y are its pixels."""
        if self._input is None:
            return
        # Qt reports the second press of a quick pair as a double click instead of a press.
        if event in (cv2.EVENT_LBUTTONDOWN, cv2.EVENT_LBUTTONDBLCLK):
            self._input.press_left(x, y)
        elif event == cv2.EVENT_LBUTTONUP:
            self._input.release_left(x, y)
        elif event in (cv2.EVENT_RBUTTONDOWN, cv2.EVENT_RBUTTONDBLCLK):
            self._input.press_right(x, y)
        elif event in (cv2.EVENT_MBUTTONDOWN, cv2.EVENT_MBUTTONDBLCLK):
            self._input.press_middle(x, y)
        elif event == cv2.EVENT_MOUSEWHEEL:
            turn = ctypes.c_int16(flags >> _WHEEL_FLAGS_SHIFT & 0xFFFF).value
            if turn:
                self._input.wheel(1 if turn > 0 else -1)
        elif event == cv2.EVENT_MOUSEMOVE:
            self._input.move(x, y)
