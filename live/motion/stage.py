"""The body of the carry thread (`--smooth`): every camera frame gets a result, late or carried.

capture --frames--> inference --results--> carry --shown--> render loop
   +------------------display--------------->+
"""

from __future__ import annotations

import threading
from typing import Final

from samcam.live.frames import NS_PER_S, Frame, FrameResult
from samcam.live.motion.carry import Carrier
from samcam.live.slots import Closed, FrameQueue, Slot

_WAIT_S: Final = 0.25  # longest wait without looking at the stop event
_LONGEST_PERIOD_S: Final = 0.1  # a gap between two frames is no frame rate
_FRAMES_WITHOUT_WAIT: Final = 30  # after a wait in vain


def run_carry(
    display: FrameQueue,
    results: Slot[FrameResult],
    shown: Slot[FrameResult],
    carrier: Carrier,
    stop: threading.Event,
) -> None:
    """Give every frame of the display queue a result, in order, until both inputs end.

    Never raises: an error, inference's and the source's too, goes to the reader through `shown`.

    Args:
        display: Every camera frame.
        results: Inference's answers.
        shown: One result per frame; the newest wins.
        carrier: Used by this thread alone.
        stop: Ends the loop.
    """
    error: BaseException | None = None
    stage = _CarryStage(results, shown, carrier, stop)
    try:
        stage.begin()
        stage.show_all(display)
        stage.await_end()
    except Closed:
        pass  # the reader wants no more
    except BaseException as raised:
        error = raised
    finally:
        display.close()
        shown.close(error)


class _CarryStage:
    def __init__(
        self,
        results: Slot[FrameResult],
        shown: Slot[FrameResult],
        carrier: Carrier,
        stop: threading.Event,
    ) -> None:
        self._results = results
        self._shown = shown
        self._carrier = carrier
        self._stop = stop
        self._before: Frame | None = None
        self._ended = False
        self._no_wait_for = 0

    def begin(self) -> None:
        """Wait for the first answer and show it; nothing is known about frames before it."""
        while not self._stop.is_set() and not self._ended:
            first = self._take_answer(_WAIT_S)
            if first is not None:
                self._show(first.frame)
                return

    def show_all(self, display: FrameQueue) -> None:
        """Show frames until there are no more."""
        while not self._stop.is_set():
            try:
                frame = display.get(_WAIT_S)
            except Closed:
                return
            self._take_answer(0.0)
            if frame is None or self._before is None or frame.index <= self._before.index:
                continue
            self._await_own_answer(frame, self._before)
            self._show(frame)

    def await_end(self) -> None:
        """Wait until inference is done: it may have failed, which the reader has to know."""
        while not self._stop.is_set() and not self._ended:
            self._take_answer(_WAIT_S)

    def _show(self, frame: Frame) -> None:
        self._before = frame
        result = self._carrier.show(frame)
        if result is not None:
            self._shown.put(result)

    def _take_answer(self, wait_s: float) -> FrameResult | None:
        """Take an answer that is there or comes in time; raises what broke inference or the
        source."""
        if self._ended:
            return None
        try:
            result = self._results.get(wait_s)
        except Closed:  # frames may still wait to be shown
            self._ended = True
            return None
        if result is not None:
            self._carrier.answer(result)
        return result

    def _await_own_answer(self, frame: Frame, before: Frame) -> None:
        """Wait for a frame's own answer while inference keeps up: until the next frame is due.

        It may come in time where inference has answered for the frame before; else inference is
        busy with an older one, and waiting would only make the picture late.
        """
        if not before.index <= self._carrier.newest_index < frame.index:
            return
        if self._no_wait_for > 0:
            self._no_wait_for -= 1
            return
        period_s = (frame.time_ns - before.time_ns) / NS_PER_S
        self._take_answer(min(max(0.0, period_s), _LONGEST_PERIOD_S))
        if self._carrier.newest_index < frame.index:
            self._no_wait_for = _FRAMES_WITHOUT_WAIT
