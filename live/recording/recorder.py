"""Writes a recording on a thread of its own, while the run goes on."""

from __future__ import annotations

import logging
import threading
from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Final, TypeAlias

import av

from live.commands import Command, SaveProfile
from live.frames import Frame, FrameResult
from live.inference import StepObserver
from live.private_files import FOLDER_MODE, make_private_folder
from live.recording.header import (
    COMMANDS_FILE,
    PICTURES_FILE,
    STEPS_FILE,
    VIDEO_FILE,
    Header,
    write_header,
)
from live.recording.values import Arrays, encode_command
from live.rows import RowFile
from live.sinks.base import SinkError
from live.sinks.fragmented import H264, FragmentedMp4
from live.sinks.video import to_i420

MAX_PICTURES: Final = 8  # that wait for the encoder
_MAX_NOTES: Final = 4096  # steps and commands that wait
_PATIENCE_S: Final = 10.0  # for a disk that has stopped
_WAIT_S: Final = 0.25

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Step:
    """A processed frame."""

    step: int
    frame: int
    time_ns: int


@dataclass(frozen=True, slots=True)
class _Given:
    """A command that took effect."""

    command: Command
    step: int


_Note: TypeAlias = _Step | _Given


def prepare_folder(folder: Path) -> None:
    """Make the folder of a recording, or see that it is empty.

    Raises:
        SinkError: It cannot be made, or holds something.
    """
    try:
        folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        first = next(folder.iterdir(), None)
    except OSError as error:
        raise record_failure(folder, error) from error
    if first is not None:
        raise SinkError(
            f"--record {folder}: the folder holds {first.name}; expected a new or an empty folder"
        )
    make_private_folder(folder)


class Recorder:
    """Owns the thread `recorder` and the files of one recording while its `with` block runs.

    What it is given waits in a bounded queue, in order. A picture without room there is refused:
    who captures drops it before inference sees it, so that every processed frame is recorded.
    """

    def __init__(self, folder: Path, header: Header, encoding: H264 | None) -> None:
        """Prepare; nothing is written yet.

        Args:
            folder: From `prepare_folder`.
            header: What is run.
            encoding: Of the pictures; None where the source has them.
        """
        self._folder = folder
        self._header = header
        self._encoding = encoding
        self._changed = threading.Condition()
        self._waiting: deque[Frame | _Note] = deque()
        self._pictures = 0  # of those that wait
        self._dropped = 0
        self._steps = 0
        self._closing = False
        self._error: SinkError | None = None
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    @property
    def dropped(self) -> int:
        """Frames that were refused because the encoder had no room."""
        return self._dropped

    @property
    def keeps_pictures(self) -> bool:
        """Whether pictures are recorded."""
        return self._encoding is not None

    def __enter__(self) -> Recorder:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Write what waits, finish the files; raises SinkError unless another error is raised."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(_PATIENCE_S)
        if self._thread.is_alive():
            self._error = self._error or SinkError(
                f"--record {self._folder}: not finished within {_PATIENCE_S:g} s; what was "
                "written can be replayed"
            )
        if self._error is None:
            _log.info("recording %s: %d steps", self._folder, self._steps)
        elif error is None:
            raise self._error
        elif error is not self._error:
            _log.warning("%s", self._error)

    def offer(self, frame: Frame, wait_s: float = 0.0) -> bool:
        """Take a picture; False where there was no room for so long.

        Raises:
            SinkError: The recording failed.
        """
        with self._changed:
            self._changed.wait_for(self._has_room, wait_s)
            self._check()
            if self._closing or self._pictures >= MAX_PICTURES:
                return False
            self._waiting.append(frame)
            self._pictures += 1
            self._changed.notify_all()
        return True

    def drop(self) -> None:
        """Count a refused picture, and say so the first time."""
        self._dropped += 1
        if self._dropped == 1:
            _log.warning(
                "recording %s: the encoder does not keep up: frames are dropped before they are "
                "tracked; every frame that is tracked is recorded",
                self._folder,
            )

    def command(self, command: Command, step: int) -> None:
        """Take a command that took effect before a step; a listener of `Controls.watch`."""
        if not isinstance(command, SaveProfile):  # a replay need not save again
            self._note(_Given(command, step))

    def step(self, result: FrameResult) -> None:
        """Take a processed frame.

        Raises:
            SinkError: The recording failed.
        """
        self._note(_Step(result.step, result.frame.index, result.frame.time_ns))
        with self._changed:
            self._check()

    def observing(self, observe: StepObserver) -> StepObserver:
        """Return an observer that takes each step and then calls another one."""

        def both(result: FrameResult, source_age_ms: float) -> None:
            self.step(result)
            observe(result, source_age_ms)

        return both

    def _has_room(self) -> bool:
        return self._closing or self._error is not None or self._pictures < MAX_PICTURES

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _note(self, note: _Note) -> None:
        """Take a note; only a disk that stands still makes this wait, and then fail."""
        with self._changed:
            room = self._changed.wait_for(
                lambda: self._error is not None or len(self._waiting) < _MAX_NOTES, _PATIENCE_S
            )
            if not room:
                self._error = SinkError(
                    f"--record {self._folder}: cannot be written: the disk has taken nothing for "
                    f"{_PATIENCE_S:g} s; what was written can be replayed"
                )
            if self._error is None:
                self._waiting.append(note)
                self._changed.notify_all()

    def _run(self) -> None:
        """Body of the thread."""
        files: _Files | None = None
        try:
            write_header(self._folder, self._header)
            files = _Files(self._folder, self._header, self._encoding)
            while (item := self._next()) is not None:
                files.write(item)
                self._steps += isinstance(item, _Step)
            files.close()
            if self._error is not None:  # something was not taken: the header stays as it is
                return
            end = replace(
                self._header, complete=True, steps=self._steps, pictures_dropped=self._dropped
            )
            write_header(self._folder, end)
        except BaseException as error:
            self._fail(error, files)

    def _fail(self, error: BaseException, files: _Files | None) -> None:
        if files is not None:
            files.abandon()
        with self._changed:
            self._error = self._error or record_failure(self._folder, error)
            self._waiting.clear()
            self._changed.notify_all()

    def _next(self) -> Frame | _Note | None:
        """Wait for something to write; None at the end."""
        with self._changed:
            while not self._waiting:
                if self._closing or self._error is not None:
                    return None
                self._changed.wait(_WAIT_S)
            item = self._waiting.popleft()
            self._pictures -= isinstance(item, Frame)
            self._changed.notify_all()
        return item


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
            self._steps.write({"step": item.step, "frame": item.frame, "time_ns": item.time_ns})

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
        self._pictures.write({"frame": frame.index, "time_ns": frame.time_ns, "ticks": ticks})


def record_failure(folder: Path, error: BaseException) -> SinkError:
    """Return the one line that a recording which cannot be written ends with."""
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    failure = SinkError(
        f"--record {folder}: cannot be written: {reason}; expected a new or empty folder that you "
        "may write to, on a disk with room; what was written can be replayed"
    )
    failure.__cause__ = error
    return failure
