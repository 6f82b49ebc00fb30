"""What the user may set about a source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

from samcam.system import Checked, Setting

# A phone's 108 MP fit; decoded once they take 330 MB, and the run keeps a few of them.
MAX_MEGAPIXELS: Final = 120.0
MIN_VANISH_FRAMES: Final = 480  # the gear of the demo goes twice round in between


def too_large(width: int, height: int, max_megapixels: float) -> str:
    """Return what to say of pictures of a video that are larger than allowed, "" of others."""
    if width * height <= max_megapixels * 1e6:
        return ""
    return (
        f"has pictures of {width} x {height} pixels, more than source.max_megapixels = "
        f"{max_megapixels:g} allows; set it higher if the memory is there"
    )


def expected_vanish_s(value: float, before: Mapping[str, Any]) -> str:
    """Return what `demo_vanish_s` should have been, "" where it is right."""
    fps = before.get("fps", 30.0)
    if value == 0 or round(value * fps) >= MIN_VANISH_FRAMES:
        return ""
    return f"0 or at least {MIN_VANISH_FRAMES / fps:g} s at source.fps {fps:g}"


@dataclass(frozen=True, slots=True)
class SourceSettings(Checked):
    """How pictures come in."""

    fps: Annotated[
        float,
        Setting(
            "Rate of pictures, folders and the demo, which have no times of their own.",
            "frames/s",
            0.1,
            1000,
        ),
    ] = 30.0
    width: Annotated[
        int | None, Setting("Picture width to ask a camera for; null: its own.", "px", 16, 16384)
    ] = None
    height: Annotated[
        int | None, Setting("Picture height to ask a camera for; null: its own.", "px", 16, 16384)
    ] = None
    camera_fps: Annotated[
        float | None, Setting("Rate to ask a camera for; null: its own.", "frames/s", 1, 1000)
    ] = None
    mjpg: Annotated[
        bool, Setting("Ask a camera for MJPG, which many need for high sizes and rates.")
    ] = False
    rotate: Annotated[
        int, Setting("Turn every picture clockwise.", "degrees", choices=(0, 90, 180, 270))
    ] = 0
    mirror: Annotated[bool, Setting("Flip every picture left to right, after rotating.")] = False
    demo_frames: Annotated[
        int, Setting("Length of the demo scene; 0: endless.", "frames", 0, 1_000_000)
    ] = 240
    demo_size: Annotated[
        tuple[int, int], Setting("Width and height of the demo scene.", "px", 16, 8192)
    ] = (854, 480)
    demo_vanish_s: Annotated[
        float,
        Setting(
            "The gear of the demo leaves the picture this often, and returns elsewhere; 0: never; "
            f"else at least {MIN_VANISH_FRAMES} frames of source.fps, {MIN_VANISH_FRAMES / 30:g} s "
            "at 30.",
            "s",
            0,
            86_400,
            rule=expected_vanish_s,
        ),
    ] = 0.0
    max_megapixels: Annotated[
        float,
        Setting(
            "Larger pictures are refused before they are decoded: sources, mask=, image=, "
            "backgrounds.",
            "million px",
            0.01,
            4000,
        ),
    ] = MAX_MEGAPIXELS
    independent: Annotated[
        bool,
        Setting("Pictures of a folder have nothing to do with each other: forget all before each."),
    ] = False
    retry_first_s: Annotated[
        float,
        Setting("Wait before the first try to get a lost camera or URL back.", "s", 0.05, 60),
    ] = 0.5
    retry_max_s: Annotated[
        float, Setting("The wait doubles with every try, up to this.", "s", 0.05, 3600)
    ] = 10.0
    retry_limit_s: Annotated[
        float | None,
        Setting(
            "Give up, with exit code 3, after this long without a picture; null: never.",
            "s",
            0.1,
            86_400,
        ),
    ] = None
    open_timeout_s: Annotated[
        float, Setting("How long a URL may take to answer.", "s", 0.1, 600)
    ] = 10.0
    read_timeout_s: Annotated[
        float, Setting("How long a URL may be silent before it counts as lost.", "s", 0.1, 600)
    ] = 5.0


@dataclass(frozen=True, slots=True)
class SourceOptions(SourceSettings):
    """Settings of every kind of source, each of which reads its own, and what a run adds.

    Attributes:
        repeat_picture: Serve a single picture again and again at `fps` until closed.
        loop: Start again at the end, for ever; not for cameras and URLs, which have none.
    """

    repeat_picture: bool = False
    loop: bool = False
