"""How far the run is: a bar on a terminal, else one log line per period."""

from __future__ import annotations

import logging
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

log = logging.getLogger(__name__)


class _Bar(tqdm):  # type: ignore[type-arg]  # generic only in the type stubs
    monitor_interval = 0  # no thread of its own: the bar moves with every frame


class Progress:
    """Shows frames done, rate and time left. `update` is called by the inference thread only.

    A bar needs a terminal and a known length; otherwise a line is logged every `period_s`.
    """

    def __init__(
        self,
        frame_count: int | None,
        period_s: float,
        held_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """Begin; a line is logged every `period_s`.

        Args:
            frame_count: Of the source; None where it is unknown.
            held_s: How long the source has waited for a click, which says nothing of its rate.
        """
        self._frame_count = frame_count
        self._period_s = period_s
        self._held_s = held_s
        self._left_out_s = 0.0
        self._start_s = self._line_s = time.monotonic()
        self._done = 0
        self._bar: Any = None
        if frame_count is not None and sys.stderr.isatty():
            # Asked here because tqdm draws nothing on a terminal that says it has size 0 x 0.
            width, height = shutil.get_terminal_size()
            self._bar = _Bar(total=frame_count, unit=" frames", ncols=width, nrows=height)

    def log_above_bar(self) -> AbstractContextManager[None]:
        """Return a context in which log lines do not break the bar."""
        return nullcontext() if self._bar is None else logging_redirect_tqdm()

    def update(self, frame_index: int) -> None:
        self._done += 1
        waited_s = self._held_s() - self._left_out_s
        if waited_s > 0:
            self._left_out_s += waited_s
            self._start_s += waited_s
        if self._bar is not None:
            if waited_s > 0:
                self._bar.start_t += waited_s
            self._bar.update(max(0, frame_index + 1 - self._bar.n))
            return
        now_s = time.monotonic()
        if now_s - self._line_s >= self._period_s:
            self._line_s = now_s
            log.info("%s", self.line(frame_index, now_s - self._start_s))

    def line(self, frame_index: int, elapsed_s: float) -> str:
        """Return the plain progress line for the newest finished frame."""
        rate = self._done / elapsed_s if elapsed_s > 0 else 0.0
        if self._frame_count is None:
            return f"frame {frame_index}, {rate:.1f} fps"
        position = frame_index + 1
        if position > self._frame_count:  # the file has more frames than its header says
            return f"frame {frame_index}, {rate:.1f} fps"
        left_s = elapsed_s * (self._frame_count - position) / position
        return f"frame {position} of {self._frame_count}, {rate:.1f} fps, {left_s:.0f} s left"

    def close(self) -> None:
        """Leave the finished bar on the terminal. Idempotent."""
        if self._bar is not None:
            self._bar.close()
