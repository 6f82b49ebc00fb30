"""`window`: the preview, on the main thread; shows the feed with the UI drawn over it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from samcam.live.control import Controls, Notice
from samcam.live.errors import SinkError
from samcam.live.frames import U8, Composite, FrameResult, StandIn
from samcam.live.sources import SourceInfo
from samcam.live.window.desktop.display import ALTERNATIVES, prepare_display
from samcam.live.window.desktop.sdl import SdlWindow
from samcam.live.window.drawing.canvas import View, draw_canvas, letterbox_of
from samcam.live.window.input import WindowInput
from samcam.live.window.state import InputState
from samcam.system import Section, Setting

_EVENTS_EVERY_S = 0.008  # handling events takes about 1 ms; mouse and keys need no more
_DRAW_EVERY_S = 1 / 62  # a display shows no more
_NOTICE_S = 4.0


def newest_message(
    state: InputState, message_s: float, notice: Notice | None, now_s: float
) -> tuple[InputState, str]:
    """Choose between the user's message and the program's notice: the newer one is shown.

    A refusal must not stand beside what it refused, nor beside what was done since.

    Args:
        state: With the message on the user's doing.
        message_s: When that was shown first.
        notice: The program's last one.
        now_s: The present, by the same clock as both.

    Returns:
        The state, without its message where that is older, and the notice or "".
    """
    if notice is None or notice.time_s < message_s or now_s - notice.time_s >= _NOTICE_S:
        return state, ""
    return replace(state, message=""), notice.text


@dataclass(frozen=True, slots=True)
class WindowOptions(Section):
    """The preview window; it can be resized by hand."""

    title: ClassVar = "SamCam"  # also its name for window managers

    max_width: Annotated[int, Setting("Widest it opens.", "px", 160, 16384)] = 1280
    max_height: Annotated[int, Setting("Highest it opens.", "px", 90, 16384)] = 720
    object_names: Annotated[
        tuple[str, ...] | None,
        Setting(
            "Names of the objects 1, 2, ... in its status line; null: object 1, object 2, ...",
            limits={"min_length": 1},
        ),
    ] = None


class PreviewWindow:
    """Opens on construction; every method belongs to the main thread.

    The canvas always has the size of the window's inside, and the picture is letterboxed here.
    """

    def __init__(self, options: WindowOptions, info: SourceInfo) -> None:
        """Open the window.

        Raises:
            SinkError: There is no display, or a system library or pygame-ce is missing.
        """
        prepare_display()
        self._names = options.object_names or ()
        width, height = info.size_wh
        scale = min(1.0, options.max_width / width, options.max_height / height)
        size_wh = (max(1, round(width * scale)), max(1, round(height * scale)))
        self._input: WindowInput | None = None
        self._controls: Controls | None = None
        self._composite: Composite | None = None
        self._inferred: FrameResult | None = None
        self._left: Composite | None = None
        self._on_screen: Composite | None = None
        self._drawn: tuple[object, ...] | None = None
        self._drawn_s = self._events_s = 0.0
        self._closed = False
        self._window = SdlWindow(options.title, size_wh)
        # Loading a model may take a while: something must stand in the window meanwhile.
        self._window.show(draw_canvas(View(None, InputState()), size_wh))
        self._window.handle_events(None)

    @property
    def quit_requested(self) -> bool:
        """Whether the user pressed q or Esc, or closed the window."""
        return self._input is not None and self._input.quit_requested

    def connect(self, controls: Controls, served: Sequence[str] = ()) -> None:
        """Set where commands go, and who is served; until then mouse and keys do nothing."""
        self._controls = controls
        self._input = WindowInput(controls, names=self._names, served=served)

    def show(self, composite: Composite) -> None:
        """Take the newest picture; `refresh` draws it."""
        self._composite = composite
        result = composite.result
        if not any(item.predicted for item in result.objects):  # those attended to nothing
            self._inferred = result
        if self._input is not None:
            self._input.set_known_objects([o.object_id for o in composite.result.objects])

    def left(self, composite: Composite) -> None:
        """Take note of a picture that another output sent, and that is shown here later."""
        self._left = composite

    def refresh(self, note: str = "") -> None:
        """Draw if anything changed, and handle mouse and keys; cheap when nothing is due.

        Args:
            note: What is wrong with the stream just now, or "".

        Raises:
            SinkError: The window is gone, and nobody closed it.
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
            drawn: tuple[object, ...] = (view.composite, view.hidden, view.hidden_note, view.state)
            content = (*drawn, view.status, note, view.notice, view.hover, view.pinned)
            if content != self._drawn or self._window.stale:
                self._drawn, self._drawn_s = content, now_s
                self._window.show(self._draw(view, self._input))
        if now_s - self._events_s >= _EVENTS_EVERY_S:
            self._events_s = now_s
            self._window.handle_events(self._input)
            self._input.quit_requested |= self._window.closed
        if self._window.gone:
            raise SinkError(
                f"--output window: the window is gone: {self._window.gone}; start the run again, "
                f"or {ALTERNATIVES}"
            )

    def close(self) -> None:
        """Take the window down. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._window.close()

    def _view(self, user: WindowInput, controls: Controls, note: str, now_s: float) -> View:
        """Return what to show now; a frozen picture stays the one that was on screen."""
        hover = controls.hover_answer.peek()
        if hover is not None and not user.hover_fits(hover.request):
            hover = None
        notice = controls.notice
        state, text = newest_message(user.state, user.message_s, notice, now_s)
        return View(
            composite=self._on_screen if state.frozen else self._composite,
            left=tuple(one for one in (self._composite, self._left) if one is not None),
            state=state,
            status=controls.status,
            note=note,
            notice=text,
            refusal=notice is not None and notice.refusal,
            hover=hover,
            pinned=controls.pinned.peek() if state.frozen else None,
            names=self._names,
            inferred=self._inferred,
        )

    def _draw(self, view: View, user: WindowInput) -> U8:
        size_wh = self._window.size_wh
        composite = self._on_screen = view.composite
        if composite is not None:
            user.letterbox = letterbox_of(composite, size_wh)
            step = None if isinstance(composite, StandIn) else composite.result.step
            user.set_picture(step, composite.object_ids, composite.result.motion)
        return draw_canvas(view, size_wh)
