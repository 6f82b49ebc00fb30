"""Recordings of a run and their replay; docs/recording.md says what each file holds.

`header.py` and `values.py` are the format (rows: `system/files/rows.py`); `recorder.py` writes it
on a thread of its own; `replay.py` reads it; `sources.py` gives frames back,
`live/control/script.py` commands.
"""

from samcam.live.recording.header import Header, PictureRow, StepRow
from samcam.live.recording.recorder import Recorder, prepare_folder
from samcam.live.recording.replay import Recording
from samcam.live.recording.session import Session, make_recorder
from samcam.live.recording.sources import RecordedSource

__all__ = [
    "Header",
    "PictureRow",
    "RecordedSource",
    "Recorder",
    "Recording",
    "Session",
    "StepRow",
    "make_recorder",
    "prepare_folder",
]
