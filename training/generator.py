"""Draws short clips of moving objects with exact masks, for training without labels.

Seeds of 9,000,000 and above are reserved for the product's demo scenes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from training import shapes, textures
from training.footage import HEIGHT, WIDTH, Footage
from training.motion import Matrix, Path, camera_path, object_path, projection, similarity
from training.photometry import Photometry
from training.render import Layer, Sprite, cast_shadow, composite, draw_sprite
from training.shapes import SHAPE_KINDS, Shape
from training.textures import TEXTURE_KINDS

__all__ = ["SHAPE_KINDS", "TEXTURE_KINDS", "Clip", "generate_clip"]

Image = NDArray[np.uint8]

MARGIN = 1.25
"""Size of the background's canvas relative to the picture."""
MIN_VISIBLE = 0.004
"""Share of the first picture that at least one object covers."""
AWAY_SHARE = 0.25
"""Share of the objects of a clip that are gone for some frames, without an occluder."""
_UPRIGHT = ("person", "rider", "quadruped", "vehicle", "bird")


@dataclass(frozen=True)
class Clip:
    """A clip with its labels.

    Attributes:
        images_bgr: (T, S, S, 3) uint8.
        ids: (T, S, S) uint8; object id of the visible pixels, 0 for background.
        parts: (T, S, S) uint8; part id, from 1, of the objects' pixels, unique
            within one object; None when no object has several parts.
    """

    images_bgr: Image
    ids: Image
    parts: Image | None


@dataclass(frozen=True)
class _Actor:
    """A sprite on its way: size (2,) in world units, gains (T,) brightness factors.

    `away` names the frames in which it is not there: what tracking must learn to admit.
    """

    sprite: Sprite
    path: Path
    size: tuple[float, float]
    gains: NDArray[np.float64]
    shadow: tuple[float, float, float]
    away: range = range(0)


@dataclass(frozen=True)
class _Scene:
    """Everything that a clip shows; backgrounds has 1 or T pictures."""

    backgrounds: list[Image]
    camera: list[Matrix]
    actors: list[_Actor]
    squeeze: float
    shutter: float


@dataclass(frozen=True)
class _Stage:
    """What every actor of a scene needs to know; background is the first canvas (C, C, 3)."""

    frames: int
    size: int
    squeeze: float
    footage: Footage | None
    background: Image


def generate_clip(
    rng: np.random.Generator, frames: int, size: int, footage: Footage | None
) -> Clip:
    """Draws a random clip.

    Args:
        rng: source of randomness; the same state gives the same clip.
        frames: number of frames T; 1 for a still.
        size: side S of the square pictures in pixels.
        footage: real pictures for backgrounds and textures, or None.

    Returns:
        The clip; at least one object covers MIN_VISIBLE of its first picture.
    """
    for attempt in range(20):
        scene = _make_scene(rng, frames, size, footage, plain=attempt >= 10)
        first = _draw(scene, 0, size)
        counts = np.bincount(first[1].ravel(), minlength=2)[1:]
        if counts.max() >= MIN_VISIBLE * size * size:
            break
    drawn = [first, *(_draw(scene, i, size) for i in range(1, frames))]
    camera = Photometry(rng, size)
    images = [
        camera.apply(picture, i, _shake(scene, i, size)) for i, (picture, _, _) in enumerate(drawn)
    ]
    parts = np.stack([item[2] for item in drawn])
    return Clip(
        np.stack(images),
        np.stack([item[1] for item in drawn]),
        parts if int(parts.max()) > 1 else None,
    )


def _make_scene(
    rng: np.random.Generator, frames: int, size: int, footage: Footage | None, plain: bool
) -> _Scene:
    """Draws a scene; a plain one has one large object in the middle."""
    squeeze = float(rng.uniform(0.52, 1.0)) if rng.random() < 0.8 else 1.0
    backgrounds = _make_backgrounds(rng, frames, size, squeeze, footage)
    stage = _Stage(frames, size, squeeze, footage, backgrounds[0])
    actors: list[_Actor] = []
    if plain:
        actor = _make_actor(rng, stage, 1, 0.1, None)
        still = replace(actor.path, position=np.zeros((frames, 2)))
        actors = [replace(actor, path=still)]
    elif rng.random() < 0.25:
        actors = _make_crowd(rng, stage)
    else:
        actors = _make_cast(rng, stage)
    if not plain and rng.random() < 0.3:
        for _ in range(int(rng.integers(1, 4))):
            actors.append(_make_occluder(rng, stage))
    shutter = float(rng.uniform(0.2, 0.8)) if rng.random() < 0.5 else 0.0
    return _Scene(backgrounds, camera_path(rng, frames), actors, squeeze, shutter)


