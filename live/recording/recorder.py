"""Writes a recording on a thread of its own, while the run goes on."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final, TypeAlias

import av

from samcam.live.commands import Command, SaveProfile
from samcam.live.errors import SinkError
from samcam.live.frames import Frame, FrameResult
from samcam.live.loop import StepObserver
from samcam.live.recording.header import (
    COMMANDS_FILE,
    PICTURES_FILE,
    STEPS_FILE,
    VIDEO_FILE,
    Header,
    PictureRow,
    StepRow,
    write_header,
)
from samcam.live.recording.values import Arrays, encode_command
from samcam.live.sinks import H264, FragmentedMp4, to_i420
from samcam.live.watchdog import Watchdog
from samcam.live.writer_thread import Destination, WriterThread
from samcam.system.files import RowFile, foreign_entry, make_private_folder

MAX_PICTURES: Final = 8  # that wait for the encoder
_KEPT: Final = "what was written can be replayed"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Given:
    """A command that took effect."""

    command: Command
    step: int


_Note: TypeAlias = StepRow | _Given


def prepare_folder(folder: Path) -> None:
    """Make the folder of a recording, or check that it is empty.

    Raises:
        SinkError: It cannot be made, or holds something.
    """
    try:
        first = foreign_entry(folder)
        if first is None:
            make_private_folder(folder)
    except OSError as error:
        raise record_failure(folder, error) from error
    if first is not None:
        raise SinkError(
            f"--record {folder}: the folder holds {first.name}; expected a new or an empty folder"
        )


class Recorder(WriterThread[Frame | _Note]):
    """Owns the thread `recorder` and the files of one recording while its `with` block runs.

    What it is given waits in a bounded queue, in order. A picture without room there is refused:
    who captures drops it before inference sees it, so that every processed frame is recorded.
    """

    def __init__(
        self,
        folder: Path,
        header: Header,
        encoding: H264 | None,
        watchdog: Watchdog | None = None,
    ) -> None:
        """Prepare; nothing is written yet.

        Args:
            folder: From `prepare_folder`.
            header: What is run.
            encoding: Of the pictures; None where the source has them.
            watchdog: Names a write that hangs; None: not watched.
        """
        told = "the recording has taken nothing for"
        super().__init__("recorder", Destination(f"--record {folder}", told, _KEPT), watchdog)
        self._folder = folder
        self._header = header
        self._encoding = encoding
        self._files: _Files | None = None
        self._pictures = 0  # of those that wait
        self.dropped = 0  # frames that the encoder had no room for
        self._steps = 0

    @property
    def keeps_pictures(self) -> bool:
        """Whether pictures are recorded."""
        return self._encoding is not None

    def offer(self, frame: Frame, wait_s: float = 0.0) -> bool:
        """Take a picture; False where no room came within the timeout.

        Raises:
            SinkError: The recording failed.
        """
        with self._changed:
            self._changed.wait_for(self._takes_pictures, wait_s)
            self._check()
            if self._closing or self._pictures >= MAX_PICTURES:
                return False
            self._waiting.append(frame)
            self._pictures += 1
            self._changed.notify_all()
        return True

    def drop(self) -> None:
        """Count a refused picture, and say so the first time."""
        self.dropped += 1
        if self.dropped == 1:
            _log.warning(
                "recording %s: the encoder does not keep up: frames are dropped before they are "
                "tracked; every frame that is tracked is recorded",
                self._folder,
            )

    def command(self, command: Command, step: int) -> None:
        """Take a command that took effect before a step; a listener of `Controls.watch`."""
        if not isinstance(command, SaveProfile):  # a replay need not save again
            self._give(_Given(command, step))

    def step(self, result: FrameResult) -> None:
        """Take a processed frame.

        Raises:
            SinkError: The recording failed.
        """
        self._give(StepRow(result.step, result.frame.index, result.frame.time_ns))
        self._check()

    def observing(self, observe: StepObserver) -> StepObserver:
        """Return an observer that takes each step and then calls another one."""

        def both(result: FrameResult, source_age_ms: float) -> None:
            self.step(result)
            observe(result, source_age_ms)

        return both

    def _takes_pictures(self) -> bool:
        return self._closing or self._error is not None or self._pictures < MAX_PICTURES

    def _taken(self, item: Frame | _Note) -> None:
        self._pictures -= isinstance(item, Frame)

    def _begin(self) -> None:
        write_header(self._folder, self._header)
        self._files = _Files(self._folder, self._header, self._encoding)

    def _write(self, item: Frame | _Note) -> None:
        if self._files is not None:
            self._files.write(item)
            self._steps += isinstance(item, StepRow)

    def _finish(self, whole: bool) -> None:
        if self._files is not None:
            self._files.close()
        if not whole:  # something was not taken: the header stays as it is
            return
        end = replace(self._header, complete=True, steps=self._steps, pictures_dropped=self.dropped)
        write_header(self._folder, end)
        _log.info("recording %s: %d steps", self._folder, self._steps)

    def _abandon(self) -> None:
        if self._files is not None:
            self._files.abandon()

    def _failure(self, error: BaseException) -> SinkError:
        return record_failure(self._folder, error)


class _Files:
    """The files of a recording; used by the recorder's thread."""

    def __init__(self, folder: Path, header: Header, encoding: H264 | None) -> None:
        self._path = folder / VIDEO_FILE
        self._source = header.source
        self._encoding = encoding
        self._arrays = Arrays(folder)
        self._steps = RowFile(folder / STEPS_FILE)
        self._commands = RowFile(folder / COMMANDS_FILE)
        self._pictures = RowFile(folder / PICTURES_FILE) if encoding is not None else None
        self._video: FragmentedMp4 | None = None

    def write(self, item: Frame | _Note) -> None:
        """Write one thing; a command's row is there before that of its step."""
        if isinstance(item, Frame):
            self._write_picture(item)
        elif isinstance(item, _Given):
            command = encode_command(item.command, self._arrays)
            self._commands.write({"step": item.step, "command": command})
        else:
            self._steps.write(asdict(item))

    def close(self) -> None:
        """Finish all files."""
        try:
            if self._video is not None:
                self._video.close()
        finally:
            for rows in (self._steps, self._commands, self._pictures):
                if rows is not None:
                    rows.close()

    def abandon(self) -> None:
        """Close after an error; another one adds nothing."""
        try:
            self.close()
        except (av.FFmpegError, OSError) as error:
            _log.debug("recording: closing after an error: %s", error)

    def _write_picture(self, frame: Frame) -> None:
        if self._encoding is None or self._pictures is None:
            return
        width, height = self._source.size_wh
        lossless = self._encoding.lossless
        if self._video is None:
            size_wh = (width, height) if lossless else (width + width % 2, height + height % 2)
            self._video = FragmentedMp4(self._path, size_wh, self._source.fps, self._encoding)
        image = frame.image_bgr if lossless else to_i420(frame.image_bgr, self._video.size_wh)
        ticks = self._video.write(image, frame.time_ns)
        self._pictures.write(asdict(PictureRow(frame.index, frame.time_ns, ticks)))


def record_failure(folder: Path, error: BaseException) -> SinkError:
    """Return the message of a recording that cannot be written."""
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    failure = SinkError(
        f"--record {folder}: cannot be written: {reason}; expected a new or empty folder that you "
        f"may write to, on a disk with room; {_KEPT}"
    )
    failure.__cause__ = error
    return failure
