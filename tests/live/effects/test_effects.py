"""The effects on made-up plates: what they change, where they end, what must not show through."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from bench import effects as bench_effects
from bench import effects_pictures
from samcam.live.cli.plan import build_effect
from samcam.live.config.effects import EffectSettings, ReplaceSettings
from samcam.live.effects.blur import BlurOptions
from samcam.live.effects.edges import EdgeOptions
from samcam.live.effects.effects import EFFECT_NAMES, EFFECTS, Effect
from samcam.live.effects.pictures import (
    CensorOptions,
    DimOptions,
    PixelateOptions,
    ReplaceOptions,
    censored,
)
from samcam.live.errors import ConfigError
from samcam.live.feed.compositor import Compositor, Fallback, FeedPolicy, compose
from samcam.live.frames import F32, U8
from tests.helpers.results import MS, disc_logits, result_of, textured, tracked

SIZE = (1280, 720)  # the height to which lengths refer
MIDDLE_XY = (640, 360)
DISC = disc_logits(256, 128, 128, 56.05)
CHANGING = tuple(name for name in EFFECT_NAMES if name != "highlight")


@pytest.fixture(scope="module")
def depth_px() -> F32:
    """Distance to the border of the stretched disc, positive inside."""
    mask = cv2.resize(DISC, SIZE, interpolation=cv2.INTER_LINEAR) > 0
    inside = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    outside = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(np.where(mask, inside - 0.5, 0.5 - outside), np.float32)


def shown(image: U8, effect: Effect) -> U8:
    return compose(result_of(image, (tracked(1, DISC),)), effect).feed_bgr


def crossing_px(profile: F32) -> float:
    """Return where falling values pass one half."""
    after = int(np.argmax(profile < 0.5))
    above, below = float(profile[after - 1]), float(profile[after])
    return after - 1 + (above - 0.5) / (above - below)


@pytest.mark.parametrize("grow_px", [0.0, 10.0, -10.0])
@pytest.mark.parametrize("feather_px", [0.0, 0.5, 1.5, 12.0, 40.0, -1.5, -12.0])
def test_feather_and_growth_move_the_half_line(
    depth_px: F32, feather_px: float, grow_px: float
) -> None:
    """White object on black: along both axes of the stretched disc, by the asked length."""
    white = np.full((720, 1280, 3), 255, np.uint8)
    black = ReplaceOptions(color=(0, 0, 0))
    out = shown(white, Effect("replace", black, EdgeOptions(feather_px, grow_px)))
    alpha = out[..., 0].astype(np.float32) / 255
    x, y = MIDDLE_XY
    # Pixel i covers i..i+1, so a line at half a pixel is the centre of pixel 0.
    ways = (alpha[y, x:], alpha[y, x - 1 :: -1], alpha[y:, x], alpha[y - 1 :: -1, x])
    found = np.array([crossing_px(way) + 0.5 for way in ways])
    mask = depth_px > 0
    radii = [way.sum() for way in (mask[y, x:], mask[y, :x], mask[y:, x], mask[:y, x])]
    assert radii == [280, 280, 158, 158]
    asked = np.array(radii) + feather_px + grow_px
    np.testing.assert_allclose(found, asked, atol=0.5)
    soft = ((alpha[y, x:] > 0.02) & (alpha[y, x:] < 0.98)).sum()
    assert soft == pytest.approx(2 * max(0.5, abs(feather_px)), rel=0.1, abs=1.1)


def test_a_soft_border_follows_parts_of_a_pixel() -> None:
    """Else the border of a slowly moving object crawls from pixel to pixel."""
    white = np.full((720, 1280, 3), 255, np.uint8)
    effect = Effect("replace", ReplaceOptions(color=(0, 0, 0)), EdgeOptions(feather_px=1.5))
    found = []
    for shift_px in (0.0, 0.25, 0.5, 0.75, 1.0):
        logits = disc_logits(256, 128 + shift_px / 5, 128, 56.05)
        out = compose(result_of(white, (tracked(1, logits),)), effect).feed_bgr
        found.append(crossing_px(out[360, 640:, 0].astype(np.float32) / 255))
    np.testing.assert_allclose(np.diff(found), 0.25, atol=0.1)


@pytest.mark.parametrize("name", ["blur", "highlight", "replace", "pixelate", "censor"])
def test_mirrored_pictures(name: str) -> None:
    """A source's picture may be a view that runs backwards."""
    image = textured(SIZE)
    plain = shown(np.ascontiguousarray(image[::-1, ::-1]), Effect(name))
    np.testing.assert_array_equal(shown(image[::-1, ::-1], Effect(name)), plain)


