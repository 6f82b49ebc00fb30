"""The tables of the accuracy program, from its scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.reports.report import Table, number, table
from bench.scores.clicks import CLICKS_SHOWN, MAX_CLICKS, REACHED, ClickScore
from bench.scores.evaluate import BoxClipScore, MaskClipScore
from bench.scores.prompts import PromptKind
from bench.scores.stills import StillScore

QUARTERS = ("Q1", "Q2", "Q3", "Q4")


@dataclass(frozen=True, slots=True)
class Means:
    """Means over clips, each clip counting once; None where there is none."""

    mask_clips: int
    j: float | None
    f: float | None
    jf: float | None
    box_clips: int
    auc: float | None
    p20: float | None
    p_norm: float | None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def means(masks: Sequence[MaskClipScore], boxes: Sequence[BoxClipScore]) -> Means:
    return Means(
        len(masks),
        _mean([clip.j for clip in masks]),
        _mean([clip.f for clip in masks]),
        _mean([clip.jf for clip in masks]),
        len(boxes),
        _mean([clip.scores.auc for clip in boxes]),
        _mean([clip.scores.p20 for clip in boxes]),
        _mean([clip.scores.p_norm for clip in boxes]),
    )


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


def means_table(found: Mapping[str, Means]) -> Table:
    figures = ("j", "f", "jf", "auc", "p20", "p_norm")
    rows = [
        [name, *(number(getattr(mean, key)) for key in figures)] for name, mean in found.items()
    ]
    return table(("run", "J", "F", "J&F", "AUC", "P20", "P_norm"), rows)


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
    runs: Mapping[PromptKind, tuple[Sequence[MaskClipScore], Sequence[BoxClipScore]]],
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
