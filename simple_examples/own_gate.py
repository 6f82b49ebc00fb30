"""A motion gate of your own: for things that stand, what lies where it was is the right one.

python simple_examples/own_gate.py [SOURCE] [X1 Y1 X2 Y2]
"""

import argparse
import copy
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from samcam import PRESETS, CropSettings, Prompt, Tracker, open_source
from samcam.kalman import CameraMotion, Gate, GateSettings, box_ious

F32 = NDArray[np.float32]


class StandsStill:
    """The gate of one object; `samcam.kalman.Gate` says what is asked when."""

    def __init__(self, rules: GateSettings) -> None:
        self.rules = rules
        self.box: F32 | None = None
        self.moved = False

    def fork(self) -> Gate:
        return copy.copy(self)

    def advance(self, dt_s: float, camera: CameraMotion | None = None) -> None:
        self.moved = False

    def choose(self, ious: F32, boxes_xyxy: F32) -> int:
        here = 0 if self.box is None else box_ious(boxes_xyxy, self.box)
        return int(np.argmax(ious + self.rules.weight * here))

    def motion_iou(self, box_xyxy: F32) -> float | None:
        return None if self.box is None else float(box_ious(box_xyxy[None], self.box)[0])

    def observe(self, box_xyxy: F32, predicted_iou: float) -> None:
        if predicted_iou > self.rules.stable_iou:
            self.observe_prompt(box_xyxy)

    def observe_prompt(self, box_xyxy: F32) -> None:
        self.box, self.moved = box_xyxy, True


parser = argparse.ArgumentParser(usage="%(prog)s [SOURCE] [X1 Y1 X2 Y2]")
parser.add_argument("source", nargs="?", default="demo")
parser.add_argument("box", nargs="*", type=float, default=(49, 226, 247, 425))
given = parser.parse_args()
try:
    source, prompt = open_source(given.source), Prompt.box(*given.box)
except (OSError, TypeError, ValueError) as error:
    parser.error(str(error))
settings = replace(PRESETS["default"], make_gate=StandsStill, crop=CropSettings())
with Tracker.open("nano", preset=settings) as tracker:
    tracker.prompt(prompt)
    while (frame := source.read()) is not None:
        for found in tracker.step(frame).objects:
            print(frame.index, found.state, found.motion_iou, found.box_xyxy_px)
source.close()