@pytest.mark.parametrize("options", [BlurOptions(), BlurOptions(60.0), BlurOptions(3.0)])
def test_blur_shows_no_red_of_the_subject(depth_px: F32, options: BlurOptions) -> None:
    """Issue's plate: red subject on grey, at most 2/255 red more than 3 px outside the mask."""
    image = np.full((720, 1280, 3), 100, np.uint8)
    image[depth_px > 0] = (0, 0, 255)
    out = shown(image, Effect("blur", options)).astype(int)
    excess = out[..., 2] - 100
    assert excess[depth_px < -3].max() <= 2
    assert np.abs(out[depth_px < -3] - 100).max() <= 2
    assert (out[depth_px > 1] == (0, 0, 255)).all()
    plain = cv2.GaussianBlur(image, (0, 0), options.sigma_px).astype(int)
    assert plain[..., 2][depth_px < -3].max() > 110, "a blur that knows no mask has a halo"


@pytest.mark.parametrize("effect", [Effect("blur", BlurOptions(6.0)), Effect("pixelate")])
@pytest.mark.parametrize("feather_px", [60.0, -60.0])
def test_wide_feathers_show_no_hole(depth_px: F32, effect: Effect, feather_px: float) -> None:
    """Where the blur reaches far into the object it is still made of background, not of nothing."""
    image = np.full((720, 1280, 3), 100, np.uint8)
    image[depth_px > 0] = 180
    out = shown(image, replace(effect, edge=EdgeOptions(feather_px)))
    assert out.min() >= 99
    assert out.max() <= 181


def test_pixelate_makes_flat_cells_without_the_subjects_colour(depth_px: F32) -> None:
    image = textured(SIZE)
    out = shown(image, Effect("pixelate", PixelateOptions(40.0)))
    cell = out[:40, :40].reshape(-1, 3)
    assert (cell == cell[0]).all()
    assert (out[80, 79] != out[80, 80]).any()
    plate = np.full((720, 1280, 3), 100, np.uint8)
    plate[depth_px > 0] = (0, 0, 255)
    red = shown(plate, Effect("pixelate", PixelateOptions(40.0)))[..., 2].astype(int)
    assert red[depth_px < -3].max() <= 102


def test_dim_grayscale_and_flat_colours(depth_px: F32) -> None:
    image = textured(SIZE)
    away, inside = depth_px < -4, depth_px > 1
    dim = shown(image, Effect("dim", DimOptions(0.75)))
    np.testing.assert_allclose(dim[away], image[away] * 0.25, atol=1)
    gray = shown(image, Effect("grayscale"))
    assert (gray[away] == gray[away][:, :1]).all()
    chroma = shown(image, Effect("chroma"))
    assert (chroma[away] == (0, 255, 0)).all()
    colour = shown(image, Effect("replace", ReplaceOptions(color=(10, 20, 30))))
    assert (colour[away] == (30, 20, 10)).all(), "red, green, blue in the settings"
    for out in (dim, gray):
        np.testing.assert_array_equal(out[inside], image[inside])
    for out in (chroma, colour):  # whose border lies inside, with the object's own colours in it
        np.testing.assert_array_equal(out[depth_px > 4], image[depth_px > 4])


def test_spotlight_is_bright_around_the_object_and_dark_beyond() -> None:
    image = np.full((720, 1280, 3), 200, np.uint8)
    out = shown(image, Effect("spotlight"))
    assert (out[360, 640] == 200).all()
    assert out[360, 640 + 300].min() > 150, "just beside the object"
    assert out[20, 20].max() <= 42, "a corner"
    ramp = out[360, 960:1280, 0].astype(int)
    assert (np.diff(ramp) <= 0).all()
    assert np.diff(ramp).min() >= -8, "no hard edge"


def test_censor_hides_the_object_and_nothing_else(depth_px: F32) -> None:
    image = textured(SIZE)
    for options in (CensorOptions("pixelate"), CensorOptions("blur")):
        out = shown(image, Effect("censor", options))
        np.testing.assert_array_equal(out[depth_px < -4], image[depth_px < -4])
        # 32-pixel squares or a sigma of 32 leave a thirtieth of noise's contrast
        assert out[depth_px > 1].std() < 0.15 * image[depth_px > 1].std()


