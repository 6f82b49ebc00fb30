"""Handles a command of `ctl`: parses it, hands it to the run, waits briefly for its outcome."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from samcam.live.commands import Command
from samcam.live.control import Controls
from samcam.live.prompts import WHILE_RUNNING
from samcam.live.remote.command_text import (
    AskStatus,
    CommandError,
    PromptContext,
    Quit,
    RemoteCommand,
    join_problems,
    parse_words,
)
from samcam.live.remote.server import Answer

OUTCOME_S: Final = 1.0  # how long a command's outcome is awaited
_FULL: Final = "too many commands are waiting: this one was not taken; try again"
_LATER: Final = "taken; it waits for the next picture"


@dataclass(slots=True, eq=False)
class _Sent:
    """A command on its way.

    Attributes:
        command: Found again by identity: two equal ones may be under way.
        time_s: `time.monotonic()` at which it was sent.
        done: Whether it took effect or was refused.
        reason: Why it was refused, or None.
        message: Of the run when it took effect, or "".
    """

    command: Command
    time_s: float
    done: bool = False
    reason: str | None = None
    message: str = ""


class CommandDesk:
    """Does the commands of all callers, each on the thread that it is asked on."""

    def __init__(self, controls: Controls, context: PromptContext) -> None:
        """Connect; before the run's threads start.

        Args:
            controls: Takes the commands and tells what became of them.
            context: Of the source; folder and limits are each caller's.
        """
        self._controls = controls
        self._context = replace(context, pipes=False, limits=WHILE_RUNNING)
        self._changed = threading.Condition()
        self._sent: dict[int, _Sent] = {}  # by the identity of the command, which it keeps alive
        self._closed = False
        controls.watch(lambda command, step: self._note(command, None))
        controls.watch_refusals(self._note)

    def answer(self, words: Sequence[str], folder: Path) -> Answer:
        """Do one command.

        Args:
            words: See `live.remote.command_text.parse_words`.
            folder: Where its relative file names start.

        Returns:
            ok once every command took effect, or waits for a picture that did not come within
            `OUTCOME_S`; else why not.
        """
        self._controls.heard_ctl()
        try:
            commands = parse_words(words, replace(self._context, folder=folder))
        except CommandError as error:
            return Answer(False, str(error))
        if commands == (Quit(),):
            self._controls.stop.set()
            return Answer(True)
        if commands == (AskStatus(),):
            return self._status()
        return self._send(commands)

    def close(self) -> None:
        """Release all waiting callers: the run ends."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _status(self) -> Answer:
        status = self._controls.status
        if status is None:
            why = self._controls.hanging
            yet = f"no picture has been processed yet{f': {why}' if why else ''}"
            return Answer(False, f"status: {yet}; try again")
        return Answer(True, status=asdict(status))

    def _send(self, commands: Sequence[RemoteCommand]) -> Answer:
        now_s = time.monotonic()
        sent = [_Sent(c, now_s) for c in commands if not isinstance(c, Quit | AskStatus)]
        with self._changed:
            self._sent.update((id(one.command), one) for one in sent)
        try:
            if not self._controls.send_all([one.command for one in sent]):
                return Answer(False, _FULL)
            with self._changed:
                self._changed.wait_for(
                    lambda: self._closed or all(one.done for one in sent), OUTCOME_S
                )
        finally:
            with self._changed:
                for one in sent:
                    del self._sent[id(one.command)]
        reasons = [one.reason for one in sent if one.reason is not None]
        if reasons:
            return Answer(False, join_problems(reasons))
        if not all(one.done for one in sent):
            return Answer(True, _LATER)  # a message that came meanwhile is about something else
        return Answer(True, sent[-1].message)

    def _note(self, command: Command, reason: str | None) -> None:
        """Note an outcome; called by the run's own threads, so it never waits for a caller."""
        if not self._sent:
            return
        notice = self._controls.notice
        with self._changed:
            one = self._sent.get(id(command))
            if one is None or one.done:
                return
            one.done, one.reason = True, reason
            # now, as the message may be about the next command a moment later
            if notice is not None and notice.time_s >= one.time_s:
                one.message = notice.text
            self._changed.notify_all()
