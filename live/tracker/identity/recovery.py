"""When a mask is not the object: the test that a lost object is found again by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from samcam.kalman import TIME_ERROR_S
from samcam.live.frames import F32
from samcam.live.tracker.crop import CropState
from samcam.live.tracker.state import Status
from samcam.system import Checked, Setting

SIZE_RATIO: Final = 3.0  # a size changes no more than so much while motion still counts
LIKENESSES: Final = ("shown", "remembered", "sure")  # none may be above the next one


@dataclass(frozen=True, slots=True)
class RecoverySettings(Checked):
    """What a mask must be like to be shown and remembered. Ours.

    Attributes:
        sure: What a lost object needs to be found again.
        remembered: Below it a mask is in doubt: not admitted, and after `doubt_s` refused. Less
            than `sure`, for what is followed without a break may turn and look different.
        shown: Below it a mask is refused at once.
        regained: A look that came about slowly, by light or by a turn, becomes the object's own,
            in so many seconds that what slides onto another thing does not stay undoubted.
        motion_s: At least, and 0 asks for no motion.
        speed: In sizes of the object per second.

    Raises:
        ClashError: One of `LIKENESSES` is above the next one.
    """

    sure: Annotated[
        float,
        Setting(
            "Likeness at which a lost object is found again; at least remembered.", low=0, high=1
        ),
    ] = 0.6
    remembered: Annotated[
        float,
        Setting("Likeness below which a mask is not remembered; at least shown.", low=0, high=1),
    ] = 0.55
    doubt_s: Annotated[
        float, Setting("How long a mask that looks different is shown.", "s", 0, 60)
    ] = 0.3
    shown: Annotated[
        float,
        Setting("Likeness below which a mask is another thing; at most remembered.", low=0, high=1),
    ] = 0.45
    regained: Annotated[
        float,
        Setting("Likeness that a new look regains while it is followed.", "per second", 0, 1),
    ] = 0.03
    motion_s: Annotated[
        float,
        Setting("Seconds after the loss in which it must come from where it was.", "s", 0, 60),
    ] = 0.5
    speed: Annotated[
        float,
        Setting("How fast a lost object may have moved.", "of its size per second", 0.1, 1000),
    ] = 6.0

    def ascending(self) -> Sequence[Sequence[str]]:
        """Return the likenesses in their order."""
        return (LIKENESSES,)


@dataclass(frozen=True, slots=True, eq=False)
class Sighting:
    """One mask without a prompt, as far as the test depends on it.

    Attributes:
        box: (4,) in cells.
        appearance: See `samcam.memory.appearance`; None: not known, and not asked for.
        dt_s: Since the step before, which the object's status is of.
    """

    box: F32
    predicted_iou: float
    appearance: float | None
    dt_s: float


def refusal(
    sighting: Sighting,
    status: Status | None,
    last: CropState | None,
    certain_iou: float,
    settings: RecoverySettings,
) -> str | None:
    """Say why a mask is not taken for the object; None: it is taken.

    Args:
        status: Of the object before this step.
        last: Where it was last, moved on as its motion was.
        certain_iou: Predicted IoU that a lost object's mask needs.
    """
    lost = status is not None and status.was_lost
    if status is not None and (lost or status.absent_steps > 0):
        least = settings.sure
    elif status is not None and status.doubtful_s > settings.doubt_s + TIME_ERROR_S:
        least = settings.remembered
    else:
        least = settings.shown
    if sighting.appearance is not None and sighting.appearance < least:
        return f"looks different: {sighting.appearance:.2f} of {least:.2f}"
    if status is None or not lost:
        return None
    if sighting.predicted_iou < certain_iou:
        return f"no sure mask: predicted IoU {sighting.predicted_iou:.2f} of {certain_iou:.2f}"
    away_s = status.absent_s + sighting.dt_s
    if last is not None and away_s < settings.motion_s - TIME_ERROR_S:
        return _too_far(CropState.at(sighting.box), last, away_s, settings.speed)
    return None


def doubt(sighting: Sighting, settings: RecoverySettings) -> str | None:
    """Say what speaks against a mask that is taken; None: nothing."""
    likeness = sighting.appearance
    if likeness is None or likeness >= settings.remembered:
        return None
    return f"looks different: {likeness:.2f} of {settings.remembered:.2f}"


def _too_far(seen: CropState, last: CropState, away_s: float, speed: float) -> str | None:
    """Say why an object cannot have come from its last place; both in cells."""
    size = max(last.size, 1.0)
    away = math.hypot(seen.x - last.x, seen.y - last.y) / size
    reach = 1 + speed * away_s
    if away > reach:
        return f"too far away: {away:.1f} of {reach:.1f} times its size"
    ratio = max(seen.size, 1.0) / size
    if not 1 / SIZE_RATIO <= ratio <= SIZE_RATIO:
        return f"{ratio:.1f} times as large"
    return None
