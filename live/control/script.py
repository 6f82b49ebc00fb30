"""The commands of a recording, given out again at the step where they took effect."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final, cast, get_args

from samcam.live.commands import Command, FeedCommand, TrackerCommand
from samcam.live.frames import Frame

_FEED_CLASSES: Final = get_args(FeedCommand)
_REMEMBERED_STEPS: Final = 4096  # beyond that far back no command reaches


@dataclass(frozen=True, slots=True, eq=False)
class ScriptedCommand:
    """One command of a recording.

    Attributes:
        command: As it was given.
        step: The step before which it took effect.
        frame_index: The frame of that step; None where the run ended before it.
    """

    command: Command
    step: int
    frame_index: int | None


class CommandScript:
    """Tracker commands for the inference thread, feed commands for the render loop.

    Each of the two methods is for one thread. With `exact` the steps are those of the recording;
    otherwise the frames are, and the steps that commands name are translated.

    Attributes:
        exact: Whether every step is as it was recorded: no other commands are taken then.
    """

    def __init__(
        self, commands: Sequence[ScriptedCommand], step_frames: Sequence[int], exact: bool
    ) -> None:
        """`commands` are in the order in which they took effect, `step_frames` the frame index
        of each recorded step."""
        self.exact = exact
        self._step_frames = step_frames
        self._tracker = deque(c for c in commands if not isinstance(c.command, _FEED_CLASSES))
        self._feed = deque(c for c in commands if isinstance(c.command, _FEED_CLASSES))
        self._frames: deque[int] = deque(maxlen=_REMEMBERED_STEPS)  # of the newest steps

    def tracker_commands(self, frame: Frame, step: int) -> list[TrackerCommand]:
        """Take out what takes effect before this frame is tracked as this step."""
        due = self._due(self._tracker, frame, step)
        commands = due if self.exact else [self._translated(command, step) for command in due]
        self._frames.append(frame.index)
        return cast(list[TrackerCommand], commands)

    def feed_commands(self, frame: Frame, step: int) -> list[FeedCommand]:
        """Take out what takes effect before this step's picture is composed."""
        return cast(list[FeedCommand], self._due(self._feed, frame, step))

    def _due(self, waiting: deque[ScriptedCommand], frame: Frame, step: int) -> list[Command]:
        due: list[Command] = []
        while waiting and self._is_due(waiting[0], frame, step):
            due.append(waiting.popleft().command)
        return due

    def _is_due(self, item: ScriptedCommand, frame: Frame, step: int) -> bool:
        if self.exact:
            return item.step <= step
        return item.frame_index is not None and item.frame_index <= frame.index

    def _translated(self, command: Command, next_step: int) -> Command:
        """Return the command with the step that it names translated to this run's steps."""
        if not any(item.name == "step" for item in fields(command)):
            return command
        recorded = cast(Any, command).step
        if recorded is None or not self._frames:
            return command if recorded is None else replace(cast(Any, command), step=None)
        frame_index = self._step_frames[min(recorded, len(self._step_frames) - 1)]
        place = max(0, bisect_right(self._frames, frame_index) - 1)
        step = next_step - len(self._frames) + place
        return cast(Command, replace(cast(Any, command), step=step))
