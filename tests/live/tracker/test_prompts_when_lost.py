"""A click on a lost object is believed, also where it means another thing: `nano` on the demo."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
import pytest

from samcam.engines import EngineOptions, load_model
from samcam.live.commands import PinStep
from samcam.live.frames import NS_PER_S, Frame, Mask, ObjectState, Prompt
from samcam.live.sources.demo import CARD_ID, GEAR_ID, DemoScene, Vanishing
from samcam.live.tracker.presets import preset
from samcam.live.tracker.tracker import Tracker

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
