"""Proposals for a picture that the user froze, made in spare time; the window asks for them."""

from __future__ import annotations

from typing import Protocol

from live.controls import Controls
from live.suggest import Proposal, Suggestions, SuggestRequest


class Proposer(Protocol):
    """Finds proposals slice by slice; `live.suggest.MaskGenerator` is one."""

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
        """Do a slice, if there is one to do."""
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
