"""The program with a tracker that takes longer for each frame than the camera does.

Run as `python -m tests.helpers.slow_program SECONDS ARGUMENT...`: everything after SECONDS, the
time added to every step, goes to `run_live.main`.
"""

from __future__ import annotations

import sys
import time

import run_live
from samcam.live.frames import Frame, FrameResult
from samcam.live.tracker.tracker import Tracker


def main() -> int:
    """Slow the tracker down and run the program."""
    seconds, step = float(sys.argv[1]), Tracker.step

    def slow_step(self: Tracker, frame: Frame) -> FrameResult:
        result = step(self, frame)
        time.sleep(seconds)
        return result

    Tracker.step = slow_step  # type: ignore[method-assign]
    return run_live.main(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
