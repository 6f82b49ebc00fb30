"""Sources that record their frames, and that read them back."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import av.error

from samcam.live.errors import CaptureError
from samcam.live.frames import Frame
from samcam.live.recording.header import PICTURES_FILE, VIDEO_FILE, PictureRow, SourceRecord
from samcam.live.recording.recorder import Recorder
from samcam.live.sinks import TICKS_PER_S
from samcam.live.sources import MAX_MEGAPIXELS, SourceInfo, VideoSource, WrappedSource
from samcam.live.sources.video import Decoder, DisplayedPictures, describe, open_file
from samcam.live.watchdog import announced_wait
from samcam.system import ModelError, read_model
from samcam.system.files import open_regular, read_rows, reason_of

_WAIT_S: Final = 0.25  # longest wait without looking at the stop event

_log = logging.getLogger(__name__)


class RecordedSource(WrappedSource):
    """A source that records its frames; frames for which the queue has no room are dropped."""

    def __init__(
        self, source: VideoSource, recorder: Recorder, waits: bool, stop: threading.Event
    ) -> None:
        """Wrap a source.

        Args:
            waits: Wait for room instead of dropping, where every frame counts.
            stop: Ends the waiting.
        """
        super().__init__(source)
        self._recorder = recorder
        self._waits = waits
        self._stop = stop

    def read(self) -> Frame | None:
        """Return the next frame that is recorded; raises what the source raises.

        Raises:
            SinkError: The recording failed.
        """
        while not self._stop.is_set():
            frame = self._source.read()
            if frame is None or self._record(frame):
                return frame
        return None

    def _record(self, frame: Frame) -> bool:
        if not self._waits:
            if self._recorder.offer(frame):
                return True
            if not self._stop.is_set():
                self._recorder.drop()
            return False
        with announced_wait():  # it is not the source that hangs, and the recorder is watched
            while not self._recorder.offer(frame, _WAIT_S):
                if self._stop.is_set():
                    return False
        return True


class RecordedPictures:
    """The pictures of a recording, with their own indices and times."""

    def __init__(
        self, folder: Path, record: SourceRecord, max_megapixels: float = MAX_MEGAPIXELS
    ) -> None:
        """Open them.

        Args:
            max_megapixels: Larger pictures are refused.

        Raises:
            CaptureError: There are none, or they are damaged or too large.
        """
        self._name = str(folder)
        self._size_wh = record.size_wh
        path = folder / VIDEO_FILE
        try:
            open_regular(path, follow=False).close()  # no link to a place that somebody else chose
        except OSError as error:
            reason = f"{VIDEO_FILE}: cannot be read: {reason_of(error)}"
            raise CaptureError(f"--replay {folder}: {reason}; copy the recording again") from error
        # nothing but mp4: other kinds of files can name further ones
        self._container = open_file(path, self._name, max_megapixels, "mp4")
        self._decoder = Decoder(self._container, max_megapixels=max_megapixels)
        self._pictures = DisplayedPictures(self._decoder.stream, self._name, max_megapixels)
        self._rows = enumerate(read_rows(folder / PICTURES_FILE), 1)
        self._closed = False
        self.info = SourceInfo(
            self._name, "recording", record.size_wh, record.fps, None, live=False
        )

    def read(self) -> Frame | None:
        """Return the next picture; the end where a killed run left no more.

        Raises:
            CaptureError: Picture and row do not belong together, or cannot be read.
        """
        if self._closed:
            return None
        try:
            decoded = self._decoder.next_frame()
            numbered = next(self._rows, None)
            if decoded is None or numbered is None:
                return None
            row = _row_of(*numbered)
        except av.error.InvalidDataError:  # cut off in the middle
            return None
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise CaptureError(f"--replay {self._name}: {describe(error)}") from error
        if self._decoder.broken:  # what follows in the same second would be wrong
            return None
        at = (decoded.pts or 0) * (decoded.time_base or 0) * TICKS_PER_S
        if round(at) != row.ticks:
            raise CaptureError(
                f"--replay {self._name}: {VIDEO_FILE} is damaged at frame {row.frame}; copy the "
                "recording again"
            )
        width, height = self._size_wh
        image = self._pictures.picture(decoded)[:height, :width]
        return Frame(row.frame, row.time_ns, time.perf_counter_ns(), image)

    def close(self) -> None:
        """Close the file."""
        if not self._closed:
            self._closed = True
            self._container.close()


def _row_of(number: int, row: Mapping[str, Any]) -> PictureRow:
    """Return a row of pictures.jsonl.

    Raises:
        ValueError: Says which row and key are wrong.
    """
    try:
        return read_model(PictureRow, row)
    except ModelError as error:
        raise ValueError(f"{PICTURES_FILE}, line {number}: {error.line}") from error


@dataclass(frozen=True, slots=True, eq=False)
class RecordedSteps:
    """Frame index and media time of each recorded step."""

    frames: Sequence[int]
    times_ns: Sequence[int]


class ReplaySource(WrappedSource):
    """Frames of a recording's source: exactly the processed ones, or all up to the last of them."""

    def __init__(self, source: VideoSource, steps: RecordedSteps, exact: bool) -> None:
        """Wrap the source of the recording.

        Args:
            exact: Only the frames that were processed.
        """
        super().__init__(source)
        self._steps = steps
        self._exact = exact
        self._next_step = 0

    @property
    def info(self) -> SourceInfo:
        """The source's own, as long as the recording."""
        count = self._steps.frames[-1] + 1
        return replace(self._source.info, frame_count=count, live=False)

    def read(self) -> Frame | None:
        """Return the next frame; raises what the source raises.

        Raises:
            CaptureError: A processed frame is not in the source any more.
        """
        steps = self._steps
        while self._next_step < len(steps.frames):
            frame = self._source.read()
            if frame is None:
                self._ended_early()
                return None
            wanted = steps.frames[self._next_step]
            if frame.index < wanted:
                if self._exact:
                    continue
                return frame
            if frame.index > wanted:
                raise CaptureError(
                    f"--replay: frame {wanted} is not in {self._source.info.name} any more; "
                    "expected the source as it was recorded"
                )
            time_ns = steps.times_ns[self._next_step]
            self._next_step += 1
            return replace(frame, time_ns=time_ns)
        return None

    def _ended_early(self) -> None:
        missing = len(self._steps.frames) - self._next_step
        _log.warning("replay: the last %d steps have no picture: the end was cut off", missing)
        self._next_step = len(self._steps.frames)
