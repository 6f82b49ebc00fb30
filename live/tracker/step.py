"""What one object's step asks of the networks: attend, decode, remember.

The answer follows from the step's picture, the object's state before it and the prompts given for
it, and from nothing else. So a step can be run again, later, with other prompts, and gives what it
would have given in time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Final

import numpy as np

from samcam.engines import DeviceTensor, ImageFeatures, Manifest, Sam2Networks, clamp_mask_input
from samcam.live.frames import F32, U8, Mask, ObjectResult, Prompt
from samcam.live.prompt_checks import points_at_something
from samcam.live.tracker.crop import Window, resampled
from samcam.live.tracker.history import PastObject, PastStep, View
from samcam.live.tracker.presets import TrackerSettings
from samcam.live.tracker.prompts import merge_prompts, scale_points
from samcam.live.tracker.track import Answer, ObjectTrack

STAGES: Final = ("encode", "attend", "decode", "remember")

CENTRED_FROM: Final = 2.0  # times the pixels of a mask's own window in the one it was found in

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
class _Ground:
    """What clicks are decoded on.

    Attributes:
        view: The part of the picture.
        pix_feat: [1, D, G, G] of it, with the object's memory where it has one.
        mask_input: (L, L) clamped logits of the tracked mask, or None.
        steps: Steps of the memories in the features.
    """

    view: View
    pix_feat: DeviceTensor
    mask_input: F32 | None = None
    steps: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class _Outcome:
    """An object's answer on a step and what it was made from.

    Attributes:
        answer: What the host rules made of it.
        memory_steps: Steps of the memories attended to.
        candidates: Tokens that could have answered, by the area of their masks.
    """

    answer: Answer
    memory_steps: tuple[int, ...] = ()
    candidates: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class _Previewed:
    """The ground of the last preview: it holds while the object before that step does."""

    past: PastStep
    object_id: int
    before: ObjectTrack | None
    ground: _Ground


class StepRunner:
    """Runs steps of single objects. Keeps no state but the ground of the last preview."""

    def __init__(self, networks: Sam2Networks, settings: TrackerSettings) -> None:
        self._networks = networks
        self._settings = settings
        self._previewed: _Previewed | None = None

    @property
    def manifest(self) -> Manifest:
        """Sizes and rules of the model."""
        return self._networks.manifest

    def new_track(self, object_id: int) -> ObjectTrack:
        """Return the state of an object about which nothing is known."""
        return ObjectTrack(object_id, self._settings, self._networks.manifest)

    def encode(self, past: PastStep, clock: StageClock) -> ImageFeatures:
        """Encode a step's picture, once, and return its features."""
        return _Step(self._networks, self._settings, past, clock).features()

    def run(
        self, past: PastStep, mine: PastObject, track: ObjectTrack, clock: StageClock
    ) -> ObjectResult:
        """Run one object's step.

        Args:
            past: The step.
            mine: The object's part of it: its prompts count, and its answer is noted there.
            track: The object before the step; it is moved on to after the step.
            clock: Counts the time.
        """
        return _Step(self._networks, self._settings, past, clock).run(mine, track)

    def preview(self, past: PastStep, click: Prompt) -> tuple[F32, float]:
        """Return the mask that a click would give on a step, and change nothing.

        What the click is decoded on is kept, so that another click on the same picture for the
        same object costs one call of the decoder.

        Returns:
            (L, L) logits and the predicted IoU.
        """
        step = _Step(self._networks, self._settings, past, StageClock())
        mine = past.objects.get(click.object_id) or PastObject()
        prompt = merge_prompts((*_of_the_picture(mine.prompts), click))
        track = self.new_track(click.object_id) if mine.before is None else mine.before.fork()
        track.begin(past.dt_s)
        window = track.window(past.size_wh, prompt)
        known = self._previewed
        if known is None or not (
            known.past is past
            and known.object_id == click.object_id
            and known.before is mine.before
            and known.ground.view.window == window
        ):
            step.learn(mine.prompts, track)
            ground = step.ground(track, step.view(mine, window))
            # the features of an attention live until its next run only
            kept = replace(ground, pix_feat=ground.pix_feat.copy())
            known = self._previewed = _Previewed(past, click.object_id, mine.before, kept)
        answer = step.decode_points(track, prompt, known.ground).answer
        return track.on_picture(answer), answer.predicted_iou

    def forget_preview(self) -> None:
        """Free what the last preview kept; also after memories were put into a past state."""
        self._previewed = None


