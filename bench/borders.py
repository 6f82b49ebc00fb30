"""`python -m bench.borders`: how much of the old background a cut-out object keeps as a rim.

The demo scene's objects over backgrounds of every kind, so that the right answer is known: the
object alone over the key colour. Masks are made of the truth, as coarse as a network's, with its
trembling. The rim is what still depends on the old background, white or black, in pixels of
contour at 720 px height; the error is the mean difference to the right answer within 6 px of it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from bench.reports.environment import describe_environment
from bench.reports.report import Report, Section, Table, exit_code, publish, report_parser, table
from samcam.live.effects import ChromaOptions, EdgeOptions, Effect
from samcam.live.feed import BorderOptions, Compositor
from samcam.live.frames import F32, U8, Frame, FrameResult, ObjectResult, ObjectState
from samcam.live.sources.demo import CARD_ID, GEAR_ID, DemoScene
from samcam.system import prepare_streams

SIZE_WH = (1280, 720)
FRAME = 20
MASK_SIZES = (256, 128)  # as SAM 2.1's and nano's
BLOCK = "borders"
KEY_RGB = (0, 255, 0)
BEFORE = EdgeOptions(1.5, decontaminate=False)
EDGES = {
    "outwards 1.5": BEFORE,
    "outwards 1.5, decontaminated": EdgeOptions(1.5),
    "sharp": EdgeOptions(0.0, decontaminate=False),
    "sharp, decontaminated": EdgeOptions(0.0),
    "inwards 0.5": EdgeOptions(-0.5, decontaminate=False),
    "inwards 0.5, decontaminated": EdgeOptions(-0.5),
    "inwards 1": EdgeOptions(-1.0, decontaminate=False),
    "inwards 1, decontaminated (default)": Effect("chroma").edge,
    "inwards 2, decontaminated": EdgeOptions(-2.0),
}
_BAND_PX = 6
_OPTICS_PX = 0.6  # standard deviation of a camera's blur


@dataclass(frozen=True)
class Figures:
    """`rim_px`: of the old background; `error`: mean difference near the border, 0..255."""

    rim_px: float
    error: float


def backgrounds(size_wh: tuple[int, int]) -> dict[str, U8]:
    """Return what stands behind the objects: both extremes, and something in every pixel."""
    width, height = size_wh
    noise = np.random.default_rng(3).integers(100, 256, (9, 16, 3)).astype(np.uint8)
    return {
        "white": np.full((height, width, 3), 240, np.uint8),
        "black": np.full((height, width, 3), 12, np.uint8),
        "colours": np.asarray(cv2.resize(noise, size_wh, interpolation=cv2.INTER_CUBIC), np.uint8),
    }


def network_logits(share: F32, size: int) -> F32:
    """Return (size, size) logits, as soft and trembling as a network's, of an (H, W) object
    coverage."""
    small = cv2.resize(share, (size, size), interpolation=cv2.INTER_AREA)
    soft = (cv2.GaussianBlur(small, (0, 0), 0.8) - 0.5) * 16
    noise = np.random.default_rng(0).standard_normal((size, size))
    tremble = cv2.GaussianBlur(noise, (0, 0), size / 64)
    return np.asarray(soft + tremble * (0.8 / tremble.std()), np.float32)


def composed(image: U8, logits: F32, edge: EdgeOptions) -> U8:
    """Return the feed with `chroma`."""
    frame, state = Frame(0, 0, 0, image), ObjectState.TRACKING
    box = (0.0, 0.0, float(image.shape[1]), float(image.shape[0]))
    item = ObjectResult(1, state, "truth", logits, 1.0, 9.0, None, box, True, (0,), frame.size_wh)
    compositor = Compositor(
        Effect("chroma", ChromaOptions(KEY_RGB), edge), borders=BorderOptions(refine=True)
    )
    return compositor.compose(FrameResult(frame, 0, (item,))).feed_bgr


def pictured(colours: F32, share: F32, background: U8) -> U8:
    """Return what a camera sees of an object before a background."""
    sharp = np.rint(colours + (1 - share[..., None]) * background).astype(np.uint8)
    return np.asarray(cv2.GaussianBlur(sharp, (0, 0), _OPTICS_PX), np.uint8)


def measure(edge: EdgeOptions, mask_size: int, scene: DemoScene) -> Figures:
    """Return the mean over both objects, and over all backgrounds."""
    return _mean(list(_measured(edge, mask_size, scene)))


def _measured(edge: EdgeOptions, mask_size: int, scene: DemoScene) -> Iterator[Figures]:
    key = np.array(KEY_RGB[::-1], np.float32)
    for object_id in (GEAR_ID, CARD_ID):
        colours, share = scene.cut_out(FRAME, object_id)
        logits = network_logits(share, mask_size)
        right = colours + (1 - share[..., None]) * key
        mask = (share > 0.5).astype(np.uint8)
        contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        length_px = sum(cv2.arcLength(contour, True) for contour in contours)
        disc = np.ones((2 * _BAND_PX + 1,) * 2, np.uint8)
        band = cv2.dilate(mask, disc) != cv2.erode(mask, disc)
        behind = backgrounds((share.shape[1], share.shape[0]))
        made = {
            name: composed(pictured(colours, share, picture), logits, edge).astype(np.float32)
            for name, picture in behind.items()
        }
        contrast = float(behind["white"][0, 0, 0]) - float(behind["black"][0, 0, 0])
        rim = np.abs(made["white"] - made["black"]).mean(axis=2).sum() / contrast / length_px
        errors = [np.abs(picture - right).mean(axis=2)[band].mean() for picture in made.values()]
        yield Figures(float(rim), float(np.mean(errors)))


def _mean(figures: Sequence[Figures]) -> Figures:
    return Figures(
        float(np.mean([one.rim_px for one in figures])),
        float(np.mean([one.error for one in figures])),
    )


def borders_table() -> Table:
    scene = DemoScene(SIZE_WH)
    headers = [head for size in MASK_SIZES for head in (f"{size} x {size}: rim px", "error")]
    rows = []
    for name, edge in EDGES.items():
        got = [measure(edge, size, scene) for size in MASK_SIZES]
        cells = [cell for one in got for cell in (f"{one.rim_px:.2f}", f"{one.error:.1f}")]
        rows.append([name, *cells])
    return table(("masks of", *headers), rows)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = report_parser(BLOCK, __doc__)
    options = parser.parse_args(arguments)
    report = Report(describe_environment().lines(), [Section(borders_table())])
    return exit_code(lambda: publish(report, options.markdown, BLOCK), {})


if __name__ == "__main__":
    prepare_streams()
    sys.exit(main())
