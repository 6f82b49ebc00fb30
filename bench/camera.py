"""`python -m bench.camera DATA_DIR`: what it costs to watch the camera, and what it is worth.

Worth: a motion gate that is shown the true boxes of labelled clips foresees the next one, with the
camera's motion and without; no network takes part, so few clips say much. Cost: CPU time of one
core on 720p pictures, beside one run of a model's image encoder on the same core.
Exit codes: 0 fine, 2 wrong use or data, 4 model, 5 output.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from tqdm import tqdm

from bench.cases.catalogue import CASES, Case
from bench.cases.footage import CaseFrame, Footage, box_of
from bench.reports.environment import describe_environment, model_line
from bench.reports.report import (
    BAD_INPUT,
    NO_MODEL,
    Report,
    Section,
    Table,
    exit_code,
    number,
    publish,
    report_parser,
    table,
)
from bench.scores.arguments import read_selected, words
from bench.scores.datasets import BoxClip, DatasetError, MaskClip
from samcam.engines import EngineError, EngineOptions, load_model
from samcam.kalman import (
    MAX_HOLD_STEPS,
    CameraFinding,
    CameraMotion,
    MotionGate,
    measure_camera,
    small_grey,
)
from samcam.live.frames import F32, U8
from samcam.live.tracker import DEFAULT_PRESET, PRESETS
from samcam.system import prepare_streams

BLOCK: Final = "camera"
SHOWN: Final = ("plain", "shake", "fast", "cut")
CELLS: Final = 128.0  # side of `nano`'s masks, the gate's unit
SIZE_WH: Final = (1280, 720)
TIMED_PICTURES: Final = 60
ENCODER_RUNS: Final = 15


@dataclass(slots=True)
class Foresight:
    """How well boxes were foreseen: the IoU of prediction and truth at each judged step."""

    still: list[float] = field(default_factory=list)
    watched: list[float] = field(default_factory=list)
    findings: Counter[CameraFinding] = field(default_factory=Counter)

    def row(self, name: str) -> list[str]:
        pictures = max(1, self.findings.total())
        shares = [self.findings[finding] / pictures for finding in CameraFinding]
        means = [float(np.mean(values)) for values in (self.still, self.watched)]
        return [name, *(number(value) for value in (*means, *shares))]


@dataclass(frozen=True, slots=True)
class Cost:
    """Median milliseconds of one core."""

    small_ms: float
    measure_ms: float
    encode_ms: float

    def table(self) -> Table:
        watch_ms = self.small_ms + self.measure_ms
        parts = (
            ("small picture", self.small_ms),
            ("motion", self.measure_ms),
            ("both", watch_ms),
            ("image encoder", self.encode_ms),
        )
        cells = [[name, number(ms), number(ms / self.encode_ms)] for name, ms in parts]
        return table(("part", "ms", "of the encoder's"), cells)


def foresee(case: Case, footage: Footage) -> Foresight | None:
    """Show a gate the true boxes of a case's objects; None where nothing can be judged."""
    answer, before = Foresight(), None
    gates: dict[int, tuple[MotionGate, MotionGate]] = {}
    for frame in case.make(footage):
        now = small_grey(frame.image_bgr)
        camera = None if before is None else measure_camera(before, now).scaled(CELLS)
        before = now
        if camera is not None:
            answer.findings[camera.finding] += 1
        for object_id in frame.visible or {}:
            gates.setdefault(object_id, (true_gate(), true_gate()))
        for object_id, (still, watched) in gates.items():
            box = true_box(frame, object_id)
            follow(still, frame.step_s, None, box, answer.still)
            follow(watched, frame.step_s, camera, box, answer.watched)
    return answer if answer.still else None


def true_gate() -> MotionGate:
    """Return a gate by the default rules that believes every box, as it is a true one."""
    rules = PRESETS[DEFAULT_PRESET].gate
    assert rules is not None
    return MotionGate(replace(rules, follow_iou=0.0, hold_steps=MAX_HOLD_STEPS, slack=0.0))


