"""A tracker that watches its camera: measured once a picture, noted, the same when run again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import pytest

from samcam.kalman import CameraFinding, CameraMotion, Gate, GateSettings, MotionGate
from samcam.live.commands import HoverRequest, TrackerCommand, UndoPrompt
from samcam.live.config.changes import TrackerOverrides, apply_overrides
from samcam.live.frames import F32, U8, ObjectResult, Prompt
from samcam.live.tracker.crop import MAX_UNSURE, CropSettings, CropState
from samcam.live.tracker.presets import DEFAULT, SAM2, TrackerSettings
from samcam.live.tracker.tracker import Tracker
from tests.helpers.colour_networks import colour_networks
from tests.helpers.tracker_networks import click, frame
from tests.helpers.tracker_plans import bits, seen_on

WH = (640, 480)
WATCHING = replace(DEFAULT, camera_motion=True)
STILL = replace(DEFAULT, camera_motion=False)
RED, BLUE = (30, 40, 220), (220, 90, 20)
RNG = np.random.default_rng(5)
GROUND: U8 = np.asarray(
    cv2.resize(RNG.integers(60, 150, (60, 80, 3), np.uint8), (1280, 960)), np.uint8
)
SHAKE = [np.zeros(2, np.int64), *np.cumsum(RNG.integers(-9, 10, (40, 2)), axis=0)]


GROUND[340:500, 400:560], GROUND[500:620, 640:760] = RED, BLUE


def filmed(index: int) -> U8:
    """Return a hand-held camera's picture of things that stand still."""
    x, y = SHAKE[index] + 200
    return np.ascontiguousarray(GROUND[y : y + WH[1], x : x + WH[0]])


def red(index: int) -> Prompt:
    x, y = 480 - 200 - SHAKE[index][0], 420 - 200 - SHAKE[index][1]
    return click(float(x), float(y), object_id=5)


def blue(index: int) -> Prompt:
    x, y = 700 - 200 - SHAKE[index][0], 560 - 200 - SHAKE[index][1]
    return click(float(x), float(y), object_id=9)


def play(
    settings: TrackerSettings, plan: Mapping[int, Sequence[TrackerCommand]], steps: int = 20
) -> list[dict[int, ObjectResult]]:
    answers = []
    with Tracker(colour_networks(), settings) as tracker:
        for index in range(steps):
            for command in plan.get(index, ()):
                tracker.apply(command)
            result = tracker.step(frame(index, filmed(index)))
            answers.append({answer.object_id: answer for answer in result.objects})
            if index % 5 == 3:  # encodes the picture of a step, which may have no objects
                tracker.hover(HoverRequest(5, index, 200.0, 200.0))
    return answers


class Told(MotionGate):
    """Notes what it is told of the camera; a fork tells the same."""

    def __init__(self, settings: GateSettings) -> None:
        super().__init__(settings)
        self.told: list[tuple[float, CameraMotion | None]] = []

    def fork(self) -> Told:
        twin = super().fork()
        twin.told = list(self.told)
        return twin

    def advance(self, dt_s: float, camera: CameraMotion | None = None) -> None:
        self.told.append((dt_s, camera))
        super().advance(dt_s, camera)


def told_by(
    settings: TrackerSettings, pictures: Sequence[U8], times: Sequence[int] | None = None
) -> list[tuple[float, CameraMotion | None]]:
    """Return what the gate of an object, prompted on the first picture, was told at each step."""
    gates: list[Told] = []

    def make(rules: GateSettings) -> Gate:
        gates.append(Told(rules))
        return gates[-1]

    with Tracker(colour_networks(), replace(settings, make_gate=make)) as tracker:
        tracker.prompt(click(100, 100))
        for index, picture in enumerate(pictures):
            tracker.step(frame(times[index] if times else index, picture))
    return gates[-1].told


def test_the_gate_is_told_how_the_picture_moved_in_its_own_unit() -> None:
    told = told_by(WATCHING, [filmed(index) for index in range(12)])
    assert told[0][1] is None
    for (_, camera), (before, now) in zip(told[1:], pairwise(SHAKE), strict=False):
        assert camera is not None
        assert camera.finding is CameraFinding.MEASURED
        assert camera.side == 64  # cells of the colour networks
        x, y = camera.moved(32, 32)
        shift = (before - now) / np.array(WH) * 64
        assert (x - 32, y - 32) == pytest.approx(tuple(shift), abs=0.1)
    assert all(camera is None for _, camera in told_by(STILL, [filmed(0), filmed(1)]))


