"""The demo: a generated scene that is there on every machine, with known truth."""

from __future__ import annotations

import time

from samcam.live.frames import NS_PER_S, Frame
from samcam.live.sources.base import SourceInfo
from samcam.live.sources.demo.scene import DemoScene


class DemoSource:
    """The scene as a recording of `frames` pictures, or without end."""

    def __init__(self, size_wh: tuple[int, int], fps: float, frames: int) -> None:
        """Prepare the scene.

        Args:
            size_wh: Picture size in pixels.
            frames: How many; 0: endless (the scene repeats without a seam).
        """
        self._scene = DemoScene(size_wh)
        self._fps = fps
        self._frames = frames
        self._next = 0
        self._closed = False
        self._info = SourceInfo("demo", "demo", size_wh, fps, frames or None, live=False)

    @property
    def info(self) -> SourceInfo:
        """What is known."""
        return self._info

    def read(self) -> Frame | None:
        """Render the next picture."""
        if self._closed or (self._frames and self._next >= self._frames):
            return None
        index = self._next
        self._next += 1
        image, _ = self._scene.render(index)
        time_ns = round(index * NS_PER_S / self._fps)
        return Frame(index, time_ns, time.perf_counter_ns(), image)

    def close(self) -> None:
        """Stop."""
        self._closed = True
