"""`python -m bench.vanish`: an object that leaves the picture again and again, over half an hour.

The demo scene with `source.demo_vanish_s`, straight through the tracker on one click, without
threads or drops, as fast as it goes; time is media time. A return counts as recovered where the
same object's mask overlaps the truth by half within two seconds of its first frame in the picture.
Memory is read from /proc (Linux only). Exit code 1 where fewer than 9 of 10 returns are recovered,
a mask shows what is not there on more than one frame of 20, or memory grows; 2 where the run is too
short for one return.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Final

import numpy as np
from tqdm import tqdm

from bench.cases.scoring import GOOD_OVERLAP, RECOVERY_S
from bench.endurance import Sample, growth, read_sample
from bench.reports.environment import describe_environment, model_line
from bench.reports.report import (
    NO_MODEL,
    Report,
    Section,
    Table,
    add_output,
    faults_code,
    number,
    publish,
    report_parser,
    table,
)
from bench.scores.metrics import compute_j
from samcam.engines import EngineError, EngineOptions
from samcam.live.frames import NS_PER_S, Frame, Prompt
from samcam.live.sources import SourceOptions
from samcam.live.sources.demo import GEAR_ID, RISE_FRAMES, DemoScene, Vanishing, demo_clicks
from samcam.live.tracker import DEFAULT_PRESET, PRESETS, Tracker
from samcam.system import prepare_streams

BLOCK: Final = "vanish"
SIZE_WH: Final = (854, 480)
AIM: Final = 0.9  # of the returns
MAX_FALSE: Final = 0.05  # of the frames without the object
# As bench.demo has it: fewer pixels of the object than this say nothing about tracking.
MIN_VISIBLE_SHARE: Final = 0.05
SAMPLES: Final = 200


@dataclass(slots=True)
class Absence:
    """One time that the object was not to be seen, and what came of it.

    Attributes:
        left: It left the picture; else it passed behind the pillar.
        start: First frame without it.
        frames: How many; of which on `false_frames` a mask was shown.
        back_at: First frame with it; None: the run ended before.
        found_after: Frames from there until a mask lay on it; None: not in time.
        judged: Whether it was in the picture for long enough to say so.
    """

    left: bool
    start: int
    frames: int = 0
    false_frames: int = 0
    back_at: int | None = None
    found_after: int | None = None
    judged: bool = False


@dataclass(slots=True)
class ReturnJudge:
    """Follows one object through a run: when it was away, and how soon it was found again.

    Attributes:
        within: Frames after its return within which it must be found.
        ious: Overlap of mask and truth on each frame that has the object.
    """

    within: int
    absences: list[Absence] = field(default_factory=list)
    ious: list[float] = field(default_factory=list)
    _away: bool = False

    def see(self, index: int, visible: bool, gone: bool, shown: bool, iou: float) -> None:
        """Take one more frame.

        Args:
            visible: Whether the object is in the picture, so far that it counts.
            gone: Whether it has no pixel in it.
            shown: Whether a mask is shown.
            iou: Of mask and truth, 0..1.
        """
        if not visible and not self._away:
            self.absences.append(Absence(left=False, start=index))
        self._away = not visible
        if not visible:
            absence = self.absences[-1]
            absence.frames += gone
            absence.false_frames += gone and shown
            return
        self.ious.append(iou)
        if not self.absences or self.absences[-1].judged:
            return
        absence = self.absences[-1]
        if absence.back_at is None:
            absence.back_at = index
        after = index - absence.back_at
        if iou >= GOOD_OVERLAP:
            absence.found_after = after
        absence.judged = absence.found_after is not None or after >= self.within

    def mark_left(self) -> None:
        """Tell that the absence of now is one that leaves the picture."""
        if self._away:
            self.absences[-1].left = True


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one kind of absence came to, of those that ended early enough to be judged.

    Attributes:
        returns, recovered: How often it came back, and was found again in time.
        median_s, worst_s: Media time from its first frame to the first mask on it; None: never.
        false_share: Frames without it on which a mask was shown, of all of them.
    """

    returns: int
    recovered: int
    median_s: float | None
    worst_s: float | None
    false_share: float

    @property
    def rate(self) -> float:
        return self.recovered / self.returns if self.returns else 0.0

    @classmethod
    def of(cls, absences: Sequence[Absence], fps: float) -> Outcome:
        judged = [one for one in absences if one.judged]
        found = [one.found_after / fps for one in judged if one.found_after is not None]
        frames = sum(one.frames for one in absences)
        return cls(
            returns=len(judged),
            recovered=len(found),
            median_s=float(np.median(found)) if found else None,
            worst_s=max(found, default=None),
            false_share=sum(one.false_frames for one in absences) / max(1, frames),
        )

    def row(self, name: str) -> list[str]:
        return [
            name,
            f"{self.recovered} of {self.returns}",
            number(self.median_s, 2),
            number(self.worst_s, 2),
            f"{100 * self.false_share:.1f} %",
        ]


