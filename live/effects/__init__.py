"""Effects: pure functions from a picture and mask layers to the picture that leaves the app."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, TypeAlias, cast

from live.effects import pictures
from live.effects.blend import mix_object
from live.effects.blur import BlurOptions, blurred, hide_picture
from live.effects.edges import EdgeOptions, object_edge
from live.effects.highlight import HighlightOptions, highlight
from live.effects.pictures import (
    CensorOptions,
    ChromaOptions,
    DimOptions,
    GrayscaleOptions,
    PixelateOptions,
    ReplaceOptions,
    SpotlightOptions,
)
from live.frames import U8
from live.masks import MaskLayer

EffectOptions: TypeAlias = (
    HighlightOptions
    | BlurOptions
    | PixelateOptions
    | ReplaceOptions
    | ChromaOptions
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
    "dim": DimOptions,
    "spotlight": SpotlightOptions,
    "grayscale": GrayscaleOptions,
    "censor": CensorOptions,
}
EFFECT_NAMES: Final = tuple(OPTIONS)
# What these cover cannot be made out any more, so people rely on them: privacy is their default.
# The others leave it recognisable.
HIDING_EFFECTS: Final = ("blur", "pixelate", "replace", "chroma", "censor")

__all__ = [
    "EFFECT_NAMES",
    "HIDING_EFFECTS",
    "OPTIONS",
    "BlurOptions",
    "CensorOptions",
    "ChromaOptions",
    "DimOptions",
    "EdgeOptions",
    "Effect",
    "EffectOptions",
    "GrayscaleOptions",
    "HighlightOptions",
    "PixelateOptions",
    "ReplaceOptions",
    "SpotlightOptions",
    "hide_picture",
]


@dataclass(frozen=True, slots=True)
class Effect:
    """An effect by name with its options.

    Attributes:
        name: One of `EFFECT_NAMES`.
        options: Of the class that `OPTIONS` lists for the name; None: that class's defaults.
        edge: Where it ends; `highlight` has its contour instead.
    """

    name: str = "highlight"
    options: EffectOptions | None = None
    edge: EdgeOptions = field(default_factory=EdgeOptions)

    def __post_init__(self) -> None:
        if self.name not in OPTIONS:
            raise ValueError(f"effect: expected {' or '.join(EFFECT_NAMES)}, got {self.name!r}")
        expected = OPTIONS[self.name]
        if self.options is None:
            object.__setattr__(self, "options", expected())
        elif type(self.options) is not expected:
            raise ValueError(f"effect {self.name}: expected {expected.__name__}")

    @property
    def hides(self) -> bool:
        """Whether people rely on it to make something unrecognisable."""
        return self.name in HIDING_EFFECTS

    @property
    def on_object(self) -> bool:
        """Whether it changes the objects and leaves their surroundings."""
        return self.name == "highlight" or (self.name == "censor") != self.edge.invert

    @property
    def needs_every_object(self) -> bool:
        """Whether one object without a mask lets out what the effect is there to hide."""
        return self.hides and self.on_object

    def reach_px(self, height: int) -> float:
        """Return how far outside the masks it looks, for a picture `height` pixels high."""
        return 0.0 if self.name == "highlight" else self.edge.reach_px(height)

    def apply(
        self, image_bgr: U8, layers: tuple[MaskLayer, ...], separated: tuple[MaskLayer, ...]
    ) -> U8:
        """Return a new picture.

        Args:
            image_bgr: (H, W, 3) uint8; left as it is.
            layers: The masks, which may overlap.
            separated: The same after `separate_layers`.
        """
        if self.name == "highlight":
            return highlight(image_bgr, separated, cast(HighlightOptions, self.options))
        changed = self._changed(image_bgr, layers)
        out, over = (image_bgr.copy(), changed) if self.on_object else (changed, image_bgr)
        for layer in layers:
            distance, edge = object_edge(layer, self.edge, image_bgr.shape[0])
            part = layer.box.slices
            mix_object(out[part], over[part], distance, edge)
        return out

    def _changed(self, image_bgr: U8, layers: tuple[MaskLayer, ...]) -> U8:
        """Return the whole picture as it looks where the effect is."""
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
            case ChromaOptions() as options:
                return pictures.flat(image_bgr, options)
            case ReplaceOptions() as options:
                return pictures.replaced(image_bgr, options)
        raise AssertionError(self.name)
