"""All effects of a picture: one for all objects, and some objects' own.

What changes the surroundings acts on what lies outside all objects, whoever's effect it is; what
changes an object acts on the objects that it is for.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np

from samcam.live.effects.alpha import object_alpha
from samcam.live.effects.blend import mix_object
from samcam.live.effects.cutout import joined, own_colours
from samcam.live.effects.edges import object_edge
from samcam.live.effects.effects import Effect
from samcam.live.effects.highlight import highlight
from samcam.live.effects.pictures import CensorOptions, PixelateOptions, pixelated_part
from samcam.live.frames import U8
from samcam.live.masks import MaskLayer


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A picture to send.

    Attributes:
        feed_bgr: (H, W, 3) uint8; where `alpha` is not None mixed over `backdrop_rgb`.
        alpha: (H, W) uint8, or None: nothing is transparent.
        backdrop_rgb: Red, green, blue, 0..255 each.
    """

    feed_bgr: U8
    alpha: U8 | None = None
    backdrop_rgb: tuple[int, int, int] = (0, 0, 0)


@dataclass(frozen=True, slots=True, eq=False)
class Layers:
    """The masks that effects work with.

    Attributes:
        soft: For soft borders; may overlap.
        cover: The same for what must cover an object whole: nowhere smaller than its mask.
        separated: The same as contours want them: no two share a pixel.
    """

    soft: tuple[MaskLayer, ...]
    cover: tuple[MaskLayer, ...]
    separated: tuple[MaskLayer, ...]


@dataclass(frozen=True, slots=True)
class EffectSet:
    """The common effect and the objects' own.

    Attributes:
        common: Of all objects that have none of their own. What it does to the surroundings it
            does whether or not there is such an object.
        own: By object id; None: the object is left as it is.
    """

    common: Effect
    own: Mapping[int, Effect | None] = field(default_factory=lambda: MappingProxyType({}))

    def around(self, known: Collection[int]) -> tuple[Effect, ...]:
        """Return what changes the surroundings while the objects `known` are there, in order."""
        own = [effect for object_id, effect in self.own.items() if object_id in known]
        found = {e.name: e for e in (*own, self.common) if e is not None and not e.on_object}
        ordered = sorted(found.values(), key=lambda effect: effect.kind.place)
        return tuple(ordered[-1:] if ordered and ordered[-1].kind.cuts_out else ordered)

    def upon(self, object_id: int) -> Effect | None:
        """Return what changes this object itself, or None."""
        effect = self.own.get(object_id, self.common)
        return effect if effect is not None and effect.on_object else None

    def in_force(self, known: Collection[int]) -> tuple[Effect, ...]:
        """Return every effect that acts on objects or surroundings; without objects all there are.

        Args:
            known: Ids of the objects, seen or not.
        """
        if not known:
            return (self.common, *(effect for effect in self.own.values() if effect is not None))
        upon = (self.upon(object_id) for object_id in known)
        return (*self.around(known), *(effect for effect in upon if effect is not None))

    def left_alone(self, known: Collection[int]) -> Effect | None:
        """Return the effect of which a hidden picture shows all there is, None: it has none.

        `chroma`, `replace` and `transparent` have something that is not the camera's; what changes
        the surroundings comes before what changes an object.

        Args:
            known: Ids of the objects, seen or not.
        """
        flat = [effect for effect in self.in_force(known) if effect.kind.cuts_out]
        around = [effect for effect in flat if not effect.on_object]
        return max(around or flat, key=lambda effect: effect.kind.place, default=None)

    def reach_px(self, height: int) -> float:
        """Return how far outside the masks any of them looks."""
        effects = (self.common, *(e for e in self.own.values() if e is not None))
        return max(effect.reach_px(height) for effect in effects)

    def apply(
        self, image_bgr: U8, layers: Layers, known: Collection[int], time_ns: int = 0
    ) -> Picture:
        """Return a new picture; the one given is left as it is.

        Args:
            image_bgr: (H, W, 3) uint8.
            layers: The objects that are seen.
            known: Ids of all objects, seen or not.
            time_ns: Media time.
        """
        made = self._surroundings(image_bgr, layers.soft, known, time_ns)
        for effect in self._upon_any(layers.soft):
            source = layers.cover if effect.covers else layers.soft
            mine = [layer for layer in source if self.upon(layer.object_id) is effect]
            if not effect.marks:
                made = _changed_objects(made, image_bgr, effect, mine, time_ns)
        marking = [e for e in self._upon_any(layers.separated) if e.marks]
        if not marking:
            return made
        marked = [layer for layer in layers.separated if self.upon(layer.object_id) in marking]
        return replace(made, feed_bgr=highlight(made.feed_bgr, marked, marking[0].options))

    def _upon_any(self, layers: Sequence[MaskLayer]) -> list[Effect]:
        """Return each effect upon one of the objects once; those that hide come last, on top."""
        found: list[Effect] = []
        for layer in layers:
            effect = self.upon(layer.object_id)
            if effect is not None and all(effect is not other for other in found):
                found.append(effect)
        return sorted(found, key=lambda effect: effect.covers)

    def _surroundings(
        self, image_bgr: U8, layers: tuple[MaskLayer, ...], known: Collection[int], time_ns: int
    ) -> Picture:
        out = image_bgr
        height, width = image_bgr.shape[:2]
        effects = self.around(known)
        for effect in effects:
            out = effect.changed(out, layers, time_ns)
        if not effects:
            return Picture(out)
        options, cuts_out = effects[-1].edge, effects[-1].kind.cuts_out
        if cuts_out:
            layers = joined(layers, height)
        edges = [object_edge(layer, options, height) for layer in layers]
        for layer, (distance, edge) in zip(layers, edges, strict=True):
            part = layer.box.slices
            own = image_bgr[part]
            if cuts_out and options.decontaminate:
                own = own_colours(own, layer, (distance, edge), height)
            mix_object(out[part], own, distance, edge)
        backdrop = effects[-1].backdrop_rgb
        if backdrop is None:
            return Picture(out)
        return Picture(out, object_alpha(layers, edges, (height, width)), backdrop)


def _squares(effect: Effect) -> PixelateOptions | None:
    """Return the squares that the effect consists of, None where it is something else."""
    if isinstance(effect.options, CensorOptions) and effect.options.style == "pixelate":
        return PixelateOptions(effect.options.size_px)
    return effect.options if isinstance(effect.options, PixelateOptions) else None


def _changed_objects(
    below: Picture, image_bgr: U8, effect: Effect, layers: Sequence[MaskLayer], time_ns: int
) -> Picture:
    """Return the picture with an effect upon some objects."""
    height, width = image_bgr.shape[:2]
    out = image_bgr.copy() if below.feed_bgr is image_bgr else below.feed_bgr
    alpha, backdrop = below.alpha, below.backdrop_rgb
    squares = _squares(effect)
    changed = None if squares is not None else effect.changed(image_bgr, (), time_ns)
    edges = [object_edge(layer, effect.edge, height) for layer in layers]
    for layer, (distance, edge) in zip(layers, edges, strict=True):
        part = layer.box.slices
        if squares is not None:  # whole pictures cost more than all the rest
            box, some = pixelated_part(image_bgr, layer.box, squares)
            mix_object(out[part], some[layer.box.slices_in(box)], distance, edge)
        elif changed is not None:
            mix_object(out[part], changed[part], distance, edge)
    if effect.backdrop_rgb is not None:
        backdrop = effect.backdrop_rgb
        holes = 255 - object_alpha(layers, edges, (height, width))
        alpha = holes if alpha is None else np.minimum(alpha, holes)
    return Picture(out, alpha, backdrop)
