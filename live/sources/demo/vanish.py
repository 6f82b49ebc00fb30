"""How the gear of the demo scene leaves the picture now and then: it drops out, and comes back.

In frames, and a function of the index alone, as all of the scene is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from samcam.live.sources.options import MIN_VANISH_FRAMES

PERIOD: Final = 240  # frames in which all motion of the scene repeats
HALF: Final = PERIOD // 2  # at its multiples the gear is in full view, left or right of the pillar
AWAY_S: Final = 8.0  # about how long it stays away
DROP_FRAMES: Final = 15  # it falls out of the picture
RISE_FRAMES: Final = 20  # it comes up again, more gently


@dataclass(frozen=True, slots=True)
class Vanishing:
    """When the gear leaves the picture, and where on its way it comes back.

    It leaves at the first turning point, left or right of the pillar, from each multiple of `every`
    frames on, and returns on the other side: what was learnt of its motion leads nowhere.

    Attributes:
        every: Frames from one time to the next, on average; at least `MIN_VANISH_FRAMES`.
        away: Frames that it is not to be seen: some multiple of half a round less the rise.
    """

    every: int
    away: int

    def __post_init__(self) -> None:
        if self.every < MIN_VANISH_FRAMES:
            raise ValueError(
                f"every: expected {MIN_VANISH_FRAMES} frames or more, got {self.every}"
            )
        if self.away < 1 or (self.away + RISE_FRAMES) % HALF or self.away > self.every - HALF:
            raise ValueError(
                f"away: expected a multiple of {HALF} less {RISE_FRAMES} frames, at most "
                f"{self.every - HALF}, got {self.away}"
            )

    @classmethod
    def each(cls, seconds: float, fps: float) -> Vanishing:
        """Return one that has the gear leave every so many seconds, for about `AWAY_S`.

        Raises:
            ValueError: That is less than `MIN_VANISH_FRAMES` frames.
        """
        every = round(seconds * fps)
        halves = min(max(1, round(AWAY_S * fps / HALF)), every // HALF - 1)
        return cls(every, halves * HALF - RISE_FRAMES)

    def leaves_at(self, time: int) -> int:
        """Return the frame on which it starts to fall the `time`-th time, from 1."""
        return -(-time * self.every // HALF) * HALF

    def returns_at(self, time: int) -> int:
        """Return the frame before it comes up the `time`-th time, from 1: nothing is seen yet."""
        return self.leaves_at(time) + self.away

    def is_away(self, index: int) -> bool:
        """Whether it is leaving, gone, or not yet back up on a frame."""
        return self._lowered(index)[1] > 0

    def phase_and_drop(self, index: int) -> tuple[int, float]:
        """Return the frame whose place on the way the gear has, and how far it is below that.

        The second is 0 where it is on its way, 1 where it is out of the picture.
        """
        times, drop = self._lowered(index)
        halves = (self.away + RISE_FRAMES) // HALF
        aside = HALF * ((halves + 1) % 2)  # an even number would bring it back where it left
        return index + times * aside, drop

    def _lowered(self, index: int) -> tuple[int, float]:
        """Return how many times it has come back by a frame, and how far down it is."""
        time = index // self.every
        if time == 0:
            return 0, 0.0
        since = index - self.leaves_at(time)
        if since < 0:  # due, but not at a turning point yet
            return time - 1, 0.0
        if since < self.away:
            return time - 1, min(1.0, (since / DROP_FRAMES) ** 2)
        left = max(0.0, 1.0 - (since - self.away) / RISE_FRAMES)
        return time, left**2