def test_pictures_between_that_were_dropped_are_in_the_motion_and_in_the_time() -> None:
    pictures, times = [filmed(0), filmed(1), filmed(9), filmed(10)], [0, 1, 9, 1000]
    told = told_by(WATCHING, pictures, times)
    dt_s, camera = told[2]
    assert dt_s == pytest.approx(8 / 30)
    assert camera is not None
    shift = (SHAKE[1] - SHAKE[9]) / np.array(WH) * 64
    assert np.array(camera.moved(32, 32)) - 32 == pytest.approx(shift, abs=0.15)
    assert told[3][0] == pytest.approx(991 / 30)  # half a minute's gap is told as such


def test_a_picture_of_another_size_and_a_cut() -> None:
    smaller = np.asarray(cv2.resize(filmed(1), (320, 180)), np.uint8)
    told = told_by(WATCHING, [filmed(0), smaller, 255 - smaller, filmed(2)])
    findings = [None if camera is None else camera.finding for _, camera in told]
    assert findings == [None, CameraFinding.MEASURED, CameraFinding.CUT, CameraFinding.CUT]


@pytest.mark.parametrize("crop", [None, CropSettings()], ids=["whole", "crop"])
def test_late_prompts_are_as_if_in_time(crop: CropSettings | None) -> None:
    """Also on steps before which there were no objects, so that nobody watched the camera."""
    watching = replace(WATCHING, crop=crop)
    in_time = play(watching, {2: [red(2)], 9: [red(9)]})
    late = play(watching, {8: [seen_on(2, red(2))], 14: [seen_on(9, red(9))]})
    assert [bits(a.get(5)) for a in in_time[14:]] == [bits(b.get(5)) for b in late[14:]]
    assert bits(in_time[8][5]) == bits(late[8][5])
    assert in_time[8][5].motion_iou is not None
    undone = play(watching, {2: [red(2)], 12: [seen_on(9, blue(9))], 13: [UndoPrompt(9)]})
    plain = play(watching, {2: [red(2)]})
    assert [bits(a.get(5)) for a in undone] == [bits(b.get(5)) for b in plain]


def test_another_object_changes_nothing() -> None:
    alone = play(WATCHING, {4: [red(4)]})
    for plan in (
        {1: [blue(1)], 4: [red(4)]},
        {4: [red(4), blue(4)]},
        {4: [red(4)], 9: [seen_on(7, blue(7))]},
    ):
        both = play(WATCHING, plan)
        assert [bits(a.get(5)) for a in alone] == [bits(b.get(5)) for b in both]


def test_what_stands_is_foreseen_under_a_shaken_camera() -> None:
    ious = []
    for settings in (WATCHING, STILL):
        answers = [step.get(5) for step in play(settings, {2: [red(2)]})]
        assert all(answer is not None and answer.visible for answer in answers[2:])
        found = [answer.motion_iou for answer in answers[8:] if answer is not None]
        ious.append([iou for iou in found if iou is not None])
    watched, blind = ious
    assert min(watched) > 0.9
    assert np.mean(watched) > np.mean(blind) + 0.02


def place(crop_state: CropState) -> tuple[float, float, float]:
    return crop_state.x, crop_state.y, crop_state.size


def test_a_crop_without_a_filter_stays_where_it_is_in_the_scene() -> None:
    box: F32 = np.array((20, 30, 40, 40), np.float32)
    camera = CameraMotion(np.array([[1.1, 0, 0.05], [0, 1.1, -0.1]])).scaled(64)
    here = CropState.at(box)
    there = here.predicted(None, 1 / 30, camera)
    assert place(there) == pytest.approx((30 * 1.1 + 3.2, 35 * 1.1 - 6.4, 20 * 1.1))
    assert there.unsure == 1
    assert place(here.predicted(None, 1 / 30)) == place(here)
    known = here.predicted(box + np.float32(5), 1 / 30, camera)
    assert (known.x, known.y) == (35, 40)


def test_after_a_cut_or_a_long_gap_the_object_is_looked_for_everywhere() -> None:
    here, settings = CropState.at(np.array((20, 30, 30, 40), np.float32)), CropSettings()
    cut = CameraMotion.still(CameraFinding.CUT).scaled(64)
    for crop_state in (here.predicted(None, 1 / 30, cut), here.predicted(None, 30.0)):
        assert crop_state.unsure == MAX_UNSURE
        assert crop_state.crop(WH, 64, settings).is_whole
    assert not here.predicted(None, 1.0).crop(WH, 64, settings).is_whole


def test_a_preset_without_a_gate_cannot_use_it() -> None:
    with pytest.raises(ValueError, match="camera_motion: the preset sam2 has no motion gate"):
        replace(SAM2, camera_motion=True)
    with pytest.raises(ValueError, match=r"tracker.camera_motion: true: the preset sam2 has no"):
        apply_overrides(SAM2, TrackerOverrides(camera_motion=True))  # type: ignore[call-arg]
    assert apply_overrides(STILL, TrackerOverrides(camera_motion=True)).camera_motion  # type: ignore[call-arg]
