"""Smoothed and refined borders, held to numbers on made-up plates."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from samcam.live.config.effects import EffectSettings
from samcam.live.effects.blur import BlurOptions
from samcam.live.effects.edges import EdgeOptions
from samcam.live.effects.effects import Effect
from samcam.live.effects.pictures import ReplaceOptions
from samcam.live.effects.refine import guided_drift, refine_layer
from samcam.live.effects.smoothing import MaskSmoother
from samcam.live.feed.compositor import BorderOptions, Compositor, compose
from samcam.live.frames import F32, U8, FrameResult, Mask
from samcam.live.masks import grown_to, mask_layer, object_layers, upsample_logits
from samcam.live.sinks.masks import MasksSink
from tests.helpers.results import MS, disc_logits, result_of, textured, tracked

SIZE = (1280, 720)
SHARE = EffectSettings().smoothing
STEP_NS = 33_333_333
TREMBLING_PX = 1.0  # of a border, at 720; the logits fall by 2 per low-resolution pixel
DEFAULT = BorderOptions(SHARE, EffectSettings().refine)


def noise(rng: np.random.Generator, size: int, deviation: float) -> F32:
    """Return a map as smooth as a network's trembling, with this standard deviation."""
    values = cv2.GaussianBlur(rng.standard_normal((size, size)), (0, 0), size / 64)
    return np.asarray(values * (deviation / values.std()), np.float32)


def iou(a: Mask, b: Mask) -> float:
    return float((a & b).sum() / (a | b).sum())


def smoothed_masks(frames: list[F32], share: float) -> list[Mask]:
    smoother = MaskSmoother(share)
    masks = []
    for index, logits in enumerate(frames):
        smooth = smoother.smooth((tracked(1, logits),), index * STEP_NS)[1]
        masks.append(upsample_logits(smooth, SIZE) > 0)
    return masks


def flicker(masks: list[Mask]) -> float:
    """Return how many pixels change from one picture to the next, on average."""
    return float(np.mean([(a != b).sum() for a, b in pairwise(masks)]))


def moving(size: int, frame: int) -> F32:
    """Return a pear that moves 20 px a frame at 1280 x 720, turning slowly."""
    x, y = 0.2 + 20 / 1280 * frame, 0.5
    angle = 0.04 * frame
    body = disc_logits(size, x * size, y * size, 0.12 * size)
    lobe = disc_logits(
        size, (x + 0.12 * np.cos(angle)) * size, (y + 0.12 * np.sin(angle)) * size, 0.06 * size
    )
    return np.maximum(body, lobe)


@pytest.mark.parametrize("size", [64, 256])
def test_smoothing_does_not_lag_behind_a_moving_object(size: int) -> None:
    rng = np.random.default_rng(1)
    exact = [moving(size, frame) for frame in range(30)]
    given = [logits + noise(rng, size, TREMBLING_PX * size / 720 * 2) for logits in exact]
    truth = [upsample_logits(logits, SIZE) > 0 for logits in exact]
    raw, smooth = smoothed_masks(given, 0.0), smoothed_masks(given, SHARE)
    cost = [iou(a, t) - iou(b, t) for a, b, t in zip(raw, smooth, truth, strict=True)]
    assert np.mean(cost) <= 0.01
    assert max(cost) <= 0.01
    assert any((a != b).any() for a, b in zip(raw, smooth, strict=True))
    # the same mean without motion costs far more: the limit above can be missed
    lagging = [upsample_logits((a + b) / 2, SIZE) > 0 for a, b in pairwise(exact)]
    assert np.mean([1 - iou(m, t) for m, t in zip(lagging, truth[1:], strict=True)]) > 0.02


@pytest.mark.parametrize("size", [64, 256])
def test_smoothing_halves_the_flicker_of_a_noisy_still(size: int) -> None:
    rng = np.random.default_rng(2)
    still = disc_logits(size, size * 0.5, size * 0.5, size * 0.2)
    given = [still + noise(rng, size, TREMBLING_PX * size / 720 * 2) for _ in range(30)]
    raw, smooth = smoothed_masks(given, 0.0), smoothed_masks(given, SHARE)
    assert flicker(raw) > 500
    assert flicker(smooth[5:]) <= 0.5 * flicker(raw[5:])
    truth = upsample_logits(still, SIZE) > 0
    assert iou(smooth[-1], truth) >= iou(raw[-1], truth)


