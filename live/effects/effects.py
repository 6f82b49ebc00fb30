"""The effects by name: options, how each changes a picture, and whether that hides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

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
    censored,
    dimmed,
    flat,
    grayed,
    pixelated,
    replaced,
    spotlit,
)
from samcam.live.frames import U8
from samcam.live.masks import MaskLayer

# From (H, W, 3) uint8, the objects that it takes no colour from, its options and the media time in
# ns to a new picture of the same size.
Draw: TypeAlias = Callable[[U8, tuple[MaskLayer, ...], Any, int], U8]


@dataclass(frozen=True, slots=True)
class EffectKind:
    """One effect, declared.

    Attributes:
        options: Its class of options, which is its section of the settings (but for `replace`,
            whose settings name files).
        draw: What it makes of a picture; None: it marks the objects and changes nothing else.
        place: Of those on the surroundings, one after the other: the lowest comes first.
        covers: Whether what it covers cannot be made out any more. Upon an object it is then
            there to keep it from being seen; the others leave it recognisable.
        cuts_out: Whether the surroundings become something that is not the camera's; nothing is
            then left of what others made of them.
        upon: What it makes of an object, where that is something else.
    """

    options: type[Any]
    draw: Draw | None
    place: int = 0
    covers: bool = False
    cuts_out: bool = False
    upon: Draw | None = None


def _dimmed(image_bgr: U8, layers: tuple[MaskLayer, ...], how: Any, time_ns: int) -> U8:
    return dimmed(image_bgr, how.amount)


def _flat(image_bgr: U8, layers: tuple[MaskLayer, ...], how: Any, time_ns: int) -> U8:
    return flat(image_bgr, how.color)


EFFECTS: Final[Mapping[str, EffectKind]] = {
    "highlight": EffectKind(HighlightOptions, None),
    "blur": EffectKind(
        BlurOptions, lambda image, without, how, _: blurred(image, without, how), 4, covers=True
    ),
    "pixelate": EffectKind(
        PixelateOptions,
        lambda image, without, how, _: pixelated(image, without, how),
        5,
        covers=True,
    ),
    "replace": EffectKind(
        ReplaceOptions, lambda image, _, how, time_ns: replaced(image, how, time_ns), 7, True, True
    ),
    "chroma": EffectKind(ChromaOptions, _flat, 8, covers=True, cuts_out=True),
    "transparent": EffectKind(TransparentOptions, _flat, 9, covers=True, cuts_out=True),
    "dim": EffectKind(DimOptions, _dimmed, 2),
    "spotlight": EffectKind(
        SpotlightOptions, lambda image, layers, how, _: spotlit(image, layers, how), 3, upon=_dimmed
    ),
    "grayscale": EffectKind(GrayscaleOptions, lambda image, _, how, time_ns: grayed(image, how), 1),
    "censor": EffectKind(
        CensorOptions, lambda image, without, how, _: censored(image, without, how), 6, covers=True
    ),
}
EFFECT_NAMES: Final = tuple(EFFECTS)
NO_EFFECT: Final = "none"  # of an object of its own: it is left as it is
OBJECT_EFFECTS: Final = (*EFFECT_NAMES, NO_EFFECT)


def default_edge(name: str, invert: bool) -> EdgeOptions:
    """Return the default edge of an effect."""
    cuts_out = EFFECTS[name].cuts_out and not invert
    return replace(CUT_OUT_EDGE if cuts_out else DEFAULT_EDGE, invert=invert)


@dataclass(frozen=True, slots=True)
class Effect:
    """An effect by name with its options.

    Attributes:
        name: One of `EFFECT_NAMES`.
        options: Of the class that `EFFECTS` has for the name; None: that class's defaults.
        edge: Where it ends; `highlight` has its contour instead. `DEFAULT_EDGE` itself: what fits
            the effect.
    """

    name: str = "highlight"
    options: Any = None
    edge: EdgeOptions = DEFAULT_EDGE

    def __post_init__(self) -> None:
        if self.name not in EFFECTS:
            raise ValueError(f"effect: expected {' or '.join(EFFECT_NAMES)}, got {self.name!r}")
        if self.edge is DEFAULT_EDGE:
            object.__setattr__(self, "edge", default_edge(self.name, invert=False))
        expected = self.kind.options
        if self.options is None:
            object.__setattr__(self, "options", expected())
        elif type(self.options) is not expected:
            raise ValueError(f"effect {self.name}: expected {expected.__name__}")

    @property
    def kind(self) -> EffectKind:
        """What it is declared as."""
        return EFFECTS[self.name]

    @property
    def marks(self) -> bool:
        """Whether it only marks the objects: with a contour, and without a soft edge."""
        return self.kind.draw is None

    @property
    def on_object(self) -> bool:
        """Whether it changes the objects and leaves their surroundings."""
        return self.marks or (self.name == "censor") != self.edge.invert

    @property
    def hides(self) -> bool:
        """Whether privacy is its default: an effect on the background, or one that covers."""
        return not self.on_object or self.covers

    @property
    def covers(self) -> bool:
        """Whether it makes the objects unrecognisable; an object without a mask is then exposed."""
        return self.on_object and self.kind.covers

    @property
    def backdrop_rgb(self) -> tuple[int, int, int] | None:
        """What stands where it leaves the picture transparent; None: it leaves nothing so."""
        return self.options.color if isinstance(self.options, TransparentOptions) else None

    def reach_px(self, height: int) -> float:
        """Return how far outside the masks it looks, for a picture `height` pixels high."""
        return 0.0 if self.marks else self.edge.reach_px(height)

    def changed(self, image_bgr: U8, layers: tuple[MaskLayer, ...], time_ns: int = 0) -> U8:
        """Return the whole picture as it looks where the effect is; not of one that `marks`.

        Args:
            image_bgr: (H, W, 3) uint8; left as it is.
            layers: The objects; an effect on their surroundings takes no colour from them.
            time_ns: Media time.
        """
        draw = self.kind.upon if self.on_object and self.kind.upon else self.kind.draw
        assert draw is not None
        return draw(image_bgr, () if self.on_object else layers, self.options, time_ns)

    def close(self) -> None:
        """Release what it reads from; it must not be used afterwards. Idempotent."""
        if isinstance(self.options, ReplaceOptions) and self.options.video is not None:
            self.options.video.close()
