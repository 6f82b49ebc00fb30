"""Suggested objects on the frozen picture: which there are, which one the pointer means."""

from __future__ import annotations

import colorsys
import math
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

import numpy as np

from samcam.live.commands import Proposal, Suggestions, SuggestRequest
from samcam.live.control import Controls
from samcam.live.effects import Bgr
from samcam.live.frames import F32, Mask
from samcam.live.masks import PixelBox, mask_layer
from samcam.live.motion import warp_logits
from samcam.live.window.letterbox import Letterbox, Point

_SHOWN: Final = 16  # the best ones; more would cover the picture with lines
_NEW_PER_LOOK: Final = 4  # outlines take a millisecond each, and the feed waits meanwhile
_SAME_IOU: Final = 0.7  # above it, a later proposal is one that was taken or dropped already
_GOLDEN: Final = 0.618034  # of the circle of hues: neighbours in time are far apart
_SATURATION: Final = 0.55  # paler than the colours of objects


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """A proposal as it lies on the picture on screen.

    Attributes:
        proposal: With the mask as it is on the step's own picture.
        box: Where `inside` lies, in source pixels.
        inside: (h, w), the mask in that box.
        area_px: Source pixels inside.
        colour: Of its line.
    """

    proposal: Proposal
    box: PixelBox
    inside: Mask
    area_px: int
    colour: Bgr

    def contains(self, at: Point) -> bool:
        """Whether a source position is inside."""
        x, y = round(at.x) - self.box.x1, round(at.y) - self.box.y1
        height, width = self.inside.shape
        return 0 <= x < width and 0 <= y < height and bool(self.inside[y, x])


@dataclass(frozen=True, slots=True)
class ProposalView:
    """What the window draws of them.

    Attributes:
        outlines: Those that can be clicked, the largest first.
        pointed: The one under the pointer, or None.
        taken: Those that became an object, with its id.
        note: How the search goes.
    """

    outlines: tuple[Outline, ...]
    pointed: Outline | None
    taken: tuple[tuple[Outline, int], ...]
    note: str


