"""The demo scene: generated on every machine, with known truth."""

from samcam.live.sources.demo.scene import (
    CARD_ID,
    DEMO_SEED,
    GEAR_ID,
    DemoScene,
    demo_clicks,
)
from samcam.live.sources.demo.source import DemoSource
from samcam.live.sources.demo.vanish import PERIOD, RISE_FRAMES, Vanishing

__all__ = [
    "CARD_ID",
    "DEMO_SEED",
    "GEAR_ID",
    "PERIOD",
    "RISE_FRAMES",
    "DemoScene",
    "DemoSource",
    "Vanishing",
    "demo_clicks",
]
