"""Runs the steps in order, each in a process of its own, and stops at the first surprise.

A driver or a library that ends its process, or hangs, is then one line like everything else.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TextIO

from bench.gpu.order import NotHere, Order, Outcome, Step, Surprise, cut
from bench.reports.environment import REPOSITORY

MAX_LOG_BYTES: Final = 6 << 20
GRACE_S: Final = 20.0  # after its budget, for a step to end by itself
LEAST_S: Final = 5.0  # nothing is begun with less
_ERROR_LINE: Final = 400
# Those that end the program; Windows lacks the last one.
ENDING: Final = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)

Runner = Callable[[Step, Order], Outcome]


class Log:
    """Everything that was said: on the terminal and in one file of bounded size."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._room = MAX_LOG_BYTES

    def say(self, line: str) -> None:
        """Write one of the program's own lines."""
        print(line, flush=True)
        self.note(line + "\n")

    def note(self, text: str) -> None:
        """Write to the file only."""
        if self._room <= 0:
            return
        self._room -= len(text.encode(errors="replace"))
        self._file.write(text if self._room > 0 else "\n(the log is full: cut here)\n")
        self._file.flush()


@dataclass(frozen=True, slots=True)
class Taken:
    """A step's outcome, with the seconds that it took."""

    step: Step
    outcome: Outcome
    seconds: float


def run_day(
    steps: Sequence[Step],
    order: Order,
    log: Log,
    run: Runner,
    after: Callable[[Sequence[Taken]], None],
) -> list[Taken]:
    """Run the steps until one of them is a surprise.

    Args:
        order: `ends_at_s` is the end of the whole day.
        run: Runs one step by its end; never raises what the step raised.
        after: Called after each step, so that a day that is stopped leaves its report.
    """
    taken: list[Taken] = []
    failed: dict[str, str] = {}  # name of a step that cannot be built on, and its status
    for number, step in enumerate(steps, 1):
        missing = [name for name in step.needs if name in failed]
        if missing:
            failed[step.name] = failed[missing[0]]
            if failed[step.name] != "skipped":  # else its own line says it
                log.say(f"[{number}/{len(steps)}] {step.title}: left out: needs {missing[0]}")
            continue
        begun = time.monotonic()
        if order.left_s() < LEAST_S:
            outcome = Outcome("cut", "no time left")
        else:
            log.note(f"\n--- {step.name}\n")
            ends_at_s = min(order.ends_at_s, begun + step.budget_s)
            outcome = run(step, replace(order, ends_at_s=ends_at_s))
        taken.append(Taken(step, outcome, time.monotonic() - begun))
        word = "" if outcome.status == "done" else f"{outcome.status.upper()}: "
        seconds = taken[-1].seconds
        log.say(f"[{number}/{len(steps)}] {step.title}: {word}{outcome.line} ({seconds:.1f} s)")
        if outcome.status in ("skipped", "cut"):
            failed[step.name] = outcome.status
        after(taken)
        if outcome.status == "surprise":
            break
    return taken


def answer(step: Step, order: Order, save: Callable[[Outcome], None]) -> Outcome:
    """Run a step in this process; whatever it raises becomes its outcome, with what it saved."""
    found = Outcome("done", "")

    def keep(outcome: Outcome) -> None:
        nonlocal found
        found = outcome
        save(outcome)

    try:
        return step.run(order, keep)
    except NotHere as error:
        return replace(found, status="skipped", line=one_line(str(error)))
    except Surprise as error:
        return replace(found, status="surprise", line=one_line(str(error)))
    except Exception as error:  # of whatever library: the surprise that the day looks for
        traceback.print_exc()
        said = one_line(f"{type(error).__name__}: {error}")
        return replace(found, status="surprise", line=said)


def one_line(text: str) -> str:
    joined = " ".join(text.split())
    return joined if len(joined) <= _ERROR_LINE else f"{joined[:_ERROR_LINE]}…"


def in_process(log: Log) -> Runner:
    """Return what runs a step in a process of its own, its output in the log."""

    def run(step: Step, order: Order) -> Outcome:
        order.work.mkdir(parents=True, exist_ok=True)
        given, result = order.work / "order.json", order.work / f"{step.name}.json"
        result.unlink(missing_ok=True)
        order.write(given)
        command = [sys.executable, "-m", "bench.gpu.child", step.name, str(given), str(result)]
        code, stopped = _watch(command, order.left_s() + GRACE_S, log)
        return _read(result, code, stopped)

    return run


def _watch(command: Sequence[str], seconds: float, log: Log) -> tuple[int, bool]:
    """Run a command with its output in the log; return its code and whether it was stopped."""
    child: subprocess.Popen[str] | None = None
    stopped = threading.Event()

    def stop() -> None:
        stopped.set()
        if child is not None:
            _kill(child)

    clock = threading.Timer(max(0.0, seconds), stop)
    try:
        with _signals_wait():
            child = subprocess.Popen(
                command,
                cwd=REPOSITORY,
                env={**os.environ, **_environment()},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,  # so that compilers that it started end with it
            )
            clock.start()
        assert child.stdout is not None
        for line in child.stdout:
            log.note(line)
        return child.wait(), stopped.is_set()
    finally:
        clock.cancel()
        if child is not None:
            clock.join()
            if child.poll() is None:
                _kill(child)
            with child:  # waits, and closes the pipe
                pass


@contextmanager
def _signals_wait() -> Iterator[None]:
    """Let signals that end the program wait: between a child's start and its handle they would
    leave it behind. Children begin with the system's own handlers all the same."""
    came: list[int] = []
    usual = {number: signal.signal(number, lambda n, _: came.append(n)) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
    for number in came:
        signal.raise_signal(number)


def _environment() -> Mapping[str, str]:
    """Return what makes a checkout importable that is not installed, and output come at once."""
    paths = filter(None, (str(REPOSITORY), os.environ.get("PYTHONPATH", "")))
    return {"PYTHONUNBUFFERED": "1", "PYTHONPATH": os.pathsep.join(paths)}


def _kill(child: subprocess.Popen[str]) -> None:
    try:
        if os.name == "posix":
            os.killpg(child.pid, signal.SIGKILL)
        else:
            child.kill()
    except (ProcessLookupError, PermissionError):
        return  # all of them have ended


def _read(result: Path, code: int, stopped: bool) -> Outcome:
    """Return a child's outcome; where it did not end by itself, what it had saved."""
    saved = Outcome.read(result) if result.is_file() else Outcome("surprise", "")
    if stopped:
        return cut(saved, "stopped at the end of its time")
    if code or not result.is_file():
        how = f"code {code}"
        if code < 0:
            how = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        return replace(saved, status="surprise", line=f"its process ended with {how}, see the log")
    return saved