@pytest.mark.parametrize("size_wh", [(1280, 720), (331, 187), (40, 33), (9, 200)])
@pytest.mark.parametrize("place", [(0.1, 0.1), (0.5, 0.5), (0.98, 0.97)])
def test_squares_upon_an_object_are_those_of_the_whole_picture(
    size_wh: tuple[int, int], place: tuple[float, float]
) -> None:
    """Only their surroundings are worked out, on the same grid."""
    image = textured(size_wh)
    logits = disc_logits(64, place[0] * 64, place[1] * 64, 9)
    out = compose(result_of(image, (tracked(1, logits),)), Effect("censor")).feed_bgr
    inside = cv2.resize(logits, size_wh, interpolation=cv2.INTER_LINEAR) > 6
    assert inside.any()
    np.testing.assert_array_equal(out[inside], censored(image, (), CensorOptions())[inside])


def test_two_objects_on_the_same_thing_do_not_paint_it_over() -> None:
    """Where both are as sure there is no border: the tint leaves the picture to be seen."""
    picture = np.full((64, 64, 3), 90, np.uint8)
    same = disc_logits(64, 32, 32, 20)
    nearly = same + np.float32(0.01)
    alone = compose(result_of(picture, (tracked(2, nearly),)), Effect()).feed_bgr
    both = compose(result_of(picture, (tracked(1, same), tracked(2, nearly))), Effect()).feed_bgr
    middle = np.s_[22:42, 22:42]
    np.testing.assert_array_equal(both[middle], alone[middle])
    border = np.abs(both.astype(int) - alone).max(axis=2)
    assert (border[16:] > 0).mean() < 0.15, "the contour is where it was, but for its softness"


@pytest.mark.parametrize("name", [n for n in CHANGING if n != "spotlight"])
def test_inverting_swaps_object_and_surroundings(depth_px: F32, name: str) -> None:
    image = textured(SIZE)
    usual = shown(image, Effect(name))
    swapped = shown(image, Effect(name, edge=EdgeOptions(invert=True)))
    away, inside = depth_px < -4, depth_px > (4 if EFFECTS[name].cuts_out else 1)
    kept, changed = (away, inside) if name == "censor" else (inside, away)
    np.testing.assert_array_equal(usual[kept], image[kept])
    np.testing.assert_array_equal(swapped[changed], image[changed])
    assert (usual[changed] != image[changed]).any(axis=1).mean() > 0.95
    assert (swapped[kept] != image[kept]).any(axis=1).mean() > 0.95


@pytest.mark.parametrize("name", EFFECT_NAMES)
@pytest.mark.parametrize("size_wh", [(1, 1), (7, 3), (33, 50), (641, 359)])
def test_any_picture_size(name: str, size_wh: tuple[int, int]) -> None:
    image = textured(size_wh)
    for edge in (EdgeOptions(), EdgeOptions(50.0, -20.0), EdgeOptions(invert=True)):
        assert shown(image, Effect(name, edge=edge)).shape == image.shape


def test_a_replacing_picture_covers_and_keeps_its_middle() -> None:
    """A square in a wide picture: scaled to the width, top and bottom cut."""
    square = np.zeros((100, 100, 3), np.uint8)
    square[:, :50], square[45:55] = 50, 200
    out = shown(textured(SIZE), Effect("replace", ReplaceOptions(image_bgr=square)))
    assert (out[100, 100], out[100, 1200], out[360, 5]) == pytest.approx(
        np.array([[50] * 3, [0] * 3, [200] * 3])
    )


@pytest.mark.parametrize("name", EFFECT_NAMES)
@pytest.mark.parametrize("invert", [False, True])
def test_what_acts_on_the_background_or_covers_hides_all_without_a_mask(
    name: str, invert: bool
) -> None:
    image = textured((320, 180))
    effect = Effect(name, edge=EdgeOptions(invert=invert))
    covers = name in ("blur", "pixelate", "replace", "chroma", "transparent")
    # what is on the background, and upon an object what covers it
    hides = name == "censor" or (name != "highlight" and (covers or not invert))
    assert compose(result_of(image), effect).hidden == hides
    assert compose(result_of(image, (tracked(1, None),)), effect).hidden == hides


