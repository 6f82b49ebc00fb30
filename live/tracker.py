"""One SAM 2 step per frame: encode the picture once; per object attend, decode, choose, remember.

No threads, no drawing. Each object goes through the networks alone (B = 1) with a memory of its
own, so adding, prompting or removing one changes no bit of another's answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from types import TracebackType
from typing import Final

import numpy as np

from engines.base import DeviceTensor
from engines.host_rules import clamp_mask_input
from engines.manifest import Manifest
from engines.model_folder import load_model
from engines.options import EngineOptions
from engines.sam2_graphs import ImageFeatures, Sam2Networks
from live.commands import RemoveObject, TrackerCommand
from live.frames import NS_PER_S, Frame, FrameResult, ObjectResult, Prompt
from live.object_track import Answer, ObjectTrack
from live.presets import DEFAULT_PRESET, TrackerSettings
from live.presets import preset as preset_settings
from live.tracker_prompts import PromptQueue, check_prompt, points_at_something, scale_points
from memory.selection import MAX_RECENT, MAX_RECENT_POINTERS

STAGES: Final = ("encode", "attend", "decode", "remember")
NOMINAL_STEP_S: Final = 1 / 30  # where two frames do not say how far apart they are
MAX_STEP_S: Final = 1.0  # a longer gap says nothing more about motion

_NO_POINTS: Final = np.zeros((0, 2), np.float32)
_NO_LABELS: Final = np.zeros((0,), np.int32)


class StageClock:
    """Adds up the wall time of each stage of one step."""

    def __init__(self) -> None:
        self.ms: dict[str, float] = dict.fromkeys(STAGES, 0.0)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time of a `with` block towards a stage."""
        start = perf_counter()
        try:
            yield
        finally:
            self.ms[name] += (perf_counter() - start) * 1e3


@dataclass(frozen=True, slots=True, eq=False)
class _Present:
    """What all objects share on one step; nobody changes it but the clock."""

    step: int
    dt_s: float
    size_wh: tuple[int, int]
    features: ImageFeatures
    clock: StageClock


@dataclass(frozen=True, slots=True, eq=False)
class _Outcome:
    """An object's answer on this frame and what it was made from."""

    answer: Answer
    memory_steps: tuple[int, ...] = ()


