"""Draws short clips of moving objects with exact masks, for training without labels.

Seeds of 9,000,000 and above are reserved for the product's demo scenes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from training.scenes.backgrounds import MARGIN, make_backgrounds
from training.scenes.blending import Blending, low_contrast
from training.scenes.casting import (
    CUTOUT,
    Actor,
    Stage,
    make_actor,
    make_cast,
    make_crowd,
    make_occluder,
)
from training.scenes.cutouts import CutoutSprite, draw_cutout, soften_seam
from training.scenes.extras import decorated, reflect
from training.scenes.footage import Footage
from training.scenes.ingredients import EVERYTHING, Ingredients
from training.scenes.motion import Matrix, camera_path, projection, similarity
from training.scenes.photographs import MARGIN as PHOTOGRAPH_MARGIN
from training.scenes.photographs import draw_photograph
from training.scenes.photometry import Photometry
from training.scenes.real import RealPictures
from training.scenes.regions import draw_regions
from training.scenes.render import Layer, cast_shadow, composite, draw_sprite
from training.scenes.shapes import SHAPE_KINDS
from training.scenes.solid_render import SolidSprite, draw_solid
from training.scenes.solids import SOLID_KINDS
from training.scenes.textures import TEXTURE_KINDS

__all__ = ["SHAPE_KINDS", "SOLID_KINDS", "TEXTURE_KINDS", "Clip", "generate_clip"]

Image = NDArray[np.uint8]

MIN_VISIBLE = 0.004  # share of the first picture that at least one object covers


@dataclass(frozen=True)
class Clip:
    """A clip with its labels.

    Attributes:
        images_bgr: (T, S, S, 3) uint8.
        ids: (T, S, S) uint8; object id of the visible pixels, 0 for background.
        parts: (T, S, S) uint8; part id, from 1, of the objects' pixels, unique
            within one object; None when no object has several parts.
        regions: the objects are regions of a real picture. A click on one is ambiguous:
            they are prompted by boxes or by several points.
    """

    images_bgr: Image
    ids: Image
    parts: Image | None
    regions: bool = False


@dataclass(frozen=True)
class _Scene:
    """Everything that a clip shows.

    Attributes:
        backgrounds: 1 or T pictures.
        camera: its transform in each frame.
        actors: from back to front.
        squeeze: horizontal squeeze of the picture.
        shutter: share of a frame's time in which the shutter is open.
        tables: colour tables of actors of low contrast, by number.
        background_ids: object ids of the backgrounds, one each; () where nothing is labelled.
        margin: side of the backgrounds relative to the picture.
    """

    backgrounds: list[Image]
    camera: list[Matrix]
    actors: list[Actor]
    squeeze: float
    shutter: float
    blending: Blending | None
    tables: dict[int, Image]
    background_ids: tuple[Image, ...] = ()
    margin: float = MARGIN


def generate_clip(
    rng: np.random.Generator,
    frames: int,
    size: int,
    footage: Footage | None,
    ingredients: Ingredients = EVERYTHING,
    real: RealPictures | None = None,
) -> Clip:
    """Draws a random clip; the same state of `rng` gives the same clip.

    Args:
        frames: number of frames T; 1 for a still.
        size: side S of the square pictures in pixels.
        footage: real pictures for backgrounds and textures, or None.
        ingredients: how often what is used.
        real: free pictures for cut-outs, backgrounds and labelled photographs, or None.

    Returns:
        The clip; at least one object covers MIN_VISIBLE of its first picture.
    """
    if frames == 1 and footage is not None and rng.random() < ingredients.regions:
        found = draw_regions(rng, size, footage)
        if found is not None:
            picture, ids = found
            picture = Photometry(rng, size).apply(picture, 0, (0.0, 0.0))
            return Clip(picture[None], ids[None], None, regions=True)
    share = ingredients.photographs
    labelled = bool(share) and real is not None and real.has_photographs and rng.random() < share
    for attempt in range(20):
        if labelled and real is not None and attempt < 10:
            scene = _photographed_scene(rng, (frames, size), footage, ingredients, real)
        else:
            stage = _set_stage(rng, (frames, size), footage, ingredients, real)
            scene = _make_scene(rng, *stage, plain=attempt >= 10)
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


def _set_stage(
    rng: np.random.Generator,
    shape: tuple[int, int],
    footage: Footage | None,
    ingredients: Ingredients,
    real: RealPictures | None,
) -> tuple[Stage, list[Image]]:
    """Draws the backgrounds of a scene of `shape` (frames, size) and what its actors must know."""
    frames, size = shape
    squeeze = float(rng.uniform(0.52, 1.0)) if rng.random() < 0.8 else 1.0
    backgrounds = make_backgrounds(rng, shape, squeeze, footage, ingredients, real)
    return Stage(frames, size, squeeze, footage, backgrounds[0], ingredients, real), backgrounds


def _photographed_scene(
    rng: np.random.Generator,
    shape: tuple[int, int],
    footage: Footage | None,
    ingredients: Ingredients,
    real: RealPictures,
) -> _Scene:
    """Draws a scene of `shape` that is a labelled photograph, perhaps with one thing pasted in.

    In a clip there always is one: something that moves on its own.
    """
    frames, size = shape
    backgrounds, planes = draw_photograph(rng, shape, real)
    squeeze = float(rng.uniform(0.6, 1.0))
    stage = Stage(frames, size, squeeze, footage, backgrounds[0], ingredients, real)
    actors: list[Actor] = []
    if frames > 1 or rng.random() < 0.2:
        label = 1 + max(int(plane.max()) for plane in planes)
        kind = CUTOUT if rng.random() < 0.7 and ingredients.real_sprites > 0 else None
        actors.append(make_actor(rng, stage, label, float(rng.uniform(0.01, 0.12)), None, kind))
    shutter = float(rng.uniform(0.2, 0.8)) if frames > 1 and rng.random() < 0.4 else 0.0
    blending = Blending(rng, size) if actors and rng.random() < ingredients.blending else None
    margin = 1.0 if frames == 1 else PHOTOGRAPH_MARGIN
    camera = camera_path(rng, frames) if frames > 1 else [np.eye(3)]
    ids = tuple(planes)
    return _Scene(backgrounds, camera, actors, squeeze, shutter, blending, {}, ids, margin)


def _make_scene(
    rng: np.random.Generator, stage: Stage, backgrounds: list[Image], plain: bool
) -> _Scene:
    """Draws a scene; a plain one has one large object in the middle."""
    frames, size = stage.frames, stage.size
    actors: list[Actor] = []
    if plain:
        actor = make_actor(rng, stage, 1, 0.1, None)
        still = replace(actor.path, position=np.zeros((frames, 2)))
        actors = [replace(actor, path=still)]
    elif rng.random() < 0.25:
        actors = make_crowd(rng, stage)
    else:
        actors = make_cast(rng, stage)
    if not plain and rng.random() < 0.3:
        for _ in range(int(rng.integers(1, 4))):
            actors.append(make_occluder(rng, stage))
    shutter = float(rng.uniform(0.2, 0.8)) if rng.random() < 0.5 else 0.0
    blending = Blending(rng, size) if rng.random() < stage.ingredients.blending else None
    camera = camera_path(rng, frames)
    return _Scene(backgrounds, camera, actors, stage.squeeze, shutter, blending, {})


def _matrix(scene: _Scene, actor: Actor, index: int, size: int) -> Matrix:
    """Returns the (3, 3) map from an actor's unit coordinates to pixels of a frame."""
    path, scale = actor.path, float(actor.path.scale[index])
    x, y = path.position[index]
    own = similarity(x, y, float(path.angle[index]), actor.size[0] * scale, actor.size[1] * scale)
    view = projection(size, scene.squeeze)
    return view @ own if path.fixed_to_camera else view @ scene.camera[index] @ own


