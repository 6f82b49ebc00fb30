"""Prompts, undo, other candidates and commits on steps that are already processed.

Each changes what is noted for its step; `settle` then brings the object to where it would be had
that been known in time. Where the steps since are tracked again, the result is the same to the
last bit, but for what its guide said since, which is left out (`drop_guide`), and beside the
other objects where they were expected then (`PastStep.places`); else the memory enters the
present as that step's. Other objects are never touched; those run again after the next step are
beside what this one has become.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from samcam.live.commands import GuideBox
from samcam.live.frames import PinnedAnswers, Prompt
from samcam.live.tracker.guidance import Guides
from samcam.live.tracker.history import PastStep, StepHistory
from samcam.live.tracker.pinned import PinnedStep
from samcam.live.tracker.presets import CATCH_UP
from samcam.live.tracker.preview import ClickPreview
from samcam.live.tracker.step import ObjectStepper, StageClock
from samcam.live.tracker.track import ObjectTrack
from samcam.live.watchdog import note_progress

MAX_UNDO: Final = 64  # prompts that can be taken back, of all objects together
MAX_PROMPTS_PER_STEP: Final = 62  # of one object: with a box, the 64 points that an engine takes


@dataclass(frozen=True, slots=True, eq=False)
class _Edit:
    """A prompt or a commit, in the order in which the user gave them."""

    object_id: int
    step: int
    commit: bool = False


class Timeline:
    """The objects of a tracker, the steps they came through, and changes to those steps."""

    def __init__(self, stepper: ObjectStepper, preview: ClickPreview, guides: Guides) -> None:
        """Start without objects; the stepper's settings say how many steps are kept."""
        self._guides = guides
        self.tracks: dict[int, ObjectTrack] = {}
        self.clock = StageClock(stepper.stamp)
        self._stepper = stepper
        self._preview = preview
        self._history = StepHistory(stepper.settings.prompt_history)
        self._retrack = stepper.settings.catch_up == CATCH_UP[0]
        self._log: deque[_Edit] = deque(maxlen=MAX_UNDO)
        self._changed: dict[int, set[int]] = {}
        # Of the newest click: nobody looks and chooses another mask as fast as the history ends.
        self._clicked: PastStep | None = None
        self._pinned = PinnedStep(stepper, self._history)

    @property
    def pinned(self) -> PinnedAnswers | None:
        """What the pinned step's objects came to since it was pinned; None: no step is."""
        return self._pinned.answers

    def knows(self, object_id: int) -> bool:
        """Whether an object is tracked or will be when its prompts are answered."""
        return object_id in self.tracks or object_id in self._changed

    @property
    def changed(self) -> Collection[int]:
        """Objects with changes that are still to be answered."""
        return self._changed.keys()

    def find(self, step: int) -> PastStep | None:
        return self._history.find(step)

    def nearest(self, step: int) -> PastStep | None:
        return self._history.nearest(step)

    def before(
        self, past: PastStep, object_id: int, track: ObjectTrack | None
    ) -> ObjectTrack | None:
        """Note where an object is before a step; return the track to run the step with.

        None where there is nothing to run: the object is not known and nothing was asked.
        """
        note_progress()
        mine = past.of(object_id)
        if track is None and not mine.prompts:
            past.forget(object_id)
            self._pinned.note(past, object_id, None)
            return None
        mine.before = None if track is None else track.fork()
        return ObjectTrack(object_id, self._stepper.settings) if track is None else track

    def keep(self, past: PastStep, tracks: Iterable[ObjectTrack]) -> None:
        """Keep a step that was run, and where its objects stand after it."""
        for track in tracks:
            self.tracks[track.object_id] = track
            prompts = past.of(track.object_id).prompts
            self._log.extend(_Edit(track.object_id, past.step) for _ in prompts)
        self._history.append(past)
        if self._history.newest is past and any(mine.prompts for mine in past.objects.values()):
            self._clicked = past

    def prompt(self, prompt: Prompt, past: PastStep) -> None:
        """Note a prompt for a kept step.

        Raises:
            ValueError: It does not fit the picture, only says where an unknown object is not, or
                is one too many.
        """
        prompt = prompt.fitted(past.size_wh)
        object_id = prompt.object_id
        if not prompt.points_at_something and not self._known_at(object_id, past):
            raise ValueError(
                f"object {object_id}: not known on that picture; its first prompt there needs a "
                "positive point, a box or a mask, got negative points only"
            )
        mine = past.of(object_id)
        if len(mine.prompts) >= MAX_PROMPTS_PER_STEP:
            raise ValueError(
                f"object {object_id}: {MAX_PROMPTS_PER_STEP} prompts on one picture, no more are "
                "taken; go on with a newer picture"
            )
        mine.prompts += (prompt,)
        self._clicked = past
        self._log.append(_Edit(object_id, past.step))
        self._mark(object_id, past.step)

    def undo(self, object_id: int | None) -> str:
        """Take back the last prompt or commit, of one object or of any; return what to say.

        Raises:
            ValueError: There is none.
        """
        self.settle()
        edit = next(
            (edit for edit in reversed(self._log) if object_id in (None, edit.object_id)), None
        )
        if edit is None:
            who = "" if object_id is None else f"object {object_id}: "
            raise ValueError(f"{who}nothing left to take back")
        who = f"object {edit.object_id}"
        past = self._history.find(edit.step)
        mine = None if past is None else past.objects.get(edit.object_id)
        if past is None or mine is None:
            others = [e for e in self._log if (e.object_id, e.step) == (edit.object_id, edit.step)]
            for other in others:
                self._log.remove(other)
            self._forget_step(edit.object_id, edit.step)
            what = "its last prompt" if len(others) == 1 else f"its last {len(others)} prompts"
            now = self.tracks.get(edit.object_id)
            stays = ": masks since then stay" if now and now.knows_since(edit.step) else ""
            done = f"{what} taken back; that picture is no longer kept{stays}"
        else:
            self._log.remove(edit)
            if edit.commit:
                mine.committed = False
            else:
                mine.prompts = mine.prompts[:-1]
            exact = self._exact(past.step)
            if not exact:
                self._forget_step(edit.object_id, past.step, and_object=not mine.prompts)
            if exact or mine.prompts:
                self._mark(edit.object_id, past.step)
            else:
                self._answer_pinned(edit.object_id)
            self.settle()
            done = "commit taken back" if edit.commit else "last prompt taken back"
        gone = edit.object_id not in self.tracks
        return f"{who}: {done}" + (", it is not tracked any more" if gone else "")

    def cycle(self, object_id: int, by: int) -> str:
        """Answer the last click of an object with another candidate; return what to say.

        Raises:
            ValueError: There is no such click, its picture is no longer kept, or there is only
                one candidate.
        """
        self.settle()
        who = f"object {object_id}"
        edit = next(
            (e for e in reversed(self._log) if e.object_id == object_id and not e.commit), None
        )
        if edit is None:
            raise ValueError(f"{who}: no click of it to answer differently")
        past, clicked = self._history.find(edit.step), self._clicked
        if past is None and clicked is not None and clicked.step == edit.step:
            past = clicked
        mine = None if past is None else past.objects.get(object_id)
        if past is None or mine is None or not mine.prompts:
            raise ValueError(f"{who}: the picture of its last click is no longer kept; click again")
        if mine.token is None or len(mine.candidates) < 2:
            raise ValueError(f"{who}: its last prompt has one answer only; expected a click or box")
        count = len(mine.candidates)
        place = (mine.candidates.index(mine.token) + by) % count
        chosen = replace(mine.prompts[-1], candidate=mine.candidates[place])
        mine.prompts = (*mine.prompts[:-1], chosen)
        if not self._exact(past.step):
            self._forget_step(object_id, past.step, and_object=False)
        if self._history.find(past.step) is None:
            for state in self._states_after(object_id, past.step):
                state.bank.forget_tracked(after=past.step)  # it came of another answer
            self._enter(past, object_id)
        else:
            self._mark(object_id, past.step)
            self.settle()
        return f"{who}: mask {place + 1} of {count}, small to large"

    def commit(self, object_id: int) -> str:
        """Make the object's newest mask a conditioning memory.

        Raises:
            ValueError: It has none, or no step is kept.
        """
        self.settle()
        who, past = f"object {object_id}", self._history.newest
        if object_id not in self.tracks:
            raise ValueError(f"{who}: not tracked, there is no mask to commit")
        if past is None:
            raise ValueError(
                f"{who}: no picture is kept to commit; expected tracker.prompt_history of at "
                "least 1, got 0"
            )
        mine = past.of(object_id)
        if not mine.visible:
            raise ValueError(f"{who}: not visible now, there is no mask to commit")
        if not mine.committed:
            mine.committed = True
            self._log.append(_Edit(object_id, past.step, commit=True))
            self._mark(object_id, past.step)
            self.settle()
        return f"{who}: mask committed to memory"

    def pin(self, step: int | None) -> str | None:
        """Keep one step for as long as the user needs it; return a notice if it is another one.

        Raises:
            ValueError: Nothing is kept.
        """
        past = None if step is None else self._history.nearest(step)
        if step is not None and past is None:
            raise ValueError(f"step {step}: no picture is kept for prompts")
        self._pinned.pin(past)
        if past is None or past.step == step:
            return None
        return f"picture {past.step} kept for prompts, not {step}"

    def guide(self, box: GuideBox) -> None:
        """Take a detector's box for an object's next steps.

        Raises:
            ValueError: It cannot be used: see `Guides.take`; or the object or step is not known.
        """
        self.settle()
        who, newest = f"object {box.object_id}", self._history.newest
        if box.object_id not in self.tracks:
            raise ValueError(f"{who}: not tracked, there is nothing to guide")
        past = newest if box.step is None else self._history.find(box.step)
        if past is None:
            which = "no picture is kept" if newest is None else f"picture {box.step} is not kept"
            raise ValueError(f"{who}: {which} (tracker.prompt_history), so its box has no age")
        later = self._history.since(past.step + 1)
        self._guides.take(box, past.size_wh, sum(one.dt_s for one in later))

    def forget(self, object_id: int | None) -> None:
        """Forget an object, or all, as if it had never been."""
        self._guides.forget(object_id)
        self._pinned.gone({*self.tracks, *self._changed} if object_id is None else {object_id})
        self._history.forget(object_id)
        if self._clicked is not None and object_id is not None:
            self._clicked.forget(object_id)
        if object_id is None:
            self._clicked = None
            self.tracks.clear()
            self._changed.clear()
            self._log.clear()
        else:
            self.tracks.pop(object_id, None)
            for track in self.tracks.values():
                track.forget_rival(object_id)
            self._changed.pop(object_id, None)
            self._log = deque((e for e in self._log if e.object_id != object_id), MAX_UNDO)
        self._preview.forget()

    def close(self) -> None:
        self.forget(None)
        self._history.clear()

    def expect_foreseen(self) -> None:
        """Let others find the objects where the edits since the last step have put them."""
        if self._history.expect_foreseen():
            self._preview.forget()

    def settle(self) -> None:
        """Answer what was changed since the last time; at most one pass over the kept steps."""
        if self._changed:
            self._watch_camera()
        while self._changed:
            object_id, steps = self._changed.popitem()
            for step in sorted(steps):
                past = self._history.find(step)
                if past is None:
                    continue
                if self._exact(step):
                    self._track_again(object_id, step)  # the later ones with it
                    break
                self._enter(past, object_id)

    def _watch_camera(self) -> None:
        """Note how the camera moved on steps that had no objects, and so nobody asked."""
        if self._stepper.settings.camera_motion:
            for before, past in pairwise(self._history):
                if before.step == past.step - 1:
                    past.watch_camera(before.shrink())

    def _mark(self, object_id: int, step: int) -> None:
        self._changed.setdefault(object_id, set()).add(step)

    def _exact(self, step: int) -> bool:
        """Whether a change on a step is answered as if it had been there in time."""
        newest = self._history.newest
        if newest is not None and newest.step == step:
            return True
        return self._retrack and self._history.is_recent(step)

    def _known_at(self, object_id: int, past: PastStep) -> bool:
        """Whether an object is known when a step's prompts are answered."""
        until = [one.objects.get(object_id) for one in self._history if one.step <= past.step]
        return any(
            mine.before is not None or any(prompt.points_at_something for prompt in mine.prompts)
            for mine in filter(None, until)
        )

    def _track_again(self, object_id: int, step: int) -> None:
        again = self._history.since(step)
        for past in again[1:]:
            past.of(object_id).drop_guide()
        self._guides.renew(object_id)
        track = again[0].of(object_id).before
        for past in again:
            track = self.before(past, object_id, track)
            if track is not None:
                self._stepper.foresee(past, [track])
                result = self._stepper.step(past, track, self.clock)
                self._pinned.note(past, object_id, result)
        if track is None:
            self.tracks.pop(object_id, None)
            self._guides.forget(object_id)
        else:
            self.tracks[object_id] = track

    def _enter(self, past: PastStep, object_id: int) -> None:
        """Answer a step's prompts and put the memory into the present and the states between."""
        self._guides.renew(object_id)
        track = self._pinned.answer(past, object_id, self.clock)
        if not track.bank.at(past.step):
            if not self.knows(object_id):
                self.tracks[object_id] = track  # known, and lost from the start
            return
        if not self._history.is_recent(past.step):
            track.forget_motion()  # nobody knows how it moved since
        for later in self._history:
            if later.step > past.step:
                theirs = later.of(object_id)
                theirs.drop_guide()
                theirs.before = track.carried_to(theirs.before, past.step)
                self._stepper.foresee(later, [theirs.before])
                self._stepper.predict(later, track)
        self.tracks[object_id] = track.carried_to(self.tracks.get(object_id), past.step)
        if past is not self._history.pinned:
            self._answer_pinned(object_id)
        self._preview.forget()

    def _forget_step(self, object_id: int, step: int, and_object: bool = True) -> None:
        """Take a step's memory out of the present and of the states since."""
        for state in self._states_after(object_id, step):
            state.forget(step)
        for past in self._history:
            mine = past.objects.get(object_id)
            if past.step > step and mine is not None and mine.before is not None:
                self._stepper.foresee(past, [mine.before])
        self._preview.forget()
        present = self.tracks.get(object_id)
        if and_object and present is not None and not present.remembers:
            self.forget(object_id)

    def _states_after(self, object_id: int, step: int) -> list[ObjectTrack]:
        """Return where an object stands now, and stood before each kept step after this one."""
        later = [past.objects.get(object_id) for past in self._history if past.step > step]
        states = [self.tracks.get(object_id), *(mine.before for mine in filter(None, later))]
        return [state for state in states if state is not None]

    def _answer_pinned(self, object_id: int) -> None:
        """Answer the pinned step again where that is not done with the steps around it."""
        pinned = self._history.pinned
        if pinned is not None and not self._exact(pinned.step):
            self._pinned.answer_again(object_id, self.clock)
