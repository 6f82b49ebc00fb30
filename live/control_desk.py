"""What a line of `ctl` comes to: read, handed to the run, and its outcome awaited for a moment."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from live.command_text import AskStatus, CommandError, Place, Quit, Spoken, parse_command
from live.commands import Command
from live.control_server import Answer
from live.controls import Controls

OUTCOME_S: Final = 1.0  # how long a command's outcome is awaited
_FULL: Final = "too many commands are waiting: this one was not taken; try again"
_LATER: Final = "taken; it waits for the next picture"


@dataclass(slots=True, eq=False)
class _Sent:
    """A command on its way.

    Attributes:
        command: Found again by identity: two equal ones may be under way.
        done: Whether it took effect or was refused.
        reason: Why it was refused, or None.
    """

    command: Command
    done: bool = False
    reason: str | None = None


class CommandDesk:
    """Does the commands of one caller after the other."""

    def __init__(self, controls: Controls, size_wh: tuple[int, int]) -> None:
        """Connect; before the run's threads start.

        Args:
            controls: Takes the commands and tells what became of them.
            size_wh: Picture size of the source, which prompts are checked against.
        """
        self._controls = controls
        self._size_wh = size_wh
        self._changed = threading.Condition()
        self._sent: tuple[_Sent, ...] = ()
        self._closed = False
        controls.watch(lambda command, step: self._note(command, None))
        controls.watch_refusals(self._note)

    def answer(self, text: str, folder: Path) -> Answer:
        """Do one line.

        Args:
            text: See `live.command_text`.
            folder: Where its relative file names start.

        Returns:
            ok once every command took effect, or waits for a picture that did not come within
            `OUTCOME_S`; else why not.
        """
        try:
            spoken = parse_command(text, Place(self._size_wh, folder))
        except CommandError as error:
            return Answer(False, str(error))
        if spoken == (Quit(),):
            self._controls.stop.set()
            return Answer(True)
        if spoken == (AskStatus(),):
            return self._status()
        return self._send(spoken)

    def close(self) -> None:
        """Let nobody wait any longer: the run ends."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _status(self) -> Answer:
        status = self._controls.status
        if status is None:
            return Answer(False, "status: no picture has been processed yet; try again")
        return Answer(True, status=asdict(status))

    def _send(self, spoken: Sequence[Spoken]) -> Answer:
        commands = [c for c in spoken if not isinstance(c, Quit | AskStatus)]
        started_s = time.monotonic()
        with self._changed:
            self._sent = tuple(map(_Sent, commands))
        try:
            for command in commands:
                if not self._controls.send(command):
                    return Answer(False, _FULL)
            with self._changed:
                self._changed.wait_for(self._is_over, OUTCOME_S)
                sent = self._sent
        finally:
            with self._changed:
                self._sent = ()
        reasons = [one.reason for one in sent if one.reason is not None]
        if reasons:
            return Answer(False, "; ".join(reasons))
        if not all(one.done for one in sent):
            return Answer(True, _LATER)  # what was said meanwhile is about something else
        return Answer(True, self._said_since(started_s))

    def _is_over(self) -> bool:
        return self._closed or all(one.done for one in self._sent)

    def _said_since(self, time_s: float) -> str:
        """Return what the run said about it: both sides name the effect, or what is hidden."""
        notice = self._controls.notice
        return notice.text if notice is not None and notice.time_s >= time_s else ""

    def _note(self, command: Command, reason: str | None) -> None:
        """Take down an outcome; called by the run's own threads, so it never waits for a caller."""
        if not self._sent:
            return
        with self._changed:
            for one in self._sent:
                if one.command is command and not one.done:
                    one.done, one.reason = True, reason
            self._changed.notify_all()