@dataclass(frozen=True, slots=True, eq=False)
class _Step:
    """One step, whatever the object.

    Attributes:
        networks, settings: The tracker's.
        past: The step; its picture is encoded when that is needed.
        clock: Counts the time.
    """

    networks: Sam2Networks
    settings: TrackerSettings
    past: PastStep
    clock: StageClock

    def features(self) -> ImageFeatures:
        """Return the whole picture's features; encode it, once, where that was not needed yet."""
        past = self.past
        if past.features is None:
            past.features = self._encode(past.picture)
            if self.settings.window is None:
                past.picture = None
        return past.features

    def view(self, mine: PastObject, window: Window) -> View:
        """Return a part of the picture, encoded; the latest one of each object is kept."""
        if window.is_whole:
            return View(window, self.features())
        if mine.view is None or mine.view.window != window:
            mine.view = View(window, self._encode_part(window))
        return mine.view

    def run(self, mine: PastObject, track: ObjectTrack) -> ObjectResult:
        """See `StepRunner.run`."""
        past, settings = self.past, self.settings
        track.begin(past.dt_s)
        self.learn(mine.prompts, track)
        given = _of_the_picture(mine.prompts)
        prompt = merge_prompts(given) if given else None
        outcome = self._answer(mine, track, prompt)
        answer = outcome.answer
        mine.visible, mine.token = answer.visible, answer.token
        mine.candidates = outcome.candidates
        conditioning = prompt is not None and (
            settings.corrections_condition or not track.remembers
        )
        if mine.committed and answer.visible:
            self._remember(mine, track, answer, conditioning=True, sure=True)
            admitted = True
        else:
            admitted = track.admits(answer)
            if admitted:
                self._remember(mine, track, answer, conditioning)
            elif track.remembers:
                track.bank.add_pointer(past.step, answer.obj_ptr)
        return track.finish(answer, past.dt_s, past.size_wh, admitted, outcome.memory_steps)

    def learn(self, prompts: Sequence[Prompt], track: ObjectTrack) -> None:
        """Learn the object from another picture, where one was given: the last one counts.

        What was also said about this step's own picture is answered with that memory.
        """
        references = [prompt for prompt in prompts if prompt.reference_bgr is not None]
        if references:
            self._remember_reference(track, references[-1])

    def ground(self, track: ObjectTrack, view: View) -> _Ground:
        """Return what clicks are decoded on: bare features for an object's first prompt, else the
        memory and the tracked mask (sam2_video_predictor.py:227-262 @2b90b9f)."""
        if not track.remembers:
            return _Ground(view, view.features.pix_feat_no_mem)
        pix_feat, steps = self._attend(track, view)
        tracked = self._decode_tracked(track, view, pix_feat)
        if tracked.visible or not self.settings.trust_prompts:
            return _Ground(view, pix_feat, clamp_mask_input(tracked.low_res_mask), steps)
        return _Ground(view, pix_feat, None, steps)

    def decode_points(self, track: ObjectTrack, prompt: Prompt, ground: _Ground) -> _Outcome:
        """Answer clicks and a box."""
        window, size = ground.view.window, self.networks.manifest.image_size
        points = scale_points(window.own_prompt(prompt), window.size_wh, size)
        features, count = ground.view.features, len(points.labels)
        with self.clock.stage("decode"):
            decoded = self.networks.decode(
                ground.pix_feat, features, points.points_xy, points.labels, ground.mask_input
            )
            answer = track.judge_prompted(
                decoded, count, points_at_something(prompt), prompt.candidate, window
            )
            candidates = track.candidates(decoded, count, answer.token)
        return _Outcome(answer, ground.steps, candidates)

    def _encode(self, picture: U8 | None) -> ImageFeatures:
        if picture is None:
            raise ValueError("expected a picture to encode")
        with self.clock.stage("encode"):
            return self.networks.encode_image(picture)

    def _encode_part(self, window: Window) -> ImageFeatures:
        picture = self.past.picture
        return self._encode(None if picture is None else window.cut(picture))

    def _answer(self, mine: PastObject, track: ObjectTrack, prompt: Prompt | None) -> _Outcome:
        """Answer what was asked, in the part of the picture that is best for it.

        An object's first clicks are decoded on the whole picture, its first box in a window.
        """
        size_wh = self.past.size_wh
        if prompt is None:
            if not track.remembers:
                return _Outcome(track.absent(size_wh))
            view = self.view(mine, track.window(size_wh))
            pix_feat_with_mem, steps = self._attend(track, view)
            return _Outcome(self._decode_tracked(track, view, pix_feat_with_mem), steps)
        if prompt.mask is not None:
            view = self.view(mine, track.window_around_mask(prompt.mask))
            return _Outcome(self._decode_mask(view, track, prompt.mask))
        view = self.view(mine, track.window(size_wh, prompt))
        return self.decode_points(track, prompt, self.ground(track, view))

    def _attend(self, track: ObjectTrack, view: View) -> tuple[DeviceTensor, tuple[int, ...]]:
        """Return the memory-conditioned features and the steps of the memories in them."""
        known = track.bank.view(self.past.step)
        with self.clock.stage("attend"):
            pix_feat_with_mem = self.networks.attend(
                view.features,
                known.maskmem_features,
                known.maskmem_tpos,
                known.obj_ptrs,
                known.obj_ptr_tpos,
            )
        return pix_feat_with_mem, known.steps

    def _decode_tracked(
        self, track: ObjectTrack, view: View, pix_feat_with_mem: DeviceTensor
    ) -> Answer:
        with self.clock.stage("decode"):
            decoded = self.networks.decode(
                pix_feat_with_mem, view.features, _NO_POINTS, _NO_LABELS, None
            )
            return track.judge_tracked(decoded, view.window)

    def _decode_mask(self, view: View, track: ObjectTrack, mask: Mask) -> Answer:
        """Answer a mask: on raw features, without memory (sam2_base.py:786-793 @2b90b9f)."""
        features = view.features
        with self.clock.stage("decode"):
            mask_input, low_res_mask = self.networks.encode_mask_prompt(view.window.cut(mask))
            decoded = self.networks.decode(
                features.pix_feat, features, _NO_POINTS, _NO_LABELS, mask_input
            )
            return track.judge_mask(decoded, low_res_mask, view.window)

    def _remember_reference(self, track: ObjectTrack, prompt: Prompt) -> None:
        """Learn the object from another picture: its memory enters as conditioning, now."""
        if prompt.mask is None or prompt.reference_bgr is None:
            raise ValueError(f"object {prompt.object_id}: expected a mask and its picture")
        window = track.window_around_mask(prompt.mask)
        view = View(window, self._encode(window.cut(prompt.reference_bgr)))
        answer = self._decode_mask(view, track, prompt.mask)
        if track.admits(answer):
            self._put(view.features, track, answer, conditioning=True)

    def _remember(
        self,
        mine: PastObject,
        track: ObjectTrack,
        answer: Answer,
        conditioning: bool,
        sure: bool = False,
    ) -> None:
        """Encode the answer into the bank.

        With search windows a prompted mask from a much wider one, as the first is, becomes a
        memory of a window of its own: what the object is compared with later shows it as large as
        it will be seen then. Tracked masks do not: on generated clips that was worse, for a mask
        found again in a wide window is often a wrong one.

        Args:
            mine: The object's part of the step.
            track: Takes the memory in.
            answer: Of this step.
            conditioning: As such, not as a recent one.
            sure: As a mask that the user vouches for.
        """
        if answer.prompted and answer.visible:
            own = track.window_around(answer.box, answer.window.picture_wh)
            if own.area * CENTRED_FROM <= answer.window.area:
                mask = resampled(answer.low_res_mask, answer.window, own, len(answer.low_res_mask))
                features = self._encode_part(own)
                self._put(features, track, replace(answer, low_res_mask=mask), conditioning, sure)
                return
        features = self.view(mine, answer.window).features
        self._put(features, track, answer, conditioning, sure)

    def _put(
        self,
        features: ImageFeatures,
        track: ObjectTrack,
        answer: Answer,
        conditioning: bool,
        sure: bool = False,
    ) -> None:
        """Encode an answer and the features of its window into the bank."""
        with self.clock.stage("remember"):
            memory = self.networks.encode_memory(
                features, answer.low_res_mask, answer.prompted or sure, answer.memory_score
            )
            track.remember(self.past.step, answer, memory, conditioning)


def _of_the_picture(prompts: Sequence[Prompt]) -> list[Prompt]:
    """Return the prompts for a step's own picture, without masks of other ones."""
    return [prompt for prompt in prompts if prompt.reference_bgr is None]
