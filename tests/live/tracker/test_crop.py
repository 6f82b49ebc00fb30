"""Crops: exact geometry, where a crop looks, and the settings."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from samcam.kalman import CameraMotion
from samcam.live.cli.opening import open_tracker
from samcam.live.cli.plan import plan_request
from samcam.live.config.changes import (
    CropOverrides,
    TrackerOverrides,
    apply_overrides,
    settings_for_model,
)
from samcam.live.config.request import Request
from samcam.live.frames import F32
from samcam.live.masks import logits_box
from samcam.live.tracker.crop import (
    MAX_UNSURE,
    OUTSIDE_LOGIT,
    Crop,
    CropSettings,
    CropState,
    box_of_mask,
    first_crop,
    resampled,
)
from samcam.live.tracker.presets import DEFAULT, PRESETS
from samcam.live.tracker.prompts import merge_prompts
from samcam.live.tracker.tracker import Tracker
from tests.helpers.tracker_networks import box_prompt, click

WH = (1280, 720)
CELLS = 64


def some_crops() -> list[Crop]:
    """Return crops of many sizes and pictures, at every border, the whole ones among them."""
    rng = np.random.default_rng(3)
    crops = []
    for picture_wh in (WH, (640, 480), (333, 517), (97, 61)):
        for share in (0.2, 0.25, 0.37, 0.6, 0.89, 1.0):
            places = [(0, 0), picture_wh, (0, picture_wh[1]), *rng.uniform(0, picture_wh, (3, 2))]
            crops += [Crop.place(x, y, share, picture_wh) for x, y in places]
    return crops


def blob_in(crop: Crop) -> F32:
    """Return (L, L) logits of a disc well inside the crop, its slope 2 per pixel."""
    rng = np.random.default_rng(crop.area + crop.x)
    ys, xs = np.mgrid[:CELLS, :CELLS] + 0.5
    radius, (x, y) = rng.uniform(6, 12), rng.uniform(20, 44, 2)
    return np.asarray((radius - np.hypot(xs - x, ys - y)) * 2, np.float32)


def test_crops_lie_in_the_picture_and_around_their_place() -> None:
    for picture_wh in (WH, (640, 480), (97, 61)):
        for share in (0.05, 0.3, 0.8):
            crop = Crop.place(picture_wh[0] * 0.5, picture_wh[1] * 0.45, share, picture_wh)
            assert crop.x + crop.width / 2 == pytest.approx(picture_wh[0] * 0.5, abs=1)
            assert crop.y + crop.height / 2 == pytest.approx(picture_wh[1] * 0.45, abs=1)
    for crop in some_crops():
        assert crop.x >= 0 <= crop.y
        assert crop.x + crop.width <= crop.picture_wh[0]
        assert crop.y + crop.height <= crop.picture_wh[1]
        aspect = crop.picture_wh[0] / crop.picture_wh[1]
        assert crop.width == pytest.approx(crop.height * aspect, abs=1.5 * max(1, aspect))
    assert sum(crop.is_whole for crop in some_crops()) == 24


def test_a_mask_on_the_picture_is_the_crops_and_back() -> None:
    """The box of the mask on the whole map is the crop's box turned over, and back again."""
    size = CropSettings(min_share=0.2).map_size(CELLS)
    assert size == 320
    for crop in some_crops():
        whole, logits = Crop.whole(crop.picture_wh), blob_in(crop)
        shown = resampled(logits, crop, whole, size)
        assert shown.shape == (size, size)
        box = crop.to_picture(logits_box(logits), CELLS)
        np.testing.assert_allclose(logits_box(shown) * CELLS / size, box, atol=0.5 * CELLS / size)
        again = resampled(shown, whole, crop, CELLS)
        inner = (slice(2, -2), slice(2, -2))
        border = np.abs(logits[inner]) < 8  # the tip of the cone is rounded off
        np.testing.assert_allclose(again[inner][border], logits[inner][border], atol=0.35)
        if not crop.is_whole:
            assert shown.min() == OUTSIDE_LOGIT or shown.min() == pytest.approx(logits.min(), abs=3)


