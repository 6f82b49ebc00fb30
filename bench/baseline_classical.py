"""`python -m bench.baseline_classical DATA_DIR`: what no network at all reaches on the same data.

`bench.scores.grabcut` in the model's place: the same clips, prompts, photographs and figures as
`bench.accuracy`. With `--beside FILE`, the JSON of a run of that program, both stand in one table.
Exit codes: 0 fine, 2 wrong use or data, 5 output.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import cv2

from bench.accuracy import (
    WITH_CROP,
    Accuracy,
    evaluate_run,
    measure_stills,
)
from bench.reports.environment import describe_environment
from bench.reports.report import (
    BAD_INPUT,
    NO_OUTPUT,
    Report,
    Section,
    Table,
    exit_code,
    number,
    publish,
    table,
)
from bench.reports.sheet import SheetError
from bench.scores.arguments import data_parser, read_selected
from bench.scores.datasets import Dataset, DatasetError
from bench.scores.grabcut import LONGEST_SIDE_PX, GrabCutStills, GrabCutTracker
from bench.scores.prompts import PromptKind
from samcam.live.tracker import DEFAULT_PRESET
from samcam.system import prepare_streams

BLOCK: Final = "baseline_classical"
METHOD: Final = f"GrabCut and DIS optical flow on pictures of at most {LONGEST_SIDE_PX} pixels"
MASK_FIGURES: Final = (("j", "J"), ("f", "F"), ("jf", "J&F"))
PHOTOGRAPHS: Final = "photographs"
BOX_FIGURES: Final = (("auc", "AUC"), ("p20", "P20"), ("p_norm", "P_norm"))


@dataclass(frozen=True, slots=True)
class Figures:
    """The means of a run of `bench.accuracy` or of this program.

    Attributes:
        source: One line: of what, and by which commit.
        values: By what the table's first column says.
        names: The clips by kind of prompt, and the sets of photographs.
    """

    source: str
    values: dict[str, float]
    names: dict[str, frozenset[str]]


def figures_of(report: dict[str, Any]) -> Figures:
    """Take the means out of `Accuracy.to_json`; of several presets the default one counts.

    What was measured with crops is left out.

    Raises:
        KeyError, TypeError: It is not laid out so.
    """
    values: dict[str, float] = {}
    names: dict[str, set[str]] = {}
    for run in report["runs"]:
        if run["preset"] in (None, DEFAULT_PRESET):
            mean, kind = run["mean"], run["prompt"]
            for count, what, figures in (
                (mean["mask_clips"], "clips with masks", MASK_FIGURES),
                (mean["box_clips"], "clips with boxes", BOX_FIGURES),
            ):
                if count:
                    labels = {f"{count} {what}, {kind}: {label}": key for key, label in figures}
                    values |= {label: float(mean[key]) for label, key in labels.items()}
            clips = [*run["mask_clips"], *run["box_clips"]]
            names.setdefault(kind, set()).update(clip["name"] for clip in clips)
    for score in report["stills"]:
        if score["name"].endswith(WITH_CROP):
            continue
        names.setdefault(PHOTOGRAPHS, set()).add(score["name"])
        label = f"{len(score['instances'])} instances in {score['name']}, {score['kind']}: IoU"
        values[label] = float(score["selected"])
    source = f"{report['model']}, commit {report['environment']['commit']}"
    return Figures(source, values, {kind: frozenset(clips) for kind, clips in names.items()})


def read_figures(path: Path) -> Figures:
    """Read the JSON that `bench.accuracy --json` writes.

    Raises:
        DatasetError: It is none.
    """
    try:
        return figures_of(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise DatasetError(f"--beside {path}: cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DatasetError(f"--beside {path}: expected the JSON of bench.accuracy") from error


def check_same(data: Dataset, kinds: Sequence[str], other: Figures) -> None:
    """Refuse to compare with figures of other clips, prompts or photographs.

    Raises:
        DatasetError: They were measured on something else.
    """
    clips = {clip.name for clip in data.mask_clips} | {clip.name for clip in data.box_clips}
    wanted = dict.fromkeys(kinds, clips) if clips else {}
    if data.still_sets:
        wanted[PHOTOGRAPHS] = {stills.name for stills in data.still_sets}
    for what, names in wanted.items():
        for name in sorted(names ^ other.names.get(what, frozenset())):
            raise DatasetError(f"--beside: {what}: only one of both has {name}")


def comparison_table(mine: Figures, other: Figures) -> Table:
    model = other.source.partition(",")[0].removeprefix("model ")
    return table(
        ("mean", "classical", model),
        [
            [label, number(value), number(other.values.get(label))]
            for label, value in mine.values.items()
        ],
    )


def measure(data: Dataset, kinds: Sequence[PromptKind], out: Path | None) -> Accuracy:
    return Accuracy(
        METHOD,
        cv2.getNumThreads(),
        describe_environment(),
        tuple(evaluate_run(data, GrabCutTracker, None, kind, out) for kind in kinds),
        measure_stills(data, GrabCutStills(), out),
    )


def run(options: argparse.Namespace) -> None:
    """Measure what was asked for and publish it; raises what the exit codes name."""
    data = read_selected(options.data, options.clips, options.image_set)
    beside = None if options.beside is None else read_figures(options.beside)
    if beside is not None:
        check_same(data, options.prompt, beside)
    accuracy = measure(data, options.prompt, options.out)
    kept, report = accuracy.to_json(), accuracy.report()
    sections = list(report.sections)
    if beside is not None:
        sections = [replace(section, in_page=False) for section in sections]
        means = comparison_table(figures_of(kept), beside)
        sections.insert(0, Section(means, f"Means, beside {beside.source}"))
    publish(Report(report.head, sections), options.markdown, BLOCK, options.json, kept)


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = data_parser(BLOCK, __doc__)
    parser.add_argument(
        "--beside", type=Path, metavar="FILE", help="the JSON of bench.accuracy on the same data"
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_arguments(arguments)
    codes: dict[type[Exception], int] = {DatasetError: BAD_INPUT}
    return exit_code(lambda: run(options), codes | {SheetError: NO_OUTPUT, OSError: NO_OUTPUT})


if __name__ == "__main__":
    prepare_streams()
    sys.exit(main())
