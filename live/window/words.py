"""What the window says on the user's doing: the last thing, for a moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

MESSAGE_S: Final = 3.0


class Words:
    """The newest message and until when it stands; main thread only."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Say nothing yet; `clock` gives seconds."""
        self._clock = clock
        self._text, self._for_s = "", MESSAGE_S
        self._said_s = -MESSAGE_S

    @property
    def said_s(self) -> float:
        """When the newest one was said, by the clock."""
        return self._said_s

    @property
    def text(self) -> str:
        """What still stands, or ""."""
        return self._text if self._clock() < self._said_s + self._for_s else ""

    def say(self, text: str, for_s: float = MESSAGE_S) -> None:
        """Replace the message, for so many seconds."""
        self._text, self._for_s, self._said_s = text, for_s, self._clock()
