"""Makes the recorder of a run."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from samcam.engines import MANIFEST_NAME, file_sha256, find_model
from samcam.live.config import Request, Settings, flat
from samcam.live.errors import CaptureError
from samcam.live.frames import Prompt
from samcam.live.recording.fingerprint import fingerprint
from samcam.live.recording.header import ON_DISK, Header, SourceRecord
from samcam.live.recording.named_files import mark_files
from samcam.live.recording.recorder import Recorder, record_failure
from samcam.live.recording.rules import rules_of
from samcam.live.recording.values import Arrays, encode_command
from samcam.live.sinks import H264
from samcam.live.sources import SourceInfo
from samcam.live.tracker import PRESETS
from samcam.live.watchdog import Watchdog
from samcam.system.files import lenient_path, resolved

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Session:
    """What is recorded of a run before its first frame.

    Attributes:
        request, settings: What was asked for.
        info: The source.
        prompts: The command line's.
        pace: live or all.
        version: Of the program.
    """

    request: Request
    settings: Settings
    info: SourceInfo
    prompts: Sequence[Prompt]
    pace: str
    version: str


def make_recorder(session: Session, folder: Path, watchdog: Watchdog) -> Recorder:
    """Return the recorder of a run; a source on disk is read once, for its hash.

    Args:
        session: What is run.
        folder: From `prepare_folder`.
        watchdog: Names a write that hangs.

    Raises:
        CaptureError: The source cannot be read again.
        SinkError: A prompt's picture cannot be written.
    """
    request, record = session.request, session.settings.record
    source = _source_record(session)
    arrays = Arrays(folder)
    try:
        prompts = tuple(encode_command(prompt, arrays) for prompt in session.prompts)
    except OSError as error:
        raise record_failure(folder, error) from error
    model = find_model(request.model)
    settings, files = mark_files(flat(session.settings))
    header = Header(
        version=session.version,
        source=source,
        # a name stays one; the path of a folder must hold from elsewhere too
        model=str(resolved(model)) if model == lenient_path(request.model) else request.model,
        manifest_sha256=file_sha256(model / MANIFEST_NAME),
        backend=request.backend,
        preset=request.preset,
        effect=request.effect,
        pace=session.pace,
        settings=settings,
        prompts=prompts,
        files=files,
        rules=rules_of(PRESETS[request.preset]),
    )
    encoding = H264(record.crf, "superfast")
    if source.pictures == "lossless":
        encoding = H264(preset="ultrafast", lossless=True)
    return Recorder(folder, header, None if source.pictures is None else encoding, watchdog)


def _source_record(session: Session) -> SourceRecord:
    info = session.info
    path = mark = pictures = None
    if info.kind in ON_DISK:
        place = resolved(lenient_path(info.name))
        _log.info("recording: reading %s once, for its hash", place)
        try:
            path, mark = str(place), fingerprint(place)
        except OSError as error:
            raise CaptureError(
                f"source {info.name!r}: cannot be read for its hash: {error.strerror}"
            ) from error
    elif info.kind != "demo":
        pictures = "lossless" if session.settings.record.lossless else "lossy"
    repeated = info.kind == "picture" and info.frame_count is None
    return SourceRecord(
        info.name,
        info.kind,
        info.size_wh,
        info.fps,
        path,
        mark,
        repeated,
        pictures,
        session.request.loop,
    )
