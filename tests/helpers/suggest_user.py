"""The key `a` without a window: its input, the job behind it, and what the tracker would get."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from samcam.live.commands import Proposal, SuggestRequest, TrackerCommand
from samcam.live.control.controls import Controls
from samcam.live.loop.spare_work import Proposer, SuggestJob
from samcam.live.window.input import WindowInput
from samcam.live.window.keys import KeyPress
from samcam.live.window.letterbox import Letterbox
from samcam.live.window.proposals import Outline
from tests.helpers.results import disc_logits

STEP = 20
SOURCE_WH, CANVAS_WH = (640, 360), (1280, 720)


def disc(x: float, y: float, radius: float, iou: float = 0.9) -> Proposal:
    """Return a disc in low-resolution pixels, ten source pixels wide and 5.6 high each."""
    return Proposal(disc_logits(64, x, y, radius), iou, 0.9, (x * 10, y * 5.625))


@dataclass
class Slices:
    """Finds one proposal per slice."""

    found: tuple[Proposal, ...]
    done: int = 0

    def __len__(self) -> int:
        return len(self.found)

    def __next__(self) -> int:
        if self.done == len(self.found):
            raise StopIteration
        self.done += 1
        return self.done

    @property
    def proposals(self) -> tuple[Proposal, ...]:
        return self.found[: self.done]


@dataclass
class Finder:
    """Stands for the tracker; step 99 is not kept."""

    found: tuple[Proposal, ...] = (disc(20, 20, 5), disc(40, 40, 5), disc(20, 20, 2))
    asked: list[int] = field(default_factory=list)

    def suggest(self, step: int) -> Proposer:
        self.asked.append(step)
        if step == 99:
            raise ValueError("that picture is no longer kept")
        return Slices(self.found)


class User:
    """A window's input, the job behind it, and what the tracker would get."""

    def __init__(self, finder: Finder | None = None, room: int = 16) -> None:
        self.controls = Controls(room)
        self.finder = finder or Finder()
        self.job = SuggestJob(self.controls, self.finder)
        self.input = WindowInput(self.controls)
        self.input.letterbox = Letterbox(SOURCE_WH, CANVAS_WH)
        self.input.set_picture(STEP, np.zeros((360, 640), np.uint8))

    def press(self, key: str) -> None:
        self.input.key(KeyPress(key))

    def look(self, slices: int = 100) -> None:
        """Let the job work, then let the window look."""
        for _ in range(slices):
            if not self.job():
                break
        self.input.look_for_proposals()

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return the canvas position of a low-resolution one."""
        return x * 20, y * 11.25

    def point(self, x: float, y: float) -> Outline | None:
        self.input.move(*self.at(x, y))
        self.input.look_for_proposals()
        shown = self.input.state.proposals
        assert shown is not None
        return shown.pointed

    def click(self, x: float, y: float) -> None:
        self.input.press_left(*self.at(x, y))
        self.input.release_left(*self.at(x, y))

    @property
    def asked(self) -> SuggestRequest:
        request = self.controls.suggest.peek()
        assert request is not None
        return request

    def sent(self) -> list[TrackerCommand]:
        return [self.controls.tracker.get_nowait() for _ in range(self.controls.tracker.qsize())]

    @property
    def note(self) -> str:
        shown = self.input.state.proposals
        return "" if shown is None else shown.note

    @property
    def outlines(self) -> tuple[Outline, ...]:
        shown = self.input.state.proposals
        return () if shown is None else shown.outlines
