"""`python -m bench.suggest DATA_DIR`: how many labelled objects are proposed without a prompt.

Runs the automatic mask generator of `--suggest` on the demo scene and on the photographs of
DATA_DIR/stills. Exit codes: 0 fine, 2 wrong use or data, 4 model, 5 output.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from tqdm import tqdm

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
from bench.scores.datasets import (
    VOID_OR_BINARY,
    DatasetError,
    StillSet,
    read_object_ids,
    read_picture,
)
from bench.scores.layouts import read_dataset
from bench.scores.metrics import compute_j
from samcam.engines import EngineError, EngineOptions, Sam2Networks, load_model
from samcam.live.config import load_settings, suggest_rules
from samcam.live.errors import ConfigError
from samcam.live.frames import U8
from samcam.live.masks import upsample_logits
from samcam.live.sources.demo import DEMO_SEED, PERIOD, DemoScene
from samcam.live.tracker import MaskGenerator, SuggestRules
from samcam.system import prepare_streams

BLOCK: Final = "suggest"
FOUND_IOU: Final = 0.5
DEMO_PICTURES: Final = 12
DEMO_SIZE_WH: Final = (854, 480)


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """A picture (H, W, 3) and its object ids (H, W)."""

    image_bgr: U8
    ids: U8


@dataclass(frozen=True, slots=True)
class SetScore:
    """One set of pictures.

    Attributes:
        best: For each labelled object the IoU of the proposal that fits it best.
        proposals: How many each picture got.
        seconds: Time for all of them, encoding included.
    """

    name: str
    best: tuple[float, ...]
    proposals: tuple[int, ...]
    seconds: float

    @property
    def recall(self) -> float:
        """Share of the objects with a proposal of IoU 0.5 or more."""
        return float(np.mean([iou >= FOUND_IOU for iou in self.best])) if self.best else 0.0


def demo_pictures() -> Iterator[Labelled]:
    """Frames from all over the demo scene, each with other bricks and leaves."""
    for index in range(DEMO_PICTURES):
        scene = DemoScene(DEMO_SIZE_WH, DEMO_SEED + index)
        yield Labelled(*scene.render(index * PERIOD // DEMO_PICTURES))


def still_pictures(stills: StillSet) -> Iterator[Labelled]:
    """The photographs of a set; DatasetError where one cannot be read."""
    for picture, mask in stills.pairs:
        yield Labelled(read_picture(picture), read_object_ids(mask))


def score_set(
    name: str, pictures: Iterator[Labelled], networks: Sam2Networks, rules: SuggestRules
) -> SetScore:
    """Make the proposals of every picture and compare each object with all of them."""
    best: list[float] = []
    counts: list[int] = []
    seconds = 0.0
    for picture in tqdm(pictures, desc=name, disable=None):
        size_wh = (picture.ids.shape[1], picture.ids.shape[0])
        begun = time.perf_counter()
        features = networks.encode_image(picture.image_bgr)
        generator = MaskGenerator(networks, features, size_wh, rules)
        for _ in generator:
            pass
        seconds += time.perf_counter() - begun
        valid = picture.ids != VOID_OR_BINARY
        objects = [int(v) for v in np.unique(picture.ids) if v not in (0, VOID_OR_BINARY)]
        found = dict.fromkeys(objects, 0.0)
        for proposal in generator.proposals:
            mask = (upsample_logits(proposal.mask_logits, size_wh) > 0) & valid
            for value in objects:
                found[value] = max(found[value], compute_j(mask, picture.ids == value))
        best += found.values()
        counts.append(len(generator.proposals))
    return SetScore(name, tuple(best), tuple(counts), seconds)


def scores_table(scores: Sequence[SetScore]) -> Table:
    return table(
        ("set", "pictures", "objects", "recall", "mean best IoU", "proposals", "s/picture"),
        [
            [
                score.name,
                str(len(score.proposals)),
                str(len(score.best)),
                number(score.recall),
                number(float(np.mean(score.best)) if score.best else None),
                number(float(np.mean(score.proposals)) if score.proposals else None, 1),
                number(score.seconds / max(1, len(score.proposals)), 1),
            ]
            for score in scores
        ],
    )


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = report_parser(BLOCK, __doc__)
    parser.add_argument("data", type=Path, nargs="?", metavar="DATA_DIR")
    parser.add_argument("--model", default="nano", help="model name or folder")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--threads", type=int, default=2, help="threads of one network")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="suggest.KEY=VALUE"
    )
    return parser.parse_args(arguments)


def measure(options: argparse.Namespace) -> Report:
    """Run everything; raises what the exit codes name."""
    settings = load_settings(None, options.set).suggest
    still_sets = read_dataset(options.data).still_sets if options.data is not None else ()
    engine = EngineOptions(threads=options.threads)
    with load_model(options.model, options.backend, engine) as networks:
        rules = suggest_rules(settings, networks.manifest.name)
        scores = [score_set("demo", demo_pictures(), networks, rules)]
        for stills in still_sets:
            scores.append(score_set(stills.name, still_pictures(stills), networks, rules))
    environment = describe_environment()
    lines = [model_line(options.model), *environment.lines(), f"threads {options.threads}"]
    return Report([*lines, str(rules)], [Section(scores_table(scores))])


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_arguments(arguments)
    codes = {ConfigError: BAD_INPUT, DatasetError: BAD_INPUT, EngineError: NO_MODEL}
    return exit_code(lambda: publish(measure(options), options.markdown, BLOCK), codes)


if __name__ == "__main__":
    prepare_streams()
    sys.exit(main())