class Tracker:
    """Tracks objects by prompt through a stream of frames, with bounded memory for ever.

    Used by one thread. `prompt` and `remove` take effect at the next `step`.

    Example:
        with Tracker.open("nano") as tracker:
            tracker.prompt(Prompt(points_xy_px=np.array([[320, 240]]), labels=np.array([1])))
            for frame in frames:
                result = tracker.step(frame)
    """

    def __init__(self, networks: Sam2Networks, settings: TrackerSettings) -> None:
        """Take over the networks: `close` closes them.

        Raises:
            ValueError: The settings keep more memories than the model takes.
        """
        _check_limits(networks.manifest, settings)
        self._networks = networks
        self._settings = settings
        self._tracks: dict[int, ObjectTrack] = {}
        self._queue = PromptQueue()
        self._next_step = 0
        self._last_time_ns: int | None = None
        self._size_wh: tuple[int, int] | None = None
        self._closed = False

    @classmethod
    def open(
        cls,
        model: str = "nano",
        *,
        backend: str = "auto",
        preset: str = DEFAULT_PRESET,
        options: EngineOptions | None = None,
    ) -> Tracker:
        """Load a model and return a tracker that owns it.

        Args:
            model: A name as on the command line, or a model folder.
            backend: auto, tensorrt, onnxruntime or torch.
            preset: See `live.presets`.
            options: Threads and execution providers.

        Raises:
            ValueError: There is no such preset.
            EngineError: The model is missing or damaged, or the backend cannot run it.
        """
        settings = preset_settings(preset)
        networks = load_model(model, backend, options)
        try:
            return cls(networks, settings)
        except ValueError:
            networks.close()
            raise

    @property
    def settings(self) -> TrackerSettings:
        """The rules in force."""
        return self._settings

    @property
    def object_ids(self) -> tuple[int, ...]:
        """Objects being tracked, ascending."""
        return tuple(sorted(self._tracks))

    @property
    def next_step(self) -> int:
        """The step that the next frame will be, from 0."""
        return self._next_step

    @property
    def pending_prompts(self) -> int:
        """Prompts that wait for their frame."""
        return len(self._queue)

    def prompt(self, prompt: Prompt) -> None:
        """Queue a prompt for the next step, or for the step that reaches its `frame_index`.

        Prompts of one object for the same frame are joined: clicks add up.

        Raises:
            ValueError: It lies outside the picture, its mask does not fit, or it only says where
                an unknown object is not. Where the picture's size is not known yet, `step`
                raises that and goes on without the prompt when called again.
        """
        self._check_open()
        check_prompt(prompt, self._size_wh)
        known = prompt.object_id in self._tracks or self._queue.names(
            prompt.object_id, prompt.frame_index
        )
        if not known and not points_at_something(prompt):
            raise ValueError(
                f"object {prompt.object_id}: the first prompt needs a positive point, a box or a "
                "mask, got negative points only"
            )
        self._queue.add(prompt)

    def remove(self, object_id: int | None = None) -> None:
        """Forget one object and its waiting prompts, or all; an unknown id is no error."""
        self._check_open()
        self._queue.drop(object_id)
        if object_id is None:
            self._tracks.clear()
        else:
            self._tracks.pop(object_id, None)

    def apply(self, command: TrackerCommand) -> None:
        """Do what a command says before the next step.

        Raises:
            ValueError: It cannot be right: see `prompt`.
        """
        match command:
            case Prompt():
                self.prompt(command)
            case RemoveObject(object_id):
                self.remove(object_id)
            case _:
                raise ValueError(f"{command}: not possible yet")

    def step(self, frame: Frame) -> FrameResult:
        """Process the next frame of the stream.

        Without objects nothing is computed. Time that stands still or runs backwards counts as
        one thirtieth of a second, and a gap as one second at most.

        Raises:
            ValueError: A waiting prompt does not fit the picture; it is dropped and nothing else
                has changed.
            EngineError: A network failed; the tracker cannot go on.
        """
        self._check_open()
        due = self._queue.take_due(frame.index, frame.size_wh)
        self._size_wh = frame.size_wh
        dt_s = step_seconds(self._last_time_ns, frame.time_ns)
        self._last_time_ns = frame.time_ns
        step, clock = self._next_step, StageClock()
        self._next_step += 1
        results: tuple[ObjectResult, ...] = ()
        if due or self._tracks:
            with clock.stage("encode"):
                features = self._networks.encode_image(frame.image_bgr)
            present = _Present(step, dt_s, frame.size_wh, features, clock)
            results = tuple(
                self._step_object(present, object_id, due.get(object_id))
                for object_id in sorted(self._tracks.keys() | due.keys())
            )
        return FrameResult(frame, step, results, clock.ms)

    def close(self) -> None:
        """Free the networks and forget everything. Idempotent."""
        if not self._closed:
            self._closed = True
            self._tracks.clear()
            self._queue.drop(None)
            self._networks.close()

    def __enter__(self) -> Tracker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("the tracker is closed; open a new one")

    def _step_object(
        self, present: _Present, object_id: int, prompt: Prompt | None
    ) -> ObjectResult:
        track = self._tracks.get(object_id)
        if track is None:
            track = ObjectTrack(object_id, self._settings, self._networks.manifest)
            self._tracks[object_id] = track
        track.begin(present.dt_s)
        if prompt is not None and prompt.reference_bgr is not None:
            self._remember_reference(present, track, prompt)
            prompt = None
        conditioning = prompt is not None and (
            self._settings.corrections_condition or not track.remembers
        )
        if prompt is None:
            outcome = self._track(present, track)
        elif prompt.mask is not None:
            outcome = _Outcome(self._decode_mask(present.clock, present.features, track, prompt))
        else:
            outcome = self._decode_points(present, track, prompt)
        admitted = self._remember(present, track, outcome.answer, conditioning)
        return track.finish(
            outcome.answer, present.dt_s, present.size_wh, admitted, outcome.memory_steps
        )

    def _track(self, present: _Present, track: ObjectTrack) -> _Outcome:
        """Answer for a frame without a prompt."""
        if not track.remembers:
            return _Outcome(track.absent(self._networks.manifest.mask_size))
        pix_feat_with_mem, steps = self._attend(present, track)
        return _Outcome(self._decode_tracked(present, track, pix_feat_with_mem), steps)

    def _attend(
        self, present: _Present, track: ObjectTrack
    ) -> tuple[DeviceTensor, tuple[int, ...]]:
        """Return the memory-conditioned features and the steps of the memories in them."""
        view = track.bank.view(present.step)
        with present.clock.stage("attend"):
            pix_feat_with_mem = self._networks.attend(
                present.features,
                view.maskmem_features,
                view.maskmem_tpos,
                view.obj_ptrs,
                view.obj_ptr_tpos,
            )
        return pix_feat_with_mem, view.steps

    def _decode_tracked(
        self, present: _Present, track: ObjectTrack, pix_feat_with_mem: DeviceTensor
    ) -> Answer:
        with present.clock.stage("decode"):
            decoded = self._networks.decode(
                pix_feat_with_mem, present.features, _NO_POINTS, _NO_LABELS, None
            )
            return track.judge_tracked(decoded)

    def _decode_points(self, present: _Present, track: ObjectTrack, prompt: Prompt) -> _Outcome:
        """Answer clicks and a box: a first prompt on bare features, a correction on top of the
        tracked mask and the memory (sam2_video_predictor.py:227-262 @2b90b9f)."""
        size = self._networks.manifest.image_size
        points = scale_points(prompt, present.size_wh, size)
        pix_feat: DeviceTensor = present.features.pix_feat_no_mem
        steps: tuple[int, ...] = ()
        mask_input = None
        if track.remembers:
            pix_feat, steps = self._attend(present, track)
            tracked = self._decode_tracked(present, track, pix_feat)
            if tracked.visible or not self._settings.trust_prompts:
                mask_input = clamp_mask_input(tracked.low_res_mask)
        with present.clock.stage("decode"):
            decoded = self._networks.decode(
                pix_feat, present.features, points.points_xy, points.labels, mask_input
            )
            answer = track.judge_prompted(decoded, len(points.labels), points_at_something(prompt))
        return _Outcome(answer, steps)

    def _decode_mask(
        self, clock: StageClock, features: ImageFeatures, track: ObjectTrack, prompt: Prompt
    ) -> Answer:
        """Answer a mask: on raw features, without memory (sam2_base.py:786-793 @2b90b9f)."""
        if prompt.mask is None:
            raise ValueError(f"object {prompt.object_id}: expected a mask")
        with clock.stage("decode"):
            mask_input, low_res_mask = self._networks.encode_mask_prompt(prompt.mask)
            decoded = self._networks.decode(
                features.pix_feat, features, _NO_POINTS, _NO_LABELS, mask_input
            )
            return track.judge_mask(decoded, low_res_mask)

    def _remember_reference(self, present: _Present, track: ObjectTrack, prompt: Prompt) -> None:
        """Learn the object from another picture: its memory enters as conditioning, now."""
        if prompt.reference_bgr is None:
            raise ValueError(f"object {prompt.object_id}: expected a reference picture")
        with present.clock.stage("encode"):
            features = self._networks.encode_image(prompt.reference_bgr)
        answer = self._decode_mask(present.clock, features, track, prompt)
        reference = _Present(present.step, present.dt_s, present.size_wh, features, present.clock)
        self._remember(reference, track, answer, conditioning=True)

    def _remember(
        self, present: _Present, track: ObjectTrack, answer: Answer, conditioning: bool
    ) -> bool:
        """Encode the answer into the bank if it is admitted; say whether it was."""
        if not track.admits(answer):
            if track.remembers:
                track.bank.add_pointer(present.step, answer.obj_ptr)
            return False
        with present.clock.stage("remember"):
            features = self._networks.encode_memory(
                present.features, answer.low_res_mask, answer.prompted, answer.memory_score
            )
            track.remember(present.step, answer, features, conditioning)
        return True


def step_seconds(previous_ns: int | None, now_ns: int) -> float:
    """Return the seconds between two frames, made usable where the clock is not.

    A first frame, equal times and time running backwards (a looped file, a camera that came
    back) count as 1/30 s; a gap counts as 1 s at most.
    """
    if previous_ns is None or now_ns <= previous_ns:
        return NOMINAL_STEP_S
    return min((now_ns - previous_ns) / NS_PER_S, MAX_STEP_S)


def _check_limits(manifest: Manifest, settings: TrackerSettings) -> None:
    """Compare what the memory bank may hold with what the model takes."""
    for key, most, wanted, what in (
        ("max_cond", manifest.max_cond, settings.bank.max_cond, "conditioning memories"),
        ("num_recent", manifest.num_recent, MAX_RECENT, "recent memories"),
        ("max_recent_ptrs", manifest.max_recent_ptrs, MAX_RECENT_POINTERS, "recent pointers"),
    ):
        if wanted > most:
            raise ValueError(
                f"{key}: model {manifest.name} takes at most {most} {what}, "
                f"preset {settings.name} keeps {wanted}"
            )
