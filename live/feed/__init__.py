"""The picture for the outputs: composed once, delayed, hidden where it must be."""

from samcam.live.feed.compositor import (
    BorderOptions,
    Compositor,
    Fallback,
    FeedPolicy,
    before_the_first,
)
from samcam.live.feed.control import FeedControl
from samcam.live.feed.cover import NO_SIGNAL, STARTING
from samcam.live.feed.delay import DELAYED_SINKS, DelayLine, DelayOptions, plan_delay

__all__ = [
    "DELAYED_SINKS",
    "NO_SIGNAL",
    "STARTING",
    "BorderOptions",
    "Compositor",
    "DelayLine",
    "DelayOptions",
    "Fallback",
    "FeedControl",
    "FeedPolicy",
    "before_the_first",
    "plan_delay",
]
