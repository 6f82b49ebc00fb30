"""The body of the inference thread: commands and the newest frame in, results out."""

from __future__ import annotations

import logging
import queue
import time
from typing import Final, Protocol

from samcam.engines import EngineError
from samcam.live.commands import TrackerCommand
from samcam.live.control import Controls
from samcam.live.frames import NS_PER_MS, Frame, FrameResult, Prompt
from samcam.live.loop.spare_work import POLL_S, Hoverer, HoverJob, SpareWork, Suggesting, SuggestJob
from samcam.live.slots import Closed, Slot
from samcam.live.watchdog import Watchdog, note_progress

log = logging.getLogger(__name__)

_COMMAND: Final = ("tracker: command", "a command has taken")
_WAIT_S: Final = 0.25  # longest wait without looking at the stop event


class Stepper(Hoverer, Suggesting, Protocol):
    """What the loop needs of a tracker; `live.tracker.tracker.Tracker` is one."""

    def apply(self, command: TrackerCommand) -> str | None:
        """Take a command before the next step and return what the user should know, if anything;
        ValueError where it cannot be right."""

    def step(self, frame: Frame) -> FrameResult:
        """Track one frame."""

    @property
    def next_step(self) -> int:
        """The step that the next frame will be."""

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
    controls: Controls,
    tracker: Stepper,
    watchdog: Watchdog,
    observe: StepObserver,
) -> None:
    """Track until the frames end, `controls.stop`, or an error; then close tracker and slots.

    Never raises: an error, the source's too, goes to the reader through `results`. Before each
    frame all waiting commands of `controls` are taken.

    Args:
        frames: Where capture puts frames.
        results: Where answers go; blocking or newest-wins as the pace wants.
        tracker: Used and closed by this thread alone.
        watchdog: Names a call of the tracker that hangs.
        observe: For figures; its errors end the run as any other.
    """
    error: BaseException | None = None
    stop = controls.stop
    spare = SpareWork([HoverJob(controls, tracker), SuggestJob(controls, tracker)])
    try:
        while not stop.is_set():
            with watchdog.watching("tracker: preview", "a preview has taken"):
                worked = spare.run_slice(lambda: frames.unread)
            if not frames.unread:
                spare.caught_up(frames.dropped)
            frame = frames.get(0.0 if worked else POLL_S)  # there may be more to do
            if frame is None:
                # on the first picture of a file that waits, no next one brings the commands in
                if controls.play.holds and tracker.next_step > 0:
                    with watchdog.watching(*_COMMAND):
                        apply_commands(controls, tracker)
                continue
            with watchdog.watching(*_COMMAND):
                follow_script(controls, tracker, frame)
                apply_commands(controls, tracker)
            age_ms = (time.perf_counter_ns() - frame.captured_ns) / NS_PER_MS
            with watchdog.watching("tracker: step", "a step has taken"):
                result = tracker.step(frame)
            controls.pinned.put(result.pinned)
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
        with watchdog.watching("tracker: end"):
            error = _close(tracker, error)
        results.close(error)


def _close(tracker: Stepper, error: BaseException | None) -> BaseException | None:
    """Close the tracker; return the first error of the two."""
    try:
        tracker.close()
    except BaseException as raised:
        return error or raised
    return error


def apply_commands(controls: Controls, tracker: Stepper) -> None:
    """Give the tracker every waiting command; one that it refuses is said and logged, not fatal."""
    for _ in range(controls.tracker.qsize()):  # not more: a busy sender must not hold up the frame
        try:
            command = controls.tracker.get_nowait()
        except queue.Empty:
            return
        if controls.script is not None and controls.script.exact:
            controls.refused(command, "this replay takes its commands from the recording")
        else:
            _apply(command, controls, tracker)


def follow_script(controls: Controls, tracker: Stepper, frame: Frame) -> None:
    """Give the tracker the commands of a replay that take effect before this frame."""
    if controls.script is not None:
        for command in controls.script.tracker_commands(frame, tracker.next_step):
            _apply(command, controls, tracker)


def _apply(command: TrackerCommand, controls: Controls, tracker: Stepper) -> None:
    note_progress()  # each has its own time
    try:
        notice = tracker.apply(command)
    except ValueError as error:
        log.warning("refused: %s", error)
        controls.refused(command, str(error))
        return
    except EngineError:  # nothing more can be tracked
        raise
    except Exception as error:  # whatever else it is: no command may end a run
        log.exception("a command failed: object %s", getattr(command, "object_id", ""))
        controls.refused(command, f"it failed: {type(error).__name__}: {error}")
        return
    if notice is not None:
        controls.say(notice)  # first: whoever waits for the command reads it once it took effect
    if isinstance(command, Prompt):
        controls.play.play()  # one that was refused lets a waiting file wait on
    controls.applied(command, tracker.next_step)
