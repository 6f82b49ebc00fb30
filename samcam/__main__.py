"""SamCam's program: `main`, and what an error becomes.

What fails where, and the exit code it becomes in `live.cli.command_line`:

    Exception
    |-- ValueError   <- live.errors.ConfigError    exit code 2: wrong use or configuration
    |-- OSError      <- live.errors.CaptureError   exit code 3: source
    |-- RuntimeError <- engines.base.EngineError   exit code 4: engine or model
    |                <- live.errors.SinkError      exit code 5: output
    `-- anything else                              exit code 1: a bug, with its traceback
    system.interrupts.Interrupted (BaseException)  130 after Ctrl-C, 143 after SIGTERM,
                                                   129 after SIGHUP: the terminal was closed

The path of a frame starts in `live.cli.start.run`; see docs/architecture.md for the drawing.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from types import TracebackType

from samcam.system import (
    MEMORY_EXIT_CODE,
    TO_LOAD_MIB,
    Interrupted,
    Interrupts,
    complain,
    finish_streams,
    limit_problem,
    memory_problem,
    prepare_streams,
    run_to_the_end,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code; without `argv` this process ends with the call."""
    if argv is not None:
        return _run(argv, to_the_end=False)
    prepare_streams()
    sys.excepthook = _show_bug
    threading.excepthook = lambda bug: _show_bug(bug.exc_type, bug.exc_value, bug.exc_traceback)
    try:
        return run_to_the_end(lambda: _run(sys.argv[1:], to_the_end=True))
    finally:
        finish_streams()


def _run(words: Sequence[str], to_the_end: bool) -> int:
    try:
        with Interrupts(to_the_end) as interrupts:
            # here, so that Ctrl-C while the packages load is an interruption like any other
            if list(words[:1]) == ["ctl"]:  # before the rest is loaded: a key press waits for it
                from samcam.live.remote import run_ctl

                return run_ctl(words[1:])
            problem = limit_problem(TO_LOAD_MIB)
            if problem is not None:
                complain(f"error: {problem}")
                return MEMORY_EXIT_CODE
            try:
                from samcam.live.cli import run_command_line

                return run_command_line(words, interrupts)
            except Exception as error:
                interrupts.raise_lost()
                problem = memory_problem(error)
                if problem is None:
                    raise
                complain(f"error: {problem}")
                return MEMORY_EXIT_CODE
    except Interrupted as signal:
        complain(f"interrupted by {signal}")
        return signal.exit_code


def _show_bug(
    kind: type[BaseException], error: BaseException | None, where: TracebackType | None
) -> None:
    """Print a traceback as the interpreter does, without anybody's password."""
    import traceback  # ctl does not wait for it

    complain("".join(traceback.format_exception(kind, error, where)).rstrip())


if __name__ == "__main__":
    sys.exit(main())
