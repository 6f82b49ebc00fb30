"""What a generated clip is mixed from; a share of 0 leaves an ingredient out."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace


@dataclass(frozen=True)
class Ingredients:
    """How often each ingredient is used, 0..1.

    Attributes:
        solids: objects that are 3-D bodies which turn.
        real_looks: other objects that wear pieces of real footage on all their parts.
        low_contrast: objects whose colours move towards those around them.
        blending: clips whose objects take on the light, sharpness and colour around them.
        regions: stills whose objects are regions of a real picture, in place.
        fringe: objects with hair along a part of their outline.
        glass: objects with a part that one sees through.
        mirror: clips in which the ground reflects objects.
        held: objects that hold or carry another one.
        collage: backgrounds of pieces of several pictures.
        real_sprites: objects that are cut-outs of photographs.
        real_backgrounds: free photographs as backgrounds.
        photographs: clips of a labelled photograph, with the objects in it.

    The last three need the pictures of `training.free_data`; without them they are left out.
    """

    solids: float = 0.45
    real_looks: float = 0.3
    low_contrast: float = 0.15
    blending: float = 0.6
    regions: float = 0.08
    fringe: float = 0.15
    glass: float = 0.05
    mirror: float = 0.06
    held: float = 0.12
    collage: float = 0.2
    real_sprites: float = 0.35
    real_backgrounds: float = 0.4
    photographs: float = 0.25

    def without(self, name: str) -> Ingredients:
        """Returns these ingredients but one; ValueError where there is none of that name."""
        return self._with(name, 0.0)

    def always(self, name: str) -> Ingredients:
        """Returns these ingredients with one of them wherever it can be; ValueError as above."""
        return self._with(name, 1.0)

    def _with(self, name: str, share: float) -> Ingredients:
        names = [field.name for field in fields(self)]
        if name not in names:
            raise ValueError(f"no ingredient {name!r}; there are {', '.join(names)}")
        changed: dict[str, float] = {name: share}
        return replace(self, **changed)


FREE = ("real_sprites", "real_backgrounds", "photographs")
"""Ingredients that need the pictures of `training.free_data`."""
EVERYTHING = Ingredients()
NOTHING_EXTRA = Ingredients(**dict.fromkeys((field.name for field in fields(Ingredients)), 0.0))
