"""The still parts of the demo scene, painted once: wall, pillar, gear and card.

Sprites are (H, W, 4) uint8 BGRA with the colour multiplied by alpha, painted at twice the size and
reduced, so their edges are soft. Lengths are in pixels of the 854 x 480 design times `scale`.
"""

from __future__ import annotations

from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from samcam.live.frames import F32, U8

_OVERSAMPLING = 2


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], cell: float) -> F32:
    """Return (H, W) noise of about -1..1 whose blobs are `cell` pixels wide."""
    rows, cols = (max(2, round(n / cell) + 1) for n in shape)
    coarse = rng.uniform(-1.0, 1.0, (rows, cols)).astype(np.float32)
    return cast(F32, cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC))


def _reduce(image: NDArray[Any]) -> NDArray[Any]:
    height, width = image.shape[:2]
    size = (max(1, width // _OVERSAMPLING), max(1, height // _OVERSAMPLING))
    return cast(NDArray[Any], cv2.resize(image, size, interpolation=cv2.INTER_AREA))


def _sprite(colour: F32, cover: U8) -> U8:
    """Reduce a painted picture and its 0/255 cover to premultiplied BGRA."""
    alpha = _reduce(cover)
    image = np.clip(_reduce(colour), 0, 255) * (alpha[..., None] / np.float32(255))
    return np.dstack([image.round().astype(np.uint8), alpha])


def _grid(size: int) -> tuple[F32, F32]:
    """Return x and y of a size x size picture, -1..1 from border to border."""
    axis = ((np.arange(size, dtype=np.float32) + 0.5) / size) * 2 - 1
    x, y = np.meshgrid(axis, axis)
    return x.astype(np.float32), y.astype(np.float32)


def _mix(a: F32, b: F32, share: F32) -> F32:
    """Return a where share is 0 and b where it is 1; share is (H, W)."""
    return (a + (b - a) * share[..., None]).astype(np.float32)


def _colour(bgr: tuple[int, int, int]) -> F32:
    return np.array(bgr, np.float32)


def paint_gear(rng: np.random.Generator, scale: float) -> U8:
    """A gear of eleven round teeth, radius 100, with orange and cream stripes from its hub."""
    size = round(216 * scale) * _OVERSAMPLING
    x, y = _grid(size)
    radius = np.hypot(x, y) * 1.08  # 1 at the tip of a tooth
    angle = np.arctan2(y, x)
    teeth = np.tanh(3.0 * np.cos(11 * angle)) / np.tanh(3.0)
    inside = radius < 0.935 + 0.065 * teeth
    stripes = 0.5 + 0.5 * np.tanh(5.0 * np.cos(11 * angle + 2.2 * radius)).astype(np.float32)
    colour = _mix(_colour((30, 95, 232)), _colour((150, 222, 250)), stripes.astype(np.float32))
    dark = _colour((24, 38, 120))
    rim = (np.abs(radius - 0.80) < 0.035).astype(np.float32)
    hub = (radius < 0.30).astype(np.float32)
    colour = _mix(colour, dark, cv2.GaussianBlur(rim, (0, 0), 1.5).astype(np.float32) * 0.85)
    colour = _mix(colour, _colour((40, 60, 190)), hub)
    colour = _mix(colour, _colour((90, 205, 255)), (radius < 0.17).astype(np.float32))
    worn = 1 + 0.05 * smooth_noise(rng, (size, size), size / 12)
    bevel = 1.06 - 0.30 * np.clip((radius - 0.78) / 0.22, 0, 1) ** 2
    shaded = colour * (worn * bevel)[..., None]
    return _sprite(shaded.astype(np.float32), inside.astype(np.uint8) * 255)


def paint_card(rng: np.random.Generator, scale: float) -> U8:
    """A card of 216 x 150 with round corners: blue, with a lattice of light dots and a border."""
    size = round(240 * scale) * _OVERSAMPLING
    x, y = _grid(size)
    x, y = x * 120, y * 120  # design pixels from the centre
    outside = np.hypot(np.maximum(np.abs(x) - 82, 0), np.maximum(np.abs(y) - 49, 0)) - 26
    slope = 1 + 0.10 * (-x / 108 - y / 75)
    colour = np.broadcast_to(_colour((158, 92, 18)), (size, size, 3)).astype(np.float32)
    u, v = (x + y) / 24, (x - y) / 24  # a lattice standing on its corner
    near = np.hypot(u - np.round(u), v - np.round(v)) * 24
    dots = np.clip((7.0 - near) / 1.0, 0, 1) * (outside < -16)
    colour = _mix(colour, _colour((236, 226, 120)), dots.astype(np.float32))
    border = np.clip(1.5 - np.abs(outside + 9), 0, 1).astype(np.float32)
    colour = _mix(colour, _colour((245, 240, 215)), border)
    worn = 1 + 0.04 * smooth_noise(rng, (size, size), size / 10)
    shaded = colour * (slope * worn)[..., None]
    return _sprite(shaded.astype(np.float32), (outside < 0).astype(np.uint8) * 255)


def paint_pillar(rng: np.random.Generator, scale: float, height: float) -> U8:
    """A round pillar of dressed stone, 250 wide, with a wider foot 60 above its lower end.

    Args:
        height: Its height in design pixels.
    """
    width = round(282 * scale) * _OVERSAMPLING
    rows = round(height * scale) * _OVERSAMPLING
    unit = scale * _OVERSAMPLING
    x = (np.arange(width, dtype=np.float32) + 0.5) / unit - 141
    y = (np.arange(rows, dtype=np.float32) + 0.5) / unit
    half = np.where(height - y < 92, 138.0, 125.0).astype(np.float32)[:, None]
    across = x[None] / half  # -1..1 from edge to edge
    cover = np.abs(across) < 1
    light = np.clip(0.55 + 0.45 * np.cos((across + 0.35) * 1.45), 0.25, 1.05)
    vein = smooth_noise(rng, (rows, width), 26 * unit) + 0.6 * smooth_noise(
        rng, (rows, width), 7 * unit
    )
    grain = smooth_noise(rng, (rows, width), 2 * unit)
    level = 166 + 11 * vein + 7 * grain
    course = np.abs((y + 34) % 96 - 48) > 46.4  # joints between the drums of stone
    level = np.where(course[:, None], level * 0.62, level)
    foot_edge = np.abs(height - y - 92) < 3
    level = np.where(foot_edge[:, None], level * 0.72, level)
    tint = np.array([0.88, 0.96, 1.0], np.float32)
    colour = (level * light)[..., None] * tint
    return _sprite(colour.astype(np.float32), cover.astype(np.uint8) * 255)


def paint_wall(
    rng: np.random.Generator, scale: float, left: float, top: float, right: float, bottom: float
) -> U8:
    """A grey-green painted brick wall over a pavement, with a window, ivy, a pipe and boxes.

    The arguments are the painted part in design pixels; the pavement starts at y = 424.
    """
    unit = scale
    width, height = round((right - left) * unit), round((bottom - top) * unit)
    image = _bricks(rng, (height, width), unit, left, top)

    def at(x: float, y: float) -> tuple[int, int]:
        return round((x - left) * unit), round((y - top) * unit)

    for x in np.arange(np.floor(left / 620) * 620 - 60, right, 620):
        _window(image, at(x, 20), at(x + 150, 190), unit)
    for x in np.arange(np.floor(left / 780) * 780 + 330, right, 780):
        _pipe(image, at(x, top)[0], at(x, 424)[1], unit)
    for x in np.arange(np.floor(left / 900) * 900 + 835, right, 900):
        _ivy(rng, image, at(x, 330), unit)
    _pavement(rng, image, at(0, 424)[1], unit)
    for x in np.arange(np.floor(left / 700) * 700 + 60, right, 700):
        _box(image, at(x, 392), at(x + 74, 446), (78, 104, 126), unit)
        _box(image, at(x + 52, 408), at(x + 104, 452), (70, 92, 108), unit)
    return image


def _bricks(
    rng: np.random.Generator, shape: tuple[int, int], unit: float, left: float, top: float
) -> U8:
    """Rows of bricks of 44 x 20 with mortar between, each of a slightly different colour."""
    height, width = shape
    y = (np.arange(height, dtype=np.float32)[:, None] + 0.5) / unit + top
    x = (np.arange(width, dtype=np.float32)[None] + 0.5) / unit + left
    row = np.floor(y / 20)
    shifted = x + 22 * (row % 2)
    column = np.floor(shifted / 44)
    edge = np.minimum(np.minimum(shifted % 44, 44 - shifted % 44), np.minimum(y % 20, 20 - y % 20))
    table = rng.normal(0.0, 1.0, (64, 64)).astype(np.float32)
    of_brick = table[(row % 64).astype(int), (column % 64).astype(int)]
    level = 1 + 0.065 * of_brick + 0.07 * smooth_noise(rng, shape, 150 * unit)
    level += 0.035 * smooth_noise(rng, shape, 4 * unit)
    brick = np.array([132, 146, 148], np.float32) * level[..., None]
    mortar = np.clip((2.4 - edge) / 1.2, 0, 1).astype(np.float32)
    image = _mix(brick.astype(np.float32), _colour((172, 178, 180)), mortar)
    return np.clip(image, 0, 255).astype(np.uint8)


def _box(
    image: U8, low: tuple[int, int], high: tuple[int, int], bgr: tuple[int, int, int], unit: float
) -> None:
    """A wooden box: planks and a darker frame."""
    line = max(1, round(2 * unit))
    dark = tuple(int(c * 0.6) for c in bgr)
    cv2.rectangle(image, low, high, bgr, -1)
    for share in (0.33, 0.66):
        y = round(low[1] + (high[1] - low[1]) * share)
        cv2.line(image, (low[0], y), (high[0], y), dark, line, cv2.LINE_AA)
    cv2.rectangle(image, low, high, dark, line * 2, cv2.LINE_AA)


def _window(image: U8, low: tuple[int, int], high: tuple[int, int], unit: float) -> None:
    """A dark window with a light frame and two bars."""
    thick = max(1, round(7 * unit))
    rows = max(1, high[1] - low[1])
    for row in range(rows):
        shade = 62 + 46 * row / rows
        y = low[1] + row
        cv2.line(image, (low[0], y), (high[0], y), (shade * 1.12, shade, shade * 0.84), 1)
    frame = (186, 196, 198)
    middle = (low[0] + high[0]) // 2
    cv2.rectangle(image, low, high, frame, thick, cv2.LINE_AA)
    cv2.line(image, (middle, low[1]), (middle, high[1]), frame, thick // 2 + 1, cv2.LINE_AA)
    sill = round(16 * unit)
    cv2.rectangle(
        image, (low[0] - sill, high[1]), (high[0] + sill, high[1] + sill // 2), (156, 168, 170), -1
    )


def _pipe(image: U8, x: int, bottom: int, unit: float) -> None:
    """A rain pipe down the wall, lit from the left."""
    for offset in range(-round(6 * unit), round(6 * unit) + 1):
        level = 96 + 50 * np.cos((offset / (6 * unit) + 0.5) * 1.3)
        cv2.line(image, (x + offset, 0), (x + offset, bottom), (level * 1.02, level, level), 1)


def _ivy(rng: np.random.Generator, image: U8, centre: tuple[int, int], unit: float) -> None:
    """A patch of leaves climbing up the wall."""
    for _ in range(260):
        rise = rng.random() ** 1.4
        x = centre[0] + rng.normal(0, 46 * (1 - 0.65 * rise)) * unit
        y = centre[1] + (84 - 230 * rise + rng.normal(0, 8)) * unit
        green = rng.uniform(0.7, 1.25)
        colour = (58 * green, 104 * green, 72 * green)
        axes = (max(1, round(7 * unit)), max(1, round(4.5 * unit)))
        centre_px = (round(x), round(y))
        cv2.ellipse(image, centre_px, axes, rng.uniform(0, 180), 0, 360, colour, -1, cv2.LINE_AA)


def _pavement(rng: np.random.Generator, image: U8, top: int, unit: float) -> None:
    """Slabs that get larger towards the viewer, and a kerb at the wall."""
    height, width = image.shape[:2]
    rows = height - top
    if rows <= 0:
        return
    level = 104 + 26 * np.linspace(0, 1, rows, dtype=np.float32)[:, None]
    level = level + 6 * smooth_noise(rng, (rows, width), 3 * unit)
    level = level + 8 * smooth_noise(rng, (rows, width), 60 * unit)
    image[top:] = np.clip(level[..., None] * np.array([0.97, 0.99, 1.0]), 0, 255).astype(np.uint8)
    dark = (84, 86, 88)
    line = max(1, round(1.5 * unit))
    y, step = float(top), 14 * unit
    while y < height:
        cv2.line(image, (0, round(y)), (width, round(y)), dark, line, cv2.LINE_AA)
        y, step = y + step, step * 1.35
    for x in np.arange(-2 * width, 3 * width, 92 * unit):
        foot = width / 2 + (x - width / 2) * (1 + rows / (160 * unit))
        ends = (round(float(x)), top), (round(float(foot)), height)
        cv2.line(image, ends[0], ends[1], dark, line, cv2.LINE_AA)
    kerb = round(7 * unit)
    cv2.rectangle(image, (0, top - kerb), (width, top), (142, 148, 150), -1)
