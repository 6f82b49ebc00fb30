"""The interface of an output."""

from __future__ import annotations

from typing import Protocol

from samcam.live.frames import Composite


class FrameSink(Protocol):
    """Receives composites in order, on a thread of its own (only the window is on main)."""

    @property
    def name(self) -> str:
        """As the user wrote it, for messages."""

    def put(self, composite: Composite) -> None:
        """Write one picture.

        Raises:
            SinkError: The output broke; the run stops with exit code 5.
        """

    def close(self) -> None:
        """Finish and release. Idempotent; what was put stays readable."""
