"""What the host decides on a decoder's answer: token rule, motion gate, presence rule. No state."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from samcam.engines import (
    MASK_PROMPT_SCORE,
    NO_OBJECT_LOGIT,
    TokenChoice,
    apply_presence,
    choose_token,
    mask_prompt_score,
    uses_multimask_tokens,
)
from samcam.kalman import Gate, box_iou, drop_far_parts
from samcam.live.frames import F32, Prompt
from samcam.live.masks import logits_box, logits_boxes
from samcam.live.tracker.crop import Crop
from samcam.live.tracker.guidance import choose, objects
from samcam.live.tracker.presets import TrackerSettings
from samcam.memory import DistractorTest, sees_distractor

if TYPE_CHECKING:
    from samcam.engines import DecoderOutput, Manifest

EMPTY_BOX: Final = np.zeros(4, np.float32)
EMPTY_BOX.flags.writeable = False
_MASK_PROMPT_BACKGROUND: Final = -MASK_PROMPT_SCORE + 1e-3  # above it some pixel is set


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What the host rules made of the decoder's output for one object.

    Attributes:
        present: By the object score, or by the prompt where the preset trusts it.
        prompted: A user's prompt of this frame gave the mask.
        low_res_mask: (L, L) logits of the crop after the presence rule; an array of its own.
        obj_ptr: (D,) after the presence rule.
        object_score: As the network gave it.
        memory_score: What the memory encoder is told.
        predicted_iou: Of the chosen token.
        motion_iou: Overlap with the motion prediction; None without one, or without a mask.
        box: (4,) of the mask in low-resolution pixels of the whole picture; zeros where it is
            empty.
        crop: What the network saw.
        token: The decoder's mask token that gave the mask; None: no token did.
        guide_iou: Overlap with the guide's box; None where it did not say, or without a mask.
        distractor: Another candidate showed something beside the mask; only searched for where
            that would make the mask an anchor.
        colours: What the mask shows, see `samcam.memory.Look`; None: nobody looked.
        appearance: How much it looks like what is remembered, 0..1; None: not compared.
        shared: It may be another object's as well: it is not remembered.
        place: (4,) where a shared mask has the object; None: it does not say.
        refused: Why the decoder's mask was not taken for the object.
        doubt: What speaks against it, though it was taken; such a mask is not admitted.
    """

    present: bool
    prompted: bool
    low_res_mask: F32
    obj_ptr: F32
    object_score: float
    memory_score: float
    predicted_iou: float
    motion_iou: float | None
    box: F32
    crop: Crop
    token: int | None = None
    guide_iou: float | None = None
    distractor: bool = False
    colours: F32 | None = None
    appearance: float | None = None
    shared: bool = False
    place: F32 | None = None
    refused: str | None = None
    doubt: str | None = None

    @property
    def area(self) -> float:
        """Pixels of the mask as share of the picture."""
        share = self.crop.area / (self.crop.picture_wh[0] * self.crop.picture_wh[1])
        return share * float(np.count_nonzero(self.low_res_mask > 0)) / self.low_res_mask.size

    @property
    def visible(self) -> bool:
        """Present and with at least one pixel."""
        return bool(self.box[2] > self.box[0])

    @property
    def measured(self) -> F32 | None:
        """(4,) where it shows the object, which moves the filter; None: it does not say."""
        return self.place if self.shared else self.box

    @property
    def is_its_own(self) -> bool:
        """Whether it shows the object for sure, and no other: such a mask may start a guide."""
        return self.visible and not self.shared and self.doubt is None

    @property
    def is_elsewhere(self) -> bool:
        """Whether the guide has the object elsewhere: such a mask moves and teaches nothing."""
        return objects(self.guide_iou)


