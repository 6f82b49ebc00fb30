"""`python -m bench.smooth DATA_DIR`: how well the masks fit that `--smooth` shows between answers.

Time is counted in frames: inference takes so many frames of the clip, then answers for the frame
it was given and takes the newest. Shown are, for every frame: the newest mask as it is (held), the
same shifted by its box's last motion (shifted), or carried by `live.motion.carry`; beside them a
model that answers for every frame at once. "Truth" puts the annotation in the model's place, which
leaves the carrying alone. Exit codes as `bench.accuracy`.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeAlias

import cv2
import numpy as np
from tqdm import tqdm

from bench.reports.environment import describe_environment, model_line
from bench.reports.report import (
    BAD_INPUT,
    NO_MODEL,
    NO_OUTPUT,
    Report,
    Section,
    exit_code,
    number,
    publish,
    report_parser,
    table,
)
from bench.scores.datasets import (
    VOID_OR_BINARY,
    DatasetError,
    MaskClip,
    read_object_ids,
)
from bench.scores.evaluate import NOMINAL_FPS, object_ids_of, read_frames
from bench.scores.layouts import read_dataset
from bench.scores.metrics import compute_j
from bench.scores.prompts import prompt_from_mask
from samcam.engines import EngineError, EngineOptions, Sam2Networks, load_model
from samcam.live.frames import F32, U8, Frame, FrameResult, ObjectResult, ObjectState
from samcam.live.motion import Carrier
from samcam.live.tracker import DEFAULT_PRESET, PRESETS, Tracker
from samcam.system import prepare_streams

RATES_FPS: Final = (10, 5)
BLOCK: Final = "smooth"
_TRUTH_SIDE: Final = 256  # of logits made from annotation
_FAR_OUTSIDE: Final = -10.0

Results: TypeAlias = Mapping[int, FrameResult]


@dataclass(slots=True)
class Score:
    """What one way of showing masks came to: the IoU of each judged object and frame."""

    ious: list[float]

    @property
    def mean(self) -> float | None:
        return float(np.mean(self.ious)) if self.ious else None


def infer(clip: MaskClip, frames: Sequence[Frame], every: int, networks: Sam2Networks) -> Results:
    """Track each `every`-th frame; objects are prompted with a box where they first appear."""
    tracker = Tracker(networks, PRESETS[DEFAULT_PRESET])
    prompted: set[int] = set()
    for index, path in sorted(clip.mask_paths.items()):
        truth = read_object_ids(path)
        for object_id in sorted(object_ids_of(truth) - prompted):
            tracker.prompt(prompt_from_mask(truth == object_id, "box", object_id, index))
            prompted.add(object_id)
    return {frame.index: tracker.step(frame) for frame in frames[::every]}


def annotate(clip: MaskClip, frames: Sequence[Frame], every: int) -> Results:
    """Return each `every`-th frame's annotation as if a model had found it."""
    results = {}
    for frame in frames[::every]:
        truth = read_object_ids(clip.mask_paths[frame.index])
        objects = [_as_result(truth == o, o) for o in sorted(object_ids_of(truth))]
        results[frame.index] = FrameResult(frame, frame.index // every, tuple(objects))
    return results


def _as_result(mask: np.ndarray, object_id: int) -> ObjectResult:
    side = (_TRUTH_SIDE, _TRUTH_SIDE)
    small = cv2.resize(mask.astype(np.float32), side, interpolation=cv2.INTER_AREA)
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    return ObjectResult(
        object_id=object_id,
        state=ObjectState.TRACKING,
        reason="annotated",
        mask_logits=np.asarray(small * 2 - 1, np.float32),
        predicted_iou=1.0,
        object_score=1.0,
        motion_iou=None,
        box_xyxy_px=(float(x), float(y), float(x + width), float(y + height)),
        admitted=True,
        memory_steps=(),
        size_wh=(mask.shape[1], mask.shape[0]),
    )


def shown_carried(
    frames: Sequence[Frame], results: Results, behind: int, costs_ms: list[float]
) -> Results:
    """Show every frame through `live.motion.carry`; answers come `behind` frames late."""
    carrier, shown = Carrier(max_age_ms=60_000.0), {}
    for frame in frames:
        if frame.index - behind in results:
            carrier.answer(results[frame.index - behind])
        begun_s = time.process_time()
        result = carrier.show(frame)
        if result is not None:
            shown[frame.index] = result
            costs_ms.append((time.process_time() - begun_s) * 1000)
    return shown


def shown_held(frames: Sequence[Frame], results: Results, behind: int) -> Results:
    """Show every frame with the newest answer's masks where they were."""
    return {
        frame.index: replace(results[source], frame=frame)
        for frame in frames
        if (source := frame.index // behind * behind - behind) >= 0
    }


def shown_shifted(frames: Sequence[Frame], results: Results, behind: int) -> Results:
    """Show every frame with the newest masks, moved on as their boxes moved between two answers."""
    shown = dict(shown_held(frames, results, behind))
    for frame in frames[2 * behind :]:
        source = frame.index // behind * behind - behind
        before = {item.object_id: item.box_xyxy_px for item in results[source - behind].objects}
        share = (frame.index - source) / behind
        moved = [
            _shift(item, before.get(item.object_id), share, frame.size_wh)
            for item in results[source].objects
        ]
        shown[frame.index] = replace(shown[frame.index], objects=tuple(moved))
    return shown


def _shift(
    item: ObjectResult,
    before: tuple[float, float, float, float] | None,
    share: float,
    size_wh: tuple[int, int],
) -> ObjectResult:
    """Move a mask by `share` of the way of its box's centre since `before`."""
    if item.mask_logits is None or item.box_xyxy_px is None or before is None:
        return item
    way = (np.array(item.box_xyxy_px) - np.array(before)) * share
    rows, columns = item.mask_logits.shape
    dx = float(way[0] + way[2]) / 2 * columns / size_wh[0]
    dy = float(way[1] + way[3]) / 2 * rows / size_wh[1]
    moved = cv2.warpAffine(
        item.mask_logits,
        np.array([[1.0, 0.0, dx], [0.0, 1.0, dy]]),
        (columns, rows),
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=_FAR_OUTSIDE,
    )
    logits: F32 = np.asarray(moved, np.float32)
    return replace(item, mask_logits=logits)


def score(clip: MaskClip, shown: Results, first: int) -> Score:
    """IoU with the truth of every annotated frame from `first` to the last but one."""
    ious = []
    for index, path in clip.mask_paths.items():
        if not first <= index < len(clip.frame_paths) - 1:
            continue
        truth = read_object_ids(path)
        ids: U8 = np.zeros(truth.shape, np.uint8)
        if index in shown:
            ids = shown[index].object_ids()
        ids = np.where(truth == VOID_OR_BINARY, np.uint8(0), ids)
        ious += [compute_j(ids == o, truth == o) for o in sorted(object_ids_of(truth))]
    return Score(ious)


def measure_clip(
    clip: MaskClip, networks: Sam2Networks | None, costs_ms: list[float]
) -> list[float | None]:
    """Return the mean IoU of every way of showing: the columns of the table after the clip.

    Without networks the annotation stands in for the model. `costs_ms` gets the CPU time of every
    carried frame.
    """
    frames = list(read_frames(clip.frame_paths))
    first = NOMINAL_FPS // min(RATES_FPS)  # the same frames for every rate
    cells: list[float | None] = []
    if networks is not None:
        cells.append(score(clip, infer(clip, frames, 1, networks), first).mean)
    for rate in RATES_FPS:
        behind = NOMINAL_FPS // rate
        results = (
            annotate(clip, frames, behind)
            if networks is None
            else infer(clip, frames, behind, networks)
        )
        for shown in (
            shown_held(frames, results, behind),
            shown_shifted(frames, results, behind),
            shown_carried(frames, results, behind, costs_ms),
        ):
            cells.append(score(clip, shown, first).mean)
    return cells


def measure(clips: Sequence[MaskClip], networks: Sam2Networks) -> list[Section]:
    ways = [f"{way}, {rate} fps" for rate in RATES_FPS for way in ("held", "shifted", "carried")]
    costs_ms: list[float] = []
    parts = []
    for title, headers, used, model in (
        ("Model", ["clip", "every frame", *ways], clips, networks),
        ("Truth in the model's place", ["clip", *ways], _fully_annotated(clips), None),
    ):
        if not used:
            continue  # sparse annotation alone cannot stand in for a model
        rows = {clip.name: measure_clip(clip, model, costs_ms) for clip in tqdm(used, disable=None)}
        rows["mean"] = [
            float(np.mean([v for v in column if v is not None]))
            for column in zip(*rows.values(), strict=True)
        ]
        body = table(headers, [[name, *map(number, cells)] for name, cells in rows.items()])
        parts.append(Section(body, title))
    p50, p95 = np.percentile(costs_ms, (50, 95))
    cost = f"CPU time of one frame carried: p50 {p50:.1f} ms, p95 {p95:.1f} ms."
    parts.append(Section(cost, "Cost"))
    return parts


def _fully_annotated(clips: Sequence[MaskClip]) -> list[MaskClip]:
    return [clip for clip in clips if len(clip.mask_paths) == len(clip.frame_paths)]


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = report_parser(BLOCK, __doc__)
    parser.add_argument("data", type=Path, metavar="DATA_DIR")
    parser.add_argument("--model", default="nano", help="model name or folder")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--clips", metavar="A,B", help="only these clips")
    parser.add_argument("--threads", type=int, default=2, help="threads of one network")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace) -> None:
    """Measure the clips that were asked for and publish the tables; raises what the exit codes
    name."""
    names = options.clips.split(",") if options.clips else None
    data = read_dataset(options.data)
    clips = [clip for clip in data.mask_clips if names is None or clip.name in names]
    if not clips:
        raise DatasetError(f"--clips {options.clips}: no such clip with masks in {data.root}")
    begun = time.perf_counter()
    engine = EngineOptions(threads=options.threads)
    with load_model(options.model, options.backend, engine) as networks:
        sections = measure(clips, networks)
    took_s = time.perf_counter() - begun
    head = [model_line(options.model), *describe_environment().lines()]
    publish(Report(head, sections), options.markdown, BLOCK)
    print(f"\n{took_s:.0f} s")


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_arguments(arguments)
    codes = {DatasetError: BAD_INPUT, EngineError: NO_MODEL, OSError: NO_OUTPUT}
    return exit_code(lambda: run(options), codes)


if __name__ == "__main__":
    prepare_streams()
    sys.exit(main())