def true_box(frame: CaseFrame, object_id: int) -> F32 | None:
    """Return where an object is, (4,) corners in cells; None where that is not known."""
    target = (frame.visible or {}).get(object_id)
    if target is None or object_id in frame.unsure:
        return None
    x, y, width, height = box_of(target)
    corners = np.array((x, y, x + width, y + height))
    return np.asarray(corners * CELLS / np.tile(frame.size_wh, 2), np.float32)


def follow(
    gate: MotionGate, step_s: float, camera: CameraMotion | None, box: F32 | None, ious: list[float]
) -> None:
    gate.advance(step_s, camera)
    if box is None:
        return
    iou = gate.motion_iou(box)
    if iou is not None:
        ious.append(iou)
    gate.observe(box, predicted_iou=1.0)


def measure_cost(pictures: Sequence[U8], model: str) -> Cost:
    """Time the parts on 720p pictures that follow each other."""
    large = [np.asarray(cv2.resize(picture, SIZE_WH), np.uint8) for picture in pictures]
    small = [small_grey(picture) for picture in large]
    with load_model(model, options=EngineOptions(threads=1)) as networks:
        return Cost(
            _median_ms(small_grey, [(picture,) for picture in large]),
            _median_ms(measure_camera, list(pairwise(small))),
            _median_ms(networks.encode_image, [(picture,) for picture in large[:ENCODER_RUNS]]),
        )


def _median_ms(call: Callable[..., object], arguments: Sequence[tuple[U8, ...]]) -> float:
    times = []
    for given in arguments:
        begun = time.process_time_ns()
        call(*given)
        times.append((time.process_time_ns() - begun) / 1e6)
    return float(np.median(times))


def foresight_table(rows: Sequence[tuple[str, Foresight]]) -> Table:
    headers = ("clip", "camera ignored", "camera watched", *CameraFinding)
    still = np.mean([np.mean(found.still) for _, found in rows])
    watched = np.mean([np.mean(found.watched) for _, found in rows])
    mean = ["mean", number(float(still)), number(float(watched)), *("" for _ in CameraFinding)]
    return table(headers, [*(found.row(name) for name, found in rows), mean])


def run(options: argparse.Namespace) -> None:
    """Measure and publish; raises what the exit codes name."""
    data = read_selected(options.data, options.clips)
    clips: list[MaskClip | BoxClip] = [*data.mask_clips, *data.box_clips]
    footages = [Footage(clip) for clip in clips]
    if not footages:
        raise DatasetError(f"{options.data}: no clips")
    sections = []
    for case in (CASES[name] for name in options.case):
        found = [(one.name, foresee(case, one)) for one in tqdm(footages, case.name, disable=None)]
        rows = [(name, one) for name, one in found if one is not None]
        if rows:
            title = f"{case.name}: IoU of the foreseen box with the true one; what was measured"
            sections.append(Section(foresight_table(rows), title))
    longest = max(footages, key=lambda one: one.count)
    pictures = [longest.at(index).image_bgr for index in range(min(longest.count, TIMED_PICTURES))]
    cost = measure_cost(pictures, options.model)
    title = f"CPU time of one core at {SIZE_WH[0]}x{SIZE_WH[1]}, {longest.name}"
    sections.append(Section(cost.table(), title))
    head = [model_line(options.model), *describe_environment().lines(), "threads 1"]
    publish(Report(head, sections), options.markdown, BLOCK)


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = report_parser(BLOCK, __doc__)
    parser.add_argument("data", type=Path, metavar="DATA_DIR")
    parser.add_argument("--clips", metavar="A,B", help="only these clips")
    parser.add_argument("--case", type=words(tuple(CASES), "case"), default=SHOWN, metavar="A,B")
    parser.add_argument("--model", default="nano", help="model name or folder")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_arguments(arguments)
    cv2.setNumThreads(1)
    codes: dict[type[Exception], int] = {DatasetError: BAD_INPUT, EngineError: NO_MODEL}
    return exit_code(lambda: run(options), codes)


if __name__ == "__main__":
    prepare_streams()
    sys.exit(main())
