"""`python -m bench.constant`: does a step cost the same for ever, in time, calls and memory?

20,000 steps of each preset on networks that cost nothing, over and over the same story: tracked,
corrected once, lost for a while, found again. Every time round must make the same calls with the
same shapes, and leave no more memory behind (Linux only). Times are of the thread, shown, never
judged. Exit code 1 where something grows.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Final

import numpy as np

from bench.endurance import read_sample
from bench.reports.environment import describe_environment
from bench.reports.report import (
    Report,
    Section,
    add_output,
    faults_code,
    publish,
    report_parser,
    table,
)
from samcam.engines import DecoderOutput, FakeBackend, Sam2Networks, fake_networks
from samcam.live.frames import NS_PER_S, U8, Frame, Prompt
from samcam.live.tracker import PRESETS, Tracker, TrackerSettings
from samcam.system import prepare_streams

BLOCK: Final = "constant"
STEPS: Final = 20_000
PERIOD: Final = 500  # steps after which the story repeats itself
LOST: Final = range(200, 330)  # of each
CORRECTED: Final = 100
# By then there are as many corrections as a bank may hold, and anchors of every part of the story.
WARM_PERIODS: Final = 5
WINDOW: Final = 1_000  # steps over which a time is taken
FPS: Final = 30
IMAGE_SIZE: Final = 64
SIZE_WH: Final = (64, 48)
MAX_BLOCKS: Final = 2_000  # of CPython's allocator; a leak of one a step would be 20,000
MAX_RSS_MIB: Final = 2.0


@dataclass(frozen=True, slots=True)
class Flat:
    """What one preset came to.

    Attributes:
        first_us, last_us: Median step of the first thousand after the warm-up, and of the last.
        blocks: By how many CPython's allocated blocks grew between the end of the warm-up and that
            of the run.
        rss_mib: The same of resident memory.
        calls: Runs of each network in one time round, after the warm-up: as many different tuples
            as there were; one, if they are all alike.
        new_shapes: Combinations of input shapes that came only after the warm-up.
    """

    preset: str
    steps: int
    first_us: float
    last_us: float
    blocks: int
    rss_mib: float
    calls: frozenset[tuple[int, ...]]
    new_shapes: int

    @property
    def faults(self) -> list[str]:
        found = []
        if len(self.calls) != 1:
            found.append(f"calls per round differ: {sorted(self.calls)}")
        if self.new_shapes:
            found.append(f"{self.new_shapes} combinations of shapes came late")
        if self.blocks > MAX_BLOCKS:
            found.append(f"{self.blocks} blocks of memory more, expected at most {MAX_BLOCKS}")
        if self.rss_mib > MAX_RSS_MIB:
            found.append(f"{self.rss_mib:.1f} MiB more, expected at most {MAX_RSS_MIB:g}")
        return [f"preset {self.preset}: {fault}" for fault in found]

    def row(self) -> list[str]:
        return [
            self.preset,
            f"{self.first_us:.0f}",
            f"{self.last_us:.0f}",
            f"{self.last_us / self.first_us:.2f}",
            f"{self.blocks:+d}",
            f"{self.rss_mib * 1024:+.0f}",
        ]


@dataclass(slots=True)
class _Disc:
    """A decoder with one square that goes to and fro, and is gone where it is told."""

    size: int = IMAGE_SIZE // 4
    width: int = 16
    gone: bool = False
    phase: int = 0
    masks: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.masks = np.full((4, self.size, self.size), -6.0, np.float32)

    def decode(self, feeds: Mapping[str, np.ndarray]) -> DecoderOutput:
        del feeds  # it answers from the story alone
        self.masks[:] = -6.0
        left = 4 + abs(self.phase % 8 - 4)
        self.masks[:, 5:10, left : left + 5] = 6.0
        pointers = np.ones((4, self.width), np.float32)
        pointers[:, self.phase % self.width] = 2.0
        ious = np.array((0.1, 0.9, 0.2, 0.3), np.float32)
        return DecoderOutput(self.masks, ious, pointers, -3.0 if self.gone else 5.0)


def calls_of(networks: Sam2Networks) -> tuple[int, ...]:
    return tuple(backend.calls for backend in _backends(networks))


def shapes_of(networks: Sam2Networks) -> int:
    return sum(len(backend.input_shapes) for backend in _backends(networks))


def _backends(networks: Sam2Networks) -> list[FakeBackend]:
    return [backend for backend in networks.backends.values() if isinstance(backend, FakeBackend)]


def _picture() -> U8:
    """A picture with something in it, whose motion can be measured."""
    rng = np.random.default_rng(5)
    return rng.integers(0, 255, (SIZE_WH[1], SIZE_WH[0], 3), dtype=np.uint8)


def measure(settings: TrackerSettings, steps: int = STEPS) -> Flat:
    """Run one preset for a multiple of `PERIOD` steps, more than `WARM_PERIODS` of them."""
    disc = _Disc()
    networks = fake_networks(IMAGE_SIZE, disc.width, decoder=disc.decode)
    picture, spent = _picture(), np.zeros(steps)
    calls: set[tuple[int, ...]] = set()
    warm, shapes, size = WARM_PERIODS * PERIOD, 0, (0, 0.0)
    before = (0,) * len(networks.backends)
    with Tracker(networks, settings, memory_pictures=True) as tracker:
        for index in range(steps):
            disc.phase = index % PERIOD
            disc.gone = disc.phase in LOST
            if disc.phase == CORRECTED or index == 0:
                tracker.prompt(Prompt.click(20.0, 20.0))
            shifted = np.roll(picture, index % 7 - 3, axis=1)
            begun = time.thread_time()
            tracker.step(Frame(index, index * NS_PER_S // FPS, 0, shifted))
            spent[index] = time.thread_time() - begun
            if (index + 1) % PERIOD == 0:
                now = calls_of(networks)
                if index >= warm:
                    calls.add(tuple(b - a for a, b in zip(before, now, strict=True)))
                before = now
            if index + 1 == warm:
                shapes, size = shapes_of(networks), _memory()
        after = _memory()
        late = shapes_of(networks) - shapes
    return Flat(
        preset=settings.name,
        steps=steps,
        first_us=float(np.median(spent[warm : warm + WINDOW]) * 1e6),
        last_us=float(np.median(spent[-WINDOW:]) * 1e6),
        blocks=after[0] - size[0],
        rss_mib=after[1] - size[1],
        calls=frozenset(calls),
        new_shapes=late,
    )


def _memory() -> tuple[int, float]:
    """Return CPython's allocated blocks, and resident memory in MiB (0 where there is no /proc)."""
    gc.collect()
    rss = read_sample(os.getpid()).rss_mib if sys.platform == "linux" else 0.0
    return sys.getallocatedblocks(), rss


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = report_parser(BLOCK, __doc__)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--preset", choices=tuple(PRESETS), help="only this one")
    add_output(parser, "--json")
    options = parser.parse_args(arguments)
    least = (WARM_PERIODS + 2) * PERIOD
    if options.steps < least or options.steps % PERIOD:
        parser.error(f"--steps {options.steps}: expected a multiple of {PERIOD}, {least} or more")
    return options


def run(options: argparse.Namespace) -> list[str]:
    """Measure, publish; return what grows."""
    names = [options.preset] if options.preset else list(PRESETS)
    flats = [measure(PRESETS[name], options.steps) for name in names]
    head = (f"{options.steps} steps", "µs first", "µs last", "ratio", "blocks", "KiB")
    report = Report(
        describe_environment().lines(), [Section(table(head, [flat.row() for flat in flats]))]
    )
    data = [asdict(flat) | {"calls": sorted(flat.calls)} for flat in flats]
    publish(report, options.markdown, BLOCK, options.json, data)
    return [fault for flat in flats for fault in flat.faults]


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_arguments(arguments)
    return faults_code(lambda: run(options), {})


if __name__ == "__main__":
    prepare_streams()
    sys.exit(main())
