"""What a receiver of finished pictures is, and the error it raises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from live.frames import U8, FrameResult


class SinkError(RuntimeError):
    """An output cannot be opened or written; the message says which, why and what to do."""


@dataclass(frozen=True, slots=True, eq=False)
class Composite:
    """A finished picture on its way to the sinks; composed once, shared read-only.

    Attributes:
        result: The tracker's answer, with its frame.
        feed_bgr: (H, W, 3) uint8, the clean picture that leaves the app: no help, no cursor.
        object_ids: (H, W) uint8, object id per source pixel, 0 elsewhere; where objects overlap
            the higher logit wins.
        areas_px: Visible area of each object of `result.objects`, in source pixels.
        hidden: True where `feed_bgr` has nothing of the camera's picture: a privacy rule, the
            panic key or a missing signal replaced it.
        panic: Whether the panic key was on.
        stand_in_time_ns: Set on a stand-in only, such as "no signal": its media time. `result` is
            then the last one there was, and only `feed_bgr` is to be shown or written.
        caption: What a stand-in says; "" for every other picture.
        repeats: True where this step was sent before and only `feed_bgr` is another one, such as
            after the panic key: files have that frame already.
        alpha: (H, W) uint8, 0 where the picture is transparent; None: nowhere. `feed_bgr` is
            mixed over `backdrop_rgb` by it, for outputs without transparency.
        backdrop_rgb: Red, green, blue, 0..255 each.
    """

    result: FrameResult
    feed_bgr: U8
    object_ids: U8
    areas_px: tuple[int, ...]
    hidden: bool = False
    panic: bool = False
    stand_in_time_ns: int | None = None
    caption: str = ""
    repeats: bool = False
    alpha: U8 | None = None
    backdrop_rgb: tuple[int, int, int] = (0, 0, 0)

    @property
    def time_ns(self) -> int:
        """Media time of the picture in `feed_bgr`."""
        if self.stand_in_time_ns is not None:
            return self.stand_in_time_ns
        return self.result.frame.time_ns


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
