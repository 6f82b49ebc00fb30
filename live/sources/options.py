"""What the user may set about a source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# A phone's 108 MP fit; decoded once they take 330 MB, and the run keeps a few of them.
MAX_MEGAPIXELS: Final = 120.0


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """Settings of every kind of source; each kind reads its own.

    Attributes:
        fps: Frames per second of folders, pictures and the demo, which have no times of their own.
        width, height: Picture size to ask a camera for, in pixels; None: its own choice.
        camera_fps: Rate to ask a camera for; None: its own choice.
        mjpg: Ask a camera for MJPG, which many need for high rates and sizes.
        rotate: Degrees clockwise, 0, 90, 180 or 270; every kind.
        mirror: Flip left and right, after rotating; every kind.
        repeat_picture: Serve a single picture again and again at `fps` until closed.
        loop: Start again at the end, for ever; not for cameras and URLs, which have none.
        max_megapixels: Pictures of more pixels are refused before they are decoded; every kind.
        demo_frames: Length of the demo; 0: endless.
        demo_size_wh: Size of the demo's pictures in pixels.
        retry_first_s, retry_max_s: A lost camera or URL is tried again after the first wait, then
            after twice as long each time, up to the longest wait.
        retry_limit_s: Give up after this many seconds without a picture; None: never.
        open_timeout_s, read_timeout_s: How long a URL may be silent before it counts as lost.
    """

    fps: float = 30.0
    width: int | None = None
    height: int | None = None
    camera_fps: float | None = None
    mjpg: bool = False
    rotate: int = 0
    mirror: bool = False
    repeat_picture: bool = False
    loop: bool = False
    max_megapixels: float = MAX_MEGAPIXELS
    demo_frames: int = 240
    demo_size_wh: tuple[int, int] = (854, 480)
    retry_first_s: float = 0.5
    retry_max_s: float = 10.0
    retry_limit_s: float | None = None
    open_timeout_s: float = 10.0
    read_timeout_s: float = 5.0

    def __post_init__(self) -> None:
        if self.rotate not in (0, 90, 180, 270):
            raise ValueError(f"rotate: expected 0, 90, 180 or 270, got {self.rotate}")
        for name in (
            "fps",
            "max_megapixels",
            "retry_first_s",
            "retry_max_s",
            "open_timeout_s",
            "read_timeout_s",
        ):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: expected more than 0, got {getattr(self, name)}")
        if self.demo_frames < 0 or min(self.demo_size_wh) < 16:
            raise ValueError(
                "demo: expected 0 or more frames of at least 16 x 16 pixels, "
                f"got {self.demo_frames} of {self.demo_size_wh}"
            )
