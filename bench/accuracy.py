"""`python -m bench.accuracy DATA_DIR`: how well a model tracks, on labelled clips and pictures.

Each clip runs straight through the tracker, without threads or drops, so a run gives the same
figures again. Tables go to stdout; `--json`, `--markdown` and `--out` (contact sheets) keep them.
Exit codes: 0 fine, 2 wrong use or data, 4 model, 5 output.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

from tqdm import tqdm

from bench.cases.variants import GUIDES, VariantError, guided
from bench.reports.accuracy_tables import (
    attribute_tables,
    box_table,
    clicks_table,
    mask_table,
    means,
    means_table,
    stills_table,
    summary_table,
)
from bench.reports.environment import Environment, describe_environment, model_line
from bench.reports.report import (
    BAD_INPUT,
    NO_MODEL,
    NO_OUTPUT,
    Report,
    Section,
    add_output,
    exit_code,
    publish,
    write_block,
)
from bench.reports.sheet import SheetError, write_sheet
from bench.scores.arguments import data_parser, positive, read_selected, words
from bench.scores.attributes import clip_attributes, read_attributes
from bench.scores.clicks import (
    CLICK_RULES,
    MAX_CLICKS,
    ClickedNetworks,
    ClickScore,
    evaluate_clicks,
)
from bench.scores.datasets import BoxClip, Dataset, DatasetError, MaskClip
from bench.scores.evaluate import (
    BoxClipScore,
    MaskClipScore,
    StepTracker,
    evaluate_box_clip,
    evaluate_mask_clip,
)
from bench.scores.prompts import PromptKind
from bench.scores.realtime import RealTimeTracker
from bench.scores.stills import PromptedNetworks, StillScore, StillSegmenter, evaluate_stills
from bench.scores.watched import watched, write_timelines
from samcam.engines import EngineError, EngineOptions, Sam2Networks, load_model
from samcam.live.frames import U8
from samcam.live.tracker import (
    DEFAULT_PRESET,
    NO_GUIDE,
    PRESETS,
    CropSettings,
    Tracker,
    TrackerSettings,
)
from samcam.system import prepare_streams

BLOCK = "accuracy"
CROP_ON = "on"
CROP_AUTO = "auto"
CROP_KINDS = (CROP_AUTO, "off", CROP_ON)
WITH_CROP = "+crop"  # behind the names of presets and photographs


@dataclass(frozen=True, slots=True)
class RunScore:
    """All clips under one preset, None where there are none, and one kind of prompt.

    A preset with `tracker.crop` on is called NAME+crop.
    """

    preset: str | None
    prompt: PromptKind
    mask_clips: tuple[MaskClipScore, ...]
    box_clips: tuple[BoxClipScore, ...]

    @property
    def title(self) -> str:
        prompt = f"prompt {self.prompt}"
        return prompt if self.preset is None else f"preset {self.preset}, {prompt}"


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Everything one call measured.

    Attributes:
        attributes: What makes each clip hard.
        real_time: Rate of the pictures and time of a step, where some were missed.
    """

    model: str
    threads: int
    environment: Environment
    runs: tuple[RunScore, ...]
    stills: tuple[StillScore, ...]
    clicks: tuple[ClickScore, ...] = ()
    attributes: Mapping[str, frozenset[str]] = field(default_factory=dict)
    real_time: str | None = None

    def report(self) -> Report:
        """The tables, under where and with what the figures were taken."""
        parts: list[Section] = []
        for run in self.runs:
            shown = run.preset == self.runs[0].preset  # in the page; of the others the means
            if run.mask_clips:
                parts.append(Section(mask_table(run.mask_clips), f"Masks: {run.title}", shown))
            if run.box_clips:
                parts.append(Section(box_table(run.box_clips), f"Boxes: {run.title}", shown))
        if self.runs:
            found = {run.title: (run.mask_clips, run.box_clips) for run in self.runs}
            parts.append(Section(means_table(found), "Means over the clips ± standard error"))
            for figure, rows in attribute_tables(found, self.attributes).items():
                parts.append(Section(rows, f"{figure} by attribute (clips)"))
        if self.stills:
            title = "Photographs: one prompt, no memory"
            parts.append(Section(stills_table(self.stills), title))
        if self.clicks:
            title = "Photographs: one click after the other, each on the largest error, no memory"
            parts.append(Section(clicks_table(self.clicks), title))
        head = [self.model, *self.environment.lines(), f"threads {self.threads}"]
        if self.real_time is not None:
            head.append(self.real_time)
        return Report(head, parts)

    def summary_markdown(self) -> str:
        """The means of the first preset only, for README."""
        preset = self.runs[0].preset
        first = {
            run.prompt: (run.mask_clips, run.box_clips) for run in self.runs if run.preset == preset
        }
        foot = f"{self.model}; preset {preset}; commit {self.environment.commit}."
        return f"{summary_table(first).markdown()}\n\n{foot}"

    def to_json(self) -> dict[str, object]:
        """Everything, each frame's score included."""
        runs = [
            asdict(run) | {"mean": asdict(means(run.mask_clips, run.box_clips))}
            for run in self.runs
        ]
        return {
            "model": self.model,
            "threads": self.threads,
            "environment": asdict(self.environment),
            "runs": runs,
            "stills": [asdict(score) for score in self.stills],
            "clicks": [asdict(score) for score in self.clicks],
            "attributes": {name: sorted(own) for name, own in self.attributes.items()},
            "real_time": self.real_time,
        }


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = data_parser(BLOCK, __doc__)
    parser.add_argument("--model", default="nano", help="model name or folder")
    parser.add_argument("--backend", default="auto")
    parser.add_argument(
        "--preset", type=words(tuple(PRESETS), "preset"), default=(DEFAULT_PRESET,), metavar="A,B"
    )
    parser.add_argument(
        "--crop",
        type=words(CROP_KINDS, "crop"),
        default=CROP_KINDS[:1],
        metavar="auto|off|on",
        help="auto (as users run the model), off, on, or several, such as off,on (auto)",
    )
    parser.add_argument(
        "--clicks", action=argparse.BooleanOptionalAction, default=True,
        help=f"also click on photographs until the mask is good, at most {MAX_CLICKS} times",
    )  # fmt: skip
    parser.add_argument(
        "--guide",
        type=words(GUIDES, "guide"),
        default=(NO_GUIDE,),
        metavar="A,B",
        help="none, nanotrack or none,nanotrack",
    )
    parser.add_argument(
        "--realtime",
        type=positive,
        metavar="FPS",
        help="pictures that come during a step are missed",
    )
    parser.add_argument(
        "--step-ms", type=positive, metavar="MS", help="how long a step takes; else as measured"
    )
    parser.add_argument("--threads", type=int, default=2, help="threads of one network")
    parser.add_argument(
        "--plot", type=Path, metavar="DIR", help="draw a timeline of every object into this folder"
    )
    add_output(parser, "--summary", f"{BLOCK}-summary")
    options = parser.parse_args(arguments)
    if options.step_ms is not None and options.realtime is None:
        parser.error("--step-ms: expected --realtime FPS beside it")
    blind = [name for name in options.preset if PRESETS[name].gate is None]
    if blind and CROP_ON in options.crop:
        parser.error(f"--crop on: the preset {blind[0]} has no motion gate to steer a crop")
    return options


