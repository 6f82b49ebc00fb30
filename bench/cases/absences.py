"""Cases in which the object is gone for a while and comes back."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

import numpy as np

from bench.cases.backgrounds import erase
from bench.cases.footage import CaseFrame, Footage, region_of
from bench.cases.views import warp_picture
from samcam.live.frames import NOMINAL_STEP_S, U8

DRIFT: Final = 0.003  # of the picture's width: a held picture would be no camera's
DRIFT_S: Final = 4.0
AWAY_S: Final = 1.0


def vanish(
    seconds: float, step_s: float = NOMINAL_STEP_S
) -> Callable[[Footage], Iterator[CaseFrame]]:
    """Return the case whose object is taken out of the picture for so many seconds.

    After a third of the clip. The clip goes on behind it, by `seconds` but at most a third of it,
    slowed so that it fills the time; so the object comes back elsewhere, and looks different.

    Args:
        seconds: How long it is gone.
        step_s: From one picture without it to the next.
    """

    def case(footage: Footage) -> Iterator[CaseFrame]:
        start, pictures = footage.count // 3, max(1, round(seconds / step_s))
        span = min(start, round(seconds / NOMINAL_STEP_S))
        yield from footage.all(range(start))
        held, empty = -1, None
        for number in range(pictures):
            source = start + number * span // pictures
            if empty is None or source != held:
                held, empty = source, without_objects(footage.at(source))
            shown = drifted(empty.image_bgr, number * step_s)
            yield replace(empty, image_bgr=shown, step_s=step_s)
        yield from footage.all(range(start + span, footage.count))

    return case


def look_away(footage: Footage) -> Iterator[CaseFrame]:
    """In the middle another view for a second: the place upside down in other colours."""
    middle = footage.count // 2
    yield from footage.all(range(middle))
    empty = without_objects(footage.at(middle))
    foreign = np.ascontiguousarray(np.roll(empty.image_bgr[::-1], 1, axis=2))
    for number in range(round(AWAY_S / NOMINAL_STEP_S)):
        shown = drifted(foreign, number * NOMINAL_STEP_S)
        yield replace(empty, image_bgr=shown)
    yield from footage.all(range(middle, footage.count))


def without_objects(frame: CaseFrame) -> CaseFrame:
    """The same picture with nothing left of what is tracked."""
    gone = np.zeros(frame.size_wh[::-1], np.bool_)
    for target in (frame.visible or {}).values():
        gone |= region_of(target, frame.size_wh)
    return replace(frame, image_bgr=erase(frame.image_bgr, gone), visible={})


def drifted(image_bgr: U8, time_s: float) -> U8:
    """A held picture as a camera that is not quite still gives it; unmoved at the start."""
    phase = 2 * math.pi * time_s / DRIFT_S
    reach = DRIFT * image_bgr.shape[1]
    affine = np.array([[1, 0, reach * math.sin(phase)], [0, 1, reach * math.sin(phase / 2)]])
    return warp_picture(image_bgr, affine)
