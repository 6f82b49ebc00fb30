"""Turns mouse and keyboard into commands; knows no GUI toolkit."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Sequence
from typing import Final, NamedTuple

from samcam.live.commands import (
    Command,
    CommitMask,
    CycleCandidate,
    HideFeed,
    HoverRequest,
    PinStep,
    RemoveObject,
    SetEffect,
    UndoPrompt,
)
from samcam.live.control import Controls, object_name
from samcam.live.frames import F32, MAX_OBJECT_ID, MIN_OBJECT_ID, U8, Prompt
from samcam.live.masks import upsample_logits
from samcam.live.window.choice import ObjectChoice
from samcam.live.window.hover import HoverPointer, HoverScene
from samcam.live.window.keys import Key, KeyPress, key_of
from samcam.live.window.letterbox import Letterbox, Point
from samcam.live.window.marks import Marks
from samcam.live.window.prompts import box_prompt, is_drag, on_step_picture
from samcam.live.window.proposals import Outline, ProposalBoard
from samcam.live.window.state import InputState

MESSAGE_S: Final = 3.0
QUIT_AGAIN_S: Final = 2.0


class _Press(NamedTuple):
    """The left button went down: where on the canvas, and on which picture."""

    at: Point
    step: int | None
    motion: F32 | None
    proposal: Outline | None


class WindowInput:
    """Collects what the user does; main thread only.

    Attributes:
        quit_requested: Whether the user wants to leave.
        letterbox: How the canvas maps to the source; None before the first picture.
        message_s: When the newest message was shown first, by the clock.
    """

    def __init__(
        self,
        controls: Controls,
        clock: Callable[[], float] = time.monotonic,
        names: Sequence[str] = (),
        served: Sequence[str] = (),
    ) -> None:
        """Begin with object 1.

        Args:
            names: Of the objects 1, 2 and so on, for messages.
            served: Who loses something when the run ends, for a question before it does.
        """
        self._names, self._served = names, served
        self.quit_requested = False
        self.letterbox: Letterbox | None = None
        self._controls, self._clock = controls, clock
        self._objects, self._marks, self._quit_asked_s = ObjectChoice(), Marks(), -math.inf
        self._help_visible = self._memory_visible = self._hidden = self._frozen = False
        self._step: int | None = None
        self._object_ids: U8 | None = None
        self._motion: F32 | None = None
        self._resets = controls.resets
        self._press: _Press | None = None
        self._cursor = Point(0.0, 0.0)
        self._hover, self._board = HoverPointer(controls, clock), ProposalBoard(controls, clock)
        self._message, self._message_for_s, self.message_s = "", 0.0, -math.inf

    @property
    def state(self) -> InputState:
        """What to draw now."""
        message = self._message if self._clock() < self.message_s + self._message_for_s else ""
        drag = None
        if self._press is not None and is_drag(self._press.at, self._cursor):
            drag = (self._press.at, self._cursor)
        return InputState(
            object_id=self._objects.object_id,
            help_visible=self._help_visible,
            drag=drag,
            message=message,
            frozen=self._frozen,
            marks=self._marks.all,
            proposals=self._board.view,
            memory_visible=self._memory_visible,
        )

    def set_known_objects(self, object_ids: Collection[int]) -> None:
        """Tell which objects the tracker knows as of the newest picture."""
        self._objects.learn(object_ids)
        if self._controls.resets > self._resets:  # not by this window's key
            self._resets = self._controls.resets
            self._objects.forget_all()
            self._marks.forget()

    def set_hidden(self, hidden: bool) -> None:
        """Tell whether the panic key's work is on screen."""
        self._hidden = hidden

    def set_picture(
        self, step: int | None, object_ids: U8 | None, motion: F32 | None = None
    ) -> None:
        """Tell what is on screen.

        Args:
            step: Tracker step of the picture; None where there is none to point at.
            object_ids: (H, W) uint8, which object each source pixel belongs to, 0 for none.
            motion: `FrameResult.motion`, where the picture is newer than the step's own.
        """
        self._step, self._object_ids, self._motion = step, object_ids, motion

    def press_left(self, x: float, y: float) -> None:
        """Begin a click or a box, at a canvas position; it counts for the picture of now."""
        point = self._points_at(x, y)
        if point is not None:
            self._cursor = Point(x, y)
            self._press = _Press(self._cursor, self._step, self._motion, self._board.at(point))

    def move(self, x: float, y: float) -> None:
        """Follow the pointer."""
        self._cursor = Point(x, y)
        self._hover.move(self._cursor)

    def leave(self) -> None:
        """The pointer left the window."""
        self._hover.leave()

    def release_left(self, x: float, y: float) -> None:
        """Send a positive point, or a box if the pointer was dragged."""
        press, self._press = self._press, None
        if press is None or self.letterbox is None:
            return
        end, size_wh = Point(x, y), self.letterbox.source_wh
        dragged = is_drag(press.at, end)
        if press.proposal is not None and not dragged:
            self._take(press.proposal, press.step, size_wh)
            return
        first, last = (
            on_step_picture(self.letterbox.to_source(at.x, at.y), press.motion, size_wh)
            for at in (press.at, end)
        )
        if not dragged:
            self._send_point(first, True, press.step)
        elif box := box_prompt(self._objects.object_id, first, last, press.step):
            self._send_prompt(box, "box")
        else:
            self._show("box too thin: drag across the object")

    def press_right(self, x: float, y: float) -> None:
        """Send a negative point: this is not the object."""
        point, box = self._points_at(x, y), self.letterbox
        if point is None or box is None:
            return
        proposal = self._board.at(point)
        if proposal is not None and self._board.owner(proposal) is None:
            self._board.drop(proposal)
            return
        if self._objects.object_id not in self._objects.present:
            self._show(
                f"{self._name(self._objects.object_id)}: click it with the left button first"
            )
            return
        self._send_point(on_step_picture(point, self._motion, box.source_wh), False, self._step)

    def press_middle(self, x: float, y: float) -> None:
        """Remove the object under the pointer."""
        point = self._points_at(x, y)
        if point is None:
            return
        ids = self._object_ids
        object_id = 0 if ids is None else int(ids[round(point.y), round(point.x)])
        if object_id:
            self._remove(object_id)
        else:
            self._show("no object here to remove")

    def wheel(self, by: int) -> None:
        """Answer the last click with a larger (1) or smaller (-1) candidate mask."""
        if self._objects.clicked is None:
            self._show("click an object first: then its candidates can be chosen")
        elif self._send(CycleCandidate(self._objects.clicked, by)):
            size = "larger" if by > 0 else "smaller"
            self._show(f"{self._name(self._objects.clicked)}: {size} candidate")

    def look_for_proposals(self) -> None:
        """Take over what was found since; call it before drawing, for it is clicked as drawn."""
        box, at = self.letterbox, self._cursor
        if box is None or not self._board.active:
            return
        here = box.to_source(at.x, at.y) if box.contains(at.x, at.y) else None
        self._board.look(box, here, self._objects.present)
        if self._board.refused:  # why is on screen already
            self._let_go()

    def hover(self) -> None:
        """Ask what a click would give, if that is due; call it often."""
        self._hover.ask(self._hover_scene())

    def hover_fits(self, request: HoverRequest) -> bool:
        """Whether an answer to this request may be drawn on the picture on screen."""
        return self._hover.fits(request, self._hover_scene())

    def key(self, press: KeyPress) -> None:
        """Act on a key, unless a global hotkey does."""
        if press.is_one_of(self._controls.global_keys):
            return
        key = key_of(press)
        if isinstance(key, int):
            self._choose(key)
            return
        match key:
            case Key.QUIT:
                self._ask_or_quit()
            case Key.HELP:
                self._help_visible = not self._help_visible
            case Key.MEMORY:
                self._memory_visible = not self._memory_visible
            case Key.REMOVE | Key.RESET:
                self._remove(self._objects.object_id)
            case Key.RESET_ALL:
                self._remove(None)
            case Key.UNDO:
                self._undo()
            case Key.COMMIT:
                self._tell(CommitMask(self._objects.object_id), "keep the present mask")
            case Key.SMALLER | Key.LARGER:
                self.wheel(1 if key is Key.LARGER else -1)
            case Key.NEW_OBJECT:
                self._choose_new()
            case Key.PREVIOUS_OBJECT | Key.NEXT_OBJECT:
                by = 1 if key is Key.NEXT_OBJECT else -1
                self._choose(min(max(MIN_OBJECT_ID, self._objects.object_id + by), MAX_OBJECT_ID))
            case Key.EFFECT:
                self._send(SetEffect())
            case Key.PANIC:
                self._panic()
            case Key.FREEZE:
                self._freeze()
            case Key.SUGGEST:
                self._suggest()

    def _hover_scene(self) -> HoverScene | None:
        """Return what a click would be for; None while it would be no click on the picture."""
        box, step = self.letterbox, self._step
        if box is None or step is None:
            return None
        if self._press is not None or self._board.pointed is not None:
            return None
        return HoverScene(box, step, self._motion, self._objects.object_id)

    def _points_at(self, x: float, y: float) -> Point | None:
        """Return the source position of a canvas position; None where there is nothing to click."""
        if self.letterbox is None or not self.letterbox.contains(x, y):
            return None
        if self._step is None:
            self._show("no picture to click in just now")
            return None
        return self.letterbox.to_source(x, y)

    def _choose(self, object_id: int) -> None:
        self._objects.object_id = object_id
        self._show(f"the next click is for {self._name(object_id)}")

    def _choose_new(self) -> None:
        object_id = self._objects.free()
        if object_id is None:
            self._show(f"all {MAX_OBJECT_ID} objects are in use: remove one first")
        else:
            self._choose(object_id)

    def _remove(self, object_id: int | None) -> None:
        known = self._objects.present
        if not self._send(RemoveObject(object_id)):
            return
        self._marks.forget(object_id)
        if object_id is None:
            self._resets = max(self._resets, self._controls.resets) + 1
            self._objects.forget_all()
            self._show("all objects forgotten" if known else "no object to forget")
            return
        self._objects.forget(object_id)
        done = "forgotten" if object_id in known else "not known, nothing to forget"
        self._show(f"{self._name(object_id)}: {done}")

    def _ask_or_quit(self) -> None:
        """Quit, where somebody is served at the second press."""
        served = [*self._served, *(("ctl is in use",) if self._controls.ctl_in_use else ())]
        now_s = self._clock()
        if not served or now_s - self._quit_asked_s <= QUIT_AGAIN_S:
            self.quit_requested = True
            return
        self._quit_asked_s = now_s
        question = f"{', '.join(served)}: press q or Esc again within {QUIT_AGAIN_S:.0f} s to quit"
        self._show(question, QUIT_AGAIN_S)

    def _panic(self) -> None:
        """Hide the feed at once, or ask for the other state: `FeedControl` guards against haste."""
        if self._send(HideFeed(on=None if self._hidden else True)):
            self._hidden = not self._hidden

    def _freeze(self) -> None:
        """Keep the picture on screen for prompting, or let it go; let a waiting file play."""
        if self._frozen:
            self._let_go()
        elif self._controls.play.holds:
            self._show("playing")
        else:
            self._keep()
            return
        self._controls.play.play()

    def _keep(self) -> None:
        """Freeze the picture on screen; a waiting file goes on waiting."""
        if self._step is None:
            self._show("no picture to freeze just now")
        elif self._send(PinStep(self._step)):
            self._frozen = True

    def _let_go(self) -> None:
        if self._send(PinStep(None)):
            self._frozen = False
            self._marks.forget()
            self._board.end()
            self._press = self._press and self._press._replace(proposal=None)

    def _suggest(self) -> None:
        """Freeze the picture and ask for proposals on it, or let it go with them."""
        if self._board.active:
            self._freeze()
            return
        if not self._frozen:
            self._keep()
        if self._frozen and self._step is not None:
            self._board.start(self._step, self._motion)

    def _take(self, outline: Outline, step: int | None, size_wh: tuple[int, int]) -> None:
        """Make a proposal the chosen object; the next click is for a free one."""
        owner, object_id = self._board.owner(outline), self._objects.object_id
        if owner is not None:
            self._show(f"this is {self._name(owner)} already")
            return
        mask = upsample_logits(outline.proposal.mask_logits, size_wh) > 0
        prompt = Prompt(object_id=object_id, mask=mask, step=step)
        if self._send_prompt(prompt, "taken"):
            self._board.take(outline, object_id)
            self._choose_new()

    def _undo(self) -> None:
        """Take back the last prompt: among proposals, of the object that was taken last."""
        if self._objects.clicked is not None and self._objects.clicked in self._board.owners:
            self._objects.object_id = self._objects.clicked
        self._tell(UndoPrompt(self._objects.object_id), "take back the last prompt")
        self._marks.take_back(self._objects.object_id)

    def _send_point(self, point: Point, positive: bool, step: int | None) -> None:
        prompt = Prompt.click(point.x, point.y, self._objects.object_id, positive, step)
        self._send_prompt(prompt, "this" if positive else "not this")

    def _send_prompt(self, prompt: Prompt, what: str) -> bool:
        if not self._send(prompt):
            return False
        self._objects.prompted(prompt.object_id)
        if self._frozen:
            self._marks.add(prompt)
        self._show(f"{self._name(prompt.object_id)}: {what}")
        return True

    def _tell(self, command: UndoPrompt | CommitMask, what: str) -> None:
        if self._send(command):
            self._show(f"{self._name(self._objects.object_id)}: {what}")

    def _send(self, command: Command) -> bool:
        if not self._controls.send(command):
            self._show("too many commands are waiting: this one was not taken")
            return False
        return True

    def _name(self, object_id: int) -> str:
        return object_name(object_id, self._names)

    def _show(self, message: str, for_s: float = MESSAGE_S) -> None:
        self._message, self._message_for_s, self.message_s = message, for_s, self._clock()
