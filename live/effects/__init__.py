"""Effects: from a picture and mask layers to the picture that is sent."""

from samcam.live.effects.alpha import over_checkerboard, to_rgba
from samcam.live.effects.background_video import BackgroundVideo
from samcam.live.effects.blend import LENGTH_UNIT
from samcam.live.effects.edges import EdgeOptions
from samcam.live.effects.effect_set import EffectSet, Layers, Picture
from samcam.live.effects.effects import (
    EFFECT_NAMES,
    EFFECTS,
    NO_EFFECT,
    OBJECT_EFFECTS,
    Effect,
    default_edge,
)
from samcam.live.effects.palette import Bgr, object_colour, text_colour, tinted
from samcam.live.effects.pictures import ChromaOptions, ReplaceOptions
from samcam.live.effects.refine import refine_layer
from samcam.live.effects.smoothing import MaskSmoother

__all__ = [
    "EFFECTS",
    "EFFECT_NAMES",
    "LENGTH_UNIT",
    "NO_EFFECT",
    "OBJECT_EFFECTS",
    "BackgroundVideo",
    "Bgr",
    "ChromaOptions",
    "EdgeOptions",
    "Effect",
    "EffectSet",
    "Layers",
    "MaskSmoother",
    "Picture",
    "ReplaceOptions",
    "default_edge",
    "object_colour",
    "over_checkerboard",
    "refine_layer",
    "text_colour",
    "tinted",
    "to_rgba",
]
