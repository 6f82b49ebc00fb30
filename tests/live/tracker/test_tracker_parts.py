"""A tracked mask in several parts: what lies apart from the motion is nowhere in the answer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from samcam.engines.base import Array
from samcam.engines.fake_backend import fake_networks
from samcam.engines.sam2_graphs import DecoderOutput
from samcam.live.frames import F32, ObjectResult
from samcam.live.tracker.crop import Crop
from samcam.live.tracker.presets import DEFAULT, PRESETS, SAM2, TrackerSettings
from samcam.live.tracker.tracker import Tracker
from tests.helpers.tracker_networks import (
    SIZE,
    RecordingNetworks,
    Remembered,
    Script,
    click,
    frame,
    square_logits,
)

STEPS = 12
OBJECT, TWIN = (20, 20, 10), (44, 20, 10)


class TwoParts(Script):
    """From the fourth step on every candidate shows the object and its twin."""

    steps = 0

    def decode(self, feeds: dict[str, Array]) -> DecoderOutput:  # type: ignore[override]
        out = super().decode(feeds)
        self.steps += 1
        if self.steps > 3:
            out.low_res_masks[:] = both()
        return out


def both() -> F32:
    return np.maximum(square_logits(64, *OBJECT), square_logits(64, *TWIN))


def play(settings: TrackerSettings) -> tuple[ObjectResult, Remembered]:
    """Return the last answer and what was last remembered."""
    networks = RecordingNetworks(fake_networks(decoder=TwoParts().decode))
    with Tracker(networks, settings) as tracker:
        tracker.prompt(click(250, 187))
        for index in range(STEPS):
            (answer,) = tracker.step(frame(index)).objects
    return answer, networks.calls.remembered[-1]


def columns(logits: F32 | None) -> list[int]:
    assert logits is not None
    return np.flatnonzero((logits > 0).any(axis=0)).tolist()  # type: ignore[no-any-return]


def test_mask_box_and_memory_are_without_the_far_part() -> None:
    answer, memory = play(DEFAULT)
    assert columns(answer.mask_logits) == columns(memory.low_res_mask) == [*range(20, 30)]
    assert answer.box_xyxy_px is not None
    scale = SIZE[0] / 64
    assert answer.box_xyxy_px[0] == pytest.approx(20 * scale, abs=scale / 2)
    assert answer.box_xyxy_px[2] == pytest.approx(30 * scale, abs=scale / 2)
    assert answer.motion_iou == pytest.approx(1, abs=0.1)
    assert answer.admitted


@pytest.mark.parametrize(
    "settings",
    [
        *(settings for name, settings in PRESETS.items() if not settings.drop_far_parts),
        replace(DEFAULT, drop_far_parts=False),
    ],
    ids=lambda settings: settings.name,
)
def test_without_the_rule_every_part_stays(settings: TrackerSettings) -> None:
    answer, _ = play(settings)
    np.testing.assert_array_equal(answer.mask_logits, both())


def test_the_published_trackers_do_not_have_the_rule() -> None:
    ours = [name for name, rules in PRESETS.items() if rules.drop_far_parts]
    assert ours == ["default", "long"]


def test_a_correction_keeps_what_the_user_points_at() -> None:
    networks = RecordingNetworks(fake_networks(decoder=TwoParts().decode))
    with Tracker(networks, DEFAULT) as tracker:
        tracker.prompt(click(250, 187))
        for index in range(STEPS):
            tracker.step(frame(index))
        tracker.prompt(click(490, 187))
        (answer,) = tracker.step(frame(STEPS)).objects
    assert columns(answer.mask_logits) == [*range(20, 30), *range(44, 54)]


def test_a_preset_without_a_gate_refuses_it() -> None:
    with pytest.raises(ValueError, match="drop_far_parts: the preset sam2 has no motion gate"):
        replace(SAM2, drop_far_parts=True)


def test_a_box_goes_into_a_crop_and_back() -> None:
    crop, box = Crop(80, 60, 320, 160, SIZE), np.array((20, 30, 40, 50), np.float32)
    there = crop.from_picture(box, 64)
    np.testing.assert_allclose(there, [24, 66, 64, 126], rtol=1e-6)
    np.testing.assert_allclose(crop.to_picture(there, 64), box, rtol=1e-6)
    assert Crop.whole(SIZE).from_picture(box, 64) is box
