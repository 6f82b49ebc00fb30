"""Whether an answer is the object, by what it looks like and where it is. No state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from samcam.engines import NO_OBJECT_LOGIT
from samcam.live.frames import F32, U8
from samcam.live.masks import logits_box
from samcam.live.tracker.guidance import vouches
from samcam.live.tracker.identity.look import colours_of
from samcam.live.tracker.identity.recovery import Sighting, doubt, refusal
from samcam.live.tracker.identity.rivals import (
    Place,
    alike,
    contenders,
    owner,
    parted,
    parts,
    placed,
)
from samcam.live.tracker.judge import EMPTY_BOX, Answer, guided
from samcam.live.tracker.presets import TrackerSettings
from samcam.live.tracker.track import ObjectTrack
from samcam.memory import KeepPrevious, admits, appearance

if TYPE_CHECKING:
    from samcam.engines import DecoderOutput, Manifest

SOLID: Final = 0.25  # of a mask's longest row or column, at which others are no thin part


class Recogniser:
    """The rules of one preset for one model; without `recovery` looks do not count, without
    `rivals` and other objects no place does."""

    def __init__(self, settings: TrackerSettings, manifest: Manifest) -> None:
        self._settings = settings
        self._cells = manifest.mask_size
        self._no_obj_ptr = manifest.no_obj_ptr

    def looked_at(
        self, answer: Answer, picture: U8 | None, track: ObjectTrack | None = None
    ) -> Answer:
        """Return an answer with the colours that its mask shows, and how much it looks like what
        the object is remembered by.

        Args:
            picture: (H, W, 3), the whole one that the mask belongs to; None: no longer kept.
            track: The object before this step; None: it is not compared.
        """
        if self._settings.recovery is None or picture is None or not answer.visible:
            return answer
        colours = colours_of(answer.low_res_mask, answer.crop, answer.box, picture, self._cells)
        answer = replace(answer, colours=colours)
        if track is None:
            return answer
        return replace(answer, appearance=appearance(answer, track.bank.looks))

    def recognised(self, answer: Answer, picture: U8 | None, track: ObjectTrack) -> Answer:
        """Return a tracked answer with what it looks like, and without its mask where that is
        not the object.

        Args:
            picture: As of `looked_at`.
            track: The object before this step, its motion moved on to it.
        """
        recovery = self._settings.recovery
        if recovery is None or not answer.visible:
            return answer
        answer = self.looked_at(answer, picture, track)
        sighting = Sighting(answer.box, answer.predicted_iou, answer.appearance, track.dt_s)
        certain_iou = self._settings.state.certain_iou
        reason = refusal(sighting, track.status, track.crop_state, certain_iou, recovery)
        if reason is not None:
            return self.refused(answer, reason)
        return replace(answer, doubt=doubt(sighting, recovery))

    def own(
        self,
        judged: Callable[[DecoderOutput], Answer],
        decoded: DecoderOutput,
        picture: U8 | None,
        track: ObjectTrack,
        rivals: Sequence[Place],
        guide: F32 | None = None,
    ) -> Answer:
        """Return the best recognised answer that does not fit another object better.

        Args:
            judged: Chooses among the decoder's masks.
            picture, track: As of `recognised`.
            rivals: Places of the other objects that could be meant.
            guide: (4,) where a detector has the object, in cells, rather than its filter; None:
                it does not say. Other guides are as easily taken in as the networks.
        """
        mine = track.gate.box if guide is None and track.gate is not None else guide
        refused, shared = None, False
        while True:
            whole = judged(decoded)
            if not rivals or whole.token is None:
                return self.recognised(whole, picture, track)
            answer = self.recognised(self._parted(whole, track, mine, rivals), picture, track)
            if not answer.visible:
                return answer if refused is None else refused
            others = contenders(answer.box, answer, answer.appearance, rivals)
            # where one candidate was both's, what is left for the next one may be either's as well
            shared = shared or answer.shared or _together(track, others)
            answer = replace(answer, shared=shared)
            if shared:
                answer = replace(answer, place=self._place(whole, track, mine, rivals))
            whose = None if answer.place is not None else owner(answer.box, mine, others)
            if whose is None:
                return _found_by(guided(answer, guide))
            refused = self.refused(answer, f"it is object {whose}")
            decoded = _without(decoded, whole.token)

    def _parted(
        self, answer: Answer, track: ObjectTrack, mine: F32 | None, rivals: Sequence[Place]
    ) -> Answer:
        """Return an answer without what lies where other objects that look alike are expected."""
        if mine is None or not answer.visible:
            return answer
        looks = tuple(track.bank.looks)
        others = [rival for rival in parts(answer.box, mine, rivals) if alike(rival, looks)]
        if not others:
            return answer
        mask = answer.low_res_mask
        whole = np.array((0, 0, self._cells, self._cells), np.float32)
        seen = answer.crop.to_picture(whole, self._cells)
        for rival in others:
            mask = parted(mask, seen, mine, rival.box)
        box = answer.crop.to_picture(logits_box(mask), self._cells)
        if box[2] <= box[0]:
            return answer  # it is in no part this object's
        motion = None if track.gate is None else track.gate.motion_iou(box)
        shared = _together(track, others)
        return replace(answer, low_res_mask=mask, box=box, motion_iou=motion, shared=shared)

    def _place(
        self, whole: Answer, track: ObjectTrack, mine: F32 | None, rivals: Sequence[Place]
    ) -> F32 | None:
        """Return where an object is by a mask that it shares; None: that does not say."""
        others = [rival for rival in rivals if rival.known and track.rivals[rival.object_id]]
        if mine is None or track.alone_wh is None or not others:
            return None
        box = whole.crop.to_picture(_solid(whole.low_res_mask), self._cells)
        return placed(box, mine, track.alone_wh, others)

    def admits(self, answer: Answer, track: ObjectTrack) -> bool:
        """Say whether an answer is worth a memory."""
        if answer.prompted:
            return answer.visible or not self._settings.trust_prompts
        if not track.remembers or answer.refused is not None:
            return False
        if answer.is_elsewhere or answer.shared:
            return False
        if self._settings.recovery is not None and (track.is_lost or answer.doubt is not None):
            return False
        return admits(
            self._settings.admission,
            answer.predicted_iou,
            answer.object_score,
            answer.motion_iou if answer.guide_iou is None else answer.guide_iou,
            is_empty=not answer.visible,
        )

    def keeps_previous(self, answer: Answer) -> bool:
        """Say whether the next step attends to an answer that was not admitted."""
        if answer.prompted or answer.shared or answer.is_elsewhere:
            return False
        keeps = self._settings.bank_policy.keep_previous
        return keeps is KeepPrevious.ALWAYS or (keeps is KeepPrevious.SEEN and answer.visible)

    def refused(self, answer: Answer, reason: str) -> Answer:
        """Return an answer without its mask, which is not the object's; its scores stay."""
        return replace(
            answer,
            present=False,
            low_res_mask=np.full_like(answer.low_res_mask, NO_OBJECT_LOGIT),
            obj_ptr=self._no_obj_ptr,
            box=EMPTY_BOX,
            refused=reason,
        )


