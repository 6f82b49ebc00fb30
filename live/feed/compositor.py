"""Makes the picture for the outputs, once per frame, and decides when to hide it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from samcam.live.effects import (
    NO_EFFECT,
    Effect,
    EffectSet,
    Layers,
    MaskSmoother,
    Picture,
    refine_layer,
)
from samcam.live.feed.cover import NO_SIGNAL, captioned, cover
from samcam.live.frames import NS_PER_MS, U8, Composite, Frame, FrameResult, StandIn
from samcam.live.masks import (
    MaskLayer,
    grown_to,
    mask_area,
    mask_layer,
    merge_object_ids,
    object_layers,
    separate_layers,
)

_MARGIN_SHARE = 1 / 60  # of the picture's height: room for contours and feathers
_MIN_MARGIN_PX = 8


class Fallback(StrEnum):
    """What is sent while there is no mask to show.

    `hold` keeps an object's last mask for a short time; where there is none, as before the first
    prompt, it hides everything.
    """

    HIDE_ALL = "hide_all"
    HOLD = "hold"
    PASSTHROUGH = "passthrough"


@dataclass(frozen=True, slots=True)
class FeedPolicy:
    """Privacy rules of the feed.

    Attributes:
        on_lost: While objects are known and none is visible, or an object is not visible that an
            effect has to cover. None: `hide_all` where any effect in force has privacy as its
            default, else `passthrough`.
        on_idle: While there is no object, as before the first prompt. None: as for `on_lost`,
            with every object's own effect in force.
        max_mask_age_ms: `hold` shows an object's last mask this long in media time, then it
            becomes `hide_all`.
    """

    on_lost: Fallback | None = None
    on_idle: Fallback | None = None
    max_mask_age_ms: float = 500.0


DEFAULT_POLICY = FeedPolicy()


@dataclass(frozen=True, slots=True)
class BorderOptions:
    """How masks are changed before effects see them.

    Attributes:
        smoothing: Share of the last mask that is kept over a thirtieth of a second; 0: off.
        refine: Whether borders follow the picture's edges, for all but contours.
    """

    smoothing: float = 0.0
    refine: bool = False


DEFAULT_BORDERS = BorderOptions()


@dataclass(frozen=True, slots=True, eq=False)
class _SeenMask:
    """The newest mask of an object, when its step was first seen, and the size of its picture."""

    layer: MaskLayer
    step: int
    time_ns: int
    size_wh: tuple[int, int]


class Compositor:
    """Composes frame after frame; one thread only.

    It remembers two masks per known object at most: for smoothing, and for `hold`.

    Attributes:
        panic: Hide everything, whatever the masks say.
    """

    def __init__(
        self,
        effect: Effect,
        policy: FeedPolicy = DEFAULT_POLICY,
        own: Mapping[int, Effect | None] | None = None,
        borders: BorderOptions = DEFAULT_BORDERS,
    ) -> None:
        """`effect` is that of all objects without one in `own`; None there: the object is left
        as it is."""
        self.panic = False
        self._policy = policy
        self._effects = EffectSet(effect, dict(own or {}))
        self._refine = borders.refine
        self._smoother = MaskSmoother(borders.smoothing)
        self._max_age_ns = int(policy.max_mask_age_ms * NS_PER_MS)
        self._seen: dict[int, _SeenMask] = {}

    @property
    def effect(self) -> Effect:
        return self._effects.common

    @property
    def own_effects(self) -> Mapping[int, str]:
        """Names of the objects' own effects, by object id."""
        return {
            object_id: NO_EFFECT if effect is None else effect.name
            for object_id, effect in self._effects.own.items()
        }

    def use(self, effect: Effect) -> None:
        self._effects.common.close()
        self._effects = EffectSet(effect, self._effects.own)

    def use_for(self, object_id: int, effect: Effect | None) -> None:
        """Give an object an effect of its own; None: it is left as it is."""
        own = dict(self._effects.own)
        _close(own.pop(object_id, None))
        self._effects = EffectSet(self._effects.common, {**own, object_id: effect})

    def use_common(self, object_id: int) -> None:
        """Take an object's own effect away."""
        own = dict(self._effects.own)
        _close(own.pop(object_id, None))
        self._effects = EffectSet(self._effects.common, own)

    def close(self) -> None:
        """Release what the effects read from. Idempotent."""
        self._effects.common.close()
        for effect in self._effects.own.values():
            _close(effect)

    def compose(self, result: FrameResult) -> Composite:
        """Return the finished picture of one frame; the source frame is left as it is."""
        frame = result.frame
        size_wh = frame.size_wh
        margin = max(
            _MIN_MARGIN_PX,
            round(size_wh[1] * _MARGIN_SHARE),
            math.ceil(self._effects.reach_px(size_wh[1])),
        )
        found = object_layers(result.objects, size_wh, margin)
        live = self._smoothed(result, found, margin)
        shown = live + self._held(result, live)
        separated = separate_layers(found)
        areas = {layer.object_id: mask_area(layer) for layer in separated}
        known = [item.object_id for item in result.objects]
        hidden = self.panic or self._must_hide(known, [layer.object_id for layer in shown])
        if hidden:
            made = cover(size_wh, self._effects.left_alone(known), frame.time_ns)
        elif shown:
            layers = self._layers(frame.image_bgr, known, found, shown)
            made = self._effects.apply(frame.image_bgr, layers, known, frame.time_ns)
        else:
            made = Picture(frame.image_bgr)
        return Composite(
            result=result,
            feed_bgr=_read_only(made.feed_bgr),
            object_ids=_read_only(merge_object_ids(separated, size_wh)),
            areas_px=tuple(areas.get(item.object_id, 0) for item in result.objects),
            hidden=hidden,
            panic=self.panic,
            alpha=None if made.alpha is None else _read_only(made.alpha),
            backdrop_rgb=made.backdrop_rgb,
        )

    def stand_in(self, last: FrameResult, time_ns: int, text: str = NO_SIGNAL) -> StandIn:
        """Return the picture that is sent while no frames come, with `text` on it.

        `last` gives the size; `time_ns` is the media time at which it begins.
        """
        width, height = size_wh = last.frame.size_wh
        known = [item.object_id for item in last.objects]
        made = captioned(cover(size_wh, self._effects.left_alone(known), time_ns), text)
        return StandIn(
            result=last,
            feed_bgr=_read_only(made.feed_bgr),
            object_ids=_read_only(np.zeros((height, width), np.uint8)),
            areas_px=(0,) * len(known),
            hidden=True,
            panic=self.panic,
            began_ns=time_ns,
            caption=text,
            alpha=None if made.alpha is None else _read_only(made.alpha),
            backdrop_rgb=made.backdrop_rgb,
        )

    def _must_hide(self, known: Sequence[int], shown: Sequence[int]) -> bool:
        """Whether something would be seen that an effect in force has to hide."""
        uncovered = (self._effects.upon(object_id) for object_id in set(known) - set(shown))
        if shown and not any(effect is not None and effect.covers for effect in uncovered):
            return False
        chosen = self._policy.on_lost if known else self._policy.on_idle
        if chosen is not None:
            return chosen is not Fallback.PASSTHROUGH
        return any(effect.hides for effect in self._effects.in_force(known))

    def _smoothed(
        self, result: FrameResult, found: tuple[MaskLayer, ...], margin: int
    ) -> tuple[MaskLayer, ...]:
        """Return the layers of the smoothed masks; what smoothing leaves nothing of stays."""
        smooth = self._smoother.smooth(result.objects, result.frame.time_ns)
        given = {item.object_id: item.mask_logits for item in result.objects}
        layers = []
        for layer in found:
            logits = smooth[layer.object_id]
            if logits is not given[layer.object_id]:
                made = mask_layer(
                    layer.object_id, logits, result.frame.size_wh, margin, layer.logits_per_px
                )
                layer = made or layer
            layers.append(layer)
        return tuple(layers)

    def _layers(
        self,
        image_bgr: U8,
        known: Sequence[int],
        found: tuple[MaskLayer, ...],
        shown: tuple[MaskLayer, ...],
    ) -> Layers:
        """Return the masks as the effects in force want them."""
        upon = [self._effects.upon(layer.object_id) for layer in shown]
        only_marked = not self._effects.around(known) and all(
            effect is None or effect.marks for effect in upon
        )
        soft = shown
        if self._refine and not only_marked:
            soft = tuple(refine_layer(layer, image_bgr) for layer in shown)
        cover = soft
        if any(effect is not None and effect.covers for effect in upon):
            whole = {layer.object_id: layer for layer in found}
            cover = tuple(
                layer
                if (own := whole.get(layer.object_id)) is None or own is layer
                else grown_to(layer, own)
                for layer in soft
            )
        return Layers(soft, cover, separate_layers(shown))

    def _held(self, result: FrameResult, live: tuple[MaskLayer, ...]) -> tuple[MaskLayer, ...]:
        """Remember the masks of this frame; return the last ones of objects that have none."""
        if self._policy.on_lost is not Fallback.HOLD:
            return ()
        now_ns = result.frame.time_ns
        known = {item.object_id for item in result.objects}
        size_wh = result.frame.size_wh
        self._seen = {
            object_id: seen
            for object_id, seen in self._seen.items()
            if object_id in known
            and 0 <= now_ns - seen.time_ns <= self._max_age_ns
            and seen.size_wh == size_wh
        }
        before = {layer.object_id: self._seen.pop(layer.object_id, None) for layer in live}
        held = tuple(seen.layer for seen in self._seen.values())
        for layer in live:
            seen, since_ns = before[layer.object_id], now_ns
            if seen is not None and seen.step == result.step:
                since_ns = seen.time_ns  # carried to another picture it is as old as it was
            self._seen[layer.object_id] = _SeenMask(
                replace(layer, held=True), result.step, since_ns, size_wh
            )
        return held


def compose(result: FrameResult, effect: Effect, policy: FeedPolicy = DEFAULT_POLICY) -> Composite:
    """Compose one frame on its own: nothing is held from earlier ones."""
    return Compositor(effect, policy).compose(result)


def before_the_first(size_wh: tuple[int, int]) -> FrameResult:
    """Return what stands in the place of a last result while there is none; for `stand_in`."""
    return FrameResult(Frame(0, 0, 0, np.zeros((size_wh[1], size_wh[0], 3), np.uint8)), -1, ())


def _close(effect: Effect | None) -> None:
    if effect is not None:
        effect.close()


def _read_only(array: U8) -> U8:
    view = array.view()
    view.flags.writeable = False
    return view
