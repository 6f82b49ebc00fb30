"""The program with stages that hang for as long as a file says so.

Run as `python -m tests.helpers.hanging_program FOLDER ARGUMENT...`: everything after FOLDER goes to
`run_live.main`. While FOLDER holds a file called `read`, `step`, `put` or `write`, the demo source,
the tracker, the video output or the recording does not come back from that call. A disk that has
stopped is waited for two seconds.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import run_live
from samcam.live import writer_thread
from samcam.live.recording import recorder
from samcam.live.sinks.video import VideoSink
from samcam.live.sources.demo.source import DemoSource
from samcam.live.tracker.tracker import Tracker

_POLL_S = 0.02


def hang_while(path: Path, kind: type, name: str) -> None:
    """Make a method of a class wait while the file is there."""
    method: Callable[..., Any] = getattr(kind, name)

    def waiting(*arguments: Any) -> Any:
        while path.exists():
            time.sleep(_POLL_S)  # another process removes it: nothing to wait on
        return method(*arguments)

    setattr(kind, name, waiting)


def main() -> int:
    """Make the stages able to hang and run the program."""
    folder = Path(sys.argv[1])
    writer_thread.PATIENCE_S = 2.0  # type: ignore[misc]
    recording = (recorder._Files, "write")
    for kind, name in ((DemoSource, "read"), (Tracker, "step"), (VideoSink, "put"), recording):
        hang_while(folder / name, kind, name)
    return run_live.main(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
