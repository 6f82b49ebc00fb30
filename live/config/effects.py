"""The settings of the effects (`effect.*`): those of all, and each one's own options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from samcam.live.config.changes import extended_by
from samcam.live.effects import EFFECTS, LENGTH_UNIT, OBJECT_EFFECTS, ReplaceOptions
from samcam.system import Section, Setting


@dataclass(frozen=True, slots=True)
class ReplaceSettings(Section):
    """The effect `replace`: its options, before files are opened."""

    color: Annotated[
        tuple[int, int, int],
        Setting("Colour of the new background.", "red, green, blue", 0, 255),
    ] = ReplaceOptions().color
    picture: Annotated[
        str | None,
        Setting("A picture file instead of the colour, scaled to cover; null: the colour."),
    ] = None
    video: Annotated[
        str | None, Setting("A video file instead of both, shown over and over; null: none.")
    ] = None


@extended_by(
    {name: (kind.options, kind.options()) for name, kind in EFFECTS.items() if name != "replace"}
)
@dataclass(frozen=True, slots=True)
class EffectSettings(Section):
    """How the chosen effect (--effect) looks; lengths are for a picture 720 px high."""

    feather_px: Annotated[
        float | None,
        Setting(
            "Softness of the border, for all but highlight: outwards, or inwards where negative; "
            "null: -1 for replace, chroma and transparent, else 1.5.",
            LENGTH_UNIT,
            -100,
            100,
        ),
    ] = None
    grow_px: Annotated[
        float,
        Setting(
            "Move the border outwards, or inwards where negative, for all but highlight.",
            LENGTH_UNIT,
            -100,
            100,
        ),
    ] = 0.0
    invert: Annotated[
        bool, Setting("Swap the object and its surroundings, for all but highlight.")
    ] = False
    refine: Annotated[
        bool,
        Setting("Draw the border to the edges of the picture near by, for all but highlight."),
    ] = True
    decontaminate: Annotated[
        bool,
        Setting(
            "No colour of the old background in the border of replace, chroma and transparent."
        ),
    ] = True
    smoothing: Annotated[
        float,
        Setting(
            "Steadier borders: share of the last mask, moved along, that is kept over 1/30 s; "
            "0: off.",
            low=0,
            high=0.9,
        ),
    ] = 0.6
    per_object: Annotated[
        Mapping[int, str] | None,
        Setting(
            "Own effects of objects by id, such as {2: censor}; none leaves the object as it is.",
            low=1,
            high=254,
            choices=OBJECT_EFFECTS,
        ),
    ] = None
    replace: ReplaceSettings = ReplaceSettings()