def _draw(scene: _Scene, index: int, size: int) -> tuple[Image, Image, Image]:
    """Draws a frame: its picture (S, S, 3), object ids (S, S) and part ids (S, S)."""
    canvas = scene.backgrounds[index % len(scene.backgrounds)]
    back = projection(len(canvas), scene.squeeze, scene.margin)
    view = projection(size, scene.squeeze) @ scene.camera[index] @ np.linalg.inv(back)
    picture = cv2.warpAffine(
        canvas, view[:2], (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    ).astype(np.uint8, copy=False)
    ids, parts = np.zeros((size, size), np.uint8), np.zeros((size, size), np.uint8)
    if scene.background_ids:
        plane = scene.background_ids[index % len(scene.background_ids)]
        ids = cv2.warpAffine(
            plane, view[:2], (size, size), flags=cv2.INTER_NEAREST,
            borderMode=cv2.BORDER_REFLECT_101,
        ).astype(np.uint8, copy=False)  # fmt: skip
    for number, actor in enumerate(scene.actors):
        if index in actor.away:
            continue
        layer = _layer(scene, actor, index, size)
        if layer is None:
            continue
        if actor.extras.mirror and actor.upright:
            reflect(layer, picture, actor.extras.mirror)
        dx, dy, strength = actor.shadow
        if strength > 0:
            cast_shadow(layer, picture, (dx * size, dy * size), strength)
        if scene.blending is not None:
            layer = scene.blending.place(layer, picture, number, actor.extras)
            if actor.upright and actor.sprite.labels.any():
                scene.blending.ground(layer, picture)
        elif actor.extras.tone:
            layer = low_contrast(layer, picture, number, actor.extras, scene.tables)
        composite(layer, picture, (ids, parts), actor.sprite.labels, actor.first_part)
        if isinstance(actor.sprite, CutoutSprite) and actor.sprite.seam:
            soften_seam(layer, picture, actor.sprite.seam)
    if scene.blending is not None:
        picture = scene.blending.light(picture)
    return picture, ids, parts


def _layer(scene: _Scene, actor: Actor, index: int, size: int) -> Layer | None:
    """Draws an actor of a frame with its motion blur and its brightness."""
    matrix = _matrix(scene, actor, index, size)
    blur = (0.0, 0.0)
    if scene.shutter and len(scene.camera) > 1:
        other = index - 1 if index else 1
        step = (matrix - _matrix(scene, actor, other, size))[:2, 2] * scene.shutter
        step *= min(1.0, 0.1 * size / max(float(np.hypot(*step)), 1e-6))
        blur = (float(step[0]), float(step[1]))
    layer, cycle = None, float(actor.path.cycle[index])
    if isinstance(actor.sprite, SolidSprite):
        layer = draw_solid(actor.sprite, matrix, cycle, size, blur)
    elif isinstance(actor.sprite, CutoutSprite):
        layer = draw_cutout(actor.sprite, matrix, cycle, size, blur)
    else:
        layer = draw_sprite(actor.sprite, matrix, cycle, size, blur)
    if layer is None:
        return None
    layer = decorated(layer, actor.extras, float(actor.path.angle[index]))
    gain = float(actor.gains[index])
    if abs(gain - 1) < 0.01:
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
