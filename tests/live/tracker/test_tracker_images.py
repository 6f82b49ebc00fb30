"""`step` with a picture of one's own, and masks in source pixels."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from samcam.engines import fake_networks
from samcam.live.effects import Effect
from samcam.live.feed import Compositor
from samcam.live.frames import NOMINAL_STEP_S, NS_PER_S, U8, Frame, FrameResult, Prompt
from samcam.live.sinks.masks import MasksSink
from samcam.live.tracker import PRESETS, CropSettings, Tracker
from tests.helpers.results import disc_logits, result_of, textured, tracked

SIZE = (96, 64)


def opened() -> Tracker:
    return Tracker(fake_networks(), PRESETS["default"])


def picture(seed: int = 0) -> U8:
    return textured(SIZE, seed)


def same(mine: FrameResult, other: FrameResult) -> None:
    assert mine.step == other.step
    for a, b in zip(mine.objects, other.objects, strict=True):
        assert (a.state, a.box_xyxy_px, a.memory_steps) == (b.state, b.box_xyxy_px, b.memory_steps)
        np.testing.assert_array_equal(a.mask(), b.mask())


def test_an_array_is_the_frame_that_comes_next() -> None:
    with opened() as mine, opened() as other:
        for tracker in (mine, other):
            tracker.prompt(Prompt.box(20, 10, 60, 50))
            tracker.prompt(Prompt.click(30, 30, object_id=2))
        for index in range(4):
            time_ns = round(NOMINAL_STEP_S * NS_PER_S) * index
            frame = Frame(index, time_ns, 0, picture(index))
            result = mine.step(picture(index))
            assert (result.frame.index, result.frame.time_ns) == (index, time_ns)
            same(result, other.step(frame))


def test_times_of_ones_own() -> None:
    """A clock with any beginning; a picture without one comes a thirtieth of a second later."""
    with opened() as tracker:
        times = [tracker.step(picture(), when).frame.time_ns for when in (17.5, 17.5, 18.0)]
        assert times == [17_500_000_000, 17_500_000_000, 18_000_000_000]
        assert tracker.step(picture()).frame.time_ns == 18_000_000_000 + 33_333_333
        with pytest.raises(ValueError, match=r"time_s: 17 is before the last picture's 18\.0333"):
            tracker.step(picture(), 17.0)
        for wrong in (math.nan, math.inf):
            with pytest.raises(ValueError, match="time_s: expected seconds"):
                tracker.step(picture(), wrong)
        assert tracker.step(picture()).step == 4
        with pytest.raises(TypeError, match="time_s: expected none beside a Frame"):
            tracker.step(Frame(9, 0, 0, picture()), 20.0)


@pytest.mark.parametrize(
    ("given", "kind", "said"),
    [
        (None, TypeError, "got NoneType"),  # what OpenCV reads where there is nothing
        ([[1, 2]], TypeError, "got list"),
        (np.zeros((4, 4), np.uint8), ValueError, r"got \(4, 4\) uint8"),
        (np.zeros((4, 4, 4), np.uint8), ValueError, r"got \(4, 4, 4\) uint8"),
        (np.zeros((4, 4, 3), np.float32), ValueError, r"got \(4, 4, 3\) float32"),
        (np.zeros((0, 4, 3), np.uint8), ValueError, r"got \(0, 4, 3\) uint8"),
    ],
)
def test_what_is_no_picture(given: Any, kind: type[Exception], said: str) -> None:
    with opened() as tracker:
        with pytest.raises(kind, match=r"picture: expected .*\(H, W, 3\) uint8, " + said) as one:
            tracker.step(given)
        assert "\n" not in str(one.value)
        assert tracker.next_step == 0


def test_the_picture_stays_its_owners() -> None:
    """Drawing on it afterwards changes nothing of a past step; any strides will do."""
    image = picture()
    with opened() as tracker:
        for given in (image, image[:, ::-1], np.asfortranarray(image), image[::2, ::2]):
            before = given.copy()
            kept = tracker.step(given).frame.image_bgr
            given[:] = 0
            np.testing.assert_array_equal(kept, before)
            given[:] = before


@pytest.mark.parametrize("effect", ["highlight", "blur"])
def test_masks_are_those_of_the_files(effect: str, tmp_path: Path) -> None:
    """Whatever margin an effect wants; an overlap belongs to one object in the file."""
    objects = (
        tracked(1, disc_logits(64, 20, 30, 12), size_wh=(150, 100)),
        tracked(3, disc_logits(64, 33.3, 31, 9.7), size_wh=(150, 100)),
        tracked(4, None, size_wh=(150, 100)),
    )
    result = result_of(textured((150, 100)), objects)
    sink = MasksSink(tmp_path / "m")
    sink.put(Compositor(Effect(effect)).compose(result))
    sink.close()
    written = np.asarray(Image.open(tmp_path / "m" / "00000.png"))
    np.testing.assert_array_equal(result.object_ids(), written)
    first, second, lost = (item.mask() for item in objects)
    assert first.dtype == np.bool_
    assert not lost.any()
    np.testing.assert_array_equal(first | second, written > 0)
    assert (first & second).any()
    assert not (first & second & ~((written == 1) | (written == 3))).any()


@pytest.mark.usefixtures("nano_dir")
def test_open_takes_settings_as_they_are() -> None:
    """A name stands for what suits the model; settings of one's own mean what they say."""
    with Tracker.open("nano", preset=PRESETS["default"]) as tracker:
        assert tracker.settings.crop is None
    with Tracker.open("nano", preset="default") as tracker:
        assert tracker.settings.crop == CropSettings()
