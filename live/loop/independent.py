"""`source.independent`: pictures that are independent of each other, each with its own prompts."""

from __future__ import annotations

from dataclasses import replace
from typing import Final, Protocol

from samcam.live.commands import HoverAnswer, HoverRequest, RemoveObject, TrackerCommand
from samcam.live.errors import ConfigError
from samcam.live.frames import MAX_PENDING_PROMPTS, Frame, FrameResult, Prompt
from samcam.live.loop.inference import Stepper
from samcam.live.loop.spare_work import Proposer
from samcam.live.sources import SourceInfo
from samcam.live.tracker import said_of_removal

_KINDS: Final = ("picture", "folder")


class Promptable(Stepper, Protocol):
    """A stepper that takes prompts and forgets; `live.tracker.tracker.Tracker` is one."""

    def prompt(self, prompt: Prompt) -> str | None:
        """Queue a prompt; ValueError where it cannot be right."""

    def remove(self, object_id: int | None = None) -> None:
        """Forget one object and its waiting prompts, or all."""


class IndependentPictures:
    """A tracker that forgets everything before each picture. Used by one thread.

    A prompt with a frame index counts for exactly that picture; a picture without one has no
    objects. The answer for a picture is, bit for bit, what a run on it alone gives.
    """

    def __init__(self, tracker: Promptable) -> None:
        """Take over the tracker: `close` closes it."""
        self._tracker = tracker
        self._waiting: dict[int, list[Prompt]] = {}
        self._answered = -1  # index of the newest picture

    @property
    def next_step(self) -> int:
        return self._tracker.next_step

    @property
    def pending_prompts(self) -> int:
        return sum(map(len, self._waiting.values()))

    def prompt(self, prompt: Prompt) -> str | None:
        """Keep a prompt for its picture; without a frame index, for the next one.

        Raises:
            ValueError: It only says where the object is not, its picture was answered already,
                or too many wait.
        """
        prompt = prompt.fitted(None)
        if prompt.frame_index is None:
            return self._tracker.prompt(prompt)
        if prompt.frame_index <= self._answered:
            raise ValueError(
                f"object {prompt.object_id}, frame {prompt.frame_index}: that picture was answered "
                f"already; expected a frame after {self._answered}"
            )
        same = [
            other
            for other in self._waiting.get(prompt.frame_index, [])
            if other.object_id == prompt.object_id
        ]
        if not any(one.points_at_something for one in (*same, prompt)):
            raise ValueError(
                f"object {prompt.object_id}, frame {prompt.frame_index}: expected a positive "
                "point, a box or a mask for each picture, got negative points only"
            )
        if self.pending_prompts >= MAX_PENDING_PROMPTS:
            raise ValueError(
                f"object {prompt.object_id}: {MAX_PENDING_PROMPTS} prompts wait for their "
                "pictures already, no more are taken"
            )
        self._waiting.setdefault(prompt.frame_index, []).append(prompt)
        return None

    def remove(self, object_id: int | None = None) -> None:
        for index, prompts in list(self._waiting.items()):
            rest = [p for p in prompts if object_id is not None and p.object_id != object_id]
            if rest:
                self._waiting[index] = rest
            else:
                del self._waiting[index]
        self._tracker.remove(object_id)

    def apply(self, command: TrackerCommand) -> str | None:
        """Do what a command says before the next picture.

        Raises:
            ValueError: It is refused, or it is about a picture that was answered already and
                forgotten.
        """
        if isinstance(command, Prompt) and command.step is not None:
            raise ValueError(
                "with source.independent a picture is forgotten once it is answered: give its "
                'prompt with --prompt "... frame=N"'
            )
        match command:
            case Prompt():
                return self.prompt(command)
            case RemoveObject(object_id):
                waiting = {p.object_id for prompts in self._waiting.values() for p in prompts}
                if object_id not in waiting and not (object_id is None and waiting):
                    return self._tracker.apply(command)
                self.remove(object_id)
                return said_of_removal(object_id, waiting)
            case _:
                return self._tracker.apply(command)

    def hover(self, request: HoverRequest) -> HoverAnswer | None:
        """Return None: the pictures before are forgotten."""
        return None

    def suggest(self, step: int) -> Proposer:
        raise ValueError("with source.independent a picture is forgotten once it is answered")

    def step(self, frame: Frame) -> FrameResult:
        """Answer for one picture from its own prompts alone.

        Raises:
            ValueError: A prompt does not fit the picture.
        """
        self._answered = frame.index
        for prompt in self._waiting.pop(frame.index, ()):
            self._tracker.prompt(replace(prompt, frame_index=None))
        result = self._tracker.step(frame)
        self._tracker.remove()  # afterwards: a command for the next picture must survive
        return result

    def close(self) -> None:
        """Forget everything and close the tracker. Idempotent."""
        self._waiting.clear()
        self._tracker.close()


def check_independent(info: SourceInfo) -> None:
    """Check that a source is a folder or a picture; ConfigError where it is a stream or a video."""
    if info.kind not in _KINDS:
        raise ConfigError(
            f"source.independent: true: source {info.name!r} is not a folder of pictures; "
            "expected one, or false"
        )
