"""One tracked object: its memory bank, its motion gate, its state, and what it makes of answers.

Nothing here is shared between objects, so prompting one cannot change another.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
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
from samcam.kalman import MotionGate
from samcam.live.frames import F32, Mask, ObjectResult, Prompt
from samcam.live.masks import logits_box, logits_boxes
from samcam.live.tracker.crop import Aim, Window, box_of_mask, first_window, resampled
from samcam.live.tracker.presets import TrackerSettings
from samcam.live.tracker.state import Observation, Status, advance
from samcam.memory import MemoryBank, MemoryEntry, admits

if TYPE_CHECKING:
    from samcam.engines import DecoderOutput, DeviceTensor, Manifest

_EMPTY_BOX: Final = np.zeros(4, np.float32)
_EMPTY_BOX.flags.writeable = False
_MASK_PROMPT_BACKGROUND: Final = -MASK_PROMPT_SCORE + 1e-3  # above it some pixel is set


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What the host rules made of the decoder's output for one object.

    Attributes:
        present: By the object score, or by the prompt where the preset trusts it.
        prompted: A user's prompt of this frame gave the mask.
        low_res_mask: (L, L) logits of the window after the presence rule; an array of its own.
        obj_ptr: (D,) after the presence rule.
        object_score: As the network gave it.
        memory_score: What the memory encoder is told.
        predicted_iou: Of the chosen token.
        motion_iou: Overlap with the motion prediction; None without one, or without a mask.
        box: (4,) of the mask in low-resolution pixels of the whole picture; zeros where it is
            empty.
        window: What the network saw.
        token: The decoder's mask token that gave the mask; None: no token did.
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
    window: Window
    token: int | None = None

    @property
    def visible(self) -> bool:
        """Present and with at least one pixel."""
        return bool(self.box[2] > self.box[0])


class ObjectTrack:
    """State of one object between frames. Used by the inference thread only."""

    def __init__(self, object_id: int, settings: TrackerSettings, manifest: Manifest) -> None:
        self.object_id = object_id
        self.bank: MemoryBank[DeviceTensor] = MemoryBank(settings.bank)
        self._settings = settings
        self._no_obj_ptr = manifest.no_obj_ptr
        self._rule = manifest.token_rule
        single = manifest.token_rule.single_mask_token
        self._candidates = np.array(
            [token for token in range(manifest.candidates) if token != single] or [single]
        )
        self._gate = None if settings.gate is None else MotionGate(settings.gate)
        self._status: Status | None = None
        self._cells = manifest.mask_size
        self._aim: Aim | None = None

    @property
    def remembers(self) -> bool:
        """Whether there is anything to attend to."""
        return bool(self.bank.conditioning)

    def fork(self) -> ObjectTrack:
        """Return a track of its own in the same state; what it remembers is shared, unchanged."""
        twin = copy.copy(self)
        twin.bank = self.bank.fork()
        twin._gate = None if self._gate is None else self._gate.fork()
        return twin

    def adopt(self, earlier: ObjectTrack, step: int) -> None:
        """Take over what a prompt on a past step changed, without tracking from there.

        Args:
            earlier: The track that the prompt was answered on, its motion carried on to where
                this one stands.
            step: The prompt's step: memories of it enter as such.
        """
        self.bank.forget(step)
        for entry in earlier.bank.at(step):
            self.bank.add(entry)
        self._gate = None if earlier._gate is None else earlier._gate.fork()
        self._status = earlier._status
        self._aim = earlier._aim

    def forget_motion(self) -> None:
        """Start the motion model anew: too much time has passed that nobody measured."""
        if self._settings.gate is not None:
            self._gate = MotionGate(self._settings.gate)
        self._aim = None

    def begin(self, dt_s: float) -> None:
        """Move the motion model on to the present frame; once per step, before any answer."""
        if self._gate is not None:
            self._gate.advance(dt_s)
            if self._aim is not None:
                self._aim = self._aim.begun(self._gate.box)

    def window(self, picture_wh: tuple[int, int], prompt: Prompt | None = None) -> Window:
        """Return where to look for the object, or the part in which its prompt is decoded."""
        settings = self._settings.window
        if settings is None or self._aim is None:
            if prompt is None:
                return Window.whole(picture_wh)
            return first_window(prompt, picture_wh, settings)
        window = self._aim.window(picture_wh, self._cells, settings)
        return window if prompt is None else window.holding(prompt)

    def window_around(self, box: F32, picture_wh: tuple[int, int]) -> Window:
        """Return the window that shows best what lies in a box, in low-resolution pixels."""
        if self._settings.window is None:
            return Window.whole(picture_wh)
        return Aim.at(box).window(picture_wh, self._cells, self._settings.window)

    def window_around_mask(self, mask: Mask) -> Window:
        """Return the same for an (H, W) mask of a whole picture."""
        return self.window_around(box_of_mask(mask, self._cells), mask.shape[::-1])

    def on_picture(self, answer: Answer) -> F32:
        """Return an answer's logits on the whole picture, at the window's resolution."""
        settings = self._settings.window
        if settings is None or answer.window.is_whole:
            return answer.low_res_mask
        whole = Window.whole(answer.window.picture_wh)
        size = settings.map_size(self._cells)
        return resampled(answer.low_res_mask, answer.window, whole, size)

    def judge_tracked(self, decoded: DecoderOutput, window: Window) -> Answer:
        """Apply token rule, gate and presence rule to a frame without a prompt."""
        score = decoded.object_score_logit
        # Which candidate wins only matters where one is kept, so the gate may rest while absent.
        gate = self._gate if score > self._settings.presence_threshold else None
        if gate is None:
            choice = choose_token(decoded.low_res_masks, decoded.ious, True, self._rule)
            return self._judge(decoded, choice, score, window, prompted=False)
        boxes = logits_boxes(decoded.low_res_masks[self._candidates])
        boxes = window.to_picture(boxes, self._cells)
        best = gate.choose(decoded.ious[self._candidates], boxes)
        token = int(self._candidates[best])
        return self._judge(
            decoded, TokenChoice(token, token), score, window, prompted=False, box=boxes[best]
        )

    def judge_prompted(
        self,
        decoded: DecoderOutput,
        num_points: int,
        points_at_something: bool,
        candidate: int | None,
        window: Window,
    ) -> Answer:
        """Apply token rule and presence rule to clicks or a box; the user outranks the gate.

        Args:
            decoded: The decoder's answer to the points.
            num_points: Points given; a box counts as 2.
            points_at_something: Whether the prompt says where the object is.
            candidate: Token that the user chose; None: the token rule chooses.
            window: What the network saw.
        """
        score = decoded.object_score_logit
        if self._settings.trust_prompts and points_at_something:
            score = max(score, MASK_PROMPT_SCORE)
        multimask = uses_multimask_tokens(num_points, tracking=True, rule=self._rule)
        choice = choose_token(decoded.low_res_masks, decoded.ious, multimask, self._rule)
        if candidate is not None:
            choice = TokenChoice(candidate, candidate)
        return self._judge(decoded, choice, score, window, prompted=True)

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

    def judge_mask(self, decoded: DecoderOutput, low_res_mask: F32, window: Window) -> Answer:
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
        box = window.to_picture(logits_box(low_res_mask), self._cells)
        return Answer(
            present=score > 0,
            prompted=True,
            low_res_mask=low_res_mask,
            obj_ptr=(pointer if score > 0 else self._no_obj_ptr).copy(),
            object_score=score,
            memory_score=score,
            predicted_iou=1.0,  # sam2_base.py:427-428
            motion_iou=self._motion_iou(box),
            box=box,
            window=window,
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
            box=_EMPTY_BOX,
            window=Window.whole(picture_wh),
        )

    def admits(self, answer: Answer) -> bool:
        """Say whether an answer is worth a memory."""
        if answer.prompted:
            return answer.visible or not self._settings.trust_prompts
        if not self.remembers:
            return False
        return admits(
            self._settings.admission,
            answer.predicted_iou,
            answer.object_score,
            answer.motion_iou,
            is_empty=not answer.visible,
        )

    def remember(
        self, step: int, answer: Answer, maskmem_features: DeviceTensor, conditioning: bool
    ) -> None:
        """Put an admitted answer into the bank."""
        self.bank.add(
            MemoryEntry(
                step=step,
                conditioning=conditioning,
                maskmem_features=maskmem_features,
                obj_ptr=answer.obj_ptr,
                object_score_logit=answer.memory_score,
                predicted_iou=answer.predicted_iou,
                motion_iou=answer.motion_iou,
            )
        )

    def finish(
        self,
        answer: Answer,
        dt_s: float,
        size_wh: tuple[int, int],
        admitted: bool,
        memory_steps: tuple[int, ...],
    ) -> ObjectResult:
        """Let the answer move gate, window and state, and return it in the caller's terms."""
        if self._gate is not None and answer.visible:
            if answer.prompted:
                self._gate.observe_prompt(answer.box)
            else:
                self._gate.observe(answer.box, answer.predicted_iou)
            self._follow(answer)
        seen = Observation(
            present=answer.present,
            visible=answer.visible,
            prompted=answer.prompted,
            predicted_iou=answer.predicted_iou,
            object_score=answer.object_score,
        )
        self._status = advance(self._status, seen, dt_s, self._settings.state)
        shown = self.on_picture(answer) if answer.visible else None
        if shown is not None:
            shown.flags.writeable = False
        return ObjectResult(
            object_id=self.object_id,
            state=self._status.state,
            reason=self._status.reason,
            mask_logits=shown,
            predicted_iou=answer.predicted_iou,
            object_score=answer.object_score,
            motion_iou=answer.motion_iou,
            box_xyxy_px=self._source_box(answer, size_wh) if answer.visible else None,
            admitted=admitted,
            memory_steps=memory_steps,
        )

    def _follow(self, answer: Answer) -> None:
        """Point the window where the filter has the object now, if this step moved it."""
        if self._gate is None or self._gate.box is None or not self._gate.moved:
            return
        if answer.prompted or self._aim is None:
            self._aim = Aim.at(answer.box)
        else:
            self._aim = self._aim.moved(self._gate.box)

    def _judge(
        self,
        decoded: DecoderOutput,
        choice: TokenChoice,
        score: float,
        window: Window,
        *,
        prompted: bool,
        box: F32 | None = None,
    ) -> Answer:
        """Apply the presence rule to the chosen tokens."""
        presence = apply_presence(
            decoded.low_res_masks[choice.mask_token],
            decoded.obj_ptrs[choice.pointer_token],
            score,
            self._settings.presence_threshold,
            self._no_obj_ptr,
        )
        if not presence.present:
            box = _EMPTY_BOX
        elif box is None:
            box = window.to_picture(logits_box(presence.low_res_mask), self._cells)
        return Answer(
            present=presence.present,
            prompted=prompted,
            # Arrays of their own: a view would keep all K tokens alive in results and bank.
            low_res_mask=presence.low_res_mask.copy(),
            obj_ptr=presence.obj_ptr.copy(),
            object_score=decoded.object_score_logit,
            memory_score=score,
            predicted_iou=float(decoded.ious[choice.mask_token]),
            motion_iou=self._motion_iou(box),
            box=box,
            window=window,
            token=choice.mask_token,
        )

    def _motion_iou(self, box: F32) -> float | None:
        if self._gate is None or box[0] >= box[2]:
            return None
        return self._gate.motion_iou(box)

    def _source_box(
        self, answer: Answer, size_wh: tuple[int, int]
    ) -> tuple[float, float, float, float]:
        """Return the box in source pixels: the mask covers the whole picture, stretched."""
        x1, y1, x2, y2 = (float(value) for value in answer.box)
        x_scale, y_scale = size_wh[0] / self._cells, size_wh[1] / self._cells
        return x1 * x_scale, y1 * y_scale, x2 * x_scale, y2 * y_scale