def _make_backgrounds(
    rng: np.random.Generator, frames: int, size: int, squeeze: float, footage: Footage | None
) -> list[Image]:
    """Returns one (C, C, 3) canvas, or one per frame where the footage itself moves."""
    side = int(size * MARGIN)
    if footage is None or rng.random() < 0.25:
        pictures = [textures.make_background(rng, side, footage)]
    else:
        count = frames if frames > 1 and rng.random() < 0.4 else 1
        sources = footage.burst(rng, count)
        height = int(rng.uniform(0.45, 1.0) * HEIGHT)
        width = min(int(height / squeeze), WIDTH)
        x, y = rng.integers(WIDTH - width + 1), rng.integers(HEIGHT - height + 1)
        flip = rng.random() < 0.5
        colour = textures.random_colour(rng, footage)
        state, strength = int(rng.integers(2**31)), float(rng.choice([0.0, rng.uniform(0, 0.4)]))
        pictures = []
        for source in sources:
            cut = source[y : y + height, x : x + width]
            view = _scaled(cut[:, ::-1] if flip else cut, side)
            pictures.append(textures.recolour(np.random.default_rng(state), view, colour, strength))
    if rng.random() < 0.2:
        sigma = rng.uniform(0.5, 5) * size / 256
        pictures = [
            cv2.GaussianBlur(p, (0, 0), sigma).astype(np.uint8, copy=False) for p in pictures
        ]
    return pictures


def _scaled(picture: Image, side: int) -> Image:
    """Returns a picture stretched to (side, side, 3)."""
    interpolation = cv2.INTER_AREA if len(picture) > side else cv2.INTER_LINEAR
    out = cv2.resize(picture, (side, side), interpolation=interpolation)
    return out.astype(np.uint8, copy=False)


def _object_share(rng: np.random.Generator) -> float:
    """Draws an object's area as a share of the picture; many lie at 2-12 %."""
    return float(np.clip(np.exp(rng.normal(np.log(0.055), 1.0)), 0.007, 0.5))


