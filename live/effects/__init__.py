"""Effects: pure functions from a picture and mask layers to the picture that leaves the app."""

from __future__ import annotations

from dataclasses import dataclass, field

from live.effects.blur import BlurOptions, blur_background, hide_picture
from live.effects.highlight import HighlightOptions, highlight
from live.frames import U8
from live.masks import MaskLayer

EFFECT_NAMES = ("highlight", "blur")
BACKGROUND_EFFECTS = ("blur",)  # these hide the surroundings: privacy is their default

__all__ = [
    "BACKGROUND_EFFECTS",
    "EFFECT_NAMES",
    "BlurOptions",
    "Effect",
    "HighlightOptions",
    "hide_picture",
]


@dataclass(frozen=True, slots=True)
class Effect:
    """An effect by name with its options.

    Attributes:
        name: One of `EFFECT_NAMES`.
        highlight, blur: Options of each; only the named effect's are used.
    """

    name: str = "highlight"
    highlight: HighlightOptions = field(default_factory=HighlightOptions)
    blur: BlurOptions = field(default_factory=BlurOptions)

    def __post_init__(self) -> None:
        if self.name not in EFFECT_NAMES:
            raise ValueError(f"effect: expected {' or '.join(EFFECT_NAMES)}, got {self.name!r}")

    @property
    def hides_background(self) -> bool:
        """Whether people rely on it to hide what is around the object."""
        return self.name in BACKGROUND_EFFECTS

    def apply(
        self, image_bgr: U8, layers: tuple[MaskLayer, ...], separated: tuple[MaskLayer, ...]
    ) -> U8:
        """Return a new picture.

        Args:
            image_bgr: (H, W, 3) uint8; left as it is.
            layers: The masks, which may overlap.
            separated: The same after `separate_layers`.
        """
        if self.name == "blur":
            return blur_background(image_bgr, layers, self.blur)
        return highlight(image_bgr, separated, self.highlight)
