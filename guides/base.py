"""What a tracker of objects asks of a guide: another tracker of the same object, by its box."""

from __future__ import annotations

from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from samcam.system import FixableError

U8: TypeAlias = NDArray[np.uint8]
Box: TypeAlias = tuple[float, float, float, float]


class GuideError(FixableError):
    """A guide is missing or failed; one line that says what to do."""


class Guide(Protocol):
    """Follows one object by its box: `NanoTrackGuide`, or one of your own.

    Every object has one. Pictures are (H, W, 3) uint8 in BGR order and read-only; boxes are
    (x1, y1, x2, y2) in pixels of the picture, x2 and y2 exclusive.
    """

    def start(self, picture: U8, box: Box) -> None:
        """Follow what lies in this box from now on; whatever was followed before is forgotten."""

    def update(self, picture: U8) -> tuple[Box, float]:
        """Return where the object is on a later picture, and how sure that is, 0..1.

        At 0 the object is not seen, and the box says nothing.
        """