@dataclass(frozen=True, slots=True)
class Endured:
    """A whole run."""

    fps: float
    frames: int
    judge: ReturnJudge
    samples: tuple[Sample, ...]

    @property
    def left(self) -> Outcome:
        return Outcome.of([one for one in self.judge.absences if one.left], self.fps)

    @property
    def hidden(self) -> Outcome:
        return Outcome.of([one for one in self.judge.absences if not one.left], self.fps)

    @property
    def mean_iou(self) -> float:
        return float(np.mean(self.judge.ious)) if self.judge.ious else 0.0

    @property
    def faults(self) -> list[str]:
        """What is not as it should be, a line each."""
        faults, left = [], self.left
        if left.rate < AIM:
            faults.append(
                f"{left.recovered} of {left.returns} returns recovered within {RECOVERY_S:g} s, "
                f"expected at least {AIM:.0%}"
            )
        if left.false_share > MAX_FALSE:
            faults.append(
                f"a mask was shown on {left.false_share:.1%} of the frames without the object, "
                f"expected at most {MAX_FALSE:.0%}"
            )
        return faults + (growth(self.samples) if self.samples else [])

    def table(self) -> Table:
        head = ("the gear", "recovered in 2 s", "median s", "worst s", "mask shown while away")
        rows = [self.left.row("left the picture"), self.hidden.row("passed behind the pillar")]
        return table(head, rows)

    def lines(self) -> list[str]:
        minutes = self.frames / self.fps / 60
        lines = [
            f"{minutes:.1f} minutes of media time at {self.fps:g} frames/s, {self.frames} frames; "
            f"mean IoU {self.mean_iou:.3f} while in the picture"
        ]
        if self.samples:
            rss = [sample.rss_mib for sample in self.samples]
            lines.append(
                f"memory of the process: {rss[len(rss) // 4]:.0f} MiB after a quarter, "
                f"{rss[-1]:.0f} MiB at the end"
            )
        return lines


def endure(tracker: Tracker, vanishing: Vanishing, fps: float, frames: int) -> Endured:
    """Track the gear through so many frames, from one click on the first."""
    scene = DemoScene(SIZE_WH, vanishing=vanishing)
    least = MIN_VISIBLE_SHARE * int(np.count_nonzero(scene.render(0)[1] == GEAR_ID))
    judge = ReturnJudge(within=round(RECOVERY_S * fps))
    samples: list[Sample] = []
    every = max(1, frames // SAMPLES)
    x, y = demo_clicks(SIZE_WH)[GEAR_ID]
    tracker.prompt(Prompt.click(x, y, GEAR_ID))
    for index in tqdm(range(frames), desc=BLOCK, disable=None):
        picture, ids = scene.render(index)
        result = tracker.step(Frame(index, round(index * NS_PER_S / fps), 0, picture))
        truth, mine = ids == GEAR_ID, result.object_ids() == GEAR_ID
        pixels = int(np.count_nonzero(truth))
        iou = compute_j(mine, truth)
        judge.see(index, pixels >= least, pixels == 0, bool(mine.any()), iou)
        if vanishing.is_away(index):
            judge.mark_left()
        if index % every == 0 and sys.platform == "linux":
            samples.append(read_sample(os.getpid()))
    return Endured(fps, frames, judge, tuple(samples))


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = report_parser(BLOCK, __doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="media time; 30")
    parser.add_argument("--every", type=float, default=120.0, metavar="SECONDS")
    parser.add_argument("--fps", type=float, default=30.0)
    parser.add_argument("--preset", choices=tuple(PRESETS), default=DEFAULT_PRESET)
    parser.add_argument("--model", default="nano", help="model name or folder")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--threads", type=int, default=2, help="threads of one network")
    add_output(parser, "--json")
    options = parser.parse_args(arguments)
    if not 0 < options.minutes < 1e6:
        parser.error(f"--minutes {options.minutes:g}: expected more than 0, less than a million")
    try:
        SourceOptions(fps=options.fps, demo_vanish_s=options.every)
        options.vanishing = Vanishing.each(options.every, options.fps)
    except ValueError as error:
        parser.error(f"--every {options.every:g} --fps {options.fps:g}: {error}")
    back = options.vanishing.returns_at(1) + RISE_FRAMES
    least = math.ceil((back / options.fps + RECOVERY_S) / 6) / 10  # minutes, to a tenth
    if options.minutes < least:
        parser.error(
            f"--minutes {options.minutes:g}: too short to see the object leave and come back once; "
            f"expected at least {least:g} with --every {options.every:g} --fps {options.fps:g}"
        )
    return options


def run(options: argparse.Namespace) -> list[str]:
    """Measure, publish; return what was wrong."""
    engine_options = EngineOptions(threads=options.threads)
    frames = round(options.minutes * 60 * options.fps)
    with Tracker.open(
        options.model, backend=options.backend, preset=options.preset, options=engine_options
    ) as tracker:
        endured = endure(tracker, options.vanishing, options.fps, frames)
    head = [
        model_line(options.model),
        *describe_environment().lines(),
        f"preset {options.preset}, threads {options.threads}, away every {options.every:g} s",
        *endured.lines(),
    ]
    report = Report(head, [Section(endured.table())])
    data = {
        "fps": options.fps,
        "frames": frames,
        "preset": options.preset,
        "mean_iou": endured.mean_iou,
        "left": asdict(endured.left),
        "hidden": asdict(endured.hidden),
        "absences": [asdict(one) for one in endured.judge.absences],
        "memory_mib": [sample.rss_mib for sample in endured.samples],
    }
    publish(report, options.markdown, BLOCK, options.json, data)
    return endured.faults


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_arguments(arguments)
    return faults_code(lambda: run(options), {EngineError: NO_MODEL})


if __name__ == "__main__":
    prepare_streams()
    sys.exit(main())