@pytest.mark.parametrize(
    ("effect", "hidden"),
    [
        (Effect("censor"), True),
        (Effect("blur", edge=EdgeOptions(invert=True)), True),
        (Effect("censor", edge=EdgeOptions(invert=True)), False),
        (Effect("blur"), False),
        (Effect("grayscale", edge=EdgeOptions(invert=True)), False),
    ],
)
def test_one_lost_object_opens_nothing_that_is_to_be_hidden(effect: Effect, hidden: bool) -> None:
    """With censor the lost one of two may stand uncovered anywhere in the picture."""
    objects = (tracked(1, disc_logits(64, 20, 32, 8)), tracked(2, None))
    assert compose(result_of(textured((320, 180)), objects), effect).hidden == hidden


def test_held_masks_count_as_covered_for_their_time() -> None:
    image, mask = textured((320, 180)), disc_logits(64, 32, 32, 14)
    policy = FeedPolicy(on_lost=Fallback.HOLD, max_mask_age_ms=100)
    compositor = Compositor(Effect("censor"), policy)
    compositor.compose(result_of(image, (tracked(1, mask), tracked(2, mask))))
    half_lost = (tracked(1, mask), tracked(2, None))
    assert not compositor.compose(result_of(image, half_lost, 1, 100 * MS)).hidden
    assert compositor.compose(result_of(image, half_lost, 2, 101 * MS)).hidden


def test_settings_and_effects_have_the_same_defaults() -> None:
    for name in EFFECT_NAMES:
        made, plain = build_effect(name, EffectSettings()), Effect(name)
        assert made.edge == plain.edge
        if name != "replace":
            assert made.options == plain.options
    made_up = build_effect("replace", EffectSettings()).options
    assert isinstance(made_up, ReplaceOptions)
    assert (made_up.color, made_up.image_bgr) == (ReplaceOptions().color, None)


def test_settings_reach_the_effect(tmp_path: Path) -> None:
    picture = textured((40, 30))
    path = tmp_path / "beach.png"
    path.write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    settings = EffectSettings(
        feather_px=-3.0, grow_px=2.0, invert=True, replace=ReplaceSettings((1, 2, 3), str(path))
    )
    effect = build_effect("replace", settings)
    assert effect.edge == EdgeOptions(-3.0, 2.0, True)
    assert isinstance(effect.options, ReplaceOptions)
    np.testing.assert_array_equal(effect.options.image_bgr, picture)


@pytest.mark.parametrize(
    ("content", "expected"),
    [(None, "No such file or directory; expected a picture file"), (b"text", "not a readable")],
)
def test_a_background_that_is_no_picture(
    tmp_path: Path, content: bytes | None, expected: str
) -> None:
    path = tmp_path / "beach.png"
    if content is not None:
        path.write_bytes(content)
    settings = EffectSettings(replace=ReplaceSettings(picture=str(path)))
    with pytest.raises(ConfigError) as caught:
        build_effect("replace", settings)
    (line,) = caught.value.problems
    assert line.startswith(f"effect.replace.picture: {path}: ")
    assert expected in line


def test_options_of_another_effect_are_refused() -> None:
    with pytest.raises(ValueError, match="effect blur: expected BlurOptions"):
        Effect("blur", DimOptions())


def test_the_programs_know_every_effect(
    tmp_path: Path, repo_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bench writes a row for each; each has a small picture in the page, made anew here."""
    page = tmp_path / "performance.md"
    page.write_text("<!-- bench:effects -->\n<!-- /bench -->\n", encoding="utf-8")
    monkeypatch.setattr(bench_effects, "SIZES_WH", ((64, 36),))
    assert bench_effects.main(["--rounds", "1", "--markdown", str(page)]) == 0
    assert effects_pictures.main(["--out", str(tmp_path)]) == 0
    docs = (repo_root / "docs" / "effects.md").read_text(encoding="utf-8")
    for name in EFFECT_NAMES:
        assert f"| {name} |" in page.read_text(encoding="utf-8")
        assert f"(images/effects/{name}.jpg)" in docs
    for path in tmp_path.glob("*.jpg"):
        kept = repo_root / "docs" / "images" / "effects" / path.name
        assert 0 < kept.stat().st_size < 100_000
        made, known = cv2.imread(str(path)), cv2.imread(str(kept))
        assert made is not None
        assert known is not None
        assert np.abs(made.astype(int) - known.astype(int)).mean() < 1, "make effects-pictures"
