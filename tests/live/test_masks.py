"""Masks in source pixels: the resampling SAM 2 uses, overlaps, boxes, soft borders."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from samcam.live.frames import F32
from samcam.live.masks import (
    MaskLayer,
    PixelBox,
    border_distance_u8,
    distance_px,
    logits_box,
    logits_boxes,
    mask_area,
    mask_layer,
    merge_object_ids,
    object_layers,
    pixel_box,
    separate_layers,
    upsample_logits,
)
from tests.helpers.results import disc_logits, tracked

SIZES = [(854, 480), (641, 359), (100, 300), (48, 40)]


@pytest.mark.parametrize("size_wh", SIZES)
def test_upsampling_equals_torch_interpolate(size_wh: tuple[int, int]) -> None:
    """SAM 2 calls F.interpolate(bilinear, align_corners=False) without antialiasing."""
    import torch

    logits = np.random.default_rng(1).normal(size=(64, 64)).astype(np.float32)
    width, height = size_wh
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(logits)[None, None], (height, width), mode="bilinear", align_corners=False
    )[0, 0].numpy()
    np.testing.assert_allclose(upsample_logits(logits, size_wh), expected, atol=1e-4)


@pytest.mark.parametrize("size_wh", SIZES)
@pytest.mark.parametrize("centre", [(30.0, 20.0), (0.0, 63.0), (62.0, 1.0)])
def test_a_layer_is_a_part_of_the_whole(
    size_wh: tuple[int, int], centre: tuple[float, float]
) -> None:
    """Cutting out saves time and loses nothing: same values inside, nothing positive outside."""
    logits = disc_logits(64, *centre, 9.3)
    whole = upsample_logits(logits, size_wh)
    layer = mask_layer(1, logits, size_wh, margin_px=3)
    assert layer is not None
    np.testing.assert_allclose(layer.logits, whole[layer.box.slices], atol=1e-3)
    rest = whole.copy()
    rest[layer.box.slices] = -1
    assert (rest <= 0).all()
    assert mask_area(layer) == pytest.approx(np.count_nonzero(whole > 0), abs=2)


def test_an_empty_mask_has_no_layer() -> None:
    empty = np.full((32, 32), -3.0, np.float32)
    assert mask_layer(1, empty, (64, 48)) is None
    assert object_layers((tracked(1, empty), tracked(2, None)), (64, 48)) == ()


def test_the_higher_logit_wins_where_objects_overlap() -> None:
    size_wh = (200, 160)
    maps = {
        3: disc_logits(64, 26, 32, 14),
        7: disc_logits(64, 38, 32, 14),
        9: disc_logits(64, 32, 44, 14),
    }
    objects = tuple(tracked(i, logits) for i, logits in maps.items())
    ids = merge_object_ids(separate_layers(object_layers(objects, size_wh)), size_wh)
    stack = np.stack(
        [np.zeros((160, 200), np.float32)] + [upsample_logits(m, size_wh) for m in maps.values()]
    )
    expected = np.array([0, 3, 7, 9], np.uint8)[stack.argmax(axis=0)]
    assert np.mean(ids != expected) < 1e-3
    assert set(np.unique(ids)) == {0, 3, 7, 9}


def test_equal_logits_go_to_the_first_object() -> None:
    same = disc_logits(32, 16, 16, 8)
    layers = separate_layers(object_layers((tracked(1, same), tracked(2, same)), (32, 32)))
    ids = merge_object_ids(layers, (32, 32))
    assert set(np.unique(ids)) == {0, 1}
    assert mask_area(layers[0]) == np.count_nonzero(same > 0)


def test_a_held_mask_takes_no_pixel_from_a_live_one() -> None:
    live = MaskLayer(1, PixelBox(0, 0, 20, 20), disc_logits(20, 10, 10, 6), 1.0)
    strong: F32 = disc_logits(20, 12, 10, 6) * 50
    held = MaskLayer(2, PixelBox(0, 0, 20, 20), strong, 1.0, held=True)
    for order in ((live, held), (held, live)):
        separated = {layer.object_id: layer for layer in separate_layers(order)}
        assert separated[1].logits is live.logits
        assert not ((separated[2].logits > 0) & (live.logits > 0)).any()
        assert (separated[2].logits > 0).any()


def test_inputs_stay_as_they_were() -> None:
    objects = (tracked(1, disc_logits(32, 12, 16, 8)), tracked(2, disc_logits(32, 20, 16, 8)))
    layers = object_layers(objects, (64, 64))
    before = [layer.logits.copy() for layer in layers]
    separate_layers(layers)
    for layer, copy in zip(layers, before, strict=True):
        np.testing.assert_array_equal(layer.logits, copy)


def test_boxes_are_exclusive_at_the_far_end() -> None:
    mask = np.zeros((10, 12), np.bool_)
    assert pixel_box(mask) is None
    mask[3, 4] = mask[6, 9] = True
    assert pixel_box(mask) == PixelBox(4, 3, 10, 7)
    assert PixelBox(4, 3, 10, 7).slices_in(PixelBox(2, 1, 12, 12)) == (slice(2, 6), slice(2, 8))


@pytest.mark.parametrize("slope", [0.3, 2.0, 20.0])
def test_distance_to_the_border_is_in_pixels_whatever_the_slope(slope: float) -> None:
    """A network with steep logits and one with shallow ones give equally soft borders."""
    layer = mask_layer(1, disc_logits(64, 32, 32, 20, slope), (256, 256), margin_px=12)
    assert layer is not None
    distance = distance_px(8.0)[border_distance_u8(layer, 8.0)]
    rows, columns = np.mgrid[layer.box.y1 : layer.box.y2, layer.box.x1 : layer.box.x2] + 0.5
    true = np.clip(80 - np.hypot(columns - 128, rows - 128), -8, 8)
    # The median over the border mixes rows, columns and diagonals: right within a third.
    near = np.abs(true) < 6
    assert np.abs(distance - true)[near].max() < 2.5
    assert ((distance > 0) == (layer.logits > 0))[np.abs(true) > 0.5].all()


def edges(*values: float) -> F32:
    return np.array(values, np.float32)


def disc(size: int, x: float, y: float, radius: float) -> F32:
    ys, xs = np.mgrid[:size, :size].astype(np.float32) + 0.5
    return np.asarray(radius - np.hypot(xs - x, ys - y), np.float32)


def test_an_empty_mask_has_no_box() -> None:
    np.testing.assert_array_equal(logits_box(np.full((8, 8), -1024, np.float32)), np.zeros(4))
    np.testing.assert_array_equal(logits_box(np.zeros((8, 8), np.float32)), np.zeros(4))


def test_a_full_mask_fills_the_picture() -> None:
    np.testing.assert_array_equal(logits_box(np.ones((6, 9), np.float32)), edges(0, 0, 9, 6))


def test_a_hard_mask_ends_between_pixels() -> None:
    logits = np.full((10, 12), -10, np.float32)
    logits[3:5, 2:7] = 10
    np.testing.assert_allclose(logits_box(logits), edges(2, 3, 7, 5))


def test_edges_lie_where_the_logits_cross_zero() -> None:
    np.testing.assert_allclose(
        logits_box(disc(64, 30.3, 20.8, 9.6)), edges(20.7, 11.2, 39.9, 30.4), atol=0.05
    )


@pytest.mark.parametrize("seed", range(5))
def test_the_box_is_that_of_the_up_sampled_mask(seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits = cv2.GaussianBlur(rng.normal(size=(32, 32)).astype(np.float32), (0, 0), 4) - 0.03
    large = cv2.resize(logits, (512, 512), interpolation=cv2.INTER_LINEAR) > 0
    ys, xs = np.nonzero(large)
    expected = np.array((xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)) / 16
    np.testing.assert_allclose(logits_box(logits), expected, atol=0.15)


def test_many_masks_at_once() -> None:
    masks = np.stack([disc(16, 4, 5, 2), np.full((16, 16), -1, np.float32)])
    boxes = logits_boxes(masks)
    assert boxes.shape == (2, 4)
    np.testing.assert_array_equal(boxes[0], logits_box(masks[0]))
    np.testing.assert_array_equal(boxes[1], np.zeros(4))