def test_the_map_is_cut_off_at_the_crops_edge_and_nowhere_else() -> None:
    full = np.full((CELLS, CELLS), 7.0, np.float32)
    for crop in some_crops():
        shown = resampled(full, crop, Crop.whole(crop.picture_wh), 256)
        centres = (np.arange(256) + 0.5) / 256
        xs, ys = centres * crop.picture_wh[0], centres * crop.picture_wh[1]
        inside_x = (xs >= crop.x - 1e-6) & (xs <= crop.x + crop.width + 1e-6)
        inside_y = (ys >= crop.y - 1e-6) & (ys <= crop.y + crop.height + 1e-6)
        inside = inside_y[:, None] & inside_x
        assert (shown[inside] == 7).all()
        assert (shown[~inside] == OUTSIDE_LOGIT).all()


def test_crops_that_do_not_meet_have_nothing_of_each_other() -> None:
    first, second = Crop.place(0, 0, 0.25, WH), Crop.place(*WH, 0.25, WH)
    full = np.full((CELLS, CELLS), 7.0, np.float32)
    assert (resampled(full, first, second, CELLS) == OUTSIDE_LOGIT).all()


def test_prompts_and_pictures_are_cut_alike() -> None:
    picture = np.random.default_rng(1).integers(0, 255, (WH[1], WH[0], 3), np.uint8)
    for crop in some_crops():
        if crop.picture_wh != WH:
            continue
        x, y = crop.x + crop.width // 3, crop.y + crop.height // 2
        prompt = replace(click(x, y), box_xyxy_px=np.array((x - 5, y - 7, x + 4, y + 8)))
        own = crop.own_prompt(prompt)
        (own_x, own_y), box = own.points_xy_px[0].astype(int), own.box_xyxy_px
        np.testing.assert_array_equal(crop.cut(picture)[own_y, own_x], picture[y, x])
        assert box is not None
        np.testing.assert_allclose(box, (own_x - 5, own_y - 7, own_x + 4, own_y + 8))
        assert crop.cut(picture).shape == (crop.height, crop.width, 3)


def test_the_whole_crop_is_the_arrays_themselves() -> None:
    whole, boxes = Crop.whole(WH), np.ones((4, 4), np.float32)
    logits, prompt = np.zeros((CELLS, CELLS), np.float32), click(3, 4)
    assert whole.to_picture(boxes, CELLS) is boxes
    assert whole.own_prompt(prompt) is prompt
    assert whole.holding(prompt) == whole
    assert resampled(logits, whole, whole, CELLS) is logits


def test_an_empty_box_stays_empty() -> None:
    boxes = np.array([[0, 0, 0, 0], [1, 2, 3, 4]], np.float32)
    moved = Crop.place(900, 500, 0.25, WH).to_picture(boxes, CELLS)
    assert not moved[0].any()
    assert moved[1].all()


def test_a_crop_widens_for_prompts_outside_it() -> None:
    crop = Crop.place(300, 200, 0.25, WH)
    assert crop.holding(click(310, 190)) == crop
    doubled = crop.holding(click(500, 190))
    assert (doubled.width, doubled.height) == (2 * crop.width, 2 * crop.height)
    assert crop.holding(box_prompt(310, 180, 520, 220)) == doubled
    assert crop.holding(click(1200, 700)).is_whole
    assert crop.holding(box_prompt(-50, -50, 350, 250)).x == 0  # what lies outside is nowhere


def test_a_first_box_is_seen_in_a_crop_around_it() -> None:
    settings = CropSettings()
    small = first_crop(box_prompt(600, 320, 660, 380), WH, settings)
    assert small == Crop.place(630, 350, settings.min_share, WH)
    tall = first_crop(box_prompt(600, 200, 700, 416), WH, settings)
    assert tall == Crop.place(650, 308, 0.6, WH)  # twice the larger side, 0.3 of the picture's
    with_click = merge_prompts((box_prompt(600, 320, 660, 380), click(10, 10)))
    assert first_crop(with_click, WH, settings)._holds(with_click.points_xy_px)
    beyond = first_crop(box_prompt(-50, -20, 60, 60), WH, settings)
    assert (beyond.x, beyond.y) == (0, 0)
    for prompt, crop in (
        (box_prompt(100, 50, 900, 650), settings),
        (click(600, 320), settings),
        (box_prompt(600, 320, 660, 380), None),
    ):
        assert first_crop(prompt, WH, crop).is_whole


