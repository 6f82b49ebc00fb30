"""A click on a lost object is believed, also where it means another thing: `nano` on the demo."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
import pytest

from samcam.engines import EngineOptions, load_model
from samcam.engines.fake_backend import fake_networks
from samcam.engines.host_tensors import HostTensor
from samcam.live.commands import PinStep
from samcam.live.frames import NS_PER_S, Frame, Mask, ObjectState, Prompt
from samcam.live.sources.demo import CARD_ID, GEAR_ID, DemoScene, Vanishing
from samcam.live.tracker.judge import Judge
from samcam.live.tracker.presets import preset
from samcam.live.tracker.track import ObjectTrack
from samcam.live.tracker.tracker import Tracker
from tests.helpers.tracker_networks import SIZE, Script, click, frame

SIZE_WH = (854, 480)

FPS, BEFORE, LOST, AFTER = 30, 24, 12, 12
LEAVING = Vanishing.each(16, FPS)


def pictures() -> Iterator[tuple[Frame, Mask, Mask]]:
    """Yield frames with the masks of gear and card; the gear leaves after `BEFORE` frames."""
    scene, first = DemoScene(SIZE_WH, vanishing=LEAVING), LEAVING.leaves_at(1) - BEFORE
    for step in range(1000):
        picture, ids = scene.render(first + step)
        time_ns = round(step * NS_PER_S / FPS)
        yield Frame(step, time_ns, 0, picture), ids == GEAR_ID, ids == CARD_ID


def click_on(mask: Mask, step: int | None = None) -> Prompt:
    depth = cv2.distanceTransform(np.pad(mask.astype(np.uint8), 1), cv2.DIST_L2, 5)
    y, x = np.unravel_index(int(np.argmax(depth)), depth.shape)
    return replace(Prompt.click(float(x - 1), float(y - 1), 1), step=step)


def overlap(one: Mask, other: Mask) -> float:
    return float((one & other).sum() / (one | other).sum())


@pytest.mark.parametrize(("name", "late"), [("default", 0), ("long", 3), ("default", 24)])
def test_a_click_on_another_thing_while_lost_is_followed(name: str, late: int) -> None:
    """Memories of what was lost do not outvote it, on a picture of before and a frozen one too."""
    networks = load_model("nano", "onnxruntime", EngineOptions(threads=1))
    lost, overlaps, cards = 0, [], []
    with Tracker(networks, preset(name)) as tracker:
        for frame, gear, card in pictures():
            cards.append(card)
            if frame.index == 0:
                tracker.prompt(click_on(gear))
            if lost == LOST:
                tracker.apply(PinStep(frame.index - 1))
            if lost == LOST + late:
                seen = frame.index - late - 1
                tracker.prompt(click_on(cards[seen], seen))
                overlaps.append(1.0)
            result = tracker.step(frame)
            (mine,) = result.objects
            lost = lost + 1 if mine.state is ObjectState.LOST else 0
            if overlaps:
                overlaps.append(overlap(mine.mask(), card))
            if len(overlaps) > AFTER:
                break
    assert min(overlaps) > 0.85


RULES = preset("default")
NOTHING = Judge(RULES, fake_networks().manifest).absent(SIZE_WH)
TENSOR = HostTensor(np.zeros(1, np.float32), owned=True)


def tracked(*steps: int) -> ObjectTrack:
    """Return a lost object that was prompted on step 0 and remembered on others."""
    track = ObjectTrack(1, RULES)
    track.predict(1 / FPS)
    track.remember(0, replace(NOTHING, prompted=True), TENSOR, conditioning=True)
    for step in steps:
        track.remember(step, replace(NOTHING, appearance=0.9), TENSOR, conditioning=False)
    for _ in range(8):
        track.observe(NOTHING, 1 / FPS)
    assert track.is_lost
    return track


def remembered(track: ObjectTrack) -> list[int]:
    return [kept.step for kept in (*track.bank.conditioning, *track.bank.recent)]


@pytest.mark.parametrize(("appearance", "another"), [(0.2, True), (0.9, False)])
def test_what_goes_where_a_prompt_means_another_thing(appearance: float, another: bool) -> None:
    """Also what was tracked after the picture that the prompt was given on; an undo takes what was
    tracked of the other thing since."""
    track, later = tracked(5, 10), tracked(5, 10, 25, 30)
    answer = replace(NOTHING, prompted=True, appearance=appearance)
    track.remember(20, answer, TENSOR, conditioning=True)
    assert remembered(track) == ([0, 20] if another else [0, 20, 5, 10])
    carried = track.carried_to(later, 20)
    assert remembered(carried) == ([0, 20] if another else [0, 20, 5, 10, 25, 30])
    carried.remember(40, replace(NOTHING, appearance=0.9), TENSOR, conditioning=False)
    carried.forget(20)
    assert (40 in remembered(carried)) != another
    assert 20 not in remembered(carried)


def test_a_reference_picture_of_a_lost_object_makes_no_other_thing_of_it() -> None:
    """It is of the object by what the user says, in whatever light; what was tracked stays."""
    script = Script()
    grey = np.full((SIZE[1], SIZE[0], 3), 128, np.uint8)
    warmer = np.full_like(grey, (120, 200, 200))
    mask = np.zeros(grey.shape[:2], np.bool_)
    mask[150:225, 200:300] = True
    with Tracker(fake_networks(decoder=script.decode), RULES) as tracker:
        tracker.prompt(click(250, 250))
        for index in range(40):
            script.score = 5.0 if index < 30 else -5.0
            (mine,) = tracker.step(frame(index, grey)).objects
        assert mine.state is ObjectState.LOST
        tracker.prompt(Prompt(mask=mask, reference_bgr=warmer))
        (learnt,) = tracker.step(frame(40, grey)).objects
    assert {*mine.memory_steps, 40} == {*learnt.memory_steps}
