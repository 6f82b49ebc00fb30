"""Recordings of a run and their replay; docs/recording.md says what each file holds.

`header.py`, `rows.py` and `values.py` are the format; `recorder.py` writes it on a thread of its
own; `replay.py` reads it; `sources.py` and `script.py` give frames and commands back.
"""

from samcam.live.recording.recorder import Recorder, prepare_folder
from samcam.live.recording.replay import Recording
from samcam.live.recording.session import Session, make_recorder
from samcam.live.recording.sources import RecordedSource

__all__ = ["RecordedSource", "Recorder", "Recording", "Session", "make_recorder", "prepare_folder"]
