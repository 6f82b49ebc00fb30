"""`video:FILE.mp4`: H.264 in fragmented mp4 that stays readable however the program ends."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import av
import cv2
import numpy as np

from samcam.live.errors import SinkError
from samcam.live.frames import U8, Composite
from samcam.live.sinks.fragmented import H264, FragmentedMp4, has_pictures
from samcam.live.sinks.sound import open_sound
from samcam.live.sources import SoundOrigin
from samcam.system import Section, Setting
from samcam.system.files import is_file, is_pipe, is_there

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class VideoOptions(Section):
    """How video files are written."""

    crf: Annotated[
        int, Setting("Quality of a video file: lower is better and larger.", "x264 CRF", 0, 51)
    ] = 20
    preset: Annotated[
        str,
        Setting(
            "Speed of the video encoder: a slower one makes a smaller file.",
            choices=("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow"),
        ),
    ] = "superfast"  # 3.3 ms for 854x480 on one core; veryfast: 4.1 ms, two thirds of the size
    sound: Annotated[bool, Setting("Keep the sound of a source file in a video file.")] = True


class VideoSink:
    """Writes the feed with the frames' own times; used by one thread.

    The first frame is time 0 of the file. Each frame lasts until the next one's time, the last
    one for a nominal frame interval, so the file lasts as long as the source's media time. Sizes
    are made even, as 4:2:0 needs, by repeating the last column or row.
    """

    def __init__(
        self, path: Path, fps: float, options: VideoOptions, sound: SoundOrigin | None = None
    ) -> None:
        """Check that the file can be written; an older file stays until the first frame.

        Args:
            path: Its folder is made if missing.
            fps: Nominal rate, for the duration of the last frame.
            options: How.
            sound: Of the source; None: there is none.

        Raises:
            SinkError: It cannot be written.
        """
        self._path = path
        self._sound = sound if options.sound else None
        self._options = options
        self._fps = fps
        self._video: FragmentedMp4 | None = None
        self._closed = False
        self._told = False
        self._is_new = not is_there(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # a pipe waits for its reader when the first picture comes, and gets one stream only
            with nullcontext() if is_pipe(path) else path.open("ab"):
                pass
        except OSError as error:
            raise self._failure(error) from error

    @property
    def name(self) -> str:
        """As the user wrote it."""
        return f"video:{self._path}"

    def put(self, composite: Composite) -> None:
        """Encode one picture at its media time.

        Raises:
            SinkError: The file cannot be written, such as on a full disk.
        """
        feed = composite.feed_bgr
        if composite.alpha is not None and not self._told:
            self._told = True
            _log.warning(
                "%s: an mp4 has no transparency: effect.transparent.color stands around the "
                "object; expected the effect chroma, or another output",
                self.name,
            )
        with self._errors_named():
            if self._video is None:
                height, width = feed.shape[:2]
                size_wh = width + width % 2, height + height % 2
                encoding = H264(self._options.crf, self._options.preset)
                sound = None if self._sound is None else open_sound(self._sound, self.name)
                self._video = FragmentedMp4(self._path, size_wh, self._fps, encoding, sound)
            duration_ns = composite.result.frame.duration_ns
            planes = to_i420(feed, self._video.size_wh)
            self._video.write(planes, composite.time_ns, duration_ns)

    def close(self) -> None:
        """Write what is left and close. Idempotent.

        Raises:
            SinkError: The rest cannot be written; what was written before stays readable.
        """
        if self._closed:
            return
        self._closed = True
        if self._video is None:
            self._remove_empty()
            return
        with self._errors_named():
            try:
                self._video.close()
            finally:
                self._remove_without_pictures(self._video.broken)

    def _remove_without_pictures(self, broken: bool) -> None:
        """Remove a file that no player opens: there was room for its header only."""
        if broken and is_file(self._path) and not has_pictures(self._path):
            with contextlib.suppress(OSError):
                self._path.unlink()
                _log.warning("%s: no picture got there: the file is removed", self.name)

    def _remove_empty(self) -> None:
        """Remove the empty file that the check made, if no frame came."""
        if self._is_new and is_file(self._path) and self._path.stat().st_size == 0:
            self._path.unlink()
            _log.warning("%s: no frame came, no file was written", self.name)

    @contextlib.contextmanager
    def _errors_named(self) -> Iterator[None]:
        try:
            yield
        except (av.FFmpegError, OSError) as error:
            raise self._failure(error) from error

    def _failure(self, error: Exception) -> SinkError:
        reason = getattr(error, "strerror", None) or str(error)
        return SinkError(
            f"--output {self.name}: cannot be written: {reason}; "
            "expected a file in a folder that you may write to, on a disk with room"
        )


def made_even(picture: U8, size_wh: tuple[int, int]) -> U8 | None:
    """Return a picture of an even size, its last column or row repeated where that is missing.

    None where it has quite another size.
    """
    missing_x, missing_y = size_wh[0] - picture.shape[1], size_wh[1] - picture.shape[0]
    if not (0 <= missing_x <= 1 and 0 <= missing_y <= 1):
        return None
    if not (missing_x or missing_y):
        return picture
    padded = cv2.copyMakeBorder(picture, 0, missing_y, 0, missing_x, cv2.BORDER_REPLICATE)
    return np.asarray(padded, np.uint8)


def to_i420(picture: U8, size_wh: tuple[int, int]) -> U8:
    """Return a BGR picture as (H * 3 / 2, W) uint8 planes of a size, both numbers even."""
    fitted = made_even(picture, size_wh)
    if fitted is None:  # a camera that came back with another picture size: the file keeps its own
        fitted = np.asarray(cv2.resize(picture, size_wh), np.uint8)
    return np.asarray(cv2.cvtColor(fitted, cv2.COLOR_BGR2YUV_I420), np.uint8)
