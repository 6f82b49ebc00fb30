"""The answers on the pinned step, for the user who looks at its frozen picture."""

from __future__ import annotations

from collections.abc import Iterable

from samcam.live.frames import F32, ObjectResult, PinnedAnswers
from samcam.live.tracker.history import PastStep, StepHistory
from samcam.live.tracker.step import ObjectStepper, StageClock
from samcam.live.tracker.track import ObjectTrack


class PinnedStep:
    """Follows every answer on that step; without one, nothing is noted.

    Attributes:
        answers: So far; None: no step is pinned.
    """

    def __init__(self, stepper: ObjectStepper, history: StepHistory) -> None:
        self.answers: PinnedAnswers | None = None
        self._stepper = stepper
        self._history = history

    def pin(self, past: PastStep | None) -> None:
        """Keep this step and begin again; None: release it."""
        self._history.pinned = past
        self.answers = None if past is None else PinnedAnswers(past.step, {})

    def note(self, past: PastStep, object_id: int, result: ObjectResult | None) -> None:
        """Keep an answer, if it is on that step; None: the object is not on the picture."""
        if past is self._history.pinned:
            self._put(object_id, None if result is None else result.mask_logits)

    def gone(self, object_ids: Iterable[int]) -> None:
        """Note that objects are forgotten."""
        for object_id in object_ids:
            self._put(object_id, None)

    def answer(self, past: PastStep, object_id: int, clock: StageClock) -> ObjectTrack:
        """Answer a kept step from where the object was before it; return where it is after it."""
        before = past.of(object_id).before
        track = before.fork() if before else ObjectTrack(object_id, self._stepper.settings)
        self.note(past, object_id, self._stepper.step(past, track, clock))
        return track

    def answer_again(self, object_id: int, clock: StageClock) -> None:
        """Answer once more: what the object remembers from earlier steps has changed."""
        past = self._history.pinned
        if past is None:
            return
        mine = past.objects.get(object_id)
        if mine is None or not (mine.before or mine.prompts):
            self.note(past, object_id, None)
            return
        self.answer(past, object_id, clock)

    def _put(self, object_id: int, mask: F32 | None) -> None:
        if self.answers is not None:
            masks = {**self.answers.masks, object_id: mask}
            self.answers = PinnedAnswers(self.answers.step, masks)
