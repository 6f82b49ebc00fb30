"""The demo scene: two moving objects, a pillar in front of them, a moving camera; known truth.

Every picture is a function of its index alone, and the scene repeats without a seam every
`PERIOD` frames. The choreography is laid out on 854 x 480 design pixels and scaled to the size
asked for. The gear (object 1) passes wholly behind the pillar and comes back; the card (object 2)
slides partly behind it; both are in full view on frame 0. With a `Vanishing` the gear also leaves
the picture now and then, and does not repeat.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import cast

import cv2
import numpy as np

from samcam.live.frames import F32, U8
from samcam.live.sources.demo.paint import paint_card, paint_gear, paint_pillar, paint_wall
from samcam.live.sources.demo.vanish import PERIOD, Vanishing

GEAR_ID, CARD_ID = 1, 2
DEMO_SHAPES: tuple[str, ...] = ("gear", "rounded_card", "pillar")
DEMO_TEXTURES: tuple[str, ...] = ("radial_stripes", "dot_lattice", "bricks", "stone_drums")
FIRST_DEMO_SEED = 9_000_000  # training draws its seeds below
DEMO_SEED = 9_000_001

_DESIGN_WH = (854, 480)
_MARGIN = 130.0  # design pixels of wall that the camera may move or zoom into
_SHADOW_OFFSET = (13.0, 17.0)
_SHADOW_STRENGTH = 0.38
_NOISE_LEVEL = 5
_BELOW = 160.0  # design pixels under the picture's edge where gear and shadow are out of it


@dataclass(frozen=True, slots=True)
class Pose:
    """Where something is: its centre in design pixels, its size factor, its turn in radians."""

    x: float
    y: float
    scale: float = 1.0
    angle: float = 0.0


@dataclass(frozen=True, slots=True)
class ScenePose:
    """Everything that moves, at one index."""

    camera: Pose
    gear: Pose
    card: Pose
    pillar: Pose


def scene_pose(index: int) -> ScenePose:
    """Return where everything is at a frame; all motion is periodic in `PERIOD`."""
    phase = 2 * math.pi * (index % PERIOD) / PERIOD
    sin, cos = math.sin(phase), math.cos(phase)
    sway = 46 * sin + 20 * math.sin(2 * phase)
    camera = Pose(427 - sway, 240 + 5 * math.sin(2 * phase), 1.03 - 0.03 * cos)
    gear = Pose(
        # The third harmonic slows it down behind the pillar: that is where it stays hidden.
        415 - 238 * cos - 30 * math.cos(3 * phase),
        322 + 10 * math.sin(2 * phase + 0.4),
        0.955 + 0.045 * math.cos(2 * phase),
        phase + 0.25 * math.sin(phase),
    )
    card = Pose(
        652 + 52 * cos,
        118 + 9 * math.sin(2 * phase + 1.0),
        0.98 + 0.05 * math.cos(phase - 0.5),
        0.16 * math.sin(2 * phase),
    )
    # Nearer than the wall, so it moves more with the camera.
    pillar = Pose(422 + 1.25 * 46 * sin, 240 + 6 * math.sin(2 * phase))
    return ScenePose(camera, gear, card, pillar)


class DemoScene:
    """Renders the scene at one size; a few ms per picture on one core."""

    def __init__(
        self,
        size_wh: tuple[int, int],
        seed: int = DEMO_SEED,
        vanishing: Vanishing | None = None,
    ) -> None:
        """Paint the still parts.

        Args:
            size_wh: Picture size in pixels; the design is fitted in and the wall goes on beside.
            seed: Varies bricks, leaves, veins and noise, not the motion; at least
                `FIRST_DEMO_SEED`, because training uses the others.
            vanishing: When the gear leaves the picture; None: never.
        """
        if seed < FIRST_DEMO_SEED:
            raise ValueError(f"seed: expected {FIRST_DEMO_SEED} or more, got {seed}")
        width, height = size_wh
        if width < 16 or height < 16:
            raise ValueError(f"size_wh: expected at least 16 x 16, got {width} x {height}")
        rng = np.random.default_rng(seed)
        self._size_wh = size_wh
        self._scale = scale = min(width / _DESIGN_WH[0], height / _DESIGN_WH[1])
        self._vanishing = vanishing
        self._drop = height / scale / 2 + _BELOW
        half_w, half_h = width / scale / 2 + _MARGIN, height / scale / 2 + _MARGIN
        self._wall_origin = (427 - half_w, 240 - half_h)
        wall = paint_wall(rng, scale, 427 - half_w, 240 - half_h, 427 + half_w, 240 + half_h)
        # Four channels throughout: OpenCV transforms them nearly three times as fast as three.
        self._wall = cv2.cvtColor(wall, cv2.COLOR_BGR2BGRA)
        self._gear = paint_gear(rng, scale)
        self._card = paint_card(rng, scale)
        self._pillar = paint_pillar(rng, scale, 2 * half_h)
        self._gear_shadow = _shadow(self._gear, scale)
        self._card_shadow = _shadow(self._card, scale)
        self._noise = rng.integers(
            0, _NOISE_LEVEL, (height + 64, width + 64, 3), dtype=np.uint8, endpoint=True
        )
        self._vignette = _vignette(size_wh)

    def render(self, index: int) -> tuple[U8, U8]:
        """Return one picture, of any index from 0, and what is visible in it.

        Returns:
            (H, W, 3) uint8 BGR, and (H, W) uint8: 1 where the gear is seen, 2 where the card is.
        """
        pose = self._pose(index)
        image = self._render_wall(pose.camera)
        ids = np.zeros(image.shape[:2], np.uint8)
        self._draw(image, self._gear_shadow, _shadow_pose(pose.gear))
        self._draw(image, self._card_shadow, _shadow_pose(pose.card))
        self._draw(image, self._gear, pose.gear, ids, GEAR_ID)
        self._draw(image, self._card, pose.card, ids, CARD_ID)
        self._draw(image, self._pillar, pose.pillar, ids, 0)
        picture = cv2.multiply(
            cv2.cvtColor(image, cv2.COLOR_BGRA2BGR), self._vignette, scale=1 / 255
        )
        return self._add_noise(cast(U8, picture), index), ids

    def cut_out(self, index: int, object_id: int) -> tuple[F32, F32]:
        """Return an object alone, as `render` has it but for pillar and noise.

        Args:
            object_id: `GEAR_ID` or `CARD_ID`.

        Returns:
            (H, W, 3) float32 BGR, 0..255, multiplied by the share of each pixel that the object
            covers, and (H, W) float32, that share: over any background it is
            `colours + (1 - share) * background`.
        """
        pose = self._pose(index)
        sprite, at = (self._gear, pose.gear) if object_id == GEAR_ID else (self._card, pose.card)
        colours, share = (np.zeros((*self._size_wh[::-1], 4), np.uint8) for _ in range(2))
        self._draw(colours, sprite, at)
        self._draw(share, np.repeat(sprite[..., 3:], 4, axis=2), at)
        lit = cv2.multiply(cv2.cvtColor(colours, cv2.COLOR_BGRA2BGR), self._vignette, scale=1 / 255)
        return np.asarray(lit, np.float32), share[..., 3].astype(np.float32) / np.float32(255)

    def _pose(self, index: int) -> ScenePose:
        """Return where everything is, the gear as its vanishing has it."""
        pose = scene_pose(index)
        if self._vanishing is None:
            return pose
        phase, drop = self._vanishing.phase_and_drop(index)
        gear = scene_pose(phase).gear
        return replace(pose, gear=replace(gear, y=gear.y + drop * self._drop))

    def _render_wall(self, camera: Pose) -> U8:
        zoom, unit = camera.scale, self._scale
        width, height = self._size_wh
        # Picture pixel = zoom * (wall pixel - camera's place on the wall) + picture centre.
        centre_x = (camera.x - self._wall_origin[0]) * unit
        centre_y = (camera.y - self._wall_origin[1]) * unit
        matrix = np.array(
            [[zoom, 0, width / 2 - zoom * centre_x], [0, zoom, height / 2 - zoom * centre_y]]
        )
        return cast(
            U8,
            cv2.warpAffine(self._wall, matrix, self._size_wh, borderMode=cv2.BORDER_REFLECT_101),
        )

    def _place(self, sprite_hw: tuple[int, int], pose: Pose) -> tuple[F32, slice, slice] | None:
        """Return the sprite's transform into its part of the picture, and that part."""
        width, height = self._size_wh
        x = (pose.x - 427) * self._scale + width / 2
        y = (pose.y - 240) * self._scale + height / 2
        cos, sin = pose.scale * math.cos(pose.angle), pose.scale * math.sin(pose.angle)
        rows, cols = sprite_hw
        half_w = (abs(cos) * cols + abs(sin) * rows) / 2 + 1
        half_h = (abs(sin) * cols + abs(cos) * rows) / 2 + 1
        left, right = max(0, math.floor(x - half_w)), min(width, math.ceil(x + half_w))
        top, bottom = max(0, math.floor(y - half_h)), min(height, math.ceil(y + half_h))
        if left >= right or top >= bottom:
            return None
        # cv2 counts pixel centres as whole numbers: half a pixel off on both sides.
        centre_x, centre_y = (cols - 1) / 2, (rows - 1) / 2
        matrix = np.array(
            [
                [cos, -sin, x - 0.5 - left - cos * centre_x + sin * centre_y],
                [sin, cos, y - 0.5 - top - sin * centre_x - cos * centre_y],
            ],
            np.float32,
        )
        return matrix, slice(top, bottom), slice(left, right)

    def _draw(
        self, image: U8, sprite: U8, pose: Pose, ids: U8 | None = None, object_id: int = 0
    ) -> None:
        """Blend a sprite in; in `ids` it owns the pixels that it covers by half or more."""
        placed = self._place((sprite.shape[0], sprite.shape[1]), pose)
        if placed is None:
            return
        matrix, rows, cols = placed
        moved = cv2.warpAffine(sprite, matrix, (cols.stop - cols.start, rows.stop - rows.start))
        alpha = moved[..., 3]
        rest = cv2.cvtColor(cv2.bitwise_not(alpha), cv2.COLOR_GRAY2BGRA)
        image[rows, cols] = cv2.add(cv2.multiply(image[rows, cols], rest, scale=1 / 255), moved)
        if ids is not None:
            ids[rows, cols][alpha >= 128] = object_id

    def _add_noise(self, image: U8, index: int) -> U8:
        """Add noise of mean 0: the same for the same index, another for the next."""
        y, x = (index * 37) % 64, (index * 23 + index // 64) % 64
        height, width = image.shape[:2]
        bright = self._noise[y : y + height, x : x + width]
        dark = self._noise[63 - y : 63 - y + height, 63 - x : 63 - x + width]
        return cast(U8, cv2.subtract(cv2.add(image, bright), dark))


def _shadow(sprite: U8, scale: float) -> U8:
    """Return the soft shadow of a sprite as a sprite, with room to fade out."""
    pad = round(30 * scale)
    alpha = cv2.copyMakeBorder(sprite[..., 3], pad, pad, pad, pad, cv2.BORDER_CONSTANT, value=0)
    soft = cv2.GaussianBlur(alpha, (0, 0), 9 * scale) * _SHADOW_STRENGTH
    shadow = np.zeros((*alpha.shape, 4), np.uint8)
    shadow[..., 3] = soft.round()
    return shadow


def _shadow_pose(pose: Pose) -> Pose:
    x, y = _SHADOW_OFFSET
    return Pose(pose.x + x, pose.y + y, pose.scale, pose.angle)


def _vignette(size_wh: tuple[int, int]) -> U8:
    """Return (H, W, 3): light from the upper left that falls off towards the corners."""
    width, height = size_wh
    x = np.linspace(-1, 1, width, dtype=np.float32)[None]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    level = 1.0 - 0.13 * ((x + 0.2) ** 2 + (y + 0.2) ** 2)
    return np.repeat(np.clip(255 * level, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def demo_clicks(size_wh: tuple[int, int]) -> dict[int, tuple[int, int]]:
    """Return for each object the pixel of frame 0 that is farthest from its border, (x, y)."""
    _, ids = DemoScene(size_wh).render(0)
    clicks = {}
    for object_id in (GEAR_ID, CARD_ID):
        inside = cv2.copyMakeBorder(
            (ids == object_id).astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0
        )
        depth = cv2.distanceTransform(inside, cv2.DIST_L2, 5)
        row, col = np.unravel_index(int(np.argmax(depth)), depth.shape)
        clicks[object_id] = (int(col) - 1, int(row) - 1)
    return clicks
