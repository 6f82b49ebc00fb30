"""The key that asks twice: quitting would cost others something."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

QUIT_AGAIN_S: Final = 2.0


class QuitGuard:
    """Quits at once where nobody is served, else at the second press."""

    def __init__(self) -> None:
        self._asked_s = -math.inf

    def question(self, served: Sequence[str], now_s: float) -> str:
        """Return what to ask; "": quit now.

        Args:
            served: Who would lose something, such as "the virtual camera is on".
            now_s: When the key was pressed.
        """
        if not served or now_s - self._asked_s <= QUIT_AGAIN_S:
            return ""
        self._asked_s = now_s
        return f"{', '.join(served)}: press q or Esc again within {QUIT_AGAIN_S:.0f} s to quit"
