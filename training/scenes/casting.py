"""Casts a scene: which objects there are, how they look, and the way each of them goes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from training.scenes import shapes, solids, textures
from training.scenes.cutouts import CutoutSprite, prepare_cutout, relabelled
from training.scenes.extras import PLAIN, Extras, random_extras
from training.scenes.footage import Footage
from training.scenes.ingredients import Ingredients
from training.scenes.motion import Path, object_path
from training.scenes.real import RealPictures
from training.scenes.render import Sprite
from training.scenes.shapes import Shape
from training.scenes.solid_render import SolidSprite, random_material
from training.scenes.solids import Solid
from training.scenes.textures import Colour

Image = NDArray[np.uint8]

AWAY_SHARE = 0.25
"""Share of the objects of a clip that are gone for some frames, without an occluder."""
CUTOUT = "cutout"  # kind of an actor that is a real thing; `cutout:FAMILY` for one of a family
_HELD = ("thin", "box", "ball", "ring", "blob", "segment", "union")
_UPRIGHT = ("person", "rider", "quadruped", "vehicle", "bird", *solids.UPRIGHT)


@dataclass(frozen=True)
class Actor:
    """A sprite on its way: size (2,) in world units, gains (T,) brightness factors.

    `away` names the frames in which it is not there: what tracking must learn to admit. `extras`
    are what is done to its drawn picture; its part ids begin after `first_part`.
    """

    sprite: Sprite | SolidSprite | CutoutSprite
    path: Path
    size: tuple[float, float]
    gains: NDArray[np.float64]
    shadow: tuple[float, float, float]
    upright: bool
    away: range = range(0)
    extras: Extras = PLAIN
    first_part: int = 0


@dataclass(frozen=True)
class Stage:
    """What every actor of a scene needs to know; background is the first canvas (C, C, 3).

    `real` has the cut-outs, where there are any.
    """

    frames: int
    size: int
    squeeze: float
    footage: Footage | None
    background: Image
    ingredients: Ingredients
    real: RealPictures | None = None

    def draws_cutout(self, rng: np.random.Generator) -> bool:
        """Whether the next object is a real thing."""
        share = self.ingredients.real_sprites
        if not share or self.real is None or not self.real.has_cutouts:
            return False
        return bool(rng.random() < share)


def _object_share(rng: np.random.Generator) -> float:
    """Draws an object's area as a share of the picture; many lie at 2-12 %."""
    return float(np.clip(np.exp(rng.normal(np.log(0.055), 1.0)), 0.007, 0.5))


