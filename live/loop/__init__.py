"""The threads: capture, inference, render, and what goes on beside them."""

from samcam.live.loop.independent import IndependentPictures, Promptable, check_independent
from samcam.live.loop.inference import StepObserver, Stepper, run_inference
from samcam.live.loop.observer import ObservedSink, ObservedSource, StepFigures
from samcam.live.loop.pipeline import PipelinePace, Wiring, run_pipeline
from samcam.live.loop.render import RenderLoop, RenderOptions
from samcam.live.loop.suggest import pictures_to_suggest_for, suggest_objects

__all__ = [
    "IndependentPictures",
    "ObservedSink",
    "ObservedSource",
    "PipelinePace",
    "Promptable",
    "RenderLoop",
    "RenderOptions",
    "StepFigures",
    "StepObserver",
    "Stepper",
    "Wiring",
    "check_independent",
    "pictures_to_suggest_for",
    "run_inference",
    "run_pipeline",
    "suggest_objects",
]