class ProposalBoard:
    """Asks for proposals and keeps what came; main thread only.

    Those that the user took or dropped stay so, whatever the search still finds.

    Attributes:
        pointed: The smallest proposal under the pointer, a taken one too.
    """

    def __init__(self, controls: Controls, clock: Callable[[], float] = time.monotonic) -> None:
        self._controls = controls
        self._clock = clock
        self._forget()

    def _forget(self) -> None:
        self.pointed: Outline | None = None
        self._begun_s = 0.0
        self._request: SuggestRequest | None = None
        self._motion: F32 | None = None
        self._answer: Suggestions | None = None
        self._behind = False
        self._made = 0
        self._outlines: list[Outline] = []
        self._unwanted: set[Proposal] = set()
        self._taken: dict[Outline, int] = {}
        self._dropped: list[Outline] = []

    @property
    def active(self) -> bool:
        """Whether proposals are asked for or shown."""
        return self._request is not None

    @property
    def refused(self) -> bool:
        """Whether there will be none; why is on screen already."""
        return self._answer is not None and bool(self._answer.refusal)

    @property
    def view(self) -> ProposalView | None:
        """What to draw now; None where nothing was asked."""
        if self._request is None:
            return None
        return ProposalView(
            tuple(self._outlines), self.pointed, tuple(self._taken.items()), self._note()
        )

    def start(self, step: int, motion: F32 | None) -> None:
        """Ask for proposals on the picture on screen, by its step and `FrameResult.motion`."""
        self.end()
        self._request, self._motion = SuggestRequest(step), motion
        self._begun_s = self._clock()
        self._controls.suggest.put(self._request)

    def end(self) -> None:
        """Take the request back and forget everything."""
        self._controls.suggest.put(None)
        self._controls.suggestions.put(None)
        self._forget()

    def look(
        self, letterbox: Letterbox, pointer: Point | None, object_ids: Collection[int]
    ) -> None:
        """Take over what was found since; call it often.

        Args:
            letterbox: Of the picture on screen.
            pointer: In source pixels; None where it is not on the picture.
            object_ids: Objects that are there or on their way: what belonged to another one can
                be clicked again.
        """
        if self._request is None:
            return
        answer = self._controls.suggestions.peek()
        if answer is not None and answer.request is self._request:
            if self._behind or answer is not self._answer:
                self._behind = self._take_over(answer.proposals[:_SHOWN], letterbox.source_wh)
            self._answer = answer
        for outline, object_id in list(self._taken.items()):
            if object_id not in object_ids:
                del self._taken[outline]
                self._insert(outline)
                self._unwanted.clear()
                self._behind = True
        self.pointed = None if pointer is None else self.at(pointer)

    def at(self, point: Point) -> Outline | None:
        """Return the smallest proposal at a source position, of those that `look` took over."""
        inside = (o for o in (*self._outlines, *self._taken) if o.contains(point))
        return min(inside, key=lambda outline: outline.area_px, default=None)

    @property
    def owners(self) -> Collection[int]:
        """Objects that were proposals."""
        return self._taken.values()

    def owner(self, outline: Outline) -> int | None:
        """Return the object that a proposal became, or None."""
        return self._taken.get(outline)

    def take(self, outline: Outline, object_id: int) -> None:
        """Note that a proposal became an object; a better one may have replaced it meanwhile."""
        self._outlines = [
            other
            for other in self._outlines
            if other is not outline and not _same(other.proposal, outline.proposal)
        ]
        self._taken[outline] = object_id

    def drop(self, outline: Outline) -> None:
        """Show a proposal no longer."""
        self._outlines.remove(outline)
        self._dropped.append(outline)
        self.pointed = None

    def _take_over(self, proposals: tuple[Proposal, ...], size_wh: tuple[int, int]) -> bool:
        """Forget what a better one replaced, add some of what is new, say if some is left."""
        current = set(proposals)
        self._outlines = [outline for outline in self._outlines if outline.proposal in current]
        self._unwanted &= current
        settled = [*self._taken, *self._dropped]
        known = {outline.proposal for outline in (*self._outlines, *settled)} | self._unwanted
        new = [proposal for proposal in proposals if proposal not in known]
        for proposal in new[:_NEW_PER_LOOK]:
            outline = self._outline(proposal, size_wh)
            if outline is None or any(_same(proposal, other.proposal) for other in settled):
                self._unwanted.add(proposal)
            else:
                self._insert(outline)
        return len(new) > _NEW_PER_LOOK

    def _insert(self, outline: Outline) -> None:
        self._outlines.append(outline)
        self._outlines.sort(key=lambda item: -item.area_px)

    def _outline(self, proposal: Proposal, size_wh: tuple[int, int]) -> Outline | None:
        """Return a proposal as it lies on screen; None where nothing is left of it."""
        logits = proposal.mask_logits
        if self._motion is not None:
            logits = warp_logits(logits, self._motion)
        layer = mask_layer(1, logits, size_wh)
        if layer is None:
            return None
        inside: Mask = layer.logits > 0
        area_px = int(np.count_nonzero(inside))
        if not area_px:
            return None
        self._made += 1
        return Outline(proposal, layer.box, inside, area_px, outline_colour(self._made - 1))

    def _time_left(self, done: int, total: int) -> str:
        """Return how long the search still takes, at the pace so far."""
        if not done:
            return ""
        left_s = (self._clock() - self._begun_s) * (total - done) / done
        return f", about {math.ceil(left_s)} s left"

    def _note(self) -> str:
        answer = self._answer
        if answer is None or answer.done < answer.total:
            done, total = (0, 0) if answer is None else (answer.done, answer.total)
            share = round(100 * done / total) if total else 0
            return f"looking for objects: {share} %{self._time_left(done, total)}; a stops"
        if not answer.proposals:
            return "no objects found: click one, or let the picture go on (a)"
        return f"{len(self._outlines)} proposals: left takes, right drops one; a ends"


def outline_colour(number: int) -> Bgr:
    """Return the colour of an outline by how many came before it."""
    hue = number * _GOLDEN % 1
    red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(hue, _SATURATION, 1))
    return Bgr(blue, green, red)


def _same(a: Proposal, b: Proposal) -> bool:
    """Whether two masks on the same picture are one thing."""
    one, other = a.mask_logits > 0, b.mask_logits > 0
    return bool(np.count_nonzero(one & other) > _SAME_IOU * np.count_nonzero(one | other))
