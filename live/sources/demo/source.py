"""The demo: a generated scene that is there on every machine, with known truth."""

from __future__ import annotations

from samcam.live.sources.base import SourceInfo, SteadySource
from samcam.live.sources.demo.scene import DemoScene
from samcam.live.sources.demo.vanish import Vanishing


class DemoSource(SteadySource):
    """The scene as a recording of `frames` pictures, or without end."""

    def __init__(
        self, size_wh: tuple[int, int], fps: float, frames: int, vanish_s: float = 0.0
    ) -> None:
        """Prepare the scene; `frames` is 0 for one without end, which repeats without a seam.

        Args:
            vanish_s: The gear leaves the picture every so many seconds; 0: never.

        Raises:
            ValueError: That is less than two rounds of the scene.
        """
        vanishing = Vanishing.each(vanish_s, fps) if vanish_s else None
        scene = DemoScene(size_wh, vanishing=vanishing)
        info = SourceInfo("demo", "demo", size_wh, fps, frames or None, live=False)
        super().__init__(info, lambda index: scene.render(index)[0])
