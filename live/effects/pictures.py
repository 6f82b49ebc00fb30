"""What effects show instead of the camera's picture: cells, less light, no colour, another.

Each takes the whole picture (H, W, 3) uint8, left as it is, and the objects that it is for, and
returns a new one of the same size. Lengths in options are for a picture 720 pixels high.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated

import cv2
import numpy as np

from samcam.live.effects.background_video import BackgroundVideo
from samcam.live.effects.blend import LENGTH_UNIT, length_px, scaled_to_cover
from samcam.live.effects.blur import BlurOptions, blurred
from samcam.live.effects.cells import enlarge_cells, flat_cells
from samcam.live.effects.edges import layer_mask
from samcam.live.frames import U8
from samcam.live.masks import MaskLayer, PixelBox, pixel_box
from samcam.system import Section, Setting

_ROUND_TO_PX = 4  # sides of squares are multiples of this
_LEAST_PARTS = 3  # a square's pieces along each side, to tell object from surroundings
_FAST_PIECES_PX = (8, 4, 2, 1)  # pictures are reduced by halves, see `cells.reduced`
_LIGHT_CELL_PX = 8  # the spotlight's soft edge needs no more detail


@dataclass(frozen=True, slots=True)
class PixelateOptions(Section):
    """The effect `pixelate`."""

    cell_px: Annotated[float, Setting("Side of a square.", LENGTH_UNIT, 4, 200)] = 24.0


@dataclass(frozen=True, slots=True)
class DimOptions(Section):
    """The effect `dim`."""

    # Not up to 1: a black background would be hiding, for which `replace` has safer defaults.
    amount: Annotated[float, Setting("Share of the light that is taken away.", low=0, high=0.9)] = (
        0.7
    )


@dataclass(frozen=True, slots=True)
class SpotlightOptions(Section):
    """The effect `spotlight`: a pool of light around each object."""

    amount: Annotated[
        float, Setting("Share of the light taken away beyond the spotlight.", low=0, high=0.9)
    ] = 0.8
    size: Annotated[
        float, Setting("Width and height of the spotlight.", "times the object's", 0.5, 10)
    ] = 1.5


@dataclass(frozen=True, slots=True)
class GrayscaleOptions(Section):
    """The effect `grayscale`."""

    amount: Annotated[float, Setting("Share of the colour that is taken away.", low=0, high=1)] = (
        1.0
    )


@dataclass(frozen=True, slots=True)
class CensorOptions(Section):
    """The effect `censor`."""

    style: Annotated[
        str, Setting("How the object is made unrecognisable.", choices=("pixelate", "blur"))
    ] = "pixelate"
    size_px: Annotated[
        float, Setting("Side of a square, or strength of the blur.", LENGTH_UNIT, 8, 200)
    ] = 32.0


@dataclass(frozen=True, slots=True)
class ChromaOptions(Section):
    """The effect `chroma`."""

    color: Annotated[
        tuple[int, int, int],
        Setting("Key colour around the object.", "red, green, blue", 0, 255),
    ] = (0, 255, 0)


@dataclass(frozen=True, slots=True, eq=False)
class ReplaceOptions:
    """Another background.

    Attributes:
        color: Red, green, blue, 0..255 each.
        image_bgr: (H, W, 3) uint8, shown instead of the colour: scaled to cover, middle kept.
        video: Shown instead of both, likewise scaled, over and over by media time.
    """

    color: tuple[int, int, int] = (32, 32, 32)
    image_bgr: U8 | None = None
    video: BackgroundVideo | None = None


@dataclass(frozen=True, slots=True)
class TransparentOptions(Section):
    """The effect `transparent`."""

    color: Annotated[
        tuple[int, int, int],
        Setting(
            "What an output that knows no transparency shows around the object.",
            "red, green, blue",
            0,
            255,
        ),
    ] = (0, 0, 0)


def square_px(options: PixelateOptions, shape: tuple[int, int]) -> tuple[int, int]:
    """Return the side of a square in a picture of this height and width, and its pieces a side."""
    wanted_px = min(max(1, round(length_px(options.cell_px, shape[0]))), *shape)
    if wanted_px < _ROUND_TO_PX:
        return wanted_px, 1
    side_px = wanted_px // _ROUND_TO_PX * _ROUND_TO_PX
    pieces = (side_px // piece for piece in _FAST_PIECES_PX if side_px % piece == 0)
    return side_px, next(parts for parts in pieces if parts >= _LEAST_PARTS)


def pixelated(image_bgr: U8, without: Sequence[MaskLayer], options: PixelateOptions) -> U8:
    """Return the picture in flat squares, which take no colour from the objects in `without`."""
    height, width = image_bgr.shape[:2]
    cell_px, parts = square_px(options, (height, width))
    cells = flat_cells(image_bgr, without, cell_px, parts)
    return enlarge_cells(cells, cell_px, (width, height), cv2.INTER_NEAREST)


def pixelated_part(image_bgr: U8, box: PixelBox, options: PixelateOptions) -> tuple[PixelBox, U8]:
    """Return what `pixelated` gives around a box, and where that lies: whole squares."""
    height, width = image_bgr.shape[:2]
    cell_px, parts = square_px(options, (height, width))
    # One square more before it: the last ones of a picture may be incomplete.
    x1 = max(0, box.x1 // cell_px - 1) * cell_px
    y1 = max(0, box.y1 // cell_px - 1) * cell_px
    x2 = min(width, -(-box.x2 // cell_px) * cell_px)
    y2 = min(height, -(-box.y2 // cell_px) * cell_px)
    part = image_bgr[y1:y2, x1:x2]
    cells = flat_cells(part, (), cell_px, parts)
    whole = enlarge_cells(cells, cell_px, (x2 - x1, y2 - y1), cv2.INTER_NEAREST)
    return PixelBox(x1, y1, x2, y2), whole


def dimmed(image_bgr: U8, amount: float) -> U8:
    """Return the picture with a share of its light taken away."""
    return np.asarray(cv2.convertScaleAbs(image_bgr, alpha=1.0 - amount), np.uint8)


def spotlit(image_bgr: U8, layers: Sequence[MaskLayer], options: SpotlightOptions) -> U8:
    """Return the picture dark but for a soft ellipse around each object."""
    height, width = image_bgr.shape[:2]
    columns, rows = -(-width // _LIGHT_CELL_PX), -(-height // _LIGHT_CELL_PX)
    light = np.zeros((rows, columns), np.float32)
    x = (np.arange(columns, dtype=np.float32) + 0.5) * width / columns
    y = (np.arange(rows, dtype=np.float32) + 0.5) * height / rows
    for layer in layers:
        box = pixel_box(layer_mask(layer) > 0)
        if box is None:
            continue
        middle_x, middle_y = (
            layer.box.x1 + (box.x1 + box.x2) / 2,
            layer.box.y1 + (box.y1 + box.y2) / 2,
        )
        half_x, half_y = (box.x2 - box.x1) / 2 * options.size, (box.y2 - box.y1) / 2 * options.size
        across, down = ((x - middle_x) / half_x) ** 2, ((y - middle_y) / half_y) ** 2
        # 1 up to three quarters of the radius, 0 from five quarters on
        pool = np.clip((1.25 - np.sqrt(down[:, None] + across[None, :])) * 2, 0, 1)
        np.maximum(light, pool.astype(np.float32), out=light)
    level = (255 * (1.0 - options.amount * (1.0 - light))).astype(np.uint8)
    full = cv2.resize(level, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(
        cv2.multiply(image_bgr, cv2.merge((full, full, full)), scale=1 / 255), np.uint8
    )


def grayed(image_bgr: U8, options: GrayscaleOptions) -> U8:
    """Return the picture with less colour (ITU-R BT.601 luma)."""
    gray = cv2.cvtColor(cv2.cvtColor(image_bgr, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    if options.amount >= 1:
        return np.asarray(gray, np.uint8)
    mixed = cv2.addWeighted(image_bgr, 1 - options.amount, gray, options.amount, 0.0)
    return np.asarray(mixed, np.uint8)


def censored(image_bgr: U8, without: Sequence[MaskLayer], options: CensorOptions) -> U8:
    """Return the picture in squares or blurred."""
    if options.style == "blur":
        return blurred(image_bgr, without, BlurOptions(options.size_px))
    return pixelated(image_bgr, without, PixelateOptions(options.size_px))


def flat(image_bgr: U8, color: tuple[int, int, int]) -> U8:
    """Return a picture of one colour, red, green, blue."""
    out = np.empty(image_bgr.shape, np.uint8)
    # cv2.rectangle fills 50 times faster than assigning a 3-vector.
    height, width = image_bgr.shape[:2]
    cv2.rectangle(out, (0, 0), (width, height), color[::-1], cv2.FILLED)
    return out


def replaced(image_bgr: U8, options: ReplaceOptions, time_ns: int = 0) -> U8:
    """Return the other background in the picture's size; `time_ns` is the media time."""
    height, width = image_bgr.shape[:2]
    if options.video is not None:
        return options.video.picture(time_ns, (width, height)).copy()
    if options.image_bgr is None:
        return flat(image_bgr, options.color)
    return _covering(options, width, height).copy()


@lru_cache(maxsize=2)
def _covering(options: ReplaceOptions, width: int, height: int) -> U8:
    assert options.image_bgr is not None
    return scaled_to_cover(options.image_bgr, (width, height))
