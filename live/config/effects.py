"""The settings of the effects (`effect.*`): defaults, units, ranges and meanings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from samcam.live.config.fields import setting

_LENGTH = "px at 720 px height"
_RGB = "red, green, blue"
OBJECT_EFFECTS = (
    "highlight",
    "blur",
    "pixelate",
    "replace",
    "chroma",
    "transparent",
    "dim",
    "spotlight",
    "grayscale",
    "censor",
    "none",
)


@dataclass(frozen=True, slots=True)
class HighlightSettings:
    """The effect `highlight`."""

    tint: float = setting(0.4, "Share of the object's colour inside its mask.", low=0.0, high=1.0)
    contour_px: float = setting(3.0, "Width of the contour.", unit=_LENGTH, low=0.0, high=50.0)
    label: bool = setting(True, "Write the object's id beside it.")


@dataclass(frozen=True, slots=True)
class BlurSettings:
    """The effect `blur`."""

    sigma_px: float = setting(18.0, "Strength of the blur.", unit=_LENGTH, low=1.0, high=200.0)


@dataclass(frozen=True, slots=True)
class PixelateSettings:
    """The effect `pixelate`."""

    cell_px: float = setting(24.0, "Side of a square.", unit=_LENGTH, low=4.0, high=200.0)


@dataclass(frozen=True, slots=True)
class ReplaceSettings:
    """The effect `replace`."""

    color: tuple[int, int, int] = setting(
        (32, 32, 32), "Colour of the new background.", unit=_RGB, low=0, high=255
    )
    picture: str | None = setting(
        None, "A picture file instead of the colour, scaled to cover; null: the colour."
    )
    video: str | None = setting(
        None, "A video file instead of both, shown over and over; null: none."
    )


@dataclass(frozen=True, slots=True)
class ChromaSettings:
    """The effect `chroma`."""

    color: tuple[int, int, int] = setting(
        (0, 255, 0), "Key colour around the object.", unit=_RGB, low=0, high=255
    )


@dataclass(frozen=True, slots=True)
class TransparentSettings:
    """The effect `transparent`."""

    color: tuple[int, int, int] = setting(
        (0, 0, 0),
        "What an output that knows no transparency shows around the object.",
        unit=_RGB,
        low=0,
        high=255,
    )


@dataclass(frozen=True, slots=True)
class DimSettings:
    """The effect `dim`."""

    # Not up to 1: a black background would be hiding, for which `replace` has safer defaults.
    amount: float = setting(0.7, "Share of the light that is taken away.", low=0.0, high=0.9)


@dataclass(frozen=True, slots=True)
class SpotlightSettings:
    """The effect `spotlight`."""

    amount: float = setting(
        0.8, "Share of the light taken away beyond the spotlight.", low=0.0, high=0.9
    )
    size: float = setting(
        1.5, "Width and height of the spotlight.", unit="times the object's", low=0.5, high=10.0
    )


@dataclass(frozen=True, slots=True)
class GrayscaleSettings:
    """The effect `grayscale`."""

    amount: float = setting(1.0, "Share of the colour that is taken away.", low=0.0, high=1.0)


@dataclass(frozen=True, slots=True)
class CensorSettings:
    """The effect `censor`."""

    style: str = setting(
        "pixelate", "How the object is made unrecognisable.", choices=("pixelate", "blur")
    )
    size_px: float = setting(
        32.0, "Side of a square, or strength of the blur.", unit=_LENGTH, low=8.0, high=200.0
    )


@dataclass(frozen=True, slots=True)
class EffectSettings:
    """How the chosen effect looks; lengths grow with the picture's height."""

    feather_px: float | None = setting(
        None,
        "Softness of the border, for all but highlight: outwards, or inwards where negative; null: "
        "-1 for replace, chroma and transparent, else 1.5.",
        unit=_LENGTH,
        low=-100.0,
        high=100.0,
    )
    grow_px: float = setting(
        0.0,
        "Move the border outwards, or inwards where negative, for all but highlight.",
        unit=_LENGTH,
        low=-100.0,
        high=100.0,
    )
    invert: bool = setting(False, "Swap the object and its surroundings, for all but highlight.")
    refine: bool = setting(
        True, "Draw the border to the edges of the picture near by, for all but highlight."
    )
    decontaminate: bool = setting(
        True, "No colour of the old background in the border of replace, chroma and transparent."
    )
    smoothing: float = setting(
        0.6,
        "Steadier borders: share of the last mask, moved along, that is kept over 1/30 s; 0: off.",
        low=0.0,
        high=0.9,
    )
    per_object: Mapping[int, str] | None = setting(
        None,
        "Own effects of objects by id, such as {2: censor}; none leaves the object as it is.",
        low=1,
        high=254,
        choices=OBJECT_EFFECTS,
    )
    highlight: HighlightSettings = field(default_factory=HighlightSettings)
    blur: BlurSettings = field(default_factory=BlurSettings)
    pixelate: PixelateSettings = field(default_factory=PixelateSettings)
    replace: ReplaceSettings = field(default_factory=ReplaceSettings)
    chroma: ChromaSettings = field(default_factory=ChromaSettings)
    transparent: TransparentSettings = field(default_factory=TransparentSettings)
    dim: DimSettings = field(default_factory=DimSettings)
    spotlight: SpotlightSettings = field(default_factory=SpotlightSettings)
    grayscale: GrayscaleSettings = field(default_factory=GrayscaleSettings)
    censor: CensorSettings = field(default_factory=CensorSettings)
