"""`python -m bench.hover`: what a mouse that never rests, or a search for objects, costs inference.

The real inference loop with the real networks on the demo's pictures, one object tracked. A thread
asks for a hover mask 60 times a second, or rests; both take turns within one run. The camera is
always ahead and the networks have one thread, so inference never waits, and its rate is counted in
seconds of its thread's CPU time: other load on the machine does not weigh on it.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bench.reports.environment import describe_environment, model_line
from bench.reports.report import (
    NO_MODEL,
    Report,
    Section,
    Table,
    exit_code,
    publish,
    report_parser,
    table,
)
from samcam.engines import EngineError, EngineOptions, load_model
from samcam.live.commands import HoverRequest, PinStep, SuggestRequest
from samcam.live.control import Controls
from samcam.live.frames import NS_PER_S, Frame, FrameResult, Prompt
from samcam.live.loop import run_inference
from samcam.live.slots import Closed, Slot
from samcam.live.sources.demo import GEAR_ID, DemoScene, demo_clicks
from samcam.live.tracker import PRESETS, Tracker
from samcam.live.watchdog import Watchdog
from samcam.system import prepare_streams

SIZE_WH = (854, 480)
FPS = 30
PICTURES = 90
MOUSE_HZ = 60
NEW_ID = 200
AIM = 0.9
BLOCK = "hover"


@dataclass(frozen=True, slots=True)
class Case:
    """How the mouse moves.

    Attributes:
        object_id: For which object it would click.
        frozen: Whether it moves over one picture that is frozen for prompting.
        suggests: Whether objects are searched for there, point after point, instead.
    """

    name: str
    object_id: int
    frozen: bool
    suggests: bool = False


CASES = (
    Case("a new object, moving picture", NEW_ID, False),
    Case("the tracked object, moving picture", GEAR_ID, False),
    Case("the tracked object, frozen picture", GEAR_ID, True),
    Case("a search for objects, frozen picture", GEAR_ID, True, True),
)


@dataclass(frozen=True, slots=True)
class Rates:
    """Per CPU second of inference: frames tracked while nobody hovers and while somebody does, and
    hovers answered meanwhile."""

    resting: float
    hovering: float
    answers: float


class Mouse:
    """Moves for a turn, rests for a turn, all of its turns; counts what happens meanwhile."""

    def __init__(self, controls: Controls, case: Case, turns: int, turn_s: float) -> None:
        self._controls = controls
        self._case = case
        self._turn_count = turns
        self._turn_s = turn_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._move, name="mouse", daemon=True)
        self._frozen: int | None = None
        self._steps = 0
        self._cpu_s = 0.0
        self._answers = 0
        self._request: SuggestRequest | None = None
        self._searched = 0
        self._turns: list[tuple[int, float]] = []

    def seen(self, result: FrameResult, _: float) -> None:
        self._steps, self._cpu_s = result.step + 1, time.thread_time()

    def start(self) -> None:
        self._thread.start()

    def is_busy(self) -> bool:
        return self._thread.is_alive()

    def stop(self) -> Rates:
        """Stop, wait for the end, and return the rates over all whole turns but the first."""
        self._stop.set()
        self._thread.join(1.0)
        totals = []
        for turns in (self._turns[1::2], self._turns[2::2]):
            seconds = sum(length_s for _, length_s in turns)
            totals.append(sum(steps for steps, _ in turns) / seconds if seconds else math.nan)
        moved_s = sum(length_s for _, length_s in self._turns[1::2])
        return Rates(totals[1], totals[0], self._answers / moved_s if moved_s else math.nan)

    def _move(self) -> None:
        for _ in range(self._turn_count):
            steps, cpu_s, start_s = self._steps, self._cpu_s, time.perf_counter()
            moving = len(self._turns) % 2 == 1
            self._request = None
            self._controls.suggest.put(None)
            while time.perf_counter() < start_s + self._turn_s:
                if self._stop.wait(1 / MOUSE_HZ):
                    return
                if moving and self._steps:
                    self._ask(time.perf_counter() - start_s)
            self._turns.append((self._steps - steps, self._cpu_s - cpu_s))

    def _ask(self, moment_s: float) -> None:
        step = self._steps - 1
        if self._case.frozen:
            if self._frozen is None:
                self._frozen = step
                self._controls.send(PinStep(step))
            step = self._frozen
        if self._case.suggests:
            self._search(step)
            return
        x, y = 20 + 200 * moment_s % (SIZE_WH[0] - 40), 20 + 90 * moment_s % (SIZE_WH[1] - 40)
        self._answers += self._controls.hover_answer.take() is not None
        self._controls.hover.put(HoverRequest(self._case.object_id, step, x, y))

    def _search(self, step: int) -> None:
        """Search for objects, again and again; a point counts as an answer."""
        found = self._controls.suggestions.peek()
        if self._request is not None and found is not None and found.request is self._request:
            self._answers += found.done - self._searched
            self._searched = found.done
            if found.done < found.total:
                return
        elif self._request is not None:
            return
        self._request, self._searched = SuggestRequest(step), 0
        self._controls.suggest.put(self._request)


def measure(case: Case, model: str, pairs: int, turn_s: float) -> Rates:
    """Track with a camera that is always ahead, through so many pairs of turns."""
    scene = DemoScene(SIZE_WH)
    pictures = [scene.render(index)[0] for index in range(PICTURES)]
    tracker = Tracker(load_model(model, "auto", EngineOptions(threads=1)), PRESETS["default"])
    tracker.prompt(Prompt.click(*demo_clicks(SIZE_WH)[GEAR_ID], GEAR_ID))
    frames: Slot[Frame] = Slot("blocking")
    results: Slot[FrameResult] = Slot("newest")
    controls = Controls(8)
    mouse = Mouse(controls, case, 2 * pairs + 1, turn_s)
    arguments = (frames, results, controls, tracker, Watchdog(), mouse.seen)
    thread = threading.Thread(target=run_inference, args=arguments, name="inference", daemon=True)
    thread.start()
    mouse.start()
    try:
        for index in itertools.count():
            if not mouse.is_busy():
                break
            now_ns = time.perf_counter_ns()
            picture = pictures[index % len(pictures)]
            frames.put(Frame(index, index * NS_PER_S // FPS, now_ns, picture))
    except Closed:
        results.get(0)  # raises what stopped it
    finally:
        rates = mouse.stop()
        controls.stop.set()
        frames.close()
        thread.join()
    return rates


def hover_table(measured: Sequence[tuple[Case, Rates]]) -> Table:
    head = (
        "mouse over",
        "frames/CPU s resting",
        "frames/CPU s hovering",
        f"ratio (aim {AIM})",
        "masks/CPU s",
    )
    return table(
        head,
        [
            [
                case.name,
                f"{rates.resting:.1f}",
                f"{rates.hovering:.1f}",
                f"{rates.hovering / rates.resting:.3f}" if rates.resting else "-",
                f"{rates.answers:.1f}",
            ]
            for case, rates in measured
        ],
    )


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = report_parser(BLOCK, __doc__)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--pairs", type=int, default=8, help="pairs of turns")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of one turn")
    options = parser.parse_args(arguments)
    if options.pairs < 1 or options.seconds < 0.5:
        parser.error("expected --pairs of at least 1 and --seconds of at least 0.5")
    return options


def run(options: argparse.Namespace) -> None:
    measured = [
        (case, measure(case, options.model, options.pairs, options.seconds)) for case in CASES
    ]
    head = [*describe_environment().lines(), model_line(options.model)]
    publish(Report(head, [Section(hover_table(measured))]), options.markdown, BLOCK)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_arguments(arguments)
    return exit_code(lambda: run(options), {EngineError: NO_MODEL})


if __name__ == "__main__":
    prepare_streams()
    sys.exit(main())
