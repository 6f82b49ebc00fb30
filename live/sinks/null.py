"""`none`: takes every picture and keeps nothing, for figures and for scripts."""

from __future__ import annotations

from samcam.live.frames import Composite


class NullSink:
    """Does nothing, on a thread of its own like any other sink."""

    @property
    def name(self) -> str:
        """As the user wrote it."""
        return "none"

    def put(self, composite: Composite) -> None:
        """Take the picture."""

    def close(self) -> None:
        """Nothing to release."""