def make_cast(rng: np.random.Generator, stage: Stage) -> list[Actor]:
    """Draws 1..4 objects, perhaps crossing, perhaps with a look-alike of the first."""
    actors: list[Actor] = []
    count = int(rng.choice([1, 2, 3, 4], p=[0.35, 0.35, 0.2, 0.1]))
    for index in range(count):
        meet = None
        if index and rng.random() < 0.35:
            meet = actors[0].path.position[stage.frames // 2]
        share = _object_share(rng)
        label = 1 + max((int(a.sprite.labels.max()) for a in actors), default=0)
        actors.append(make_actor(rng, stage, label, share, meet))
    if rng.random() < 0.35:
        actors.append(_twin(rng, actors[0], actors, stage.frames, stage.squeeze))
    actors = [actors[int(i)] for i in rng.permutation(len(actors))]
    if rng.random() < stage.ingredients.held:
        owner = int(rng.integers(len(actors)))
        thing = _held(rng, stage, actors[owner], actors)
        actors.insert(owner + int(rng.random() < 0.75), thing)
    return actors


def _held(rng: np.random.Generator, stage: Stage, owner: Actor, actors: list[Actor]) -> Actor:
    """Returns a smaller thing that stays with an actor: a part of it, or an object of its own."""
    label = 1 + max(int(a.sprite.labels.max()) for a in actors)
    thing = make_actor(rng, stage, label, 0.03, None, str(rng.choice(_HELD)))
    ratio = float(rng.uniform(0.2, 0.6)) * owner.size[1] / thing.size[1]
    size = (thing.size[0] * ratio, thing.size[1] * ratio)
    at = rng.uniform(-0.55, 0.55, 2)
    offset = np.array([at[0] * abs(owner.size[0]), at[1] * owner.size[1]])
    angle = owner.path.angle
    c, s = np.cos(angle), np.sin(angle)
    moved = np.stack([c * offset[0] - s * offset[1], s * offset[0] + c * offset[1]], 1)
    path = replace(
        owner.path,
        position=owner.path.position + moved * owner.path.scale[:, None],
        angle=angle + rng.uniform(0, 6.28) + 0.15 * np.sin(2 * np.pi * owner.path.cycle),
    )
    sprite, first_part = thing.sprite, 0
    own = owner.sprite.labels[1:]
    if rng.random() < 0.5 and own.min() == own.max():
        labels = np.where(sprite.labels > 0, own.max(), 0).astype(np.uint8)
        sprite, first_part = replace(sprite, labels=labels), len(own)
    return replace(
        thing, sprite=sprite, path=path, size=size, shadow=(0.0, 0.0, 0.0), away=owner.away,
        gains=owner.gains, first_part=first_part,
    )  # fmt: skip


def _twin(
    rng: np.random.Generator, actor: Actor, actors: list[Actor], frames: int, squeeze: float
) -> Actor:
    """Returns a look-alike of an actor on its own way, with new object ids."""
    shift = max(int(a.sprite.labels.max()) for a in actors)
    labels = actor.sprite.labels - actor.sprite.labels[actor.sprite.labels > 0].min() + 1 + shift
    labels[0] = 0
    sprite = replace(actor.sprite, labels=labels.astype(np.uint8))
    path = object_path(rng, frames, squeeze, actor.upright, None)
    factor = float(np.exp(rng.normal(0, 0.25)))
    mirror = float(rng.choice([-1, 1]))
    return replace(
        actor,
        sprite=sprite,
        path=path,
        size=(actor.size[0] * factor * mirror, actor.size[1] * factor),
    )


def make_crowd(rng: np.random.Generator, stage: Stage) -> list[Actor]:
    """Draws 5..8 instances of one kind, of the same or of different looks."""
    kinds = ["person", "person", "person", "quadruped", "bird", "fish", "ball", "vehicle", "blob"]
    if rng.random() < 0.5 * stage.ingredients.solids:  # many of them take their time
        kinds = ["figure", "figure", "animal", "car", "lump", "single"]
    kind = str(rng.choice(kinds))
    share = float(rng.uniform(0.008, 0.06))
    same = rng.random() < 0.4
    if stage.draws_cutout(rng):
        kind = CUTOUT
    actors: list[Actor] = []
    for index in range(int(rng.integers(5, 9))):
        if index and same:
            actors.append(_twin(rng, actors[0], actors, stage.frames, stage.squeeze))
            continue
        label = 1 + max((int(a.sprite.labels.max()) for a in actors), default=0)
        actors.append(make_actor(rng, stage, label, share, None, kind))
        first = actors[0].sprite
        if isinstance(first, CutoutSprite):  # the others are of one kind with it
            kind = f"{CUTOUT}:{first.family}"
    return actors


def make_actor(
    rng: np.random.Generator,
    stage: Stage,
    label: int,
    share: float,
    meet: NDArray[np.float64] | None,
    kind: str | None = None,
) -> Actor:
    """Draws one object that covers about `share` of the picture, of one of both lists of kinds."""
    if kind is None and stage.draws_cutout(rng):
        kind = CUTOUT
    if kind is not None and kind.startswith(CUTOUT):
        return _cutout_actor(rng, stage, (label, share), meet, kind.partition(":")[2])
    if kind is None and rng.random() < stage.ingredients.solids:
        kind = solids.random_kind(rng)
    if kind in solids.SOLID_KINDS:
        return _solid_actor(rng, stage, label, share, meet, solids.build_solid(rng, kind))
    shape = shapes.build_shape(rng, kind or shapes.random_kind(rng), stage.footage)
    jointed = len(shape.parts) > 4
    if jointed and shape.kind not in ("rider", "vehicle") and rng.random() < 0.3:
        shape = shapes.regroup(shape)
    upright = shape.kind in _UPRIGHT and rng.random() < 0.85
    path = object_path(rng, stage.frames, stage.squeeze, upright, meet)
    size = _extent(rng, stage, share, shape.area())
    looks = _textures(rng, shape, _pixels(stage, size, path), stage)
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
    return _on_its_way(rng, stage, sprite, path, size, shape.kind in _UPRIGHT)


def _cutout_actor(
    rng: np.random.Generator,
    stage: Stage,
    object_: tuple[int, float],
    meet: NDArray[np.float64] | None,
    family: str,
) -> Actor:
    """Draws a real thing, `object_` its label and share of the picture; "" for any family."""
    assert stage.real is not None
    label, share = object_
    picture, found = stage.real.cutout(rng, family)
    upright = bool(rng.random() < 0.8)
    path = object_path(rng, stage.frames, stage.squeeze, upright, meet)
    longer = 2 * np.sqrt(share) * stage.size * float(path.scale.max())
    sprite = relabelled(prepare_cutout(rng, picture, found, longer, stage.size), label)
    size = _extent(rng, stage, share, sprite.area())
    return _on_its_way(rng, stage, sprite, path, size, upright)


def _solid_actor(
    rng: np.random.Generator,
    stage: Stage,
    label: int,
    share: float,
    meet: NDArray[np.float64] | None,
    solid: Solid,
) -> Actor:
    """Draws an object that turns in space."""
    upright = solid.kind in _UPRIGHT
    path = object_path(rng, stage.frames, stage.squeeze, upright, meet)
    pixels = np.sqrt(share) * stage.size * 2
    yaw = float(rng.uniform(0, 2 * np.pi))
    pitch = float(rng.uniform(-0.1, 0.5) if upright else rng.uniform(-1.6, 1.6))
    spin = float(rng.normal(0, 2.0))
    labels = np.full(solid.groups + 1, label, np.uint8)
    labels[0] = 0
    sprite = SolidSprite(
        solid, _textures(rng, solid, pixels, stage), labels,
        float(rng.choice([0.0, rng.uniform(0.3, 1.0)])) * stage.size / 256,
        random_material(rng), (yaw, spin, pitch), float(rng.uniform(0, 0.35)),
    )  # fmt: skip
    size = _extent(rng, stage, share, sprite.area())
    return _on_its_way(rng, stage, sprite, path, size, upright)


def _extent(
    rng: np.random.Generator, stage: Stage, share: float, area: float
) -> tuple[float, float]:
    """Returns the size, in world units, of something of `area` square units; mirrored or not."""
    aspect = float(np.exp(rng.normal(0, 0.15)))
    height = min(float(np.sqrt(share / stage.squeeze / area)), 0.9)
    return height * aspect * float(rng.choice([-1, 1])), height / aspect


def _pixels(stage: Stage, size: tuple[float, float], path: Path) -> float:
    return abs(size[1]) * stage.size * float(path.scale.max()) * 2


def _on_its_way(
    rng: np.random.Generator,
    stage: Stage,
    sprite: Sprite | SolidSprite | CutoutSprite,
    path: Path,
    size: tuple[float, float],
    upright: bool,
) -> Actor:
    """Returns the actor of a sprite, with a shadow, a change of light, absences and extras."""
    cast = rng.uniform(-0.15, 0.15), rng.uniform(0, 0.06), rng.uniform(0.2, 0.6)
    shadow = cast if rng.random() < 0.35 else (0.0, 0.0, 0.0)
    gains = np.exp(rng.normal(0, 0.02) * np.arange(stage.frames))
    away = _away(rng, stage.frames)
    extras = random_extras(rng, stage.ingredients, len(sprite.labels) - 1)
    return Actor(sprite, path, size, gains, shadow, upright, away, extras)


def _away(rng: np.random.Generator, frames: int) -> range:
    """Draws the frames in which an object is gone; it is always there in the first one."""
    if frames < 3 or rng.random() >= AWAY_SHARE:
        return range(0)
    start = int(rng.integers(1, frames))
    return range(start, start + int(rng.integers(1, frames)))


def _textures(
    rng: np.random.Generator,
    shape: Shape | Solid,
    pixels: float,
    stage: Stage,
) -> tuple[Image, ...]:
    """Paints one texture per group, of a resolution that suits the size on screen."""
    fineness = np.log2(max(pixels, 1.0)) + (0.3 if shape.groups < 3 else -0.7)
    side = int(2 ** np.clip(np.floor(fineness), 5, 8))
    footage, background = stage.footage, stage.background
    real = footage is not None and rng.random() < stage.ingredients.real_looks
    camouflage = rng.random() < 0.25
    likeness = 0.65 if shape.kind in ("quadruped", "bird", "fish", "animal") else 0.2
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
        if real and footage is not None:
            looks.append(_real(rng, footage, side, base))
            continue
        looks.append(textures.make_texture(rng, textures.random_kind(rng), side, base, footage))
    if isinstance(shape, Shape) and shape.texture is not None and rng.random() < 0.75:
        base = textures.random_colour(rng, footage)
        strength = float(rng.choice([0.0, rng.uniform(0, 0.7)]))
        looks[0] = textures.recolour(rng, textures.scaled(shape.texture, side), base, strength)
    return tuple(looks)


def _real(rng: np.random.Generator, footage: Footage, side: int, base: Colour) -> Image:
    """Cuts a small piece of real footage: cloth, skin, leaves, walls; near `base` in colour."""
    frame = footage.frame(rng)
    length = int(rng.uniform(0.08, 0.45) * len(frame))
    x, y = rng.integers(0, frame.shape[1] - length), rng.integers(0, len(frame) - length)
    cut = textures.scaled(frame[y : y + length, x : x + length], side)
    turned = np.rot90(cut, int(rng.integers(4)))
    strength = float(rng.choice([0.0, rng.uniform(0, 0.8)]))
    return textures.recolour(rng, np.ascontiguousarray(turned), base, strength)


def _piece(rng: np.random.Generator, background: Image, side: int) -> Image:
    """Cuts a random square out of the background and scales it to `side` pixels."""
    length = int(len(background) * rng.uniform(0.2, 0.6))
    x, y = rng.integers(0, len(background) - length, 2)
    return textures.scaled(background[y : y + length, x : x + length], side)


def make_occluder(rng: np.random.Generator, stage: Stage) -> Actor:
    """Draws a thing, not an object, that stands or passes in front."""
    shape = shapes.occluder_shape(rng, stage.footage)
    looks = _textures(rng, shape, stage.size * 0.5, stage)
    sprite = Sprite(
        shape, looks, np.zeros(shape.groups + 1, np.uint8), float(rng.uniform(0, 0.6)),
        float(rng.uniform(0, 6.28)), float(rng.choice([0.0, rng.uniform(0.3, 2.5)])),
        np.append(rng.uniform(1, 5, 2), rng.uniform(0, 6.28, 2)).astype(np.float32),
    )  # fmt: skip
    path = object_path(rng, stage.frames, stage.squeeze, upright=True, meet=None)
    scale = float(rng.uniform(0.04, 0.22))
    return Actor(sprite, path, (scale, max(scale, 0.1)), np.ones(stage.frames), (0, 0, 0), True)
