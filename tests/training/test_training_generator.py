"""What generated clips are mixed from: every ingredient appears, may be left out, is labelled."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from samcam.live.sources.demo import scene as demo_scene
from tests.helpers.free_pictures import write_free
from training.scenes import backgrounds, casting, extras, generator
from training.scenes.blending import Blending, toned
from training.scenes.casting import Stage, make_cast
from training.scenes.extras import Extras, Fringe, decorated, reflect
from training.scenes.footage import HEIGHT, WIDTH, Footage
from training.scenes.generator import SOLID_KINDS, generate_clip
from training.scenes.ingredients import EVERYTHING, NOTHING_EXTRA, Ingredients
from training.scenes.meshes import ball, extrude
from training.scenes.real import RealPictures, open_real
from training.scenes.regions import GRID, draw_regions, find_regions
from training.scenes.render import Layer, composite
from training.scenes.solid_render import Material, SolidSprite, draw_solid
from training.scenes.solids import Piece, Solid, build_solid, posed

Image = NDArray[np.uint8]
SMALL = 96
GREY = 110
NAMES = [field.name for field in fields(Ingredients)]
WHERE = {
    "solids": (generator, "draw_solid"),
    "real_looks": (casting, "_real"),
    "low_contrast": (generator, "low_contrast"),
    "blending": (generator, "Blending"),
    "regions": (generator, "draw_regions"),
    "fringe": (extras, "_haired"),
    "glass": (extras, "_glazed"),
    "mirror": (generator, "reflect"),
    "held": (casting, "_held"),
    "collage": (backgrounds, "_collage"),
    "real_sprites": (generator, "draw_cutout"),
    "real_backgrounds": (backgrounds, "_photographed"),
    "photographs": (generator, "draw_photograph"),
}
"""What draws each ingredient."""


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Footage:
    """Eight pictures of discs before a wall with a grain."""
    rng = np.random.default_rng(0)
    frames = rng.integers(60, 80, (8, HEIGHT, WIDTH, 3), np.uint8)
    for number, frame in enumerate(frames):
        for x in range(60, WIDTH, 110):
            for y in (90, 250):
                cv2.circle(frame, (x + 3 * number, y), 38, (40, 60, 200), -1)
    path = tmp_path_factory.mktemp("footage") / "frames.npy"
    np.save(path, frames)
    return Footage(path)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> RealPictures:
    """Stand-ins of the free pictures."""
    found = open_real(write_free(tmp_path_factory.mktemp("cache")))
    assert found is not None
    return found


@pytest.mark.parametrize("name", NAMES)
def test_ingredient_appears_and_can_be_left_out(
    name: str, footage: Footage, real: RealPictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    module, function = WHERE[name]
    draw = getattr(module, function)

    def counted(*arguments: object) -> object:
        calls.append(1)
        return draw(*arguments)

    monkeypatch.setattr(module, function, counted)
    for seed in range(8):
        only = NOTHING_EXTRA.always(name)
        generate_clip(np.random.default_rng(seed), 1, SMALL, footage, only, real)
    assert calls
    calls.clear()
    left = replace(EVERYTHING, regions=0.0).without(name)
    for seed in range(8):
        generate_clip(np.random.default_rng(seed), 2, SMALL, footage, left, real)
    assert not calls


def test_unknown_ingredient_is_named() -> None:
    assert EVERYTHING.without("solids").solids == 0 < EVERYTHING.solids
    assert NOTHING_EXTRA.always("solids") == replace(NOTHING_EXTRA, solids=1.0)
    with pytest.raises(ValueError, match="no ingredient 'cake'; there are solids, "):
        EVERYTHING.without("cake")


def test_clips_of_all_ingredients_are_deterministic(footage: Footage) -> None:
    everything = Ingredients(0.5, 1, 1, 1, 0, 1, 1, 1, 1, 0.5, 0, 0, 0)
    for seed in range(3):
        first, again = (
            generate_clip(np.random.default_rng(seed), 3, SMALL, footage, everything)
            for _ in range(2)
        )
        assert np.array_equal(first.images_bgr, again.images_bgr)
        assert np.array_equal(first.ids, again.ids)


def test_no_solid_belongs_to_the_demo() -> None:
    assert not set(demo_scene.DEMO_SHAPES) & set(SOLID_KINDS)


def solid_sprite(solid: Solid, turn: tuple[float, float, float]) -> SolidSprite:
    looks = tuple(np.full((32, 32, 3), 200 - 9 * g, np.uint8) for g in range(solid.groups))
    labels = np.full(solid.groups + 1, 1, np.uint8)
    labels[0] = 0
    light = np.array([0, -0.6, -0.8], np.float32)
    return SolidSprite(solid, looks, labels, 0.0, Material(light, 0.8, 0.0, 8.0), turn, 0.0)


def outline_of(sprite: SolidSprite, matrix: NDArray[np.float64], cycle: float) -> Image:
    """Every triangle of the solid, front and back, filled at four times the size."""
    points, _ = posed(sprite.solid, cycle)
    yaw, spin, pitch = sprite.turn
    angle = yaw + spin * cycle
    x = points[:, 0] * np.cos(angle) + points[:, 2] * np.sin(angle)
    z = points[:, 2] * np.cos(angle) - points[:, 0] * np.sin(angle)
    y = points[:, 1] * np.cos(pitch) - z * np.sin(pitch)
    flat = np.stack([x, y], 1) @ matrix[:2, :2].T + matrix[:2, 2]
    canvas = np.zeros((SMALL * 4, SMALL * 4), np.uint8)
    for corners in flat[sprite.faces]:
        fixed = np.round(corners * 64 - 8).astype(np.int32)
        cv2.fillConvexPoly(canvas, fixed, 255, shift=4)
    small = cv2.resize(canvas, (SMALL, SMALL), interpolation=cv2.INTER_AREA)
    return (small >= 128).astype(np.uint8)


@pytest.mark.parametrize("seed", range(14))
def test_a_solid_is_labelled_exactly_where_it_is_seen(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sprite = solid_sprite(build_solid(rng, SOLID_KINDS[seed % 7]), (seed * 0.7, 1.0, 0.3))
    matrix = np.array([[40.0, 0, 48], [0, -36 if seed % 2 else 36, 48], [0, 0, 1]])
    layer = draw_solid(sprite, matrix, 0.3, SMALL, (0.0, 0.0))
    assert layer is not None
    frame, ids, parts = plain()
    composite(layer, frame, (ids, parts), sprite.labels)
    truth = outline_of(sprite, matrix, 0.3)
    assert np.count_nonzero(truth) > 100
    cross = np.ones((3, 3), np.uint8)  # they agree to a pixel
    assert not (ids & (1 - cv2.dilate(truth, cross))).any()
    assert not (truth & (1 - cv2.dilate(ids, cross))).any()
    # what is labelled looks other than the ground, and what is not, but for its edge, does not
    changed = (frame != GREY).any(2)
    assert (changed | (ids == 0)).all()
    assert not (changed & (cv2.dilate(ids, cross) == 0)).any()


def test_nearer_pieces_hide_farther_ones() -> None:
    near = replace(ball(), points=(ball().points * 0.5 + [0, 0, -0.5]).astype(np.float32))
    square = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], np.float32) * 0.6
    for turned, group in ((0.0, 2), (np.pi, 1)):
        solid = Solid("compound", (Piece(extrude(square, 0.1), 0), Piece(near, 1)))
        sprite = solid_sprite(solid, (float(turned), 0.0, 0.0))
        layer = draw_solid(sprite, np.diag([30.0, 30, 1]) + SHIFT, 0.0, SMALL, (0.0, 0.0))
        assert layer is not None
        assert layer.group[48 - layer.y, 48 - layer.x] == group


SHIFT = np.array([[0, 0, 48.0], [0, 0, 48], [0, 0, 0]])


def plain() -> tuple[Image, Image, Image]:
    """A grey frame without labels."""
    empty = np.zeros((SMALL, SMALL), np.uint8)
    return np.full((SMALL, SMALL, 3), GREY, np.uint8), empty, empty.copy()


def square_layer(colour: int = 250) -> Layer:
    """A square of 40 pixels, 4 pixels inside its window at (24, 20)."""
    alpha = np.zeros((48, 48), np.float32)
    alpha[4:44, 4:44] = 1
    picture = np.full((48, 48, 3), colour, np.uint8)
    return Layer(24, 20, picture, alpha, (alpha > 0).astype(np.uint8))


LABELS = np.array([0, 7], np.uint8)


def test_single_hairs_are_drawn_but_not_labelled() -> None:
    strands = np.zeros((9, 4), np.float32)
    strands[:, 0] = np.linspace(-0.6, 0.6, 9)
    strands[:, 1] = 0.4
    hairy = decorated(square_layer(), Extras(fringe=Fringe(strands, 1.0)), 0.0)
    frame, ids, parts = plain()
    composite(hairy, frame, (ids, parts), LABELS)
    bare, body, _ = plain()
    composite(square_layer(), bare, (body, parts), LABELS)
    assert (ids[body > 0] == 7).all()
    beside = np.s_[:, 72:82]
    assert np.count_nonzero(frame[beside] != GREY) > 60
    assert np.count_nonzero(ids[beside]) < 0.1 * ids[beside].size
    assert (frame[:, :20] == GREY).all()


def test_glass_shows_the_ground_and_is_labelled() -> None:
    frame, ids, parts = plain()
    composite(decorated(square_layer(), Extras(glass=(0, 0.3)), 0.0), frame, (ids, parts), LABELS)
    assert np.count_nonzero(ids == 7) == 40 * 40
    assert frame[40, 40, 0] == pytest.approx(GREY + 0.3 * (250 - GREY), abs=2)


def test_a_reflection_lies_below_and_fades() -> None:
    frame, _, _ = plain()
    reflect(square_layer(), frame, 0.5)
    assert (frame[:62] == GREY).all()
    column = frame[66:90, 48, 0].astype(int)
    assert column[0] > GREY + 30
    assert (np.diff(column) <= 0).all()


def test_low_contrast_moves_an_objects_colours_to_those_around_it() -> None:
    around = np.full((48, 48, 3), GREY, np.uint8)
    around[::2] += 10
    tables: dict[int, Image] = {}
    near = toned(square_layer(), around, 0.9, tables, 0)
    inside = near.colour[near.alpha > 0.5].mean()
    assert inside == pytest.approx(250 + 0.9 * (GREY + 5 - 250), abs=2)
    # it keeps these colours where the surroundings change
    later = toned(square_layer(), around // 4, 0.9, tables, 0)
    assert np.array_equal(later.colour, near.colour)


def test_blending_moves_no_label_but_its_edge() -> None:
    rng = np.random.default_rng(4)
    for _ in range(6):
        frame, ids, parts = plain()
        blending = Blending(rng, SMALL)
        layer = blending.place(square_layer(), frame, 0, Extras())
        blending.ground(layer, frame)
        composite(layer, frame, (ids, parts), LABELS)
        core = np.zeros((SMALL, SMALL), np.bool_)
        core[26:62, 30:66] = True
        assert (ids[core] == 7).all()
        assert np.count_nonzero(ids) <= 44 * 44
        assert blending.light(frame).shape == frame.shape


def test_regions_are_found_at_their_real_border(footage: Footage) -> None:
    masks = find_regions(np.ascontiguousarray(footage.frames[0][:, :HEIGHT]))
    truth = (footage.frames[0][:, :HEIGHT, 2] > 150).astype(np.uint8)
    wanted = cv2.resize(truth, (GRID, GRID), interpolation=cv2.INTER_AREA) > 0
    assert masks
    for mask in masks:
        assert np.count_nonzero(mask & wanted) > 0.85 * np.count_nonzero(mask)
    clips = [
        generate_clip(np.random.default_rng(s), 1, SMALL, footage, NOTHING_EXTRA.always("regions"))
        for s in range(6)
    ]
    assert sum(clip.regions for clip in clips) >= 2
    assert all(clip.ids.any() for clip in clips)
    assert not generate_clip(
        np.random.default_rng(0), 2, SMALL, footage, NOTHING_EXTRA.always("regions")
    ).regions  # only stills


def test_an_even_picture_has_no_region(tmp_path: Path) -> None:
    path = tmp_path / "even.npy"
    np.save(path, np.full((8, HEIGHT, WIDTH, 3), 90, np.uint8))
    assert draw_regions(np.random.default_rng(0), SMALL, Footage(path)) is None


def test_a_held_thing_goes_with_its_owner() -> None:
    whole, own = 0, 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        stage = Stage(4, SMALL, 1.0, None, plain()[0], NOTHING_EXTRA.always("held"))
        actors = make_cast(rng, stage)
        labels = [set(a.sprite.labels[a.sprite.labels > 0].tolist()) for a in actors]
        held = next((i for i, a in enumerate(actors) if a.first_part), None)
        if held is None:
            own += 1
            continue
        whole += 1
        owner = next(i for i, a in enumerate(actors) if i != held and labels[i] == labels[held])
        assert actors[held].first_part == len(actors[owner].sprite.labels) - 1
        gap = np.linalg.norm(actors[held].path.position - actors[owner].path.position, axis=1)
        assert (gap <= np.abs(actors[owner].size).max() * actors[owner].path.scale).all()
        assert actors[held].away == actors[owner].away
    assert whole > 5
    assert own > 5
