"""`output.delay_ms`: every picture is sent the same time after its grab.

Sound reaches OBS at once and the picture later, by a time that changes from picture to picture.
A constant one can be typed in once, as the sound's offset.
"""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from samcam.live.errors import ConfigError
from samcam.live.frames import NS_PER_MS, Composite
from samcam.live.sources import SourceInfo

DELAYED_SINKS: Final = ("virtualcam",)  # and the window; files have times of their own
LONGEST_MS: Final = 2000.0
AUTO: Final = "auto"

# Of a waiting picture: camera and feed in 3 bytes each, ids and transparency in 1.
_BYTES_PER_PX: Final = 8
_MEMORY_LIMIT: Final = 512 * 2**20
_MEASURED_S: Final = 5.0
_FEWEST_MEASURED: Final = 20
_MOST_MEASURED: Final = 1024
_ROUNDED_TO_MS: Final = 10

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DelayOptions:
    """How long pictures wait.

    Attributes:
        delay_ms: From the grab; None: measured first.
        places: Pictures that may wait.
        limit_ms: Most that a measured delay may be.
    """

    delay_ms: float | None
    places: int
    limit_ms: float = LONGEST_MS


def plan_delay(setting: float | str, info: SourceInfo) -> DelayOptions | None:
    """Return the options for a source; None where pictures are not delayed.

    Raises:
        ConfigError: The pictures that would wait need too much memory.
    """
    if setting == 0:
        return None
    fps = max(1.0, info.fps)
    picture = info.size_wh[0] * info.size_wh[1] * _BYTES_PER_PX
    # One more is being composed and one is on its way to the sinks.
    affordable = _MEMORY_LIMIT // picture - 2
    limit_ms = min(LONGEST_MS, affordable / fps * 1000)
    if isinstance(setting, str):
        return DelayOptions(None, _places(limit_ms, fps), max(0.0, limit_ms))
    if setting > limit_ms:
        raise ConfigError(
            f"output.delay_ms: {setting:g}: {_places(setting, fps)} pictures of "
            f"{info.size_wh[0]}x{info.size_wh[1]} would wait and need "
            f"{_places(setting, fps) * picture / 2**20:.0f} MiB; expected at most "
            f"{max(0, math.floor(limit_ms))} for this source"
        )
    return DelayOptions(setting, _places(setting, fps))


def _places(delay_ms: float, fps: float) -> int:
    return max(1, math.ceil(max(0.0, delay_ms) / 1000 * fps) + 2)


class DelayLine:
    """Pictures that wait until they are due; one thread only, bounded."""

    def __init__(
        self,
        options: DelayOptions,
        say: Callable[[str], None],
        clock_ns: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        """Make an empty line; `say` tells the user the measured delay, `clock_ns` is that of
        `Frame.captured_ns`."""
        self._options = options
        self._say = say
        self._clock_ns = clock_ns
        self.delay_ms = options.delay_ms
        self._waiting: deque[tuple[int, Composite]] = deque()
        self._measured_ms: deque[float] = deque(maxlen=_MOST_MEASURED)
        self._measured_since_ns: int | None = None
        self.dropped = 0  # more waited than there are places for

    def put(self, composite: Composite) -> bool:
        """Add the newest picture; return whether it is too late and is sent as soon as possible.

        A "no signal" picture and a repeated one are due at once.
        """
        now_ns = self._clock_ns()
        due_ns, late = now_ns, False
        if composite.is_new_frame:
            grabbed_ns = composite.result.frame.captured_ns
            if self.delay_ms is None:
                self._measure(composite, now_ns, (now_ns - grabbed_ns) / NS_PER_MS)
            else:
                due_ns = grabbed_ns + round(self.delay_ms * NS_PER_MS)
                late = due_ns < now_ns
        self._waiting.append((due_ns, composite))
        if len(self._waiting) > self._options.places:
            del self._waiting[self._least_missed()]
            self.dropped += 1
        return late

    def _least_missed(self) -> int:
        """Return which waiting picture to drop: the one whose neighbours lie closest together.

        A source may be faster than it says. Without its oldest picture each time, none would ever
        be due. The newest stays: it may be one that hides what was there.
        """
        due_ns = [item[0] for item in self._waiting]
        inner = range(1, len(due_ns) - 1)
        return min(inner, key=lambda i: due_ns[i + 1] - due_ns[i - 1], default=0)

    def take_due(self) -> list[Composite]:
        """Return the pictures that are due, in order; none overtakes another."""
        now_ns = self._clock_ns()
        due = []
        while self._waiting and self._waiting[0][0] <= now_ns:
            due.append(self._waiting.popleft()[1])
        return due

    def next_due_s(self) -> float | None:
        """Return the seconds until a picture is due, None while none waits."""
        if not self._waiting:
            return None
        return max(0.0, (self._waiting[0][0] - self._clock_ns()) / 1e9)

    def clear(self) -> None:
        """Forget what waits: the panic key must not have to wait for it."""
        self._waiting.clear()

    def _measure(self, composite: Composite, now_ns: int, latency_ms: float) -> None:
        """Note one latency; after some seconds with an object, fix the delay."""
        if not composite.result.objects:  # without one there is less to compute
            return
        self._measured_ms.append(latency_ms)
        if self._measured_since_ns is None:
            self._measured_since_ns = now_ns
        seconds = (now_ns - self._measured_since_ns) / 1e9
        if seconds < _MEASURED_S or len(self._measured_ms) < _FEWEST_MEASURED:
            return
        p95 = float(np.percentile(list(self._measured_ms), 95))
        wanted = math.ceil(p95 / _ROUNDED_TO_MS) * _ROUNDED_TO_MS
        self.delay_ms = float(min(wanted, math.floor(self._options.limit_ms)))
        text = f"output delay: {self.delay_ms:.0f} ms from now on; set OBS's Sync Offset to it"
        if self.delay_ms < wanted:
            text += f" (wanted {wanted} ms, but memory allows no more)"
        log.info("%s", text)
        self._say(text)