def test_an_aim_widens_while_unsure_and_narrows_again() -> None:
    settings = CropSettings()
    crop_state = CropState.at(np.array((30, 30, 34, 33), np.float32)).predicted(None, 1 / 30)
    shares = []
    for _ in range(14):
        shares.append(crop_state.crop(WH, CELLS, settings).width / WH[0])
        crop_state = crop_state.predicted(None, 1 / 30)
    assert shares[0] == pytest.approx(0.25)
    assert all(b > a for a, b in pairwise(shares[:9]))
    assert shares[-1] == 1
    box = np.array((31, 30, 35, 33), np.float32)
    narrowing = []
    for _ in range(6):
        crop_state = crop_state.updated(box).predicted(box, 1 / 30)
        narrowing.append(crop_state.crop(WH, CELLS, settings).width)
    assert narrowing == sorted(narrowing, reverse=True)
    assert narrowing[-1] == WH[0] / 4
    for _ in range(3 * MAX_UNSURE):
        crop_state = crop_state.predicted(None, 1 / 30)
    assert crop_state.unsure == MAX_UNSURE
    assert crop_state.crop(WH, CELLS, CropSettings(growth=4.0)).is_whole


def test_one_bad_mask_does_not_blow_up_the_crop() -> None:
    crop_state = CropState.at(np.array((30, 30, 36, 36), np.float32))
    blown = crop_state.predicted(None, 1 / 30).updated(np.array((10, 10, 50, 50), np.float32))
    assert 6 < blown.size < 20


def test_the_box_of_a_mask_is_in_cells() -> None:
    mask = np.zeros(WH[::-1], np.bool_)
    mask[90:180, 320:640] = True
    np.testing.assert_allclose(box_of_mask(mask, CELLS), (16, 8, 32, 16))
    with pytest.raises(ValueError, match="at least one pixel"):
        box_of_mask(np.zeros((4, 4), np.bool_), CELLS)


def chosen(enabled: str, preset: str = "default", model: str = "nano") -> CropSettings | None:
    """Return the crop of a tracker with this setting."""
    crop = CropOverrides(4.0, 0.3, 1.5, enabled)
    overrides = TrackerOverrides(crop=crop)
    settings = apply_overrides(PRESETS[preset], overrides)
    return settings_for_model(settings, overrides, model).crop


def test_the_setting_is_off_on_or_the_models() -> None:
    sizes = CropSettings(4.0, 0.3, 1.5)
    assert chosen("false") is None
    assert chosen("true") == chosen("true", model="sam2.1-tiny@512") == sizes
    assert chosen("auto") == sizes
    assert chosen("auto", model="sam2.1-tiny@512") is None
    assert chosen("auto", preset="sam2") is None
    with pytest.raises(ValueError, match=r"the preset sam2 has no motion gate"):
        chosen("true", preset="sam2")
    assert TrackerOverrides().crop == CropOverrides(enabled="auto")
    without = TrackerOverrides(crop=CropOverrides(enabled="false"))
    assert apply_overrides(DEFAULT, without) == DEFAULT
    with Tracker.open("nano") as tracker:
        assert tracker.settings.crop == CropSettings()


def test_a_run_takes_the_setting(nano_dir: Path) -> None:
    """From the command line to the tracker."""
    request = Request(model=str(nano_dir), overrides=("tracker.crop.enabled=auto",))
    with open_tracker(request, plan_request(request, None)) as tracker:
        assert tracker.settings.crop == CropSettings()


@pytest.mark.parametrize("name", [name for name in PRESETS if PRESETS[name].gate is None])
def test_a_preset_without_a_gate_takes_no_crop(name: str) -> None:
    with pytest.raises(ValueError, match="crop: the preset sam2 has no motion gate"):
        replace(PRESETS[name], crop=CropSettings())


@pytest.mark.parametrize("zoom", [0.9, 1.1])
def test_a_lost_place_stays_in_the_picture_however_long_the_camera_moves(zoom: float) -> None:
    """A slow zoom that is measured for hours would carry it beyond all numbers."""
    affine = np.array([[zoom, 0, 9], [0, zoom, -9]])
    state, camera = CropState(100, 100, 20), CameraMotion(affine, side=256)
    for _ in range(9000):
        state = state.predicted(None, 1 / 30, camera)
    assert min(state.x, state.y, state.size) >= 0
    assert max(state.x, state.y, state.size) <= 256
