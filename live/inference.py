"""The body of the inference thread: commands and the newest frame in, results out."""

from __future__ import annotations

import logging
import queue
import threading
import time
from typing import Final, Protocol

from live.frames import Command, Frame, FrameResult, Prompt
from live.metrics import NS_PER_MS
from live.slot import Closed, Slot

log = logging.getLogger(__name__)

_WAIT_S: Final = 0.25  # longest wait without looking at the stop event


class Stepper(Protocol):
    """What the loop needs of a tracker; `live.tracker.Tracker` is one."""

    def prompt(self, prompt: Prompt) -> object:
        """Take a prompt for its frame; ValueError where it cannot be right."""

    def remove(self, object_id: int | None) -> object:
        """Forget an object, or all."""

    def step(self, frame: Frame) -> FrameResult:
        """Track one frame."""

    @property
    def pending_prompts(self) -> int:
        """Prompts whose frame has not come yet."""

    def close(self) -> None:
        """Free the networks."""


class StepObserver(Protocol):
    """Told about every step, on the inference thread."""

    def __call__(self, result: FrameResult, source_age_ms: float) -> None: ...


def run_inference(
    frames: Slot[Frame],
    results: Slot[FrameResult],
    commands: queue.Queue[Command],
    tracker: Stepper,
    stop: threading.Event,
    observe: StepObserver,
) -> None:
    """Track until the frames end, `stop`, or an error; then close tracker and slots.

    Never raises: an error, the source's too, goes to the reader through `results`.

    Args:
        frames: Where capture puts frames.
        results: Where answers go; blocking or newest-wins as the pace wants.
        commands: Clicks and removals; all that wait are taken before the next frame.
        tracker: Used and closed by this thread alone.
        stop: Ends the loop before the next frame.
        observe: For figures; its errors end the run as any other.
    """
    error: BaseException | None = None
    try:
        while not stop.is_set():
            frame = frames.get(_WAIT_S)
            if frame is None:
                continue
            apply_commands(commands, tracker)
            age_ms = (time.perf_counter_ns() - frame.captured_ns) / NS_PER_MS
            result = tracker.step(frame)
            observe(result, age_ms)
            while not stop.is_set() and not results.put(result, _WAIT_S):
                pass
    except Closed:  # the source ended, or the reader wants no more
        if tracker.pending_prompts and not stop.is_set():
            log.warning(
                "%d prompts never took effect: the source ended before their frame",
                tracker.pending_prompts,
            )
    except BaseException as raised:
        error = raised
    finally:
        frames.close()
        results.close(_close(tracker, error))


def _close(tracker: Stepper, error: BaseException | None) -> BaseException | None:
    """Close the tracker; return the first error of the two."""
    try:
        tracker.close()
    except BaseException as raised:
        return error or raised
    return error


def apply_commands(commands: queue.Queue[Command], tracker: Stepper) -> None:
    """Give the tracker every waiting command; one that it refuses is logged, not fatal."""
    for _ in range(commands.qsize()):  # not more: a busy writer must not hold up the frame
        try:
            command = commands.get_nowait()
        except queue.Empty:
            return
        try:
            if isinstance(command, Prompt):
                tracker.prompt(command)
            else:
                tracker.remove(command.object_id)
        except ValueError as error:
            log.warning("refused: %s", error)
