"""`python -m bench.hard_cases DATA_DIR`: how presets stand hard cases made from labelled clips.

Every preset (with or without a guide, or without one of its rules) tracks every case of every
clip, straight and without threads. Each result goes to the `--json` file at once; a later call
with that file measures only what is missing in it, so a table may come from many short calls.
Exit codes: 0 fine, 2 wrong use or data, 4 model, 5 output.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from itertools import product
from pathlib import Path

from tqdm import tqdm

from bench.cases.catalogue import CASES
from bench.cases.footage import Footage
from bench.cases.results import Cell, Results, ResultsError, clip_hash, code_hash, settings_hash
from bench.cases.scoring import Tiles, evaluate_case
from bench.cases.tables import hard_cases_report
from bench.cases.variants import GUIDES, NOTHING, VARIANTS, Setup, VariantError
from bench.reports.environment import Environment, describe_environment, model_line
from bench.reports.report import BAD_INPUT, NO_MODEL, NO_OUTPUT, exit_code, publish
from bench.reports.sheet import SheetError, write_sheet
from bench.scores.arguments import data_parser, read_selected, words
from bench.scores.datasets import BoxClip, DatasetError, MaskClip
from samcam.engines import (
    EngineError,
    EngineOptions,
    Sam2Networks,
    find_model,
    load_model,
    read_manifest,
)
from samcam.live.tracker import DEFAULT_PRESET, NO_GUIDE, PRESETS, Tracker
from samcam.system import prepare_streams

BLOCK = "hard_cases"


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = data_parser(BLOCK, __doc__)
    for name, known, default in (
        ("preset", tuple(PRESETS), (DEFAULT_PRESET,)),
        ("case", tuple(CASES), tuple(CASES)),
        ("guide", GUIDES, (NO_GUIDE,)),
        ("without", tuple(VARIANTS), (NOTHING,)),
    ):
        parser.add_argument(
            f"--{name}",
            type=words(known, name),
            default=default,
            metavar="A,B",
            help=f"some of {', '.join(known)}; default {','.join(default)}",
        )
    parser.add_argument("--model", default="nano", help="model name or folder")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--threads", type=int, default=1, help="threads of one network")
    parser.add_argument(
        "--join", type=Path, nargs="+", default=[], metavar="FILE", help="more results of this"
    )
    return parser.parse_args(arguments)


def setups_of(options: argparse.Namespace) -> list[Setup]:
    chosen = product(options.preset, options.guide, options.without, options.prompt)
    return [Setup(preset, prompt, guide, without) for preset, guide, without, prompt in chosen]


def plan(results: Results, footages: Sequence[Footage], options: argparse.Namespace) -> list[Cell]:
    """What is asked for and not measured yet, as cells without a score."""
    return [
        Cell(setup, case, footage.name, None, "")
        for case, setup, footage in product(options.case, setups_of(options), footages)
        if CASES[case].fits(footage) and (setup, case, footage.name) not in results.cells
    ]


def measure(
    results: Results,
    wanted: Sequence[Cell],
    footages: Sequence[Footage],
    networks: Sam2Networks,
    options: argparse.Namespace,
    environment: Environment,
) -> None:
    """Measure the wanted cells, and write the results after each."""
    by_name = {footage.name: footage for footage in footages}
    for cell in tqdm(wanted, disable=None, unit="clip"):
        settings = cell.setup.settings(networks.manifest.name)
        tiles = None if options.out is None else Tiles()
        score = evaluate_case(
            CASES[cell.case],
            by_name[cell.clip],
            Tracker(networks, settings),
            cell.setup.prompt,
            tiles,
        )
        found = Cell(cell.setup, cell.case, cell.clip, score, environment.commit)
        results.cells[found.key] = found
        if tiles is not None and score is not None:
            heading = f"{cell.case}, {cell.clip}: overlap {score.overlap:.3f}  ({cell.setup.label})"
            folder = options.out / cell.setup.label.replace(", ", "_").replace(" ", "-")
            write_sheet(folder / f"{cell.case}_{cell.clip}.png", heading, tiles.kept)
        if options.json is not None:
            results.write(options.json, environment)


def run(options: argparse.Namespace) -> None:
    """Measure what is missing and publish all; raises what the exit codes name."""
    data = read_selected(options.data, options.clips, options.image_set)
    clips: tuple[MaskClip | BoxClip, ...] = (*data.mask_clips, *data.box_clips)
    footages = [Footage(clip) for clip in clips]
    if not any(CASES[case].fits(footage) for case in options.case for footage in footages):
        raise DatasetError(
            f"{data.root}: no clip of {len(clips)} fits --case {','.join(options.case)}; most need "
            "each picture annotated, the twins masks (docs/accuracy.md)"
        )
    results, environment = Results(model_line(options.model), code_hash()), describe_environment()
    results.clips = {footage.name: clip_hash(footage) for footage in footages}
    manifest = read_manifest(find_model(options.model))
    for setup in setups_of(options):
        results.settings[setup.label] = settings_hash(setup.settings(manifest.name))
    own = options.json
    for path in [*options.join, *([own] if own is not None and own.exists() else [])]:
        results.join(path)
    wanted = plan(results, footages, options)
    if wanted:
        engine_options = EngineOptions(threads=options.threads)
        with load_model(options.model, options.backend, engine_options) as networks:
            measure(results, wanted, footages, networks, options, environment)
    if own is not None:
        results.write(own, environment)
    report = hard_cases_report(results, tuple(CASES), environment, options.threads)
    publish(report, options.markdown, BLOCK)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_arguments(arguments)
    codes: dict[type[Exception], int] = {
        DatasetError: BAD_INPUT,
        ResultsError: BAD_INPUT,
        VariantError: BAD_INPUT,
        EngineError: NO_MODEL,
        SheetError: NO_OUTPUT,
        OSError: NO_OUTPUT,
    }
    return exit_code(lambda: run(options), codes)


if __name__ == "__main__":
    prepare_streams()
    sys.exit(main())
