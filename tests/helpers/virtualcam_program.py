"""The program with a virtual camera in memory, registered by `pyvirtualcam.register_backend`.

Run as `python -m tests.helpers.virtualcam_program REPORT BREAK_AFTER ARGUMENT...`: everything
after BREAK_AFTER goes to `run_live.main`. With MEMORY_CAMERA_RGBA=1 the camera takes RGBA too. It
refuses pictures after BREAK_AFTER (0: never)
and leaves `REPORT` (.npz) when it is closed: when which picture came, every different picture, and
when a metronome of the same rate beat, which shows how far the machine itself lagged. `REPORT.sent`
has a byte for each picture so far.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pyvirtualcam
from pyvirtualcam import camera as registry

import run_live
from samcam.live.frames import U8

BGR = pyvirtualcam.util.encode_fourcc(pyvirtualcam.PixelFormat.BGR.value)
RGBA = pyvirtualcam.util.encode_fourcc(pyvirtualcam.PixelFormat.RGBA.value)


class MemoryCamera:
    """A backend as pyvirtualcam documents it."""

    report = Path()
    break_after = 0

    def __init__(
        self, *, width: int, height: int, fps: float, fourcc: int, device: str | None
    ) -> None:
        self._fourcc = fourcc
        if fourcc != BGR and (fourcc != RGBA or not os.environ.get("MEMORY_CAMERA_RGBA")):
            raise RuntimeError("memory camera: expected BGR")
        if device not in (None, "memory"):
            raise RuntimeError(f"memory camera: no device {device}")
        self._size_wh = (width, height)
        self._fps = fps
        self._times_s: list[float] = []
        self._beats_s: list[float] = []
        self._closed = threading.Event()
        self._metronome = threading.Thread(target=self._beat, name="metronome", daemon=True)
        self._metronome.start()
        self._order: list[int] = []
        self._numbers: dict[bytes, int] = {}

    def send(self, frame: U8) -> None:
        """Take one flat picture."""
        if self.break_after and len(self._times_s) >= self.break_after:
            raise RuntimeError("memory camera: unplugged")
        assert frame.ndim == 1
        assert frame.flags.c_contiguous
        self._times_s.append(time.monotonic())
        with self.report.with_suffix(".sent").open("ab") as file:
            file.write(b".")
        self._order.append(self._numbers.setdefault(frame.tobytes(), len(self._numbers)))

    def _beat(self) -> None:
        """Keep the rate as anyone can on this machine, without pictures."""
        due_s = time.monotonic()
        while not self._closed.is_set():
            self._beats_s.append(time.monotonic())
            due_s = max(due_s, time.monotonic() - 1 / self._fps) + 1 / self._fps
            self._closed.wait(max(0.0, due_s - time.monotonic()))

    def close(self) -> None:
        """Write the report."""
        self._closed.set()
        self._metronome.join()
        width, height = self._size_wh
        pictures = [np.frombuffer(data, np.uint8) for data in self._numbers]
        np.savez(
            self.report,
            times_s=self._times_s,
            beats_s=self._beats_s,
            order=self._order,
            fps=self._fps,
            pictures=np.array(pictures, np.uint8).reshape(
                -1, height, width, 4 if self._fourcc == RGBA else 3
            ),
        )

    def device(self) -> str:
        """The one there is."""
        return "memory"

    def native_fourcc(self) -> int | None:
        """No conversion is made."""
        return self._fourcc


def main() -> int:
    """Take the place of every real camera, and run the program."""
    MemoryCamera.report = Path(sys.argv[1])
    MemoryCamera.break_after = int(sys.argv[2])
    registry.BACKENDS.clear()
    pyvirtualcam.register_backend("memory", MemoryCamera)
    return run_live.main(sys.argv[3:])


if __name__ == "__main__":
    sys.exit(main())
