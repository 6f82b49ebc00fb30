"""What is sent: effects, and the rules of what must not be seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from samcam.live.effects.blend import scaled_to_cover
from samcam.live.effects.edges import EdgeOptions
from samcam.live.effects.effects import EFFECT_NAMES, Effect
from samcam.live.effects.highlight import HighlightOptions, highlight
from samcam.live.effects.palette import object_colour
from samcam.live.effects.pictures import ChromaOptions, ReplaceOptions, TransparentOptions
from samcam.live.feed.compositor import Compositor, Fallback, FeedPolicy, compose
from samcam.live.feed.cover import captioned, cover
from samcam.live.frames import U8
from samcam.live.masks import object_layers, separate_layers, upsample_logits
from tests.helpers.results import MS, disc_logits, result_of, stand_in, textured, tracked

SIZE = (320, 180)
BLUR, HIGHLIGHT = Effect("blur"), Effect("highlight")


def detail(image: U8) -> float:
    """Return how much neighbouring pixels differ."""
    return float(np.abs(np.diff(image.astype(np.int16), axis=1)).mean())


def test_an_unknown_effect_is_named() -> None:
    with pytest.raises(ValueError, match=r"expected highlight or blur or .*, got 'glow'"):
        Effect("glow")


def test_every_object_id_has_a_colour_of_its_own() -> None:
    colours = [object_colour(i) for i in range(1, 255)]
    assert len(set(colours)) == 254
    with pytest.raises(ValueError, match=r"expected 1\.\.254, got 255"):
        object_colour(255)
    # As protanopes and deuteranopes see them (Vienot 1999 mixes red and green), the first seven
    # still differ.
    seen = [(round(0.11 * c.red + 0.89 * c.green), c.blue) for c in colours[:7]]
    gaps = [np.hypot(a[0] - b[0], a[1] - b[1]) for i, a in enumerate(seen) for b in seen[:i]]
    assert min(gaps) > 12


@pytest.mark.parametrize("effect", [Effect(name) for name in EFFECT_NAMES], ids=EFFECT_NAMES)
def test_the_source_frame_is_never_touched(effect: Effect) -> None:
    image = textured(SIZE)
    before = image.copy()
    result = result_of(image, (tracked(1, disc_logits(64, 30, 30, 12)),))
    composite = compose(result, effect)
    np.testing.assert_array_equal(image, before)
    assert not np.shares_memory(composite.feed_bgr, image)
    for array in (composite.feed_bgr, composite.object_ids):
        assert not array.flags.writeable


def test_highlight_tints_inside_and_nothing_outside() -> None:
    image = textured(SIZE)
    logits = disc_logits(64, 32, 32, 14)
    options = HighlightOptions(tint=0.5, label=False)
    layers = separate_layers(object_layers((tracked(2, logits),), SIZE, 8))
    out = highlight(image, layers, options)
    depth = upsample_logits(logits, SIZE)
    colour = np.array(object_colour(2), np.float32)
    inside, outside = depth > 4, depth < -4
    np.testing.assert_allclose(out[inside], image[inside] * 0.5 + colour * 0.5, atol=1.01)
    np.testing.assert_array_equal(out[outside], image[outside])
    on_border = np.abs(depth) < 0.02
    assert on_border.any()
    assert np.abs(out[on_border].astype(np.float32) - colour).max() < 40


def test_borders_are_soft() -> None:
    """On a flat picture, an antialiased contour has many levels between colour and ground."""
    image = np.zeros((180, 320, 3), np.uint8)
    layers = object_layers((tracked(1, disc_logits(64, 32, 32, 14)),), SIZE, 8)
    out = highlight(image, layers, HighlightOptions(tint=0.0, label=False))
    assert len(np.unique(out[..., 2])) > 15


def test_labels_stay_inside_the_picture() -> None:
    image = np.zeros((180, 320, 3), np.uint8)
    for x, y in ((0, 0), (64, 0), (0, 64), (64, 64)):
        layers = object_layers((tracked(1, disc_logits(64, x, y, 3)),), SIZE, 8)
        with_label = highlight(image, layers, HighlightOptions(tint=0.0))
        without = highlight(image, layers, HighlightOptions(tint=0.0, label=False))
        assert (with_label != without).any()
    tiny = np.zeros((6, 6, 3), np.uint8)  # no room for a label: no label, no error
    highlight(tiny, object_layers((tracked(1, disc_logits(8, 4, 4, 3)),), (6, 6), 8))


def test_blur_keeps_the_subject_and_blurs_the_rest() -> None:
    image = textured(SIZE)
    logits = disc_logits(64, 32, 32, 14)
    out = compose(result_of(image, (tracked(1, logits),)), BLUR).feed_bgr
    depth = upsample_logits(logits, SIZE)
    np.testing.assert_array_equal(out[depth > 3], image[depth > 3])
    assert detail(out[:, :60]) < 0.1 * detail(image[:, :60])


def test_touching_subjects_have_no_blurred_seam() -> None:
    image = textured(SIZE)
    objects = (tracked(1, disc_logits(64, 26, 32, 10)), tracked(2, disc_logits(64, 38, 32, 10)))
    out = compose(result_of(image, objects), BLUR).feed_bgr
    row = slice(85, 95)
    np.testing.assert_array_equal(out[row, 100:220], image[row, 100:220])


@pytest.mark.parametrize("size_wh", [(1, 1), (2, 3), (17, 900), (853, 479)])
def test_effects_take_any_picture_size(size_wh: tuple[int, int]) -> None:
    image = textured(size_wh)
    result = result_of(image, (tracked(1, disc_logits(16, 8, 8, 5)),))
    for effect in (BLUR, HIGHLIGHT):
        assert compose(result, effect).feed_bgr.shape == image.shape
    assert cover(size_wh, None, 0).feed_bgr.shape == image.shape
    assert captioned(cover(size_wh, None, 0), "no signal").feed_bgr.shape == image.shape


PICTURE = textured((64, 36))
HIDDEN_AS = {
    "chroma": (Effect("chroma", ChromaOptions((10, 200, 30))), (30, 200, 10)),
    "replace": (Effect("replace", ReplaceOptions((70, 80, 90))), (90, 80, 70)),
    "transparent": (Effect("transparent", TransparentOptions((1, 2, 3))), (3, 2, 1)),
    **{
        name: (Effect(name), (32, 32, 32))
        for name in EFFECT_NAMES
        if name not in ("chroma", "replace", "transparent")
    },
}


@pytest.mark.parametrize("cause", ["idle", "lost", "panic", "no signal", "stale mask"])
@pytest.mark.parametrize("name", HIDDEN_AS)
def test_a_hidden_picture_has_nothing_of_the_cameras(name: str, cause: str) -> None:
    """It was the room in 12 blurred cells, with its light, its colours and who walks through it."""
    effect, colour = HIDDEN_AS[name]
    feeds = []
    for image in (textured(SIZE), np.full((SIZE[1], SIZE[0], 3), 250, np.uint8)):
        everywhere = Fallback.HOLD if cause == "stale mask" else Fallback.HIDE_ALL
        compositor = Compositor(effect, FeedPolicy(everywhere, everywhere))
        seen = (tracked(1, disc_logits(64, 32, 32, 9)),)
        objects = {"idle": (), "lost": (tracked(1, None),)}.get(cause, seen)
        compositor.panic = cause == "panic"
        made = compositor.compose(result_of(image, objects))
        if cause == "stale mask":
            made = compositor.compose(result_of(image, (tracked(1, None),), 1, 10**10))
        elif cause == "no signal":
            made = compositor.stand_in(made.result, 77)
        assert made.hidden
        assert made.panic == (cause == "panic")
        assert made.alpha is None or cause == "no signal" or not made.alpha.any()
        assert (made.alpha is None) == (name != "transparent")
        feeds.append(made.feed_bgr)
    np.testing.assert_array_equal(feeds[0], feeds[1])
    if cause == "no signal":
        assert (feeds[0][0] == colour).all()
        assert len(np.unique(feeds[0])) > 2, "it says so in words"
    else:
        assert (feeds[0] == colour).all()


def test_a_hidden_picture_is_the_replacement_whole() -> None:
    compositor = Compositor(Effect("replace", ReplaceOptions(image_bgr=PICTURE)))
    made = compositor.compose(result_of(textured((128, 72), seed=5)))
    np.testing.assert_array_equal(made.feed_bgr, scaled_to_cover(PICTURE, (128, 72)))


def test_an_own_effect_may_say_what_a_hidden_picture_is() -> None:
    """An object that is to be made transparent is lost: nothing leaves, and what replaces the
    surroundings comes first."""
    hole = Effect("transparent", edge=EdgeOptions(invert=True))
    lost = result_of(textured(SIZE), (tracked(1, None), tracked(2, None)))
    made = Compositor(Effect("blur"), own={2: hole}).compose(lost)
    assert made.alpha is not None
    assert not made.alpha.any()
    keyed = Compositor(Effect("chroma"), own={2: hole}).compose(lost)
    assert keyed.alpha is None
    assert (keyed.feed_bgr == (0, 255, 0)).all()


@pytest.mark.parametrize(
    ("effect", "idle_hidden", "lost_hidden"), [(BLUR, True, True), (HIGHLIGHT, False, False)]
)
def test_privacy_is_the_default_of_background_effects(
    effect: Effect, idle_hidden: bool, lost_hidden: bool
) -> None:
    image = textured(SIZE)
    idle = compose(result_of(image), effect)
    lost = compose(result_of(image, (tracked(1, None),)), effect)
    assert (idle.hidden, lost.hidden) == (idle_hidden, lost_hidden)
    for composite in (idle, lost):
        assert np.array_equal(composite.feed_bgr, image) != composite.hidden
        assert not composite.object_ids.any()
    assert lost.areas_px == (0,)


def test_each_rule_can_be_chosen() -> None:
    image = textured(SIZE)
    policy = FeedPolicy(on_lost=Fallback.HIDE_ALL, on_idle=Fallback.PASSTHROUGH)
    assert not compose(result_of(image), BLUR, policy).hidden
    assert compose(result_of(image, (tracked(1, None),)), HIGHLIGHT, policy).hidden


def test_an_empty_mask_counts_as_lost() -> None:
    """A network may say "visible" and give no pixel: that must not open the feed."""
    empty = np.full((64, 64), -1.0, np.float32)
    assert compose(result_of(textured(SIZE), (tracked(1, empty),)), BLUR).hidden


def test_one_visible_object_is_enough_and_lost_ones_are_background() -> None:
    image = textured(SIZE)
    objects = (tracked(1, disc_logits(64, 12, 32, 6)), tracked(2, None))
    composite = compose(result_of(image, objects), BLUR)
    assert not composite.hidden
    assert detail(composite.feed_bgr[:, 200:]) < 0.1 * detail(image[:, 200:])
    assert composite.areas_px[0] > 0
    assert composite.areas_px[1] == 0


def test_hold_shows_the_last_mask_for_its_time_and_then_hides() -> None:
    image = textured(SIZE)
    logits = disc_logits(64, 32, 32, 14)
    inside = upsample_logits(logits, SIZE) > 3
    compositor = Compositor(BLUR, FeedPolicy(on_lost=Fallback.HOLD, max_mask_age_ms=100))
    compositor.compose(result_of(image, (tracked(1, logits),), time_ns=0))
    held = compositor.compose(result_of(image, (tracked(1, None),), 1, 100 * MS))
    np.testing.assert_array_equal(held.feed_bgr[inside], image[inside])
    assert not held.hidden
    assert not held.object_ids.any(), "a held mask is not an answer of the tracker"
    assert held.areas_px == (0,)
    assert compositor.compose(result_of(image, (tracked(1, None),), 2, 101 * MS)).hidden
    assert compositor.compose(result_of(image, (tracked(1, None),), 3, 50 * MS)).hidden


def test_a_removed_object_is_not_held() -> None:
    image = textured(SIZE)
    compositor = Compositor(BLUR, FeedPolicy(on_lost=Fallback.HOLD, max_mask_age_ms=1e4))
    compositor.compose(result_of(image, (tracked(1, disc_logits(64, 32, 32, 14)),)))
    assert compositor.compose(result_of(image, (), 1, MS)).hidden
    assert compositor.compose(result_of(image, (tracked(1, None),), 2, 2 * MS)).hidden


def test_a_mask_that_was_carried_is_not_held_for_longer() -> None:
    """`--smooth` shows one step on many pictures: its time counts from the first of them."""
    image, item = textured(SIZE), tracked(1, disc_logits(64, 32, 32, 14))
    compositor = Compositor(BLUR, FeedPolicy(on_lost=Fallback.HOLD, max_mask_age_ms=100))
    shown = [(item, 0), (item, 60), (tracked(1, None), 99), (tracked(1, None), 101)]
    made = [
        compositor.compose(replace(result_of(image, (one,), at, at * MS), step=7))
        for one, at in shown
    ]
    assert [composite.hidden for composite in made] == [False, False, False, True]


@pytest.mark.parametrize("size_wh", [(640, 360), (160, 90), (180, 320)])
def test_nothing_is_held_on_a_picture_of_another_size(size_wh: tuple[int, int]) -> None:
    """A camera may come back with another size: the mask would lie somewhere else."""
    compositor = Compositor(BLUR, FeedPolicy(on_lost=Fallback.HOLD, max_mask_age_ms=1e4))
    compositor.compose(result_of(textured(SIZE), (tracked(1, disc_logits(64, 16, 16, 9)),)))
    assert compositor.compose(result_of(textured(size_wh), (tracked(1, None),), 1, MS)).hidden


def test_a_held_highlight_does_not_look_live() -> None:
    """Only its outline and the word held: the tint belongs to masks of this very frame."""
    image = np.full((180, 320, 3), 100, np.uint8)
    logits = disc_logits(64, 32, 32, 14)
    compositor = Compositor(HIGHLIGHT, FeedPolicy(on_lost=Fallback.HOLD))
    compositor.compose(result_of(image, (tracked(1, logits),)))
    held = compositor.compose(result_of(image, (tracked(1, None),), 1, MS)).feed_bgr
    depth = upsample_logits(logits, SIZE)
    assert (held[depth > 6] == 100).all()
    assert (held[np.abs(depth) < 0.1] != 100).any()


def test_ids_and_areas_agree() -> None:
    objects = (tracked(4, disc_logits(64, 26, 32, 14)), tracked(200, disc_logits(64, 38, 32, 14)))
    composite = compose(result_of(textured(SIZE), objects), HIGHLIGHT)
    counts = [int((composite.object_ids == i).sum()) for i in (4, 200)]
    assert list(composite.areas_px) == counts
    assert min(counts) > 0


def test_the_no_signal_picture_shows_nothing_of_the_last_one() -> None:
    last = compose(result_of(textured(SIZE), (tracked(1, disc_logits(64, 32, 32, 9)),)), HIGHLIGHT)
    made = stand_in(last, 77)
    assert (made.time_ns, made.hidden) == (77, True)
    other = compose(result_of(textured(SIZE, seed=5), (tracked(1, None),)), HIGHLIGHT)
    np.testing.assert_array_equal(made.feed_bgr, stand_in(other, 0).feed_bgr)
    assert len(np.unique(made.feed_bgr)) > 2, "it says so in words"
    assert not made.object_ids.any()


def test_the_no_signal_picture_is_new_even_after_a_repeated_one() -> None:
    """Files leave out what repeats: they would show the last picture for the whole outage."""
    last = compose(result_of(textured(SIZE), (tracked(1, disc_logits(64, 32, 32, 9)),)), HIGHLIGHT)
    assert not stand_in(replace(last, repeats=True), 77).repeats
