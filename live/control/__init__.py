"""The one way in for commands and the one way out for the state of a run."""

from samcam.live.control.controls import Controls, Notice
from samcam.live.control.play_gate import PlayGate
from samcam.live.control.script import CommandScript, ScriptedCommand
from samcam.live.control.status import LiveStatus, ObjectStatus, object_name

__all__ = [
    "CommandScript",
    "Controls",
    "LiveStatus",
    "Notice",
    "ObjectStatus",
    "PlayGate",
    "ScriptedCommand",
    "object_name",
]
