"""Own effects of objects: who gets what, what privacy makes of it, live changes."""

from __future__ import annotations

import numpy as np
import pytest

from samcam.live.cli.plan import build_own_effects
from samcam.live.commands import SetEffect
from samcam.live.config.effects import OBJECT_EFFECTS as CONFIGURABLE
from samcam.live.config.effects import EffectSettings
from samcam.live.config.load import load_settings
from samcam.live.control.controls import Controls
from samcam.live.effects.edges import EdgeOptions
from samcam.live.effects.effect_set import EffectSet
from samcam.live.effects.effects import EFFECT_NAMES, OBJECT_EFFECTS, Effect
from samcam.live.effects.highlight import HighlightOptions
from samcam.live.effects.pictures import ChromaOptions, DimOptions
from samcam.live.errors import ConfigError
from samcam.live.feed.compositor import Compositor, Fallback, FeedPolicy, compose
from samcam.live.feed.control import FeedControl
from samcam.live.frames import U8, Mask
from samcam.live.masks import upsample_logits
from tests.helpers.results import disc_logits, result_of, textured, tracked

SIZE = (320, 180)
LEFT, RIGHT = disc_logits(64, 16, 32, 9), disc_logits(64, 48, 32, 9)
MARK = Effect("highlight", HighlightOptions(label=False))
BOTH = (tracked(1, LEFT), tracked(2, RIGHT))


def parts() -> tuple[Mask, Mask, Mask]:
    """Return the insides of both objects and what is clearly outside."""
    left, right = upsample_logits(LEFT, SIZE), upsample_logits(RIGHT, SIZE)
    return left > 4, right > 4, np.maximum(left, right) < -6


def shown(effect: Effect, own: dict[int, Effect | None]) -> U8:
    return Compositor(effect, own=own).compose(result_of(textured(SIZE), BOTH)).feed_bgr


def same(a: U8, b: U8, where: Mask) -> bool:
    return bool((a[where] == b[where]).all())


def test_an_effect_upon_an_object_is_its_own() -> None:
    image = textured(SIZE)
    left, right, away = parts()
    out = shown(MARK, {2: Effect("censor")})
    assert same(out, compose(result_of(image, BOTH), MARK).feed_bgr, left)
    assert same(out, compose(result_of(image, BOTH), Effect("censor")).feed_bgr, right)
    assert same(out, image, away)
    plain = shown(Effect("censor"), {1: None})
    assert same(plain, image, left | away)
    assert not same(plain, image, right)


def test_an_effect_on_the_background_spares_all_objects() -> None:
    image = textured(SIZE)
    left, right, away = parts()
    blurred = compose(result_of(image, BOTH), Effect("blur")).feed_bgr
    out = shown(MARK, {2: Effect("blur")})
    assert same(out, blurred, away)
    assert same(out, image, right)
    assert not same(out, image, left), "object 1 keeps its highlight"
    out = shown(Effect("blur"), {1: MARK, 2: Effect("highlight")})
    assert same(out, blurred, away), "the common effect stays, though no object has it"


def test_two_effects_on_the_background_act_one_after_the_other() -> None:
    image = textured(SIZE)
    left, right, away = parts()
    out = shown(Effect("dim", DimOptions(0.5)), {2: Effect("grayscale")})
    gray = compose(result_of(image, BOTH), Effect("grayscale")).feed_bgr
    np.testing.assert_allclose(out[away], gray[away] * 0.5, atol=1)
    assert same(out, image, left | right)
    key = shown(Effect("blur"), {1: Effect("chroma", ChromaOptions((0, 255, 0)))})
    assert (key[away] == (0, 255, 0)).all(), "what leaves nothing comes last"


def test_inverted_effects_are_upon_their_object() -> None:
    image = textured(SIZE)
    _, right, away = parts()
    out = shown(MARK, {2: Effect("pixelate", edge=EdgeOptions(invert=True))})
    assert same(out, image, away)
    assert not same(out, image, right)


def test_what_covers_lies_on_top() -> None:
    """Where a shown object overlaps a censored one, the censored one stays covered."""
    image = textured(SIZE)
    objects = (tracked(1, LEFT * 3), tracked(2, LEFT))
    out = Compositor(MARK, own={2: Effect("censor"), 1: None}).compose(result_of(image, objects))
    assert not same(out.feed_bgr, image, parts()[0])