def test_what_changes_at_once_is_shown_at_once() -> None:
    """An arm that comes up, a correction by a click: no ghost of the mask before."""
    before = disc_logits(64, 20, 32, 10)
    after = np.maximum(before, disc_logits(64, 34, 32, 8))
    smoother = MaskSmoother(SHARE)
    smoother.smooth((tracked(1, before),), 0)
    shown = smoother.smooth((tracked(1, after),), STEP_NS)[1]
    assert iou(shown > 0, after > 0) > 0.97


def test_the_past_is_forgotten() -> None:
    """After a loss, a gap, a step back and another size the new mask counts alone."""
    first, second = disc_logits(64, 32, 32, 14.0), disc_logits(64, 32, 32, 14.2)
    smoother = MaskSmoother(SHARE)

    def answer(logits: F32 | None, time_ns: int) -> F32 | None:
        return smoother.smooth((tracked(1, logits),), time_ns).get(1)

    answer(first, 0)
    mixed = answer(second, STEP_NS)
    assert mixed is not second
    assert answer(second, STEP_NS) is mixed, "the same frame again, as after a change of effect"
    assert answer(first, STEP_NS) is first, "another answer for the same frame"
    assert answer(None, 2 * STEP_NS) is None
    assert answer(second, 3 * STEP_NS) is second
    assert answer(first, 3 * STEP_NS + 501 * MS) is first
    assert answer(second, 0) is second
    larger = disc_logits(128, 64, 64, 28)
    assert answer(larger, STEP_NS) is larger
    smoother.smooth((), 2 * STEP_NS)
    assert not smoother._past


def test_slow_masks_are_smoothed_less() -> None:
    first, second = disc_logits(64, 32, 32, 14.0), disc_logits(64, 32, 32, 14.2)

    def change(passed_ns: int) -> float:
        smoother = MaskSmoother(SHARE)
        smoother.smooth((tracked(1, first),), 0)
        return float(np.abs(smoother.smooth((tracked(1, second),), passed_ns)[1] - second).max())

    assert change(STEP_NS) > 2.5 * change(3 * STEP_NS) > 0


def test_the_trackers_own_masks_stay_as_they_are(tmp_path: Path) -> None:
    """`masks:DIR` and the areas are what the tracker said, whatever is made of it for effects."""
    image = textured((320, 180))
    compositor = Compositor(Effect("blur"), borders=BorderOptions(0.9, refine=True))
    sink = MasksSink(tmp_path)
    for index in range(4):
        logits = disc_logits(64, 32, 32, 14 + 0.2 * (index % 2))
        composite = compositor.compose(
            result_of(image, (tracked(1, logits),), index, index * STEP_NS)
        )
        sink.put(composite)
        expected = upsample_logits(logits, (320, 180)) > 0
        with Image.open(tmp_path / f"{index:05d}.png") as written:
            np.testing.assert_array_equal(np.array(written) == 1, expected)
        assert composite.areas_px == (int(expected.sum()),)
    sink.close()


def off_by(shift: float, size_wh: tuple[int, int]) -> tuple[U8, Mask, FrameResult]:
    """Return a bright disc on dark ground, where it is, and a mask that lies beside it."""
    truth = upsample_logits(disc_logits(64, 32, 32, 14), size_wh) > 0
    image = np.full((size_wh[1], size_wh[0], 3), 60, np.uint8)
    image[truth] = 190
    return image, truth, result_of(image, (tracked(1, disc_logits(64, 32 + shift, 32, 14)),))


