"""`chroma`, `replace` and `transparent`: no rim of the old background, no seam between objects."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bench import borders
from samcam.live.cli.plan import build_effect
from samcam.live.config.effects import EffectSettings
from samcam.live.effects.alpha import to_rgba
from samcam.live.effects.cutout import joined, own_colours
from samcam.live.effects.edges import EdgeOptions, object_edge
from samcam.live.effects.effects import EFFECT_NAMES, EFFECTS, Effect
from samcam.live.feed.compositor import Compositor, compose
from samcam.live.frames import F32, ObjectResult
from samcam.live.masks import object_layers
from samcam.live.sources.demo.scene import DemoScene
from tests.helpers.results import disc_logits, result_of, textured, tracked

SIZE = (1280, 720)


@pytest.mark.parametrize(("mask_size", "most_px"), [(256, 0.2), (128, 0.5)])
def test_the_rim_of_the_old_background_is_gone(mask_size: int, most_px: float) -> None:
    """It was two to three pixels wide, and bright where the room was: known from the truth."""
    scene = DemoScene(SIZE)
    before = borders.measure(borders.BEFORE, mask_size, scene)
    now = borders.measure(Effect("chroma").edge, mask_size, scene)
    assert before.rim_px > 1.8
    assert now.rim_px < most_px
    assert now.error < 0.5 * before.error


def test_decontamination_helps_with_every_border() -> None:
    """Measured to be on by default: a smaller rim, and no larger error."""
    scene = DemoScene(SIZE)
    for feather_px in (1.5, -0.5):
        plain = EdgeOptions(feather_px, decontaminate=False)
        with_own = borders.measure(replace(plain, decontaminate=True), 256, scene)
        without = borders.measure(plain, 256, scene)
        assert with_own.rim_px < 0.7 * without.rim_px
        assert with_own.error <= without.error + 0.05


def test_settings_choose_the_border_that_fits_the_effect() -> None:
    for name in EFFECT_NAMES:
        inwards = EFFECTS[name].cuts_out
        edge = build_effect(name, EffectSettings()).edge
        assert edge == Effect(name).edge
        assert edge.feather_px == (-1.0 if inwards else 1.5)
        inverted = build_effect(name, EffectSettings(invert=True)).edge
        assert inverted.feather_px == 1.5, "upon an object nothing may peep out"
        chosen = build_effect(name, EffectSettings(feather_px=1.5, decontaminate=False)).edge
        assert (chosen.feather_px, chosen.decontaminate) == (1.5, False)


def half(left: bool, gap: float = 0.0) -> ObjectResult:
    """Return one of two objects that touch along the middle of the picture."""
    columns = np.arange(128, dtype=np.float32)[None] + 0.5
    rows = np.abs(np.arange(128, dtype=np.float32)[:, None] + 0.5 - 64)
    edge = 64 + (-gap if left else gap)
    across = np.minimum(edge - columns, columns - 24) if left else columns - edge
    across = np.minimum(across, 104 - columns)
    return tracked(1 if left else 2, (2 * np.minimum(across, 40 - rows)).astype(np.float32))


@pytest.mark.parametrize("name", ["chroma", "transparent"])
@pytest.mark.parametrize("gap", [0.0, 0.1])
def test_two_objects_that_touch_have_no_seam(name: str, gap: float) -> None:
    """A player and her guitar: no line of the key colour, nor of nothing, lies between them."""
    image = np.full((720, 1280, 3), (60, 90, 200), np.uint8)
    made = compose(result_of(image, (half(True, gap), half(False, gap))), Effect(name))
    across = made.feed_bgr[360, 400:880]
    np.testing.assert_array_equal(across, image[360, 400:880])
    if made.alpha is not None:
        assert (made.alpha[360, 400:880] == 255).all()
    assert (made.feed_bgr[360, 20] != image[360, 20]).any()


def test_objects_apart_stay_as_they_are() -> None:
    objects = (
        tracked(1, disc_logits(128, 24, 64, 10)),
        tracked(2, disc_logits(128, 100, 64, 10)),
        tracked(3, disc_logits(128, 112, 70, 10)),
    )
    layers = object_layers(objects, SIZE, 12)
    made = joined(layers, 720)
    assert len(made) == 2
    assert made[0] is layers[0]
    assert made[1].contested
    wanted = np.zeros((720, 1280), bool)
    for layer in layers:
        wanted[layer.box.slices] |= layer.logits > 0
    got = np.zeros_like(wanted)
    for layer in made:
        got[layer.box.slices] |= layer.logits > 0
    assert (got & ~wanted).sum() < 200, "small gaps at most"
    assert not (wanted & ~got).any()


def test_only_the_border_gets_other_colours() -> None:
    image = textured(SIZE)
    (layer,) = object_layers((tracked(1, disc_logits(128, 64, 64, 30)),), SIZE, 12)
    edge = object_edge(layer, Effect("chroma").edge, 720)
    part = image[layer.box.slices]
    made = own_colours(part, layer, edge, 720)
    changed = (made != part).any(axis=2)
    assert changed.any()
    depth: F32 = layer.logits / layer.logits_per_px
    assert depth[changed].min() > -1.5
    assert depth[changed].max() < 4.0
    np.testing.assert_array_equal(image, textured(SIZE))


def test_rgba_has_no_colour_of_the_room() -> None:
    """A red object before a white wall: what is seen of it, half or whole, is red."""
    scene_object = tracked(1, disc_logits(128, 64, 64, 30))
    (layer,) = object_layers((scene_object,), SIZE, 12)
    image = np.full((720, 1280, 3), 245, np.uint8)
    inside = layer.logits / layer.logits_per_px > 1.0  # the mask is a pixel too large all round
    image[layer.box.slices][inside] = (30, 20, 200)
    made = Compositor(Effect("transparent")).compose(result_of(image, (scene_object,)))
    assert made.alpha is not None
    rgba = to_rgba(made.feed_bgr, made.alpha, made.backdrop_rgb)
    seen = made.alpha > 40
    assert rgba[seen][:, 1].max() < 120, "no white"


@pytest.mark.parametrize("radius", [0.6, 1.0, 2.0])
def test_an_object_without_an_inside_keeps_its_colours(radius: float) -> None:
    """Nowhere three pixels deep at 720: there is nothing to take colours from."""
    image = textured((320, 180))
    layers = object_layers((tracked(1, disc_logits(320, 160, 160, radius)),), (320, 180), 12)
    for layer in layers:
        edge = object_edge(layer, Effect("chroma").edge, 2160)
        part = image[layer.box.slices]
        np.testing.assert_array_equal(own_colours(part, layer, edge, 2160), part)
