"""What an object looks like, compared: its colours and its pointers, with those remembered."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

F32: TypeAlias = NDArray[np.float32]

COLOUR_SHARE: Final = 0.8  # of the likeness; the rest is the pointers'


class Look(Protocol):
    """A mask as far as it can be compared: an answer, or a memory."""

    @property
    def obj_ptr(self) -> F32:
        """(D,) the network's object pointer."""

    @property
    def colours(self) -> F32 | None:
        """(C,) square roots of the shares of the object's colours; None: nobody looked."""


class RememberedLook(Look, Protocol):
    """One that others are compared with."""

    @property
    def appearance(self) -> float:
        """How much it looks like the object, 0..1; 1 where a prompt made the mask, or the user
        committed it."""


def appearance(seen: Look, remembered: Iterable[RememberedLook]) -> float | None:
    """Return how much a mask looks like one of those remembered, 0..1, at best.

    Colours count by the Bhattacharyya coefficient of their shares, pointers by their cosine, and a
    likeness is handed down: what looks like a memory that itself looked like a prompted one by
    0.7 reaches 0.7 at most. Along a chain the squares of the differences add up, so a turn or a
    change of light over many steps costs little; a mask that slides onto something else within
    a few steps loses much, though each is like the one before.

    Returns:
        None where either side has no colours.
    """
    if seen.colours is None:
        return None
    likes = [
        other.appearance
        * (
            COLOUR_SHARE * _dot(seen.colours, other.colours)
            + (1 - COLOUR_SHARE) * max(cosine(seen.obj_ptr, other.obj_ptr), 0.0)
        )
        for other in remembered
        if other.colours is not None
    ]
    return max(likes, default=None)


def cosine(a: F32, b: F32) -> float:
    """Return the cosine between two vectors, -1..1; 0 where one of them is zero."""
    lengths = float(np.linalg.norm(a)) * float(np.linalg.norm(b))
    return _dot(a, b) / lengths if lengths > 0 else 0.0


def _dot(a: F32, b: F32) -> float:
    return float(np.dot(a, b))
