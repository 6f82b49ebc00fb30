"""SamCam's program. What fails where, and the exit code it becomes in `live.command_line`:

    Exception
    |-- ValueError   <- live.config.ConfigError          exit code 2: wrong use or configuration
    |-- OSError      <- live.sources.base.CaptureError   exit code 3: source
    |-- RuntimeError <- engines.base.EngineError         exit code 4: engine or model
    |                <- live.sinks.base.SinkError        exit code 5: output
    `-- anything else                                    exit code 1: a bug, with its traceback
    live.interrupts.Interrupted (BaseException)          130 after Ctrl-C, 143 after SIGTERM

The path of a frame starts in `live.app.run`; see docs/architecture.md for the drawing.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from live.interrupts import Interrupted, Interrupts
from live.process_end import run_to_the_end


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code.

    Args:
        argv: The arguments; None: those of this process, which ends with this call.
    """
    if argv is not None:
        return _run(argv, to_the_end=False)
    return run_to_the_end(lambda: _run(sys.argv[1:], to_the_end=True))


def _run(words: Sequence[str], to_the_end: bool) -> int:
    try:
        with Interrupts(to_the_end) as interrupts:
            # here, so that Ctrl-C while the packages load is an interruption like any other
            if list(words[:1]) == ["ctl"]:  # before the rest is loaded: a key press waits for it
                from live.ctl import run_ctl

                return run_ctl(words[1:])
            from live.command_line import run_command_line

            return run_command_line(words, interrupts)
    except Interrupted as signal:
        print(f"interrupted by {signal}", file=sys.stderr)
        return signal.exit_code


if __name__ == "__main__":
    sys.exit(main())
