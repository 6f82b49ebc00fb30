"""The file of `--metrics`: one row per processed frame, written once its picture was sent."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from samcam.live.errors import SinkError
from samcam.live.frames import NS_PER_MS, FrameResult
from samcam.live.watchdog import Watchdog
from samcam.live.writer_thread import MAX_WAITING, Destination, WriterThread
from samcam.system.files import RowFile, reason_of

_LATE: Final = 64  # rows that wait for an output which takes no pictures, beside delayed ones
_KEPT: Final = "the rows before are whole"

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Row:
    """A row that is not yet written.

    Attributes:
        values: All but what is known only when the outputs have the picture.
        captured_ns: When its frame was grabbed.
        awaited: Outputs that have neither this step's picture nor a newer one.
        age_ms: Of the frame when an output got its picture, the last of them so far; or when a
            newer picture took its place there.
        left: Whether any output got its picture.
    """

    values: dict[str, Any]
    step: int
    captured_ns: int
    awaited: set[str] = field(default_factory=set)
    age_ms: float | None = None
    left: bool = False

    def leaves(self, output: str, step: int, now_ns: int) -> None:
        """Note that an output got the picture of this step or of a newer one."""
        if output not in self.awaited:
            return
        self.awaited.remove(output)
        if step == self.step or not self.left:
            self.age_ms = self.age_at(now_ns)
        self.left |= step == self.step

    def age_at(self, now_ns: int) -> float:
        return max(0.0, (now_ns - self.captured_ns) / NS_PER_MS)


class MetricsWriter(WriterThread[_Row]):
    """Appends rows to a file (docs/schemas/metrics.schema.json) on the thread `metrics`.

    A row is written whole or not at all (`system.files.rows`). The inference thread gives the rows;
    outputs report each picture that they got, and never wait.
    """

    def __init__(self, path: Path, watchdog: Watchdog | None = None) -> None:
        """Open the file; `watchdog` names a write that hangs.

        Raises:
            SinkError: It cannot be written.
        """
        option, told = f"--metrics {path}", f"--metrics {path} has taken nothing for"
        super().__init__("metrics", Destination(option, told, _KEPT), watchdog)
        self._outputs: frozenset[str] = frozenset()
        self._most_late = _LATE
        self._began = False
        try:
            self._file = RowFile(path)
        except OSError as error:
            raise SinkError(
                f"{option}: cannot be written: {reason_of(error)}; "
                "expected a file in an existing folder that you may write to"
            ) from error

    def expect(self, outputs: Collection[str], delayed: int = 0) -> None:
        """Name the outputs that get pictures, before the first one; so many `delayed` ones may
        wait on purpose."""
        self._outputs = frozenset(outputs)
        self._most_late = min(_LATE + delayed, MAX_WAITING // 2)  # the queue keeps room

    def write(self, result: FrameResult, inference_age_ms: float, dropped: int) -> None:
        """Take the row of one step; it is written when the outputs have its picture.

        `inference_age_ms` is the frame's when the step began; `dropped` counts frames before
        inference so far.

        Raises:
            SinkError: The file cannot be written, such as on a full disk.
        """
        values: dict[str, Any] = {
            "frame": result.frame.index,
            "step": result.step,
            "time_s": round(result.frame.time_ns / 1e9, 6),
            "inference_age_ms": round(inference_age_ms, 3),
            "stage_ms": {name: round(ms, 3) for name, ms in result.stage_ms.items()},
            "objects": len(result.objects),
            "visible": sum(item.visible for item in result.objects),
            "dropped": dropped,
        }
        frame = result.frame
        self._give(_Row(values, result.step, frame.captured_ns, set(self._outputs)))
        self._check()

    def left(self, output: str, step: int) -> None:
        """Note that an output got the picture with the answer of a step; any thread."""
        now_ns = time.perf_counter_ns()
        with self._changed:
            for row in self._waiting:
                if row.step > step:
                    break
                row.leaves(output, step, now_ns)
            self._changed.notify_all()

    def close(self) -> None:
        """Close the file of a run that never began; else its thread does. Idempotent."""
        if not self._began:
            self._file.close()

    def _is_ready(self, item: _Row) -> bool:
        return not item.awaited or len(self._waiting) > self._most_late

    def _begin(self) -> None:
        self._began = True

    def _write(self, item: _Row) -> None:
        age_ms = item.age_at(time.perf_counter_ns()) if item.age_ms is None else item.age_ms
        self._file.write({**item.values, "source_age_ms": round(age_ms, 3), "left": item.left})

    def _finish(self, whole: bool) -> None:
        self._file.close()

    def _abandon(self) -> None:
        try:
            self._file.close()
        except OSError as error:
            _log.debug("%s: closing after an error: %s", self._destination.option, error)

    def _failure(self, error: BaseException) -> SinkError:
        if isinstance(error, OSError):
            gone = isinstance(error, BrokenPipeError)
            expected = "a pipe that is read until the run ends" if gone else "a disk with room"
            failure = SinkError(
                f"{self._destination.option}: cannot be written: {reason_of(error)}; expected "
                f"{expected}; {_KEPT}"
            )
        else:
            failure = SinkError(f"{self._destination.option}: cannot be written: {error!r}")
        failure.__cause__ = error
        return failure
