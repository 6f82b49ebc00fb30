"""Makes the picture that leaves the app, once per frame, and decides what must not leave it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum

import cv2
import numpy as np

from live.effects import Effect, hide_picture
from live.frames import NS_PER_S, U8, FrameResult
from live.masks import MaskLayer, mask_area, merge_object_ids, object_layers, separate_layers
from live.sinks.base import Composite

_MARGIN_SHARE = 1 / 60  # of the picture's height: room for contours and feathers
_MIN_MARGIN_PX = 8
_COVER_GREY = 32
_NS_PER_MS = NS_PER_S // 1000


class Fallback(StrEnum):
    """What leaves while there is no mask to show.

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
        on_lost: While objects are known and none is visible; for an effect that hides the objects
            themselves while any is not. None: `hide_all` for effects that hide something, else
            `passthrough`.
        on_idle: While there is no object, as before the first prompt. None: as for `on_lost`.
        max_mask_age_ms: `hold` shows an object's last mask this long in media time, then it
            becomes `hide_all`.
    """

    on_lost: Fallback | None = None
    on_idle: Fallback | None = None
    max_mask_age_ms: float = 500.0


DEFAULT_POLICY = FeedPolicy()


@dataclass(frozen=True, slots=True, eq=False)
class _SeenMask:
    """The newest mask of an object and when it was."""

    layer: MaskLayer
    time_ns: int


class Compositor:
    """Composes frame after frame; one thread only.

    It remembers one mask per known object, and only for `hold`.

    Attributes:
        panic: Show nothing but grey, whatever the masks say.
    """

    def __init__(self, effect: Effect, policy: FeedPolicy = DEFAULT_POLICY) -> None:
        self.panic = False
        self._policy = policy
        self.use(effect)
        self._max_age_ns = int(policy.max_mask_age_ms * _NS_PER_MS)
        self._seen: dict[int, _SeenMask] = {}

    @property
    def effect(self) -> Effect:
        """The effect in force."""
        return self._effect

    def use(self, effect: Effect) -> None:
        """Change the effect, and with it the fallbacks that the policy leaves to it."""
        self._effect = effect
        default = Fallback.HIDE_ALL if effect.hides else Fallback.PASSTHROUGH
        self._on_lost = self._policy.on_lost or default
        self._on_idle = self._policy.on_idle or default

    def compose(self, result: FrameResult) -> Composite:
        """Return the finished picture of one frame; the source frame is left as it is."""
        frame = result.frame
        size_wh = frame.size_wh
        margin = max(
            _MIN_MARGIN_PX,
            round(size_wh[1] * _MARGIN_SHARE),
            math.ceil(self._effect.reach_px(size_wh[1])),
        )
        live = object_layers(result.objects, size_wh, margin)
        shown = live + self._held(result, live)
        separated = separate_layers(shown)
        visible = [layer for layer in separated if not layer.held]
        areas = {layer.object_id: mask_area(layer) for layer in visible}
        exposed = not shown or (
            self._effect.needs_every_object and len(shown) < len(result.objects)
        )
        hidden = self.panic or (exposed and self._fallback(result) is not Fallback.PASSTHROUGH)
        if self.panic:
            feed = np.full_like(frame.image_bgr, _COVER_GREY)
        elif hidden:
            feed = hide_picture(frame.image_bgr)
        elif shown:
            feed = self._effect.apply(frame.image_bgr, shown, separated)
        else:
            feed = frame.image_bgr
        return Composite(
            result=result,
            feed_bgr=_read_only(feed),
            object_ids=_read_only(merge_object_ids(visible, size_wh)),
            areas_px=tuple(areas.get(item.object_id, 0) for item in result.objects),
            hidden=hidden,
        )

    def _fallback(self, result: FrameResult) -> Fallback:
        return self._on_lost if result.objects else self._on_idle

    def _held(self, result: FrameResult, live: tuple[MaskLayer, ...]) -> tuple[MaskLayer, ...]:
        """Remember the masks of this frame; return the last ones of objects that have none."""
        if self._on_lost is not Fallback.HOLD:
            return ()
        now_ns = result.frame.time_ns
        known = {item.object_id for item in result.objects}
        height, width = result.frame.image_bgr.shape[:2]
        self._seen = {
            object_id: seen
            for object_id, seen in self._seen.items()
            if object_id in known
            and 0 <= now_ns - seen.time_ns <= self._max_age_ns
            and seen.layer.box.x2 <= width
            and seen.layer.box.y2 <= height
        }
        for layer in live:
            self._seen.pop(layer.object_id, None)
        held = tuple(seen.layer for seen in self._seen.values())
        for layer in live:
            self._seen[layer.object_id] = _SeenMask(replace(layer, held=True), now_ns)
        return held


def compose(result: FrameResult, effect: Effect, policy: FeedPolicy = DEFAULT_POLICY) -> Composite:
    """Compose one frame on its own: nothing is held from earlier ones."""
    return Compositor(effect, policy).compose(result)


def no_signal(last: Composite, time_ns: int) -> Composite:
    """Return the picture that stands in while no frames come.

    Args:
        last: What was composed last; gives the size.
        time_ns: Media time at which the stand-in begins.
    """
    height, width = last.feed_bgr.shape[:2]
    feed = np.full((height, width, 3), _COVER_GREY, np.uint8)
    scale = height / 360
    thickness = max(1, round(scale * 2))
    text = "no signal"
    (text_width, text_height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thickness)
    origin = ((width - text_width) // 2, (height + text_height) // 2)
    cv2.putText(
        feed, text, origin, cv2.FONT_HERSHEY_SIMPLEX, scale, (200, 200, 200), thickness, cv2.LINE_AA
    )
    return replace(
        last,
        feed_bgr=_read_only(feed),
        object_ids=_read_only(np.zeros((height, width), np.uint8)),
        areas_px=tuple(0 for _ in last.areas_px),
        hidden=True,
        stand_in_time_ns=time_ns,
    )


def _read_only(array: U8) -> U8:
    view = array.view()
    view.flags.writeable = False
    return view