def _found_by(answer: Answer) -> Answer:
    """Return an answer as its own alone where a detector has it there."""
    found = vouches(answer.guide_iou, answer.predicted_iou)
    return replace(answer, shared=False) if found else answer


def _together(track: ObjectTrack, rivals: Sequence[Place]) -> bool:
    """Whether an object is in one place with one of these, so that a mask may be either's."""
    return any(track.rivals[rival.object_id] > 0 for rival in rivals)


def _solid(logits: F32) -> F32:
    """Return (4,) the box of a mask without thin parts and specks, in its pixels; zeros for one
    without a pixel."""
    if not (logits > 0).any():
        return EMPTY_BOX
    edges = []
    for axis in (0, 1):
        filled = (logits > 0).sum(axis=axis)
        (inside,) = np.nonzero(filled >= SOLID * filled.max())
        edges.append((inside[0], inside[-1] + 1))
    return np.array(edges, np.float32).T.reshape(4)


def _without(decoded: DecoderOutput, token: int | None) -> DecoderOutput:
    """Return a decoder's output with one mask empty, and nothing said for it."""
    masks, ious = decoded.low_res_masks.copy(), decoded.ious.copy()
    masks[token], ious[token] = NO_OBJECT_LOGIT, 0
    return replace(decoded, low_res_masks=masks, ious=ious)
