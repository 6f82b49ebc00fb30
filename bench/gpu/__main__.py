"""`python -m bench.gpu`: the day with an NVIDIA GPU, what `make gpu` runs.

Runs in order: driver, packages, memory tests; TensorRT's engines built, compared, inspected and
timed; torch compared and timed, eager and compiled, beside transformers' own session; thousands of
frames that must stay flat. It stops at the first surprise with one line and exit code 1 (4: there
is no GPU). What a machine has no packages for is left out with one line; a step that would pass
its time is cut, and that is said.

`--part torch` needs no TensorRT and downloads nothing: any Python with torch, transformers,
numpy, OpenCV and safetensors will do, from a checkout, installed or not.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, get_args

from bench.gpu.day import GRACE_S, Log, Taken, in_process, run_day
from bench.gpu.machine import NO_GPU
from bench.gpu.order import FLAT_FRAMES, OBJECTS, SIZES, Order, Part
from bench.gpu.report import LOG, Day, check_limits
from bench.gpu.steps import DRIVER, steps_of
from bench.reports.environment import describe_environment
from bench.reports.report import NO_MODEL, NO_OUTPUT, ReportError
from bench.sam2 import SIZES as ALL_SIZES
from samcam.engines.tensorrt import find_driver
from samcam.system import Interrupted, Interrupts, prepare_streams

SURPRISED: Final = 1


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--part", choices=get_args(Part), default="all")
    parser.add_argument("--out", type=Path, default=Path("out/gpu"), metavar="DIR")
    parser.add_argument(
        "--minutes",
        type=float,
        default=9.0,
        help="for everything, stopping the last step included (9)",
    )
    parser.add_argument(
        "--device", choices=("cuda", "cpu"), default="cuda", help="cpu tries the torch part itself"
    )
    parser.add_argument("--size", type=int, nargs="+", choices=ALL_SIZES, default=list(SIZES))
    parser.add_argument("--objects", type=int, nargs="+", default=list(OBJECTS), metavar="N")
    parser.add_argument("--frames", type=int, default=FLAT_FRAMES, help="of the long run")
    options = parser.parse_args(arguments)
    if not options.minutes > 0:
        parser.error(f"--minutes {options.minutes:g}: expected more than 0")
    if options.frames < 1:
        parser.error(f"--frames {options.frames}: expected at least 1")
    if min(options.objects) < 1:
        parser.error(f"--objects {min(options.objects)}: expected at least 1")
    if options.device == "cpu" and options.part != "torch":
        parser.error("--device cpu: only with --part torch")
    return options


def run(options: argparse.Namespace) -> int:
    """Run the day; return the exit code."""
    begun = time.monotonic()
    if options.device != "cpu" and find_driver() is None:  # before anything is made
        print(f"error: {NO_GPU}", file=sys.stderr)
        return NO_MODEL
    asked = f"bench.gpu --part {options.part}, {options.device}"
    day = Day(options.out.resolve(), asked, describe_environment())
    day.open_folder()
    work = Path(tempfile.mkdtemp(prefix="samcam-gpu-"))
    order = Order(
        work=work,
        part=options.part,
        device=options.device,
        sizes=tuple(options.size),
        frames=options.frames,
        objects=tuple(options.objects),
        ends_at_s=begun + options.minutes * 60 - GRACE_S,
    )
    steps = steps_of(order)
    try:
        with (day.folder / LOG).open("w", encoding="utf-8") as file:
            log = Log(file)
            for line in (asked, *day.environment.lines()):
                log.say(line)
            taken = run_day(steps, order, log, in_process(log), day.write)
            code = conclude(taken, day.folder, time.monotonic() - begun, log)
        check_limits(day.folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return code


def conclude(taken: Sequence[Taken], folder: Path, seconds: float, log: Log) -> int:
    """Say how the day ended; return its exit code."""
    by_status = {
        status: [one.step.name for one in taken if one.outcome.status == status]
        for status in ("done", "cut", "skipped", "surprise")
    }
    counts = ", ".join(
        f"{len(names)} {status}" + ("" if status == "done" else f" ({', '.join(names)})")
        for status, names in by_status.items()
        if names
    )
    log.say(f"{counts}; {seconds:.0f} s; {folder}")
    if not by_status["surprise"]:
        return 0
    last = taken[-1]
    line = f"error: {last.step.title}: {last.outcome.line}"
    log.note(line + "\n")
    print(line, file=sys.stderr)
    return NO_MODEL if last.step.name == DRIVER else SURPRISED


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_arguments(arguments)
    try:
        with Interrupts():  # a step is in a session of its own: only this process can end it
            return run(options)
    except ReportError as error:
        print(f"error: {error}", file=sys.stderr)
        return NO_OUTPUT
    except Interrupted as error:
        print("error: stopped; what was done is in the report", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    prepare_streams()
    sys.exit(main())