@pytest.mark.parametrize(
    ("common", "own", "seen", "hidden"),
    [
        ("highlight", {2: "censor"}, (1,), True),
        ("highlight", {2: "censor"}, (2,), False),
        ("highlight", {2: "censor"}, (), True),
        ("censor", {2: "none"}, (1,), False),
        ("censor", {2: "none"}, (2,), True),
        ("highlight", {2: "dim"}, (1,), False),
        ("highlight", {2: "dim"}, (), True),
        ("highlight", {2: "highlight"}, (), False),
        ("blur", {1: "none", 2: "none"}, (), True),
        ("highlight", {9: "blur"}, (), False),
    ],
)
def test_privacy_follows_the_strictest_effect_in_force(
    common: str, own: dict[int, str], seen: tuple[int, ...], hidden: bool
) -> None:
    """Objects 1 and 2 are known; those in `seen` have a mask."""
    made = build_own_effects(EffectSettings(per_object=own))
    objects = tuple(tracked(i, LEFT if i in seen else None) for i in (1, 2))
    compositor = Compositor(Effect(common), own=made)
    assert compositor.compose(result_of(textured(SIZE), objects)).hidden == hidden
    chosen = Compositor(Effect(common), FeedPolicy(on_lost=Fallback.PASSTHROUGH), own=made)
    assert not chosen.compose(result_of(textured(SIZE), objects)).hidden


def test_before_the_first_prompt_every_own_effect_counts() -> None:
    idle = result_of(textured(SIZE))
    assert not Compositor(MARK, own={2: None}).compose(idle).hidden
    assert Compositor(MARK, own={2: Effect("censor")}).compose(idle).hidden


def commanded(*commands: SetEffect) -> tuple[Compositor, list[str]]:
    """Return the compositor after the commands and what was said."""
    controls = Controls(8)
    compositor = Compositor(MARK)
    control = FeedControl(controls, compositor, Effect)
    said = []
    for command in commands:
        controls.send(command)
        control.apply(0)
        said.append(controls.notice.text if controls.notice is not None else "")
    return compositor, said


def test_own_effects_change_live_and_go_back() -> None:
    compositor, said = commanded(SetEffect("censor", 2), SetEffect("none", 3))
    assert said == ["object 2: effect censor", "object 3: effect none"]
    assert compositor.own_effects == {2: "censor", 3: "none"}
    compositor, said = commanded(
        SetEffect("censor", 2), SetEffect("blur"), SetEffect("blur", 2), SetEffect(None, 4)
    )
    assert said[1:] == ["effect blur", "object 2: effect blur, as all", "object 4: effect pixelate"]
    assert (compositor.effect.name, compositor.own_effects) == ("blur", {4: "pixelate"})


def test_live_commands_that_cannot_be() -> None:
    compositor, said = commanded(
        SetEffect("sepia", 2), SetEffect("blur", 255), SetEffect("none"), SetEffect("blur", 0)
    )
    assert not compositor.own_effects
    assert compositor.effect.name == "highlight"
    assert said[0].startswith("refused: effect sepia: expected highlight | ")
    assert said[0].endswith("| none")
    assert said[1] == "refused: object 255: expected 1..254"
    assert said[2].startswith("refused: effect none: expected highlight")
    assert said[3] == "refused: object 0: expected 1..254"


def test_the_next_effect_of_an_object_goes_round() -> None:
    compositor, _ = commanded(*[SetEffect(None, 7)] * len(OBJECT_EFFECTS))
    assert not compositor.own_effects, "round once: back to the common one"


def test_settings_and_effects_name_the_same() -> None:
    assert CONFIGURABLE == OBJECT_EFFECTS == (*EFFECT_NAMES, "none")


def test_own_effects_from_the_settings() -> None:
    settings = load_settings(None, ['effect.per_object={2: pixelate, "3": none}'])
    assert settings.effect.per_object == {2: "pixelate", 3: "none"}
    made = build_own_effects(settings.effect)
    assert made[3] is None
    assert made[2] == Effect("pixelate")
    for text in ("{0: blur}", "{true: blur}", "{x: blur}", "{2: 3}", "{2: sepia}", "blur"):
        with pytest.raises(ConfigError, match=r"effect\.per_object: .*numbers 1\.\.254 and high"):
            load_settings(None, [f"effect.per_object={text}"])


def test_effects_in_force() -> None:
    effects = EffectSet(MARK, {2: Effect("blur"), 3: None})
    assert [e.name for e in effects.in_force((1, 3))] == ["highlight"]
    assert [e.name for e in effects.in_force((1, 2, 3))] == ["blur", "highlight"]
    assert [e.name for e in effects.in_force(())] == ["highlight", "blur"]
