"""Whose a mask is, where several objects are tracked: by where each of them is expected.

A mask that lies where another object is expected is that object's. One that covers both, as the
networks give where two that look alike meet, is parted between the two places.

The places are those before the step, noted with it: whatever was answered on this picture, they
are the same for every object, so that the order of the objects decides nothing and a step that is
run again gives the same. What edits change in them counts from the next new step on, so the order
of the edits decides nothing either.

Only objects that were seen apart are rivals, and those that stay together stop being it: they may
be one thing that the user has clicked twice, or a part of the other.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from samcam.kalman import TIME_ERROR_S, box_iou
from samcam.live.frames import F32
from samcam.memory import Look, RememberedLook, appearance

TOGETHER_S: Final = 3.0  # for which objects that meet stay rivals: longer than most need to pass
UNSEEN: Final = 0.1  # of the time counts while one has no place: it is let go within half a minute
APART: Final = 0.1  # share of one place in another up to which both are seen whole
CLAIM_IOU: Final = 0.4  # overlap with its expected box at which a mask may be an object's
MARGIN: Final = 0.1  # in overlap, by which another's place must be nearer than the own one
LIKENESS_MARGIN: Final = 0.1  # in appearance, by which looks outweigh the place
REACH: Final = 0.05  # share of another's place that a mask covers beyond what was expected
BOTH: Final = 0.5  # share of its own place that a mask of both covers
WHOLE: Final = 0.8  # share of each one's place that a mask of all of them covers
ASIDE: Final = 0.3  # of an object's size, by which such a mask shows on which side it is
AT_END: Final = 0.1  # of its size, by which such a mask may go on beyond where it should end
HIDDEN: Final = 0.7  # share of its own place from which another one hides an object
ALIKE: Final = 0.7  # appearance from which on two objects can be mistaken for each other


@dataclass(frozen=True, slots=True, eq=False)
class KnownLook:
    """What others are compared with of a memory: small, and on the host; see
    `samcam.memory.RememberedLook`."""

    obj_ptr: F32
    colours: F32 | None
    appearance: float

    @classmethod
    def of(cls, memory: RememberedLook) -> KnownLook:
        return cls(memory.obj_ptr, memory.colours, memory.appearance)


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Where an object is expected on a picture, from what was known before it.

    Attributes:
        box: (4,) in cells; one without area, as of what has left the picture: nobody knows.
        looks: What it is remembered by.
        coasts: That is extrapolated: no mask has moved the object's filter on the step before.
    """

    object_id: int
    box: F32
    looks: tuple[RememberedLook, ...] = ()
    coasts: bool = False

    @property
    def known(self) -> bool:
        """Whether somebody knows where it is."""
        return bool((self.box[2:] > self.box[:2]).all())


def met(
    before: Mapping[int, float], mine: Place, others: Sequence[Place], dt_s: float
) -> dict[int, float]:
    """Return an object's rivals, with the seconds that both have been together since they were
    seen apart.

    Args:
        before: As of the step before.
        mine: The object's own place.
        others: The places of the other objects; who has none any more is no rival either.

    It takes masks of both to see them apart for the first time. Of those that are known to be two,
    the places are enough. While one of the two has none, a time together goes on as `UNSEEN` says;
    those that were apart last stay rivals.
    """
    after = {}
    for other in others:
        seconds = before.get(other.object_id)
        known = mine.known and other.known
        apart = known and max(covered(mine.box, other.box), covered(other.box, mine.box)) <= APART
        if apart and (seconds is not None or not (mine.coasts or other.coasts)):
            seconds = 0.0
        elif seconds is not None and not known:
            seconds += UNSEEN * dt_s if seconds else 0
        elif seconds is not None:
            seconds += dt_s
        if seconds is not None and seconds < TOGETHER_S - TIME_ERROR_S:
            after[other.object_id] = seconds
    return after


def contenders(
    box: F32, seen: Look, likeness: float | None, rivals: Sequence[Place]
) -> list[Place]:
    """Return the rivals whose a mask may be: it lies where they are expected, and does not look
    clearly less like them than like this object.

    Args:
        box: (4,) of the mask, in cells.
        seen: What the mask looks like.
        likeness: How much that is like this object; None: not known.
    """
    near = [rival for rival in rivals if box_iou(box, rival.box) >= CLAIM_IOU]
    if likeness is None:
        return near
    likes = [(rival, appearance(seen, rival.looks)) for rival in near]
    least = likeness - LIKENESS_MARGIN
    return [rival for rival, like in likes if like is None or like > least]


def owner(box: F32, own: F32 | None, rivals: Sequence[Place]) -> int | None:
    """Return the rival that a mask fits better than this object; None: it may be this one's.

    Args:
        box: (4,) of the mask, in cells.
        own: (4,) where this object is expected; None: nobody knows.
        rivals: Of `contenders`.
    """
    most = MARGIN if own is None else box_iou(box, own) + MARGIN
    nearest = None
    for rival in rivals:
        overlap = box_iou(box, rival.box)
        if overlap > most:
            nearest, most = rival.object_id, overlap
    return nearest


