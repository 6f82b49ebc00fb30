"""What a memory is shown as: the right part of the right picture, with the object's outline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import cv2
import numpy as np
import pytest

from samcam.engines.fake_backend import fake_networks
from samcam.live.frames import U8, Frame, ObjectResult, Prompt
from samcam.live.tracker import step as step_module
from samcam.live.tracker import thumbnail
from samcam.live.tracker.crop import Crop, CropSettings
from samcam.live.tracker.judge import Answer
from samcam.live.tracker.presets import PRESETS
from samcam.live.tracker.thumbnail import memory_picture
from samcam.live.tracker.tracker import Tracker
from samcam.memory import THUMBNAIL_PX
from tests.helpers.tracker_networks import square_logits

WH = (320, 200)
CELLS = 64


def painted(x1: int, y1: int, x2: int, y2: int, size_wh: tuple[int, int] = WH) -> U8:
    """A grey picture with a red object."""
    picture = np.full((size_wh[1], size_wh[0], 3), 90, np.uint8)
    picture[y1:y2, x1:x2] = (0, 0, 255)
    return picture


def answer(cells: tuple[int, int, int, int] | None, crop: Crop) -> Answer:
    """An answer with this box in cells of the whole picture, its mask in those of the crop."""
    if cells is None:
        box, mask = np.zeros(4, np.float32), square_logits(CELLS, 0, 0, 0)
    else:
        box = np.array(cells, np.float32)
        left, top, right, bottom = (
            (value * side / CELLS - corner) * CELLS / extent
            for value, side, corner, extent in zip(
                cells, WH * 2, (crop.x, crop.y) * 2, crop.size_wh * 2, strict=True
            )
        )
        mask = np.full((CELLS, CELLS), -6.0, np.float32)
        mask[round(top) : round(bottom), round(left) : round(right)] = 6.0
    return Answer(
        present=cells is not None,
        prompted=False,
        low_res_mask=mask,
        obj_ptr=np.zeros(4, np.float32),
        object_score=5.0,
        memory_score=5.0,
        predicted_iou=0.8,
        motion_iou=None,
        box=box,
        crop=crop,
    )


def red(image: U8) -> U8:
    return np.asarray((image[..., 2] > 170) & (image[..., 0] < 60))


@pytest.mark.parametrize("crop", [Crop.whole(WH), Crop(80, 50, 160, 100, WH)])
@pytest.mark.parametrize("shrink", [1, 2])
def test_the_outline_lies_on_the_object(crop: Crop, shrink: int) -> None:
    picture = painted(100, 75, 150, 100)
    if shrink > 1:
        picture = np.asarray(cv2.resize(picture, (WH[0] // shrink, WH[1] // shrink)), np.uint8)
    seen = memory_picture(picture, answer((20, 24, 30, 32), crop), time_ns=7)
    assert THUMBNAIL_PX - 2 <= min(seen.image_bgr.shape[:2]) <= THUMBNAIL_PX
    found, mask = red(seen.image_bgr), seen.mask
    assert (found & mask).sum() / (found | mask).sum() > 0.85
    assert 0.15 < mask.mean() < 0.4  # with some of what is around it
    assert (seen.time_ns, seen.predicted_iou) == (7, 0.8)
    assert not seen.image_bgr.flags.writeable
    assert not seen.mask.flags.writeable


@pytest.mark.parametrize(
    "cells", [(0, 0, 2, 2), (62, 62, 64, 64), (0, 0, 64, 64), (10, 63, 12, 64)]
)
def test_any_box_gives_a_small_picture(cells: tuple[int, int, int, int]) -> None:
    x1, y1, x2, y2 = (v * side // CELLS for v, side in zip(cells, WH * 2, strict=True))
    seen = memory_picture(painted(x1, y1, x2, y2), answer(cells, Crop.whole(WH)), 0)
    assert max(seen.image_bgr.shape[:2]) == THUMBNAIL_PX
    assert seen.image_bgr.shape[:2] == seen.mask.shape
    assert seen.mask.any()
    assert red(seen.image_bgr)[seen.mask].mean() > 0.5


def test_of_an_empty_mask_all_that_was_seen_is_shown() -> None:
    seen = memory_picture(painted(0, 0, 1, 1), answer(None, Crop.whole(WH)), 0)
    assert seen.image_bgr.shape == (40, THUMBNAIL_PX, 3)
    assert not seen.mask.any()


@pytest.mark.parametrize("crop", [None, CropSettings()])
def test_each_memory_shows_its_own_picture(crop: CropSettings | None) -> None:
    """Also after a prompt on a past picture, and with a prompt from a picture of its own."""
    settings = replace(PRESETS["default"], crop=crop)
    with Tracker(fake_networks(), settings, memory_pictures=True) as tracker:
        tracker.prompt(Prompt.click(100, 100))
        results: list[ObjectResult] = []
        for index in range(12):
            if index == 8:
                tracker.prompt(replace(Prompt.click(100, 100), step=5))
            picture = np.full((WH[1], WH[0], 3), 10 * index + 5, np.uint8)
            result = tracker.step(Frame(index, index * 1_000_000, 0, picture))
            results.append(result.objects[0])
        reference = np.full((WH[1], WH[0], 3), 222, np.uint8)
        mask = np.zeros(WH[::-1], np.bool_)
        mask[80:120, 80:120] = True
        tracker.prompt(Prompt(mask=mask, reference_bgr=reference))
        result = tracker.step(Frame(12, 12_000_000, 0, picture))
    last = results[-1]
    assert len(last.memory_pictures) == len(last.memory_steps) == len(last.memory_tiers) > 4
    for step, seen in zip(last.memory_steps, last.memory_pictures, strict=True):
        assert seen is not None
        assert abs(int(seen.image_bgr.mean()) - (10 * step + 5)) <= 1
        assert seen.time_ns == step * 1_000_000
    assert any(
        seen is not None and seen.image_bgr.mean() > 220
        for seen in result.objects[0].memory_pictures
    )


def noted(made: list[str], real: Callable[..., Any], *given: Any) -> Any:
    made.append(real.__name__)
    return real(*given)


@pytest.mark.parametrize("name", ["default", "sam2"])
def test_no_picture_is_made_where_nobody_looks(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    for maker in ("memory_picture", "reduced"):
        real = getattr(thumbnail, maker)
        told = partial(noted, made, real)
        monkeypatch.setattr(step_module, maker, told)
    found = {}
    for looks in (False, True):
        with Tracker(fake_networks(), PRESETS[name], memory_pictures=looks) as tracker:
            tracker.prompt(Prompt.click(100, 100))
            for index in range(4):
                picture = np.zeros((WH[1], WH[0], 3), np.uint8)
                result = tracker.step(Frame(index, index * 1_000_000, 0, picture))
            found[looks] = {seen is not None for seen in result.objects[0].memory_pictures}
        assert bool(made) == looks
    assert found == {False: {False}, True: {True}}
