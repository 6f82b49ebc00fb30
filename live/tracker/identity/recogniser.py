"""Whether an answer is the object, by what it looks like and where it is. No state."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from samcam.engines import NO_OBJECT_LOGIT
from samcam.live.frames import U8
from samcam.live.tracker.identity.look import colours_of
from samcam.live.tracker.identity.recovery import Sighting, doubt, refusal
from samcam.live.tracker.judge import EMPTY_BOX, Answer
from samcam.live.tracker.presets import TrackerSettings
from samcam.live.tracker.track import ObjectTrack
from samcam.memory import appearance

if TYPE_CHECKING:
    from samcam.engines import Manifest


class Recogniser:
    """The rules of one preset for one model; without `recovery` it changes nothing."""

    def __init__(self, settings: TrackerSettings, manifest: Manifest) -> None:
        self._settings = settings
        self._cells = manifest.mask_size
        self._no_obj_ptr = manifest.no_obj_ptr

    def looked_at(self, answer: Answer, picture: U8 | None) -> Answer:
        """Return a prompted answer with the colours that its mask shows.

        Args:
            picture: (H, W, 3), the whole one that the mask belongs to; None: no longer kept.
        """
        if self._settings.recovery is None or picture is None or not answer.visible:
            return answer
        colours = colours_of(answer.low_res_mask, answer.crop, answer.box, picture, self._cells)
        return replace(answer, colours=colours)

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
        answer = self.looked_at(answer, picture)
        answer = replace(answer, appearance=appearance(answer, track.bank.looks))
        sighting = Sighting(answer.box, answer.predicted_iou, answer.appearance)
        certain_iou = self._settings.state.certain_iou
        reason = refusal(sighting, track.status, track.crop_state, certain_iou, recovery)
        if reason is not None:
            return self.refused(answer, reason)
        return replace(answer, doubt=doubt(sighting, recovery))

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