def parts(box: F32, own: F32, rivals: Sequence[Place]) -> list[Place]:
    """Return the rivals whose place a mask covers, beside its own, more than expected.

    One that hides most of this object's place is none of them: what is left to see there is for
    `owner` to say.

    Args:
        box: (4,) of the mask, in cells.
        own: (4,) where this object is expected.
    """
    if covered(own, box) < BOTH:
        return []
    return [
        rival
        for rival in rivals
        if covered(rival.box, box) - covered(rival.box, own) >= REACH
        and covered(own, rival.box) < HIDDEN
    ]


def alike(place: Place, looks: Collection[RememberedLook]) -> bool:
    """Say whether another object was ever taken in looking like this one, with these looks."""
    known = False
    for look in place.looks:  # the first that is alike will do: there may be a hundred of both
        like = appearance(look, looks)
        if like is not None and like >= ALIKE:
            return True
        known = known or like is not None
    return not known


def placed(box: F32, own: F32, wh: F32, others: Sequence[Place]) -> F32 | None:
    """Return where an object is, by the edges of a mask that it shares with others.

    It lies within the mask, on the side on which it is expected. Where the mask ends before it
    should, that is its own end; where it ends about there, that confirms the expected place. Where
    the mask is longer than expected on both sides, they are still on their own sides, as far as
    both agree: so what stops or turns back where it meets another object is followed as what
    passes it.

    Args:
        box: (4,) of the whole mask, in cells.
        own: (4,) where this object is expected.
        wh: (2,) its size when it was last seen alone.
        others: Those that it shares it with, not none.

    Returns:
        None where that is not to be told: the mask is hardly larger than one of them, or larger
        than all of them, or it leaves out a part of one, or it is longer than expected on this
        side alone, or they are expected in the same place. A place that no end confirms is no
        answer: a filter must not measure itself. Where the ends agree by a hair only, the answer
        is nearly the expected place all the same: asking for more lost the meetings of objects
        that rest halfway over each other (1 of 10 kept instead of 8).
    """
    room = box[2:] - box[:2] - wh
    theirs = np.array([other.box for other in others])
    low, high = theirs[:, :2].min(axis=0), theirs[:, 2:].max(axis=0)
    most = (theirs[:, 2:] - theirs[:, :2]).max(axis=0)
    aside = room >= ASIDE * wh
    if not aside.any() or (room > most).any():
        return None
    if min(covered(place, box) for place in (own, *theirs)) < WHOLE:
        return None
    corner = (own[:2] + own[2:] - wh) / 2
    side = np.sign(low + high - own[:2] - own[2:])
    beyond_me = np.where(side > 0, corner - box[:2], box[2:] - wh - corner)
    beyond_them = np.where(side > 0, box[2:] - high, low - box[:2])
    ends = beyond_me <= AT_END * wh
    back = np.where(beyond_me < 0, beyond_me, np.clip(np.minimum(beyond_me, beyond_them), 0, None))
    if (aside & ((side == 0) | ~ends & (back <= 0))).any():
        return None
    corner = corner - side * back * aside
    corner = np.clip(corner, box[:2] + np.minimum(room, 0), box[:2] + np.maximum(room, 0))
    return np.concatenate((corner, corner + wh)).astype(np.float32)


def parted(logits: F32, seen: F32, own: F32, other: F32) -> F32:
    """Return a mask without what is nearer to another object's place.

    Args:
        logits: (L, L) of a crop.
        seen: (4,) the crop in the cells of the picture, as the places.
        own, other: (4,) where the two objects are expected; distances are in their sizes.
    """
    size = len(logits)
    middles = (np.arange(size, dtype=np.float32) + 0.5) / size
    x = seen[0] + middles * (seen[2] - seen[0])
    y = seen[1] + middles * (seen[3] - seen[1])
    theirs = _distance(x, y, other) < _distance(x, y, own)
    return np.where(theirs, -np.abs(logits), logits)


def covered(box: F32, by: F32) -> float:
    """Return the share of a box that another one covers; both (4,) in cells."""
    sides = np.minimum(box[2:], by[2:]) - np.maximum(box[:2], by[:2])
    area = float(np.prod(box[2:] - box[:2]))
    return float(np.prod(np.maximum(sides, 0))) / area if area > 0 else 0.0


def _distance(x: F32, y: F32, box: F32) -> F32:
    """Return (L, L) distances from a box's middle, in its size."""
    middle, sides = (box[:2] + box[2:]) / 2, np.maximum(box[2:] - box[:2], 1)
    away = np.hypot(x[None] - middle[0], y[:, None] - middle[1])
    return np.asarray(away / math.sqrt(sides[0] * sides[1]), np.float32)
