"""All hard cases by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from bench.cases.absences import look_away, vanish
from bench.cases.footage import CaseFrame, Footage
from bench.cases.pasted import occluder, twin
from bench.cases.views import backwards, cut, fast, plain, shake

LONG_ABSENCE_STEP_S: Final = 0.1  # 300 pictures say as much as 900


@dataclass(frozen=True, slots=True)
class Case:
    """One way to make a clip harder.

    Attributes:
        make: Gives the case's pictures one at a time, the same ones every time.
        needs_truth: On every picture; else clips with a few annotated pictures have it too.
        needs_masks: Boxes do not do.
    """

    name: str
    make: Callable[[Footage], Iterator[CaseFrame]]
    needs_truth: bool = True
    needs_masks: bool = False

    def fits(self, footage: Footage) -> bool:
        """Whether it can be made of this clip."""
        dense = footage.is_dense or not self.needs_truth
        return dense and (footage.has_masks or not self.needs_masks)


CASES: Final[dict[str, Case]] = {
    case.name: case
    for case in (
        Case("plain", plain, needs_truth=False),
        Case("vanish-1", vanish(1)),
        Case("vanish-5", vanish(5)),
        Case("vanish-30", vanish(30, LONG_ABSENCE_STEP_S)),
        Case("occluder", occluder),
        Case("twin-over", twin(over=True), needs_masks=True),
        Case("twin-under", twin(over=False), needs_masks=True),
        Case("reversed", backwards, needs_truth=False),
        Case("fast", fast, needs_truth=False),
        Case("cut", cut, needs_truth=False),
        Case("away", look_away),
        Case("shake", shake, needs_truth=False),
    )
}