def evaluate_run(
    data: Dataset,
    make_tracker: Callable[[], StepTracker],
    preset: str | None,
    kind: PromptKind,
    out: Path | None,
    plots: Path | None = None,
) -> RunScore:
    """Track every clip with a new tracker and one kind of prompt.

    Contact sheets go to `out`, timelines to `plots`.
    """
    mask_scores: list[MaskClipScore] = []
    box_scores: list[BoxClipScore] = []
    title = f"{preset}, {kind}" if preset else kind
    folder = f"{preset}_{kind}" if preset else kind
    sheets = None if out is None else out / folder
    timelines = None if plots is None else plots / folder
    progress = tqdm(total=len(data.mask_clips) + len(data.box_clips), desc=title, disable=None)
    with progress:
        for mask_clip in data.mask_clips:
            tracker = watched(make_tracker(), timelines)
            score, tiles = evaluate_mask_clip(mask_clip, tracker, kind)
            if score is not None:
                mask_scores.append(score)
                heading = f"{score.name}: J {score.j:.3f}  F {score.f:.3f}  ({title})"
                _write_tiles(sheets, score.name, heading, tiles)
                write_timelines(timelines, heading, tracker, score)
            progress.update()
        for box_clip in data.box_clips:
            tracker = watched(make_tracker(), timelines)
            box_score, tiles = evaluate_box_clip(box_clip, tracker, kind)
            if box_score is not None:
                box_scores.append(box_score)
                heading = f"{box_score.name}: AUC {box_score.scores.auc:.3f}  ({title})"
                _write_tiles(sheets, box_score.name, heading, tiles)
                write_timelines(timelines, heading, tracker, box_score)
            progress.update()
    return RunScore(preset, kind, tuple(mask_scores), tuple(box_scores))


