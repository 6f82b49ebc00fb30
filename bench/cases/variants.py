"""What is measured: a preset as users run it, or with one of its rules left out.

To measure without another rule, give it a name here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from bench.scores.prompts import PromptKind
from samcam.guides import NANOTRACK
from samcam.live.tracker import NO_GUIDE, PRESETS, TrackerSettings

NOTHING: Final = "none"  # left out
GUIDES: Final = (NO_GUIDE, NANOTRACK)  # those that need nobody else's boxes

Change: TypeAlias = Callable[[TrackerSettings], TrackerSettings]


class VariantError(ValueError):
    """A preset has no such rule to leave out."""


def _no_slack(settings: TrackerSettings) -> TrackerSettings:
    return (
        settings
        if settings.gate is None
        else replace(settings, gate=replace(settings.gate, slack=0.0))
    )


def _no_motion_test(settings: TrackerSettings) -> TrackerSettings:
    if settings.admission is None:
        return settings
    return replace(settings, admission=replace(settings.admission, motion_iou=0.0))


VARIANTS: Final[Mapping[str, Change]] = {
    NOTHING: lambda settings: settings,
    "gate": TrackerSettings.ungated,
    "crop": lambda settings: replace(settings, crop=None),
    "camera-motion": lambda settings: replace(settings, camera_motion=False),
    "rivals": lambda settings: replace(settings, rivals=False),
    "slack": _no_slack,
    "admission": lambda settings: replace(settings, admission=None),
    "motion-test": _no_motion_test,
    "gate-pointers": lambda settings: replace(
        settings, bank=replace(settings.bank, gate_pointers=False)
    ),
    "drop-far-parts": lambda settings: replace(settings, drop_far_parts=False),
    "trust-prompts": lambda settings: replace(settings, trust_prompts=False),
    "recovery": lambda settings: replace(settings, recovery=None),
}


def guided(preset: str, guide: str) -> TrackerSettings:
    """A preset's settings with a guide.

    Raises:
        VariantError: It has no motion gate for a guide to stand beside.
    """
    try:
        return replace(PRESETS[preset], guide=guide)
    except ValueError as error:
        raise VariantError(f"--guide {guide}: {error}") from error


@dataclass(frozen=True, slots=True)
class Setup:
    """One row of the table; `label` names it."""

    preset: str
    prompt: PromptKind
    guide: str = NO_GUIDE
    without: str = NOTHING

    @property
    def label(self) -> str:
        guide = "" if self.guide == NO_GUIDE else f" + {self.guide}"
        without = "" if self.without == NOTHING else f" without {self.without}"
        return f"{self.preset}{guide}{without}, {self.prompt}"

    def settings(self, model: str) -> TrackerSettings:
        """The tracker's settings for a model of this name, with a crop where users have one.

        Raises:
            VariantError: The preset has no such rule to leave out, or what is left has no gate for
                a guide.
        """
        own = guided(self.preset, self.guide).for_model(model)
        try:
            changed = VARIANTS[self.without](own)
        except ValueError as error:
            raise VariantError(f"--without {self.without}: {error}") from error
        if self.without != NOTHING and changed == own:
            raise VariantError(
                f"--without {self.without}: changes nothing in the preset {self.preset}; "
                "leave that pair out"
            )
        return changed
