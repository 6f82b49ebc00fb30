"""One object's step: predict, crop, encode, attend, decode, judge, admit, remember, publish.

The answer follows from the step's picture, what is noted with it, the object's state before it and
the prompts given for it, and from nothing else. So a step can be run again, later, with other
prompts, and gives what it would have given in time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

import numpy as np

from samcam.engines import (
    DecoderOutput,
    DeviceTensor,
    HostStamp,
    ImageFeatures,
    Sam2Networks,
    Stamp,
    clamp_mask_input,
)
from samcam.kalman import CameraMotion
from samcam.live.frames import F32, U8, Mask, ObjectResult, Prompt
from samcam.live.tracker.crop import (
    Crop,
    crop_around,
    crop_around_mask,
    crop_for,
    on_picture,
    resampled,
    source_box,
)
from samcam.live.tracker.history import PastObject, PastStep, View
from samcam.live.tracker.identity.recogniser import Recogniser
from samcam.live.tracker.identity.search import search_crop
from samcam.live.tracker.judge import Answer, Judge, guided
from samcam.live.tracker.presets import TrackerSettings
from samcam.live.tracker.prompts import about_the_picture, merge_prompts, scale_points
from samcam.live.tracker.thumbnail import memory_picture, reduced
from samcam.live.tracker.track import ObjectTrack
from samcam.memory import MemoryPicture, MemoryView

STAGES: Final = ("encode", "attend", "decode", "remember")
MAX_TIMED: Final = 4096  # stages whose times are still to be read; a step has some per object
CENTRED_FROM: Final = 2.0  # times the pixels of a mask's own crop in the one it was found in

_NO_POINTS: Final = np.zeros((0, 2), np.float32)
_NO_LABELS: Final = np.zeros((0,), np.int32)


class StageClock:
    """Adds up the time of each stage.

    A GPU is still at work when a call returns, so a stage is timed between two moments of its
    work, which are read later: nothing waits for the sake of a figure.
    """

    def __init__(self, stamp: Callable[[], Stamp] = HostStamp) -> None:
        """Take what notes a moment; without it, that of the host's clock."""
        self._stamp = stamp
        self._timed: deque[tuple[str, Stamp, Stamp]] = deque(maxlen=MAX_TIMED)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time of a `with` block towards a stage; not of one that fails."""
        start = self._stamp()
        yield
        self._timed.append((name, start, self._stamp()))

    def take(self) -> dict[str, float]:
        """Return the milliseconds of each stage since the last call.

        What the device has not finished yet counts the next time: as a rule what a step does last,
        which is to remember.
        """
        taken: dict[str, float] = dict.fromkeys(STAGES, 0.0)
        while self._timed:
            name, start, end = self._timed[0]
            passed_ms = end.ms_since(start)
            if passed_ms is None:
                break
            taken[name] += passed_ms
            self._timed.popleft()
        return taken


class ObjectStepper:
    """Runs steps of single objects on one model; keeps nothing between them."""

    def __init__(self, networks: Sam2Networks, settings: TrackerSettings, shows: bool) -> None:
        """`shows`: whether people may look at memories, as `Tracker.open` has it."""
        self.settings, self._shows = settings, shows
        self._networks = networks
        self._judge = Judge(settings, networks.manifest)
        self._recogniser = Recogniser(settings, networks.manifest)
        self._drops_pictures = settings.crop is None and settings.recovery is None
        self._cells = networks.manifest.mask_size

    def stamp(self) -> Stamp:
        return self._networks.stamp()

    def step(self, past: PastStep, track: ObjectTrack, clock: StageClock) -> ObjectResult:
        """Run one object's step.

        Args:
            past: The step, with the object's prompts for it; the answer is noted there.
            track: The object before the step; it is moved on to after the step.
        """
        networks, settings, mine = self._networks, self.settings, past.of(track.object_id)
        # predict where it is on this frame; take in what it looks like on a picture of its own
        self.predict(past, track)
        self.learn(past, mine.prompts, track, clock)
        given = about_the_picture(mine.prompts)
        prompt = merge_prompts(given) if given else None
        if prompt is None and not track.remembers:
            mine.note(visible=False)
            return self.publish(past, track, self._judge.absent(past.size_wh))
        # crop the part of the picture that is best for what is asked, encode it
        view = self.encode(past, mine, self.crop(track, prompt, past.size_wh), clock)
        # attend to what it looked like: not for a first prompt, and not for a mask
        pix_feat = view.features.pix_feat_no_mem
        known: MemoryView[DeviceTensor] | None = None
        is_mask = prompt is not None and prompt.mask is not None
        if track.remembers and not is_mask:
            known = track.bank.view(past.step)
            with clock.stage("attend"):
                pix_feat = networks.attend(view.features, *known.tensors)
        # decode and judge
        candidates: tuple[int, ...] = ()
        if prompt is None:
            answer = self._tracked(past, view, track, pix_feat, clock)
        elif prompt.mask is not None:
            answer = self._masked(view, track, prompt.mask, clock)
        else:
            mask_input = self.mask_input(past, view, track, pix_feat, clock)
            answer, candidates = self.clicked(view, track, prompt, pix_feat, mask_input, clock)
        answer = guided(answer, self.guide_box(past, track.object_id))
        if prompt is not None:
            answer = self._recogniser.looked_at(answer, past.picture, track)
        mine.note(answer.visible, answer.token, candidates, teaches=answer.is_its_own)
        # admit, remember
        vouched = mine.committed and answer.visible
        admitted = vouched or self._recogniser.admits(answer, track)
        asked = prompt is not None and (settings.corrections_condition or not track.remembers)
        if admitted:
            features, seen = self._to_remember(past, mine, answer, clock)
            memory = self._encode_memory(features, seen, vouched, clock)
            picture = self._picture(past, answer, past.seen)
            track.remember(past.step, answer, memory, vouched or asked, picture)
        elif track.remembers and answer.refused is None:
            track.bank.add_pointer(past.step, answer.obj_ptr)
            if self._recogniser.keeps_previous(answer):
                memory = self._encode_memory(view.features, answer, False, clock)
                shown = self._picture(past, answer, past.seen)
                track.remember_once(past.step, answer, memory, shown)
        return self.publish(past, track, answer, admitted, known)

    def foresee(self, past: PastStep, tracks: Sequence[ObjectTrack]) -> None:
        """Foresee where objects are on a step, before it is run, or run again for one."""
        if self.settings.rivals and (past.places or len(tracks) > 1):
            camera = self._camera(past)
            for track in tracks:
                past.foreseen[track.object_id] = track.place(past.dt_s, camera)

    def predict(self, past: PastStep, track: ObjectTrack) -> None:
        """Move the object's motion and its crop on to a step."""
        track.predict(past.dt_s, self._camera(past))
        track.meet(past.places, past.dt_s)
        guide = self.guide_box(past, track.object_id)
        if guide is not None:
            track.steer(guide)

    def guide_box(self, past: PastStep, object_id: int, given: bool = False) -> F32 | None:
        """Return the (4,) box of an object's guide on a step, in cells; or of a detector only."""
        mine = past.objects.get(object_id)
        if mine is None or mine.guide is None or (given and not mine.guide.given):
            return None
        return mine.guide.in_cells(past.size_wh, self._cells)

    def learn(
        self, past: PastStep, prompts: Sequence[Prompt], track: ObjectTrack, clock: StageClock
    ) -> None:
        """Learn the object from another picture, where one was given: the last one counts.

        Its memory enters as conditioning, now. What was also said about this step's own picture
        is answered with that memory.
        """
        references = [prompt for prompt in prompts if prompt.reference_bgr is not None]
        if not references:
            return
        prompt = references[-1]
        if prompt.mask is None or prompt.reference_bgr is None:
            raise ValueError(f"object {prompt.object_id}: expected a mask and its picture")
        crop = crop_around_mask(prompt.mask, self._cells, self.settings.crop)
        view = View(crop, self._encode(crop.cut(prompt.reference_bgr), clock))
        answer = self._masked(view, track, prompt.mask, clock)
        answer = self._recogniser.looked_at(answer, prompt.reference_bgr)
        if self._recogniser.admits(answer, track):
            memory = self._encode_memory(view.features, answer, False, clock)
            picture = self._picture(past, answer, prompt.reference_bgr)
            track.remember(past.step, answer, memory, True, picture)

    def crop(self, track: ObjectTrack, prompt: Prompt | None, picture_wh: tuple[int, int]) -> Crop:
        """Return where to look for the object, or the part in which its prompt is decoded.

        An object's first clicks are decoded on the whole picture, its first box in a crop.
        """
        if prompt is not None and prompt.mask is not None:
            return crop_around_mask(prompt.mask, self._cells, self.settings.crop)
        asked = picture_wh, self._cells, self.settings.crop
        if prompt is None and self.settings.recovery is not None and track.absent_steps:
            return search_crop(track.crop_state, track.absent_steps, *asked)
        return crop_for(track.crop_state, prompt, *asked)

    def encode(self, past: PastStep, mine: PastObject, crop: Crop, clock: StageClock) -> View:
        """Return a part of the picture, encoded; the latest one of each object is kept."""
        if crop.is_whole:
            return View(crop, self.encode_picture(past, clock))
        if mine.view is None or mine.view.crop != crop:
            mine.view = View(crop, self._encode_part(past, crop, clock))
        return mine.view

    def encode_picture(self, past: PastStep, clock: StageClock) -> ImageFeatures:
        """Return the whole picture's features; encode it, once, where that was not needed yet."""
        if past.features is None:
            past.features = self._encode(past.picture, clock)
            if self._drops_pictures and past.picture is not None:
                if self.settings.camera_motion:
                    past.shrink()
                past.reduced = reduced(past.picture) if self._shows else None
                past.picture = None
        return past.features

    def mask_input(
        self,
        past: PastStep,
        view: View,
        track: ObjectTrack,
        pix_feat: DeviceTensor,
        clock: StageClock,
    ) -> F32 | None:
        """Return the (L, L) clamped logits of the tracked mask, which clicks correct; None for
        an object's first prompt, or where it was not seen (sam2_video_predictor.py:227-262
        @2b90b9f)."""
        if not track.remembers:
            return None
        tracked = self._tracked(past, view, track, pix_feat, clock)
        if tracked.visible or not self.settings.trust_prompts:
            return clamp_mask_input(tracked.low_res_mask)
        return None

    def clicked(
        self,
        view: View,
        track: ObjectTrack,
        prompt: Prompt,
        pix_feat: DeviceTensor,
        mask_input: F32 | None,
        clock: StageClock,
    ) -> tuple[Answer, tuple[int, ...]]:
        """Answer clicks and a box; return also the tokens that could have answered."""
        crop, size = view.crop, self._networks.manifest.image_size
        points = scale_points(crop.own_prompt(prompt), crop.size_wh, size)
        count = len(points.labels)
        with clock.stage("decode"):
            decoded = self._networks.decode(
                pix_feat, view.features, points.points_xy, points.labels, mask_input
            )
            answer = self._judge.prompted(decoded, prompt, count, crop, track.gate)
            return answer, self._judge.candidates(decoded, count, answer.token)

    def on_picture(self, answer: Answer) -> F32:
        """Return an answer's logits on the whole picture, at the crop's resolution."""
        return on_picture(answer.low_res_mask, answer.crop, self._cells, self.settings.crop)

    def publish(
        self,
        past: PastStep,
        track: ObjectTrack,
        answer: Answer,
        admitted: bool = False,
        known: MemoryView[DeviceTensor] | None = None,
    ) -> ObjectResult:
        """Let the answer move the object's motion and state; return it in the caller's terms.

        `known` is what the step attended to.
        """
        status = track.observe(answer, past.dt_s)
        shown = self.on_picture(answer) if answer.visible else None
        if shown is not None:
            shown.flags.writeable = False
        return ObjectResult(
            object_id=track.object_id,
            state=status.state,
            reason=status.reason,
            mask_logits=shown,
            predicted_iou=answer.predicted_iou,
            object_score=answer.object_score,
            motion_iou=answer.motion_iou,
            box_xyxy_px=source_box(answer.box, past.size_wh, self._cells)
            if answer.visible
            else None,
            admitted=admitted,
            memory_steps=known.steps if known else (),
            memory_tiers=known.tiers if known else (),
            memory_pictures=known.pictures if known else (),
            size_wh=past.size_wh,
            guide_iou=answer.guide_iou,
            appearance=answer.appearance,
        )

    def _camera(self, past: PastStep) -> CameraMotion | None:
        return None if past.camera is None else past.camera.scaled(self._cells)

    def _encode(self, picture: U8 | None, clock: StageClock) -> ImageFeatures:
        if picture is None:
            raise ValueError("expected a picture to encode")
        with clock.stage("encode"):
            return self._networks.encode_image(picture)

    def _encode_part(self, past: PastStep, crop: Crop, clock: StageClock) -> ImageFeatures:
        picture = past.picture
        return self._encode(None if picture is None else crop.cut(picture), clock)

    def _tracked(
        self,
        past: PastStep,
        view: View,
        track: ObjectTrack,
        pix_feat: DeviceTensor,
        clock: StageClock,
    ) -> Answer:
        """Answer without a prompt: the memory alone says what to look for."""
        anchors, guide = self.settings.anchors, self.guide_box(past, track.object_id)
        given = self.guide_box(past, track.object_id, given=True)
        rivals = [place for place in past.places if place.object_id in track.rivals]

        def judged(decoded: DecoderOutput) -> Answer:
            answer = self._judge.tracked(decoded, view.crop, track.gate, guide, track.expected_box)
            if anchors is not None and track.may_anchor(past.step, answer):
                return self._judge.with_distractor(answer, decoded, anchors)
            return answer

        with clock.stage("decode"):
            decoded = self._networks.decode(pix_feat, view.features, _NO_POINTS, _NO_LABELS, None)
            return self._recogniser.own(judged, decoded, past.picture, track, rivals, given)

    def _masked(self, view: View, track: ObjectTrack, mask: Mask, clock: StageClock) -> Answer:
        """Answer a mask: on raw features, without memory (sam2_base.py:786-793 @2b90b9f)."""
        features = view.features
        with clock.stage("decode"):
            mask_input, low_res_mask = self._networks.encode_mask_prompt(view.crop.cut(mask))
            decoded = self._networks.decode(
                features.pix_feat, features, _NO_POINTS, _NO_LABELS, mask_input
            )
            return self._judge.mask(decoded, low_res_mask, view.crop, track.gate)

    def _to_remember(
        self, past: PastStep, mine: PastObject, answer: Answer, clock: StageClock
    ) -> tuple[ImageFeatures, Answer]:
        """Return the features and the answer that become the memory: those of the step, or others.

        With crops a prompted mask from a much wider one, as the first is, becomes a memory of a
        crop of its own, which shows the object as large as it will be seen later. Tracked masks
        do not: on generated clips that was worse, for a mask found again in a wide crop is often
        a wrong one.
        """
        crop = answer.crop
        if answer.prompted and answer.visible:
            own = crop_around(answer.box, crop.picture_wh, self._cells, self.settings.crop)
            if own.area * CENTRED_FROM <= crop.area:
                mask = resampled(answer.low_res_mask, crop, own, len(answer.low_res_mask))
                return self._encode_part(past, own, clock), replace(answer, low_res_mask=mask)
        return self.encode(past, mine, crop, clock).features, answer

    def _encode_memory(
        self, features: ImageFeatures, answer: Answer, sure: bool, clock: StageClock
    ) -> DeviceTensor:
        with clock.stage("remember"):
            return self._networks.encode_memory(
                features, answer.low_res_mask, answer.prompted or sure, answer.memory_score
            )

    def _picture(self, past: PastStep, answer: Answer, picture: U8 | None) -> MemoryPicture | None:
        """Return what people get to see of a memory of a whole picture, if any of them may look."""
        if picture is None or not self._shows:
            return None
        return memory_picture(picture, answer, past.time_ns)
