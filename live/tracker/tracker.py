"""One SAM 2 step per frame: encode the picture once; per object attend, decode, choose, remember.

No threads, no drawing. Each object goes through the networks alone (B = 1) with a memory of its
own, so adding, prompting or removing one changes no bit of another's answer; but where the preset
compares objects (`TrackerSettings.rivals`) a mask that is rather another one's is not taken.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from samcam.engines import BackendClass, EngineOptions, Manifest, Sam2Networks, load_model
from samcam.guides import Guide
from samcam.kalman import Grey, small_grey
from samcam.live.commands import (
    CommitMask,
    CycleCandidate,
    GuideBox,
    HoverAnswer,
    HoverRequest,
    PinStep,
    RemoveObject,
    TrackerCommand,
    UndoPrompt,
)
from samcam.live.frames import MIN_OBJECT_ID, Frame, FrameResult, Prompt
from samcam.live.prompt_checks import whole_number
from samcam.live.tracker.guidance import Guides
from samcam.live.tracker.history import PastStep, step_seconds
from samcam.live.tracker.presets import DEFAULT_PRESET, TrackerSettings
from samcam.live.tracker.presets import preset as preset_settings
from samcam.live.tracker.preview import ClickPreview
from samcam.live.tracker.prompts import PromptQueue, said_of_move, said_of_passing, said_of_removal
from samcam.live.tracker.step import ObjectStepper, StageClock
from samcam.live.tracker.suggest import MaskGenerator, SuggestRules, model_rules
from samcam.live.tracker.timeline import Timeline
from samcam.live.tracker.track import ObjectTrack
from samcam.memory import MAX_RECENT_POINTERS
from samcam.system import check_type


class Tracker:
    """Tracks objects by prompt through a stream of frames, with bounded memory for ever.

    Used by one thread. Prompts and commands take effect at the next `step`.

    Example:
        with Tracker.open("nano") as tracker:
            tracker.prompt(Prompt.click(320, 240))
            for frame in frames:
                result = tracker.step(frame)
    """

    def __init__(
        self,
        networks: Sam2Networks,
        settings: TrackerSettings,
        suggest_rules: SuggestRules | None = None,
        memory_pictures: bool = False,
    ) -> None:
        """Take over the networks, for one thread: `close` closes them.

        `suggest_rules` are those of `suggest`; None: the model's own. `memory_pictures`: as `open`.

        Raises:
            ValueError: The settings keep more memories than the model takes.
            TypeError: The settings are none.
        """
        check_type("settings", settings, TrackerSettings, "TrackerSettings")
        _check_limits(networks.manifest, settings)
        ObjectTrack(MIN_OBJECT_ID, settings)  # a gate that is none is refused now
        self._networks = networks
        self._settings = settings
        self._suggest_rules = suggest_rules or model_rules(networks.manifest.name)
        self._stepper = ObjectStepper(networks, settings, memory_pictures)
        self._preview = ClickPreview(networks, self._stepper)
        self._guides = Guides(settings.guide, settings.make_guide)
        self._timeline = Timeline(self._stepper, self._preview, self._guides)
        self._queue = PromptQueue()
        self._next_step = 0
        self._last: Frame | None = None
        self._grey: Grey | None = None  # of it, where the camera is watched
        self._closed = False

    @classmethod
    def open(
        cls,
        model: str | os.PathLike[str] = "nano",
        *,
        backend: str | BackendClass = "auto",
        preset: str | TrackerSettings = DEFAULT_PRESET,
        guide: str | Callable[[], Guide] | None = None,
        options: EngineOptions | None = None,
        memory_pictures: bool = False,
    ) -> Tracker:
        """Load a model and return a tracker that owns it.

        Models that track better so look for a known object in a crop that follows it, as
        `tracker.crop.enabled: auto` has it in the program.

        Args:
            model: A name as on the command line, or the path of a model folder.
            backend: auto, tensorrt, tensorrt-rtx, onnxruntime, torch, or a class of your own.
            preset: A name of `PRESETS`, or settings, which are used as they are.
            guide: A name of `GUIDES`, or what makes the guide of one object; None: the preset's.
            options: Threads and execution providers.
            memory_pictures: Whether to make `ObjectResult.memory_pictures`, for people to look at.

        Raises:
            ValueError: There is no such preset.
            TypeError: An argument is something else.
            EngineError: The model is missing or damaged, or the backend cannot run it.
        """
        named = isinstance(preset, str)
        settings = preset_settings(preset) if isinstance(preset, str) else preset
        check_type("preset", settings, TrackerSettings, "a name of PRESETS or TrackerSettings")
        if isinstance(guide, str):
            settings = replace(settings, guide=guide)
        elif guide is not None:
            settings = replace(settings, make_guide=guide)
        networks = load_model(model, backend, options)
        if named:
            settings = settings.for_model(networks.manifest.name)
        try:
            return cls(networks, settings, memory_pictures=memory_pictures)
        except BaseException:
            networks.close()
            raise

    @property
    def settings(self) -> TrackerSettings:
        return self._settings

    @property
    def object_ids(self) -> tuple[int, ...]:
        """Objects being tracked, ascending."""
        return tuple(sorted(self._timeline.tracks))

    @property
    def next_step(self) -> int:
        """The step that the next frame will be, from 0."""
        return self._next_step

    @property
    def pending_prompts(self) -> int:
        return len(self._queue)

    def prompt(self, prompt: Prompt) -> str | None:
        """Take a prompt for the picture that it belongs to.

        With a `step` that was processed, or the `frame_index` of the newest one: that step is
        answered again with it, and by the next `step` the object stands where it would stand had
        the prompt been there in time (see `TrackerSettings.catch_up`). Else it waits for the next
        step, or for the one that reaches its `frame_index`. Prompts of one object for the same
        picture are joined: clicks add up.

        Returns:
            What the user should know, or None.

        Raises:
            ValueError: It lies outside the picture, its mask does not fit, or it only says where
                an unknown object is not. Where the picture's size is not known yet, `step`
                raises that and goes on without the prompt when called again.
            TypeError: It is no prompt.
        """
        self._check_open()
        check_type("prompt", prompt, Prompt, "a Prompt")
        last = self._last
        prompt = self._of_step(prompt.fitted(last.size_wh if last else None))
        self._check_candidate(prompt)
        notice = said_of_passing(prompt, last)
        if prompt.step is not None and prompt.step < self._next_step:
            past = self._timeline.find(prompt.step) or self._timeline.nearest(prompt.step)
            if past is not None:
                self._timeline.prompt(prompt, past)
                return said_of_move(prompt, past.step)
            notice = said_of_move(prompt, None)
        if not prompt.points_at_something and not (
            self._timeline.knows(prompt.object_id)
            or self._queue.names(prompt.object_id, prompt.frame_index)
        ):
            raise ValueError(
                f"object {prompt.object_id}: the first prompt needs a positive point, a box or a "
                "mask, got negative points only"
            )
        self._queue.add(prompt)
        return notice

    def remove(self, object_id: int | None = None) -> None:
        """Forget one object and its waiting prompts, or all; an unknown id is no error."""
        self._check_open()
        object_id = RemoveObject(object_id).object_id
        self._queue.drop(object_id)
        self._timeline.forget(object_id)

    def undo(self, object_id: int | None = None) -> str:
        """Take back the last prompt or commit of one object, or of any; return what was done.

        The other clicks on that picture stay and are answered again. An object whose first
        prompt is taken back is removed.

        Raises:
            ValueError: There is nothing to take back.
        """
        self._check_open()
        object_id = UndoPrompt(object_id).object_id
        waiting = self._queue.pop_last(object_id)
        if waiting is not None:
            return f"object {waiting.object_id}: last prompt taken back"
        return self._timeline.undo(object_id)

    def apply(self, command: TrackerCommand) -> str | None:
        """Do what a command says before the next step; return what to tell the user, or None.

        Raises:
            ValueError: It cannot be done, or cannot be right: see `prompt` and `undo`.
            TypeError: It is no command.
        """
        self._check_open()
        check_type("command", command, TrackerCommand, "a Prompt, or a command such as UndoPrompt")
        match command:
            case Prompt():
                return self.prompt(command)
            case RemoveObject(object_id):
                said = said_of_removal(object_id, self._present())
                self.remove(object_id)
                return said
            case UndoPrompt(object_id):
                return self.undo(object_id)
            case CycleCandidate(object_id, by):
                return self._timeline.cycle(object_id, by)
            case CommitMask(object_id):
                return self._timeline.commit(object_id)
            case PinStep(step):
                return self._timeline.pin(step)
            case GuideBox():
                self._timeline.guide(command)
                return None

    def hover(self, request: HoverRequest) -> HoverAnswer | None:
        """Return the mask that a click would give; nothing that is tracked changes.

        None where the step is not kept or the position lies outside its picture. Another request
        for the same picture and object costs one call of the mask decoder.
        """
        self._check_open()
        check_type("request", request, HoverRequest, "a HoverRequest")
        self._timeline.settle()
        past = self._timeline.find(request.step)
        if past is None:
            return None
        click = Prompt.click(request.x, request.y, request.object_id)
        try:
            click.fitted(past.size_wh)
        except ValueError:
            return None
        logits, predicted_iou = self._preview.mask(past, click)
        return HoverAnswer(request, logits, predicted_iou)

    def suggest(self, step: int) -> MaskGenerator:
        """Return a search for objects on a kept step's picture; nothing that is tracked changes.

        Raises:
            ValueError: The step is not kept.
        """
        self._check_open()
        past = self._timeline.find(whole_number("step", step))
        if past is None:
            why = "" if self._settings.prompt_history else " (tracker.prompt_history is 0)"
            raise ValueError(f"that picture is no longer kept{why}")
        features = self._stepper.encode_picture(past, StageClock())
        return MaskGenerator(self._networks, features, past.size_wh, self._suggest_rules)

    def step(self, picture: Frame | NDArray[Any], time_s: float | None = None) -> FrameResult:
        """Process the next picture of the stream: a frame, or an array as `Frame.after` takes it.

        Without objects nothing is computed. Changes to past steps are answered first. Time that
        stands still or runs backwards counts as one thirtieth of a second, and a gap as one
        minute at most.

        Args:
            picture: An array is (H, W, 3) uint8 in BGR order, and copied.
            time_s: Of an array, on any clock, such as `time.monotonic()` for a camera; None: one
                thirtieth of a second after the last picture.

        Raises:
            TypeError: No picture; or a time beside a frame, which has its own.
            ValueError: The picture has another shape or type, or the time runs backwards. A
                waiting prompt does not fit the picture; it is dropped and nothing else has changed.
            EngineError: A network failed; the tracker cannot go on.
        """
        self._check_open()
        if not isinstance(picture, Frame):
            frame = Frame.after(self._last, picture, time_s)
        elif time_s is None:
            frame = picture
        else:
            raise TypeError("time_s: expected none beside a Frame, which has its own")
        self._timeline.settle()
        self._timeline.expect_foreseen()
        due = self._queue.take_due(frame.index, frame.size_wh)
        dt_s = step_seconds(self._last.time_ns if self._last else None, frame.time_ns)
        last, self._last = self._last, frame
        past = PastStep(self._next_step, frame.index, dt_s, frame.size_wh, frame.image_bgr)
        past.time_ns = frame.time_ns
        self._next_step += 1
        for object_id, prompts in due.items():
            past.of(object_id).prompts = prompts
        clock = self._timeline.clock
        object_ids = self._timeline.tracks.keys() | due.keys()
        self._watch_camera(past, last if object_ids else None)
        if object_ids and self._settings.crop is None:
            self._stepper.encode_picture(past, clock)
        tracks, answers = [], []
        for object_id in sorted(object_ids):
            track = self._timeline.before(past, object_id, self._timeline.tracks.get(object_id))
            if track is not None:
                tracks.append(track)
        self._stepper.foresee(past, tracks)
        past.expect_foreseen()
        for track in tracks:
            self._guides.ask(past, frame.image_bgr, track.object_id, track.state)
            answers.append(self._stepper.step(past, track, clock))
            self._guides.learn(past, frame.image_bgr, answers[-1])
        self._timeline.keep(past, tracks)
        pinned = self._timeline.pinned
        return FrameResult(frame, past.step, tuple(answers), clock.take(), pinned=pinned)

    def close(self) -> None:
        """Free the networks and forget everything. Idempotent."""
        if not self._closed:
            self._closed = True
            self._timeline.close()
            self._queue.drop(None)
            self._networks.close()

    def __enter__(self) -> Tracker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _watch_camera(self, past: PastStep, last: Frame | None) -> None:
        """Note on a step how the camera moved since the last picture; None: nobody asks."""
        before, self._grey = self._grey, None
        if last is not None and self._settings.camera_motion:
            past.watch_camera(small_grey(last.image_bgr) if before is None else before)
            self._grey = past.grey

    def _present(self) -> set[int]:
        """Return the objects that are tracked or wait for their first picture."""
        return {*self._timeline.tracks, *self._timeline.changed, *self._queue.object_ids}

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("the tracker is closed; open a new one")

    def _of_step(self, prompt: Prompt) -> Prompt:
        """Return a prompt for the newest frame as one for its step, if that is kept.

        Who names it sees it: a file waits on its first picture until that one is prompted.
        """
        step = self._next_step - 1
        if self._last is None or prompt.frame_index != self._last.index:
            return prompt
        if self._timeline.find(step) is None:
            return prompt
        return replace(prompt, frame_index=None, step=step)

    def _check_candidate(self, prompt: Prompt) -> None:
        count = self._networks.manifest.candidates
        if prompt.candidate is not None and not 0 <= prompt.candidate < count:
            raise ValueError(
                f"object {prompt.object_id}: candidate: expected 0..{count - 1}, "
                f"got {prompt.candidate}"
            )


def _check_limits(manifest: Manifest, settings: TrackerSettings) -> None:
    """Compare what the memory bank may attend to with what the model takes."""
    bank = settings.bank_policy
    for key, most, wanted, what in (
        ("max_cond", manifest.max_cond, bank.max_cond, "conditioning memories"),
        ("num_recent", manifest.num_recent, bank.max_recent, "recent memories"),
        ("max_recent_ptrs", manifest.max_recent_ptrs, MAX_RECENT_POINTERS, "recent pointers"),
    ):
        if wanted > most:
            raise ValueError(
                f"{key}: model {manifest.name} takes at most {most} {what}, "
                f"preset {settings.name} keeps {wanted}"
            )