def _make_cast(rng: np.random.Generator, stage: _Stage) -> list[_Actor]:
    """Draws 1..4 objects, perhaps crossing, perhaps with a look-alike of the first."""
    actors: list[_Actor] = []
    count = int(rng.choice([1, 2, 3, 4], p=[0.35, 0.35, 0.2, 0.1]))
    for index in range(count):
        meet = None
        if index and rng.random() < 0.35:
            meet = actors[0].path.position[stage.frames // 2]
        share = _object_share(rng)
        label = 1 + max((int(a.sprite.labels.max()) for a in actors), default=0)
        actors.append(_make_actor(rng, stage, label, share, meet))
    if rng.random() < 0.35:
        actors.append(_twin(rng, actors[0], actors, stage.frames, stage.squeeze))
    order = rng.permutation(len(actors))
    return [actors[int(i)] for i in order]


def _twin(
    rng: np.random.Generator, actor: _Actor, actors: list[_Actor], frames: int, squeeze: float
) -> _Actor:
    """Returns a look-alike of an actor on its own way, with new object ids."""
    shift = max(int(a.sprite.labels.max()) for a in actors)
    labels = actor.sprite.labels - actor.sprite.labels[actor.sprite.labels > 0].min() + 1 + shift
    labels[0] = 0
    sprite = replace(actor.sprite, labels=labels.astype(np.uint8))
    path = object_path(rng, frames, squeeze, actor.sprite.shape.kind in _UPRIGHT, None)
    factor = float(np.exp(rng.normal(0, 0.25)))
    mirror = float(rng.choice([-1, 1]))
    return replace(
        actor,
        sprite=sprite,
        path=path,
        size=(actor.size[0] * factor * mirror, actor.size[1] * factor),
    )


def _make_crowd(rng: np.random.Generator, stage: _Stage) -> list[_Actor]:
    """Draws 5..8 instances of one kind, of the same or of different looks."""
    kinds = ["person", "person", "person", "quadruped", "bird", "fish", "ball", "vehicle", "blob"]
    kind = str(rng.choice(kinds))
    share = float(rng.uniform(0.008, 0.06))
    same = rng.random() < 0.4
    actors: list[_Actor] = []
    for index in range(int(rng.integers(5, 9))):
        if index and same:
            actors.append(_twin(rng, actors[0], actors, stage.frames, stage.squeeze))
            continue
        label = 1 + max((int(a.sprite.labels.max()) for a in actors), default=0)
        actors.append(_make_actor(rng, stage, label, share, None, kind))
    return actors


def _make_actor(
    rng: np.random.Generator,
    stage: _Stage,
    label: int,
    share: float,
    meet: NDArray[np.float64] | None,
    kind: str | None = None,
) -> _Actor:
    """Draws one object that covers about `share` of the picture."""
    shape = shapes.build_shape(rng, kind or shapes.random_kind(rng), stage.footage)
    jointed = len(shape.parts) > 4
    if jointed and shape.kind not in ("rider", "vehicle") and rng.random() < 0.3:
        shape = shapes.regroup(shape)
    upright = shape.kind in _UPRIGHT and rng.random() < 0.85
    path = object_path(rng, stage.frames, stage.squeeze, upright, meet)
    aspect = float(np.exp(rng.normal(0, 0.15)))
    unit = float(np.sqrt(share / stage.squeeze / shape.area()))
    height = min(unit, 0.9)
    mirror = float(rng.choice([-1, 1]))
    pixels = height * stage.size * float(path.scale.max()) * 2
    looks = _textures(rng, shape, pixels, stage.footage, stage.background)
    things = {part.group for part in shape.parts if part.thing}
    apart = bool(things) and rng.random() < 0.6
    labels = [0, *(label + (1 if apart and g in things else 0) for g in range(shape.groups))]
    shaded = shape.texture is None or rng.random() < 0.2
    sprite = Sprite(
        shape, looks, np.array(labels, np.uint8),
        float(rng.uniform(0.1, 0.4 if jointed else 1.0)) if shaded and rng.random() < 0.75 else 0.0,
        float(rng.uniform(0, 2 * np.pi)),
        float(rng.choice([0.0, rng.uniform(0.3, 1.0)])) * stage.size / 256,
        np.append(rng.uniform(1, 5, 2), rng.uniform(0, 6.28, 2)).astype(np.float32),
    )  # fmt: skip
    cast = rng.uniform(-0.15, 0.15), rng.uniform(0, 0.06), rng.uniform(0.2, 0.6)
    shadow = cast if rng.random() < 0.35 else (0.0, 0.0, 0.0)
    gains = np.exp(rng.normal(0, 0.02) * np.arange(stage.frames))
    size = (height * aspect * mirror, height / aspect)
    return _Actor(sprite, path, size, gains, shadow, _away(rng, stage.frames))


def _away(rng: np.random.Generator, frames: int) -> range:
    """Draws the frames in which an object is gone; it is always there in the first one."""
    if frames < 3 or rng.random() >= AWAY_SHARE:
        return range(0)
    start = int(rng.integers(1, frames))
    return range(start, start + int(rng.integers(1, frames)))


def _textures(
    rng: np.random.Generator,
    shape: Shape,
    pixels: float,
    footage: Footage | None,
    background: Image,
) -> tuple[Image, ...]:
    """Paints one texture per group, of a resolution that suits the size on screen."""
    fineness = np.log2(max(pixels, 1.0)) + (0.3 if shape.groups < 3 else -0.7)
    side = int(2 ** np.clip(np.floor(fineness), 5, 8))
    camouflage = rng.random() < 0.25
    likeness = 0.65 if shape.kind in ("quadruped", "bird", "fish") else 0.2
    looks: list[Image] = []
    for _ in range(shape.groups):
        base = textures.random_colour(rng, footage)
        if camouflage:
            x, y = rng.integers(0, len(background), 2)
            base = background[y, x].astype(np.float32)
            if rng.random() < 0.4:
                looks.append(_piece(rng, background, side))
                continue
        elif looks and rng.random() < likeness:
            base = np.array(cv2.mean(looks[0])[:3], np.float32) * np.float32(rng.uniform(0.5, 1.2))
        looks.append(textures.make_texture(rng, textures.random_kind(rng), side, base, footage))
    if shape.texture is not None and rng.random() < 0.75:
        base = textures.random_colour(rng, footage)
        strength = float(rng.choice([0.0, rng.uniform(0, 0.7)]))
        looks[0] = textures.recolour(rng, _scaled(shape.texture, side), base, strength)
    return tuple(looks)


def _piece(rng: np.random.Generator, background: Image, side: int) -> Image:
    """Cuts a random square out of the background and scales it to `side` pixels."""
    length = int(len(background) * rng.uniform(0.2, 0.6))
    x, y = rng.integers(0, len(background) - length, 2)
    return _scaled(background[y : y + length, x : x + length], side)


def _make_occluder(rng: np.random.Generator, stage: _Stage) -> _Actor:
    """Draws a thing, not an object, that stands or passes in front."""
    shape = shapes.occluder_shape(rng, stage.footage)
    looks = _textures(rng, shape, stage.size * 0.5, stage.footage, stage.background)
    sprite = Sprite(
        shape, looks, np.zeros(shape.groups + 1, np.uint8), float(rng.uniform(0, 0.6)),
        float(rng.uniform(0, 6.28)), float(rng.choice([0.0, rng.uniform(0.3, 2.5)])),
        np.append(rng.uniform(1, 5, 2), rng.uniform(0, 6.28, 2)).astype(np.float32),
    )  # fmt: skip
    path = object_path(rng, stage.frames, stage.squeeze, upright=True, meet=None)
    scale = float(rng.uniform(0.04, 0.22))
    return _Actor(sprite, path, (scale, max(scale, 0.1)), np.ones(stage.frames), (0.0, 0.0, 0.0))


def _matrix(scene: _Scene, actor: _Actor, index: int, size: int) -> Matrix:
    """Returns the (3, 3) map from an actor's unit coordinates to pixels of a frame."""
    path, scale = actor.path, float(actor.path.scale[index])
    x, y = path.position[index]
    own = similarity(x, y, float(path.angle[index]), actor.size[0] * scale, actor.size[1] * scale)
    view = projection(size, scene.squeeze)
    return view @ own if path.fixed_to_camera else view @ scene.camera[index] @ own


def _draw(scene: _Scene, index: int, size: int) -> tuple[Image, Image, Image]:
    """Draws a frame: its picture (S, S, 3), object ids (S, S) and part ids (S, S)."""
    canvas = scene.backgrounds[index % len(scene.backgrounds)]
    back = projection(len(canvas), scene.squeeze, MARGIN)
    view = projection(size, scene.squeeze) @ scene.camera[index] @ np.linalg.inv(back)
    picture = cv2.warpAffine(
        canvas, view[:2], (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    ).astype(np.uint8, copy=False)
    ids, parts = np.zeros((size, size), np.uint8), np.zeros((size, size), np.uint8)
    for actor in scene.actors:
        if index in actor.away:
            continue
        layer = _layer(scene, actor, index, size)
        if layer is None:
            continue
        dx, dy, strength = actor.shadow
        if strength > 0:
            cast_shadow(layer, picture, (dx * size, dy * size), strength)
        composite(layer, picture, ids, parts, actor.sprite)
    return picture, ids, parts


def _layer(scene: _Scene, actor: _Actor, index: int, size: int) -> Layer | None:
    """Draws an actor of a frame with its motion blur and its brightness."""
    matrix = _matrix(scene, actor, index, size)
    blur = (0.0, 0.0)
    if scene.shutter and len(scene.camera) > 1:
        other = index - 1 if index else 1
        step = (matrix - _matrix(scene, actor, other, size))[:2, 2] * scene.shutter
        step *= min(1.0, 0.1 * size / max(float(np.hypot(*step)), 1e-6))
        blur = (float(step[0]), float(step[1]))
    layer = draw_sprite(actor.sprite, matrix, float(actor.path.cycle[index]), size, blur)
    gain = float(actor.gains[index])
    if layer is None or abs(gain - 1) < 0.01:
        return layer
    colour = cv2.convertScaleAbs(layer.colour, alpha=gain).astype(np.uint8, copy=False)
    return replace(layer, colour=colour)


def _shake(scene: _Scene, index: int, size: int) -> tuple[float, float]:
    """Returns the whole picture's blur vector from the camera's movement, pixels."""
    if not scene.shutter or len(scene.camera) < 2:
        return 0.0, 0.0
    other = index - 1 if index else 1
    step = (scene.camera[index] - scene.camera[other])[:2, 2] * size * scene.shutter * 0.5
    return float(step[0] * scene.squeeze), float(step[1])
