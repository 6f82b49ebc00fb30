"""The tables of the accuracy program, from its scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from bench.reports.report import Table, mean_and_error, number, number_and_error, table
from bench.scores.clicks import CLICKS_SHOWN, MAX_CLICKS, REACHED, ClickScore
from bench.scores.evaluate import BoxClipScore, MaskClipScore
from bench.scores.prompts import PromptKind
from bench.scores.stills import StillScore

QUARTERS = ("Q1", "Q2", "Q3", "Q4")
FIGURES = ("J", "F", "J&F", "AUC", "P20", "P_norm")

Clips: TypeAlias = tuple[Sequence[MaskClipScore], Sequence[BoxClipScore]]


@dataclass(frozen=True, slots=True)
class Means:
    """Means over clips, each clip counting once, None where there is none; and the standard
    errors of these means, None below two clips."""

    mask_clips: int
    j: float | None
    f: float | None
    jf: float | None
    box_clips: int
    auc: float | None
    p20: float | None
    p_norm: float | None
    errors: Mapping[str, float | None]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def means(masks: Sequence[MaskClipScore], boxes: Sequence[BoxClipScore]) -> Means:
    values = _values(masks, boxes)
    return Means(
        mask_clips=len(masks),
        box_clips=len(boxes),
        errors={key: mean_and_error(v)[1] if v else None for key, v in values.items()},
        **{key: _mean(v) for key, v in values.items()},
    )


def _values(
    masks: Sequence[MaskClipScore], boxes: Sequence[BoxClipScore]
) -> dict[str, list[float]]:
    """Each figure of `FIGURES` for every clip that has it."""
    return {
        "j": [clip.j for clip in masks],
        "f": [clip.f for clip in masks],
        "jf": [clip.jf for clip in masks],
        "auc": [clip.scores.auc for clip in boxes],
        "p20": [clip.scores.p20 for clip in boxes],
        "p_norm": [clip.scores.p_norm for clip in boxes],
    }


def _quarters(clips: Sequence[MaskClipScore] | Sequence[BoxClipScore]) -> list[str]:
    return [number(_mean([clip.quarters[q] for clip in clips]), 2) for q in range(len(QUARTERS))]


def _ms(seconds: float, frames: int) -> str:
    return f"{seconds * 1000 / frames:.0f}"


def mask_table(clips: Sequence[MaskClipScore]) -> Table:
    """J, F, J&F, J by quarters of the clip and milliseconds per frame, with the mean."""
    rows = [
        [
            clip.name,
            str(len(clip.objects)),
            str(clip.judged),
            number(clip.j),
            number(clip.f),
            number(clip.jf),
            *(number(value, 2) for value in clip.quarters),
            _ms(clip.seconds, clip.frames),
        ]
        for clip in clips
    ]
    mean = means(clips, ())
    frames = sum(clip.frames for clip in clips)
    rows.append(
        [
            f"mean of {len(clips)}",
            str(sum(len(clip.objects) for clip in clips)),
            str(sum(clip.judged for clip in clips)),
            number(mean.j),
            number(mean.f),
            number(mean.jf),
            *_quarters(clips),
            _ms(sum(clip.seconds for clip in clips), frames),
        ]
    )
    return table(("clip", "objects", "judged", "J", "F", "J&F", *QUARTERS, "ms/frame"), rows)


def box_table(clips: Sequence[BoxClipScore]) -> Table:
    rows = [
        [
            clip.name,
            str(clip.scores.frames),
            number(clip.scores.auc),
            number(clip.scores.p20),
            number(clip.scores.p_norm),
            *(number(value, 2) for value in clip.quarters),
            _ms(clip.seconds, clip.frames),
        ]
        for clip in clips
    ]
    mean = means((), clips)
    rows.append(
        [
            f"mean of {len(clips)}",
            str(sum(clip.scores.frames for clip in clips)),
            number(mean.auc),
            number(mean.p20),
            number(mean.p_norm),
            *_quarters(clips),
            _ms(sum(clip.seconds for clip in clips), sum(clip.frames for clip in clips)),
        ]
    )
    return table(("clip", "judged", "AUC", "P20", "P_norm", *QUARTERS, "ms/frame"), rows)


def means_table(found: Mapping[str, Clips]) -> Table:
    """Each run's means with their standard errors over the clips."""
    rows = [
        [name, *(number_and_error(values) for values in _values(*clips).values())]
        for name, clips in found.items()
    ]
    return table(("run", *FIGURES), rows)


def attribute_tables(
    found: Mapping[str, Clips], attributes: Mapping[str, frozenset[str]]
) -> dict[str, Table]:
    """J&F and AUC of the clips with each attribute, by figure; the header says how many."""
    names = sorted({name for own in attributes.values() for name in own})
    shown: dict[str, Table] = {}
    for figure, which in (("J&F", 0), ("AUC", 1)):
        first = next(iter(found.values()))[which]
        counts = {
            name: sum(name in attributes.get(clip.name, ()) for clip in first) for name in names
        }
        used = [name for name in names if counts[name]]
        rows = [
            [run, *(number_and_error(_with(clips, attributes, name, which)) for name in used)]
            for run, clips in found.items()
        ]
        if used:
            shown[figure] = table(("run", *(f"{name} ({counts[name]})" for name in used)), rows)
    return shown


def _with(
    clips: Clips, attributes: Mapping[str, frozenset[str]], name: str, which: int
) -> list[float]:
    masks, boxes = clips
    if which == 0:
        return [clip.jf for clip in masks if name in attributes.get(clip.name, ())]
    return [clip.scores.auc for clip in boxes if name in attributes.get(clip.name, ())]


def stills_table(scores: Sequence[StillScore]) -> Table:
    return table(
        ("set", "prompt", "instances", "selected", "best", "scored absent"),
        [
            [
                score.name,
                score.kind,
                str(len(score.instances)),
                number(score.selected),
                number(score.best),
                str(score.missed),
            ]
            for score in scores
        ],
    )


def clicks_table(scores: Sequence[ClickScore]) -> Table:
    """Mean IoU after so many clicks; the share that gets to an IoU, and in how many clicks."""
    headers = [
        *("set", "a click sees", "instances"),
        *(f"IoU, {count} {'click' if count == 1 else 'clicks'}" for count in CLICKS_SHOWN),
        *(f"reach {iou} in {MAX_CLICKS}" for iou in REACHED),
        *(f"NoC@{iou}" for iou in REACHED),
    ]
    rows = [
        [
            *(score.name, score.rule, str(len(score.instances))),
            *(number(value) for value in (*score.ious, *score.reached)),
            *(number(value, 2) for value in score.clicks),
        ]
        for score in scores
    ]
    return table(headers, rows)


def summary_table(
    runs: Mapping[PromptKind, Clips],
) -> Table:
    """The two figures that say most, one row each: J&F and AUC, by kind of prompt."""
    found = {kind: means(masks, boxes) for kind, (masks, boxes) in runs.items()}
    first = next(iter(found.values()))
    rows: list[list[str]] = []
    if first.mask_clips:
        what = f"{first.mask_clips} clips with masks: J&F"
        rows.append([what, *(number(mean.jf) for mean in found.values())])
    if first.box_clips:
        what = f"{first.box_clips} clips with boxes: AUC"
        rows.append([what, *(number(mean.auc) for mean in found.values())])
    return table(("prompt on the first frame", *(f"one {kind}" for kind in found)), rows)