class Judge:
    """The rules of one preset for one model; the same for all objects and all steps."""

    def __init__(self, settings: TrackerSettings, manifest: Manifest) -> None:
        self._settings = settings
        self._rule = manifest.token_rule
        self._no_obj_ptr = manifest.no_obj_ptr
        self._cells = manifest.mask_size
        single = manifest.token_rule.single_mask_token
        self._candidates = np.array(
            [token for token in range(manifest.candidates) if token != single] or [single]
        )

    def tracked(
        self,
        decoded: DecoderOutput,
        crop: Crop,
        gate: Gate | None,
        guide: F32 | None = None,
        expected: F32 | None = None,
    ) -> Answer:
        """Apply token rule, gate and presence rule to a frame without a prompt; the gate is not
        moved.

        Args:
            guide: (4,) where the object's guide has it, in cells; None: it does not say.
            expected: (4,) where it surely is by its motion, in cells; None: nobody is sure.
        """
        score = decoded.object_score_logit
        # Which candidate wins only matters where one is kept, so the gate may rest while absent.
        if gate is None or score <= self._settings.presence_threshold:
            choice = choose_token(decoded.low_res_masks, decoded.ious, True, self._rule)
            answer = self._apply(decoded, choice, score, crop)
            return replace(answer, motion_iou=_motion_iou(gate, answer.box))
        if self._settings.drop_far_parts and expected is not None:
            there = crop.from_picture(expected, self._cells)
            masks = [drop_far_parts(mask, there) for mask in decoded.low_res_masks]
            decoded = replace(decoded, low_res_masks=np.stack(masks))
        boxes = logits_boxes(decoded.low_res_masks[self._candidates])
        boxes = crop.to_picture(boxes, self._cells)
        best = choose(gate, decoded.ious[self._candidates], boxes, guide)
        token = int(self._candidates[best])
        choice = TokenChoice(token, token)
        answer = self._apply(decoded, choice, score, crop, boxes[best])
        return replace(answer, motion_iou=_motion_iou(gate, answer.box))

    def with_distractor(
        self, answer: Answer, decoded: DecoderOutput, test: DistractorTest
    ) -> Answer:
        """Return the answer with whether another candidate showed something beside the mask."""
        others = [token for token in self._candidates if token != answer.token]
        masks = decoded.low_res_masks[others] > 0
        return replace(answer, distractor=sees_distractor(answer.low_res_mask > 0, masks, test))

    def prompted(
        self,
        decoded: DecoderOutput,
        prompt: Prompt,
        num_points: int,
        crop: Crop,
        gate: Gate | None,
    ) -> Answer:
        """Apply token rule and presence rule to clicks or a box; the user outranks the gate,
        which is not moved.

        A box counts as 2 of `num_points`; the prompt's `candidate` is the token that the user
        chose, if any.
        """
        score = decoded.object_score_logit
        if self._settings.trust_prompts and prompt.points_at_something:
            score = max(score, MASK_PROMPT_SCORE)
        multimask = uses_multimask_tokens(num_points, tracking=True, rule=self._rule)
        choice = choose_token(decoded.low_res_masks, decoded.ious, multimask, self._rule)
        if prompt.candidate is not None:
            choice = TokenChoice(prompt.candidate, prompt.candidate)
        answer = self._apply(decoded, choice, score, crop)
        return replace(answer, prompted=True, motion_iou=_motion_iou(gate, answer.box))

    def candidates(
        self, decoded: DecoderOutput, num_points: int, chosen: int | None
    ) -> tuple[int, ...]:
        """Return the tokens that can answer these points, by their masks' area: part to whole.

        The single-mask token is among them where the token rule would let it answer. Those with
        an empty mask are not, except the chosen one.
        """
        tokens = {int(token) for token in self._candidates}
        if not uses_multimask_tokens(num_points, tracking=True, rule=self._rule):
            tokens.add(self._rule.single_mask_token)
        if chosen is not None:
            tokens.add(chosen)
        areas = {token: int(np.count_nonzero(decoded.low_res_masks[token] > 0)) for token in tokens}
        kept = [token for token, area in areas.items() if area or token == chosen]
        return tuple(sorted(kept, key=lambda token: (areas[token], token)))

    def mask(
        self, decoded: DecoderOutput, low_res_mask: F32, crop: Crop, gate: Gate | None
    ) -> Answer:
        """Take the given mask as the answer; only the pointer is the decoder's.

        Source: `_use_mask_as_output`, sam2_base.py:411-466 @2b90b9f: the single-mask token's
        pointer, after the presence rule of its own score.
        """
        token = self._rule.single_mask_token
        pointer = apply_presence(
            decoded.low_res_masks[token],
            decoded.obj_ptrs[token],
            decoded.object_score_logit,
            self._settings.presence_threshold,
            self._no_obj_ptr,
        ).obj_ptr
        score = mask_prompt_score(low_res_mask > _MASK_PROMPT_BACKGROUND)
        box = crop.to_picture(logits_box(low_res_mask), self._cells)
        return Answer(
            present=score > 0,
            prompted=True,
            low_res_mask=low_res_mask,
            obj_ptr=(pointer if score > 0 else self._no_obj_ptr).copy(),
            object_score=score,
            memory_score=score,
            predicted_iou=1.0,  # sam2_base.py:427-428
            motion_iou=_motion_iou(gate, box),
            box=box,
            crop=crop,
        )

    def absent(self, picture_wh: tuple[int, int]) -> Answer:
        """Return the answer for an object that nothing is known about."""
        shape = (self._cells, self._cells)
        return Answer(
            present=False,
            prompted=False,
            low_res_mask=np.full(shape, NO_OBJECT_LOGIT, np.float32),
            obj_ptr=self._no_obj_ptr,
            object_score=NO_OBJECT_LOGIT,
            memory_score=NO_OBJECT_LOGIT,
            predicted_iou=0.0,
            motion_iou=None,
            box=EMPTY_BOX,
            crop=Crop.whole(picture_wh),
        )

    def _apply(
        self,
        decoded: DecoderOutput,
        choice: TokenChoice,
        score: float,
        crop: Crop,
        box: F32 | None = None,
    ) -> Answer:
        """Apply the presence rule to the chosen tokens; prompts and motion are the caller's."""
        presence = apply_presence(
            decoded.low_res_masks[choice.mask_token],
            decoded.obj_ptrs[choice.pointer_token],
            score,
            self._settings.presence_threshold,
            self._no_obj_ptr,
        )
        if not presence.present:
            box = EMPTY_BOX
        elif box is None:
            box = crop.to_picture(logits_box(presence.low_res_mask), self._cells)
        return Answer(
            present=presence.present,
            prompted=False,
            # Arrays of their own: a view would keep all K tokens alive in results and bank.
            low_res_mask=presence.low_res_mask.copy(),
            obj_ptr=presence.obj_ptr.copy(),
            object_score=decoded.object_score_logit,
            memory_score=score,
            predicted_iou=float(decoded.ious[choice.mask_token]),
            motion_iou=None,
            box=box,
            crop=crop,
            token=choice.mask_token,
        )


def _motion_iou(gate: Gate | None, box: F32) -> float | None:
    if gate is None or box[0] >= box[2]:
        return None
    return gate.motion_iou(box)


def guided(answer: Answer, guide: F32 | None) -> Answer:
    """Return an answer with its overlap with the guide's (4,) box, in cells."""
    if guide is None or not answer.visible:
        return answer
    return replace(answer, guide_iou=box_iou(answer.box, guide))
