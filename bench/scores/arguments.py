"""Arguments of the programs that measure on labelled data: which data, clips and prompts."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.reports.report import add_output, report_parser
from bench.scores.datasets import Dataset, DatasetError
from bench.scores.layouts import read_dataset
from bench.scores.prompts import PROMPT_KINDS


def words(known: Sequence[str], what: str) -> Callable[[str], tuple[str, ...]]:
    """Return an argparse type: a comma-separated choice of `known` words."""

    def parse(text: str) -> tuple[str, ...]:
        words = tuple(text.split(","))
        wrong = [word for word in words if word not in known]
        if wrong:
            raise argparse.ArgumentTypeError(
                f"unknown {what} {wrong[0]!r}; expected some of {', '.join(known)}"
            )
        return words

    return parse


def positive(text: str) -> float:
    """An argparse type: a number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return value


def data_parser(block: str, doc: str | None) -> argparse.ArgumentParser:
    """Return a parser for what to measure on, with which prompts, and where the figures go."""
    parser = report_parser(block, doc)
    parser.add_argument("data", type=Path, metavar="DATA_DIR")
    parser.add_argument(
        "--prompt",
        type=words(PROMPT_KINDS, "prompt"),
        default=("box",),
        metavar="box|click",
        help="box, click or box,click",
    )
    parser.add_argument("--clips", metavar="A,B", help="only these clips and still sets")
    parser.add_argument(
        "--image-set", metavar="YEAR/SET", help="only DAVIS's clips of this list, such as 2017/val"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="write contact sheets here")
    add_output(parser, "--json")
    return parser


def read_selected(root: Path, clips: str | None, image_set: str | None = None) -> Dataset:
    """Read labelled data; with `clips` ("A,B") only those clips and sets.

    `image_set`: As `read_dataset` has it.

    Raises:
        DatasetError: The data is not as expected, or a name is not there.
    """
    data = read_dataset(root, image_set)
    if not clips:
        return data
    names = clips.split(",")
    known = [clip.name for clip in data.mask_clips]
    known += [clip.name for clip in data.box_clips]
    known += [stills.name for stills in data.still_sets]
    for name in names:
        if name not in known:
            raise DatasetError(f"--clips {name}: not in {data.root}; it has {', '.join(known)}")
    return Dataset(
        data.root,
        tuple(clip for clip in data.mask_clips if clip.name in names),
        tuple(clip for clip in data.box_clips if clip.name in names),
        tuple(stills for stills in data.still_sets if stills.name in names),
    )