def measure_stills(
    data: Dataset, segmenter: StillSegmenter, out: Path | None, suffix: str = ""
) -> tuple[StillScore, ...]:
    """Prompt every instance of every photograph; `suffix` is added to the sets' names."""
    stills: list[StillScore] = []
    for still_set in data.still_sets:
        named = replace(still_set, name=f"{still_set.name}{suffix}")
        scores, tiles = evaluate_stills(named, segmenter)
        stills += scores.values()
        for kind, score in scores.items():
            heading = f"{score.name}, {kind}: selected {score.selected:.3f}, best {score.best:.3f}"
            sheets = None if out is None else out / f"stills_{kind}"
            _write_tiles(sheets, score.name, heading, tiles[kind])
    return tuple(stills)


def _write_tiles(folder: Path | None, name: str, heading: str, tiles: Sequence[U8]) -> None:
    if folder is not None:
        write_sheet(folder / f"{name}.png", heading, tiles)


def crop_on(kind: str, preset: str, model: str) -> bool:
    """Whether `tracker.crop` is on.

    Args:
        kind: One of `CROP_KINDS`; auto is what `run_live.py` and `Tracker.open` do.
        preset: Its name; one without a gate has nothing to steer a crop with.
        model: Name in the model's manifest.
    """
    if kind == CROP_AUTO:
        return PRESETS[preset].for_model(model).crop is not None
    return kind == CROP_ON


def measure(data: Dataset, networks: Sam2Networks, options: argparse.Namespace) -> Accuracy:

    def tracker(settings: TrackerSettings, crop: CropSettings | None) -> StepTracker:
        own = Tracker(networks, replace(settings, crop=crop))
        if options.realtime is None:
            return own
        return RealTimeTracker(own, options.realtime, options.step_ms)

    chosen = {
        (preset, crop_on(kind, preset, networks.manifest.name)): None
        for preset in options.preset
        for kind in options.crop
    }
    crops = {on: CropSettings() if on else None for _, on in chosen}
    suffixes = {True: WITH_CROP, False: ""}
    helps = {guide: "" if guide == NO_GUIDE else f"+{guide}" for guide in options.guide}
    rules = [
        (f"{preset}{suffixes[on]}{helped}", partial(tracker, guided(preset, guide), crops[on]))
        for preset, on in chosen
        for guide, helped in helps.items()
    ]
    stills = [
        measure_stills(data, PromptedNetworks(networks, crop), options.out, suffixes[on])
        for on, crop in crops.items()
    ]
    return Accuracy(
        model_line(options.model),
        options.threads,
        describe_environment(),
        tuple(
            evaluate_run(data, make_tracker, name, kind, options.out, options.plot)
            for name, make_tracker in rules
            for kind in options.prompt
        ),
        tuple(score for scores in stills for score in scores),
        tuple(
            evaluate_clicks(still_set, ClickedNetworks(networks, rule), rule)
            for still_set in data.still_sets
            for rule in CLICK_RULES
            if options.clicks
        ),
        clip_attributes_of(data),
        real_time_line(options.realtime, options.step_ms),
    )


def clip_attributes_of(data: Dataset) -> dict[str, frozenset[str]]:
    """What makes each clip hard: what its truth says, and what the data's own file adds."""
    clips: tuple[MaskClip | BoxClip, ...] = (*data.mask_clips, *data.box_clips)
    said = read_attributes(data.root)
    return {clip.name: clip_attributes(clip) | said.get(clip.name, frozenset()) for clip in clips}


def real_time_line(fps: float | None, step_ms: float | None) -> str | None:
    if fps is None:
        return None
    takes = "as long as it took here" if step_ms is None else f"{step_ms:g} ms"
    return f"real time: {fps:g} pictures a second, a step takes {takes}"


def run(options: argparse.Namespace) -> None:
    """Measure what was asked for and publish it; raises what the exit codes name."""
    data = read_selected(options.data, options.clips, options.image_set)
    engine_options = EngineOptions(threads=options.threads)
    with load_model(options.model, options.backend, engine_options) as networks:
        accuracy = measure(data, networks, options)
    publish(accuracy.report(), options.markdown, BLOCK, options.json, accuracy.to_json())
    if options.summary is not None:
        write_block(options.summary, f"{BLOCK}-summary", accuracy.summary_markdown())


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_arguments(arguments)
    codes: dict[type[Exception], int] = {
        DatasetError: BAD_INPUT,
        VariantError: BAD_INPUT,
        EngineError: NO_MODEL,
    }
    return exit_code(lambda: run(options), codes | {SheetError: NO_OUTPUT, OSError: NO_OUTPUT})


if __name__ == "__main__":
    prepare_streams()
    sys.exit(main())
