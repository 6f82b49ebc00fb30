"""The one way in for commands and the one way out for the state of a run, for every thread.

Window, global hotkeys, `ctl` and replay send here; inference takes what is the tracker's, the
render loop what is the feed's. What they did is noted for recordings, what was refused is shown.
"""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar

from samcam.live.commands import (
    Command,
    FeedCommand,
    HideFeed,
    HoverAnswer,
    HoverRequest,
    RemoveObject,
    SaveProfile,
    SetEffect,
    Suggestions,
    SuggestRequest,
    TrackerCommand,
)
from samcam.live.control.play_gate import PlayGate
from samcam.live.control.script import CommandScript
from samcam.live.control.status import LiveStatus
from samcam.live.frames import PinnedAnswers
from samcam.live.slots import Cell
from samcam.system import hide_secrets

T = TypeVar("T")

CTL_IN_USE_S: Final = 60.0

Listener: TypeAlias = Callable[[Command, int], None]
RefusalListener: TypeAlias = Callable[[Command, str], None]


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to tell the user.

    Attributes:
        text: One line.
        time_s: `time.monotonic()` at which it was sent.
        refusal: Whether it says that a command was refused.
    """

    text: str
    time_s: float
    refusal: bool = False


class CommandQueue(queue.Queue[T]):
    """A queue that takes a group of items whole or not at all."""

    def put_all(self, commands: Sequence[T]) -> None:
        """Append them without others in between, as one where the room is counted.

        So the prompts of a file need no larger queue; the reader of the file bounds them.

        Raises:
            queue.Full: There is no room for one; nothing is taken.
        """
        with self.mutex:
            if 0 < self.maxsize <= self._qsize():
                raise queue.Full
            for command in commands:
                self._put(command)
            self.unfinished_tasks += len(commands)
            self.not_empty.notify(len(commands))


class Controls:
    """Commands in, state out; every method may be called by any thread.

    Attributes:
        tracker: Commands that wait for inference.
        feed: Commands that wait for the render loop.
        hover: What the window wants to know before a click; the newest request counts.
        hover_answer: The newest answer.
        pinned: The newest answers on the picture that the user froze.
        suggest: The picture for which the window wants proposals, for as long as it does.
        suggestions: What came of it so far.
        play: Where a file waits for the first prompt.
        stop: Ends the run.
        script: The commands of a replay; set before the run's threads start.
        global_keys: What a global hotkey acts on just now, each as a set of keys.
        resets: How often all objects were removed.
        hanging: Which stage hangs just now, in one line; "" where none does.
    """

    def __init__(self, capacity: int) -> None:
        """Make empty queues; `capacity` commands may wait in each."""
        self.tracker: CommandQueue[TrackerCommand] = CommandQueue(capacity)
        self.feed: CommandQueue[FeedCommand] = CommandQueue(capacity)
        self.hover: Cell[HoverRequest] = Cell()
        self.hover_answer: Cell[HoverAnswer] = Cell()
        self.pinned: Cell[PinnedAnswers] = Cell()
        self.suggest: Cell[SuggestRequest] = Cell()
        self.suggestions: Cell[Suggestions] = Cell()
        self.play = PlayGate()
        self.stop = threading.Event()
        self.script: CommandScript | None = None
        self.global_keys: tuple[frozenset[str], ...] = ()
        self.resets = 0
        self.hanging = ""
        self._ctl_s = -math.inf
        self._notice: Cell[Notice] = Cell()
        self._status: Cell[LiveStatus] = Cell()
        self._listeners: tuple[Listener, ...] = ()
        self._refusal_listeners: tuple[RefusalListener, ...] = ()

    def send(self, command: Command) -> bool:
        """Hand a command over; False, and nothing is taken, where too many wait already."""
        return self.send_all((command,))

    def send_all(self, commands: Sequence[Command]) -> bool:
        """Hand over commands given as one, all the tracker's or all the feed's; False, and none
        is taken, where too many wait already."""
        feed: list[FeedCommand] = []
        tracker: list[TrackerCommand] = []
        for command in commands:
            if isinstance(command, SetEffect | HideFeed | SaveProfile):
                feed.append(command)
            else:
                tracker.append(command)
        try:
            if feed:
                self.feed.put_all(feed)
            if tracker:
                self.tracker.put_all(tracker)
        except queue.Full:
            return False
        return True

    def watch(self, listener: Listener) -> None:
        """Tell a listener of every command and the step before which it took effect.

        Call it before the run's threads start. The listener is called by the inference thread
        and by the render loop, and must not wait.
        """
        self._listeners = (*self._listeners, listener)

    def applied(self, command: Command, step: int) -> None:
        """Note that a command took effect before a step."""
        if command == RemoveObject(None):
            self.resets += 1  # by the inference thread alone
        for listener in self._listeners:
            listener(command, step)

    def watch_refusals(self, listener: RefusalListener) -> None:
        """Tell a listener of every command that was taken and then refused, and why; see
        `watch`."""
        self._refusal_listeners = (*self._refusal_listeners, listener)

    def refused(self, command: Command, reason: str) -> None:
        """Tell the user, and whoever sent it, that a command is refused."""
        self.say(f"refused: {reason}", refusal=True)
        for listener in self._refusal_listeners:
            listener(command, reason)

    def say(self, text: str, refusal: bool = False) -> None:
        """Show the user a notice; it stays until the next one."""
        self._notice.put(Notice(hide_secrets(text), time.monotonic(), refusal))

    def heard_ctl(self) -> None:
        self._ctl_s = time.monotonic()

    @property
    def ctl_in_use(self) -> bool:
        """Whether somebody used `ctl` within `CTL_IN_USE_S`: each command is a call of its own."""
        return time.monotonic() - self._ctl_s < CTL_IN_USE_S

    @property
    def notice(self) -> Notice | None:
        return self._notice.peek()

    def publish(self, status: LiveStatus) -> None:
        self._status.put(status)

    @property
    def status(self) -> LiveStatus | None:
        """The state of the run after the newest picture; None before the first one."""
        return self._status.peek()