def test_refinement_draws_the_border_to_the_edge_of_the_picture() -> None:
    image, truth, result = off_by(0.5, SIZE)
    (layer,) = object_layers(result.objects, SIZE, 20)
    masks = []
    for made in (layer, refine_layer(layer, image)):
        mask = np.zeros(truth.shape, np.bool_)
        mask[made.box.slices] = made.logits > 0
        masks.append(mask)
    raw, refined = (1 - iou(mask, truth) for mask in masks)
    assert refined < 0.5 * raw


def test_refinement_leaves_alone_what_no_edge_contradicts() -> None:
    (layer,) = object_layers((tracked(1, disc_logits(64, 32, 32, 14)),), SIZE, 20)
    flat = np.full((720, 1280, 3), 90, np.uint8)
    np.testing.assert_allclose(refine_layer(layer, flat).logits, layer.logits, atol=1e-3)
    ramp = np.arange(40, dtype=np.float32)[None].repeat(30, 0)
    assert np.abs(guided_drift(ramp * 0 + 0.5, ramp, 3, 1e-3)).max() < 1e-4


def test_default_borders_show_no_red_and_keep_the_half_line() -> None:
    """Issue's plate with all that users get by default: red excess, and where the 50 % line is."""
    logits = disc_logits(256, 128, 128, 56.05)
    mask = upsample_logits(logits, SIZE) > 0
    outside = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    plate = np.full((720, 1280, 3), 100, np.uint8)
    plate[mask] = (0, 0, 255)

    def shown(image: U8, effect: Effect) -> U8:
        compositor = Compositor(effect, borders=DEFAULT)
        for index in range(3):
            objects = (tracked(1, logits),)
            feed = compositor.compose(result_of(image, objects, index, index * STEP_NS)).feed_bgr
        return feed

    excess = shown(plate, Effect("blur", BlurOptions())).astype(int)[..., 2] - 100
    assert excess[outside > 3.5].max() <= 2
    white = np.zeros((720, 1280, 3), np.uint8)
    white[mask] = 255
    white[(outside > 0) & (outside < 20)] = 254  # seen where the effect lets it through
    black = ReplaceOptions((0, 0, 0))
    # another background begins inside the mask, where none of the old one shows; outwards on demand
    for edge, half_px in ((EdgeOptions(1.5), 1.5), (Effect("replace").edge, -1.0)):
        alpha = shown(white, Effect("replace", black, edge)).astype(float)[360, 640:, 0]
        after = int(np.argmax(alpha < 127))
        crossing = after - (127 - alpha[after]) / (alpha[after - 1] - alpha[after]) + 0.5
        assert crossing == pytest.approx(mask[360, 640:].sum() + half_px, abs=0.5)


def test_what_covers_is_never_smaller_than_the_mask() -> None:
    """`censor` with smoothing and an edge inside the object: every pixel of the mask is covered."""
    image, _, _ = off_by(0.0, (320, 180))
    compositor = Compositor(Effect("censor"), borders=BorderOptions(0.9, refine=True))
    noisy = textured((320, 180)) // 4 + image // 2
    for index in range(5):
        logits = disc_logits(64, 32, 32, 12 + 0.5 * index)
        result = result_of(noisy, (tracked(1, logits),), index, index * STEP_NS)
        feed = compositor.compose(result).feed_bgr
        whole = compose(result, Effect("censor")).feed_bgr
        inside = upsample_logits(logits, (320, 180)) > 0
        # A pixel on the border is mixed by how far it lies inside, which rounds differently.
        assert np.abs(feed[inside].astype(int) - whole[inside]).max() <= 8
        assert np.abs(noisy[inside].astype(int) - whole[inside]).max() > 25


def test_grown_masks_contain_both() -> None:
    small = mask_layer(1, disc_logits(64, 30, 32, 6), (320, 180), 2)
    large = mask_layer(1, disc_logits(64, 36, 32, 9, slope=7.0), (320, 180), 2)
    assert small is not None
    assert large is not None
    grown = grown_to(small, large)
    both = np.zeros((180, 320), np.bool_)
    for layer in (small, large):
        both[layer.box.slices] |= layer.logits > 0
    found = np.zeros((180, 320), np.bool_)
    found[grown.box.slices] = grown.logits > 0
    np.testing.assert_array_equal(found, both)
