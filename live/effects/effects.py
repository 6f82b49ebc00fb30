"""The effects by name, with their options, and what each makes of a picture."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from samcam.live.effects import pictures
from samcam.live.effects.blur import BlurOptions, blurred
from samcam.live.effects.edges import CUT_OUT_EDGE, DEFAULT_EDGE, EdgeOptions
from samcam.live.effects.highlight import HighlightOptions
from samcam.live.effects.pictures import (
    CensorOptions,
    ChromaOptions,
    DimOptions,
    GrayscaleOptions,
    PixelateOptions,
    ReplaceOptions,
    SpotlightOptions,
    TransparentOptions,
)
from samcam.live.frames import U8
from samcam.live.masks import MaskLayer

EffectOptions: TypeAlias = (
    HighlightOptions
    | BlurOptions
    | PixelateOptions
    | ReplaceOptions
    | ChromaOptions
    | TransparentOptions
    | DimOptions
    | SpotlightOptions
    | GrayscaleOptions
    | CensorOptions
)

OPTIONS: Final[dict[str, type[EffectOptions]]] = {
    "highlight": HighlightOptions,
    "blur": BlurOptions,
    "pixelate": PixelateOptions,
    "replace": ReplaceOptions,
    "chroma": ChromaOptions,
    "transparent": TransparentOptions,
    "dim": DimOptions,
    "spotlight": SpotlightOptions,
    "grayscale": GrayscaleOptions,
    "censor": CensorOptions,
}
EFFECT_NAMES: Final = tuple(OPTIONS)
# What these cover cannot be made out any more. Upon an object they are there to keep it from being
# seen; the others leave it recognisable.
HIDING_EFFECTS: Final = ("blur", "pixelate", "replace", "chroma", "transparent", "censor")

# The surroundings become something that is not the camera's.
CUT_OUT_EFFECTS: Final = ("replace", "chroma", "transparent")


def default_edge(name: str, invert: bool) -> EdgeOptions:
    """Return where an effect ends unless somebody wants it elsewhere."""
    cuts_out = name in CUT_OUT_EFFECTS and not invert
    return replace(CUT_OUT_EDGE if cuts_out else DEFAULT_EDGE, invert=invert)


@dataclass(frozen=True, slots=True)
class Effect:
    """An effect by name with its options.

    Attributes:
        name: One of `EFFECT_NAMES`.
        options: Of the class that `OPTIONS` lists for the name; None: that class's defaults.
        edge: Where it ends; `highlight` has its contour instead. `DEFAULT_EDGE` itself: what fits
            the effect.
    """

    name: str = "highlight"
    options: EffectOptions | None = None
    edge: EdgeOptions = DEFAULT_EDGE

    def __post_init__(self) -> None:
        if self.name not in OPTIONS:
            raise ValueError(f"effect: expected {' or '.join(EFFECT_NAMES)}, got {self.name!r}")
        if self.edge is DEFAULT_EDGE:
            object.__setattr__(self, "edge", default_edge(self.name, invert=False))
        expected = OPTIONS[self.name]
        if self.options is None:
            object.__setattr__(self, "options", expected())
        elif type(self.options) is not expected:
            raise ValueError(f"effect {self.name}: expected {expected.__name__}")

    @property
    def on_object(self) -> bool:
        """Whether it changes the objects and leaves their surroundings."""
        return self.name == "highlight" or (self.name == "censor") != self.edge.invert

    @property
    def hides(self) -> bool:
        """Whether privacy is its default: an effect on the background, or one that covers."""
        return not self.on_object or self.covers

    @property
    def covers(self) -> bool:
        """Whether it makes the objects unrecognisable: one that has no mask is then in the open."""
        return self.on_object and self.name in HIDING_EFFECTS

    def reach_px(self, height: int) -> float:
        """Return how far outside the masks it looks, for a picture `height` pixels high."""
        return 0.0 if self.name == "highlight" else self.edge.reach_px(height)

    def changed(self, image_bgr: U8, layers: tuple[MaskLayer, ...], time_ns: int = 0) -> U8:
        """Return the whole picture as it looks where the effect is; not for `highlight`.

        Args:
            image_bgr: (H, W, 3) uint8; left as it is.
            layers: The objects; an effect on their surroundings takes no colour from them.
            time_ns: Media time.
        """
        without = () if self.on_object else layers
        match self.options:
            case BlurOptions() as options:
                return blurred(image_bgr, without, options)
            case PixelateOptions() as options:
                return pictures.pixelated(image_bgr, without, options)
            case CensorOptions() as options:
                return pictures.censored(image_bgr, without, options)
            case DimOptions() as options:
                return pictures.dimmed(image_bgr, options)
            case SpotlightOptions() as options if self.on_object:
                return pictures.dimmed(image_bgr, DimOptions(options.amount))
            case SpotlightOptions() as options:
                return pictures.spotlit(image_bgr, layers, options)
            case GrayscaleOptions() as options:
                return pictures.grayed(image_bgr, options)
            case ChromaOptions() | TransparentOptions() as options:
                return pictures.flat(image_bgr, options)
            case ReplaceOptions() as options:
                return pictures.replaced(image_bgr, options, time_ns)
        raise AssertionError(self.name)

    def close(self) -> None:
        """Release what it reads from; it must not be used afterwards. Idempotent."""
        if isinstance(self.options, ReplaceOptions) and self.options.video is not None:
            self.options.video.close()
