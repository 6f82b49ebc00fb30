"""The demo: a generated scene that is there on every machine, with known truth."""

from __future__ import annotations

from samcam.live.sources.base import SourceInfo, SteadySource
from samcam.live.sources.demo.scene import DemoScene


class DemoSource(SteadySource):
    """The scene as a recording of `frames` pictures, or without end."""

    def __init__(self, size_wh: tuple[int, int], fps: float, frames: int) -> None:
        """Prepare the scene; `frames` is 0 for one without end, which repeats without a seam."""
        scene = DemoScene(size_wh)
        info = SourceInfo("demo", "demo", size_wh, fps, frames or None, live=False)
        super().__init__(info, lambda index: scene.render(index)[0])
