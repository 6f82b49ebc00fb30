"""Work that inference does between frames, in slices, without falling behind.

A slice is free if no frame had to wait for it. Else its time is taken from a budget that grows
slowly, so that spare work costs inference a small share of its rate; without budget nothing is
done. When inference waits for a frame again and none was dropped, nothing was lost, and the time
comes back.

Its jobs: the mask under the pointer, and proposals for a frozen picture.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol, TypeAlias

from samcam.live.commands import HoverAnswer, HoverRequest, Proposal, Suggestions, SuggestRequest
from samcam.live.control import Controls

SHARE: Final = 0.05  # of the time may be lost to spare work; inference keeps 0.9 x its rate or more
MAX_SAVED_S: Final = 0.02  # time saved up while there was nothing to do: about one slice
POLL_S: Final = 0.02  # how often to look for work while no frame comes

SpareJob: TypeAlias = Callable[[], bool]
"""Does one slice, of some milliseconds, and says whether there was one to do.

A generator becomes one by `lambda: next(slices, DONE) is not DONE`.
"""


class Hoverer(Protocol):
    """What hovering needs of a tracker."""

    def hover(self, request: HoverRequest) -> HoverAnswer | None:
        """Return the mask that a click would give, or None; change nothing."""


class HoverJob:
    """Answers the newest hover request."""

    def __init__(self, controls: Controls, tracker: Hoverer) -> None:
        self._controls = controls
        self._tracker = tracker

    def __call__(self) -> bool:
        request = self._controls.hover.take()
        if request is None:
            return False
        answer = self._tracker.hover(request)
        if answer is not None:
            self._controls.hover_answer.put(answer)
        return True


class Proposer(Protocol):
    """Finds proposals slice by slice; `live.tracker.suggest.MaskGenerator` is one."""

    def __len__(self) -> int:
        """How many slices there are in all."""

    def __next__(self) -> int:
        """Do one slice and return how many are done; StopIteration where none is left."""

    @property
    def proposals(self) -> tuple[Proposal, ...]:
        """What is found so far, the best first."""


class Suggesting(Protocol):
    """What suggestions need of a tracker."""

    def suggest(self, step: int) -> Proposer:
        """Return what finds proposals on a step's picture, and change nothing.

        Raises:
            ValueError: It cannot be done.
        """


class SuggestJob:
    """Spare work: one slice at a time for the request that stands; inference thread only.

    A new request ends the work on the one before, and so does taking it back.
    """

    def __init__(self, controls: Controls, tracker: Suggesting) -> None:
        self._controls = controls
        self._tracker = tracker
        self._request: SuggestRequest | None = None
        self._proposer: Proposer | None = None

    def __call__(self) -> bool:
        request = self._controls.suggest.peek()
        if request is not self._request:
            self._request, self._proposer = request, None
            if request is not None:
                self._begin(request)
                return True  # the picture may have been encoded for it
        if request is None or self._proposer is None:
            return False
        self._go_on(request, self._proposer)
        return True

    def _begin(self, request: SuggestRequest) -> None:
        try:
            proposer = self._proposer = self._tracker.suggest(request.step)
        except ValueError as error:
            self._controls.say(f"no suggestions: {error}")
            answer = Suggestions(request, refusal=str(error))
        else:
            answer = Suggestions(request, total=len(proposer))
        self._controls.suggestions.put(answer)

    def _go_on(self, request: SuggestRequest, proposer: Proposer) -> None:
        total = len(proposer)
        done = next(proposer, total)
        if done >= total:
            self._proposer = None  # frees the picture's features
        answer = Suggestions(request, proposer.proposals, done, total)
        self._controls.suggestions.put(answer)


class SpareWork:
    """Runs slices of jobs while the budget lasts; inference thread only."""

    def __init__(
        self, jobs: Sequence[SpareJob], now_s: Callable[[], float] = time.perf_counter
    ) -> None:
        """Start with an empty budget; the first of `jobs` that has work gets the slice."""
        self._jobs = tuple(jobs)
        self._now_s = now_s
        # The budget: a share of the time since then may be spent, and spending moves it on. Beside
        # it, since when it would be if nothing had been spent after inference last caught up.
        self._since_s = self._unspent_since_s = now_s()
        self._dropped = 0

    def run_slice(self, held_up: Callable[[], bool]) -> bool:
        """Do one slice if there is work and the budget is not in debt; return whether one was
        done.

        `held_up` says whether a frame waits; it is asked after the slice, which is paid for only
        then.
        """
        start_s = self._now_s()
        self._since_s = max(self._since_s, start_s - MAX_SAVED_S / SHARE)
        if start_s <= self._since_s or not any(job() for job in self._jobs):
            return False
        if held_up():
            self._since_s += (self._now_s() - start_s) / SHARE
        return True

    def caught_up(self, dropped: int) -> None:
        """Note that no frame waits: what was paid comes back, unless frames were dropped since."""
        if dropped == self._dropped:
            self._since_s = self._unspent_since_s
        self._unspent_since_s, self._dropped = self._since_s, dropped
