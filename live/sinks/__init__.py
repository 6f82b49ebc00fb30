"""Sinks: where finished pictures go."""

from samcam.live.sinks.base import FrameSink
from samcam.live.sinks.choose import (
    Outputs,
    SinkOptions,
    open_sinks,
    output_files,
    output_path,
    parse_sinks,
    same_place,
)
from samcam.live.sinks.fragmented import H264, TICKS_PER_S, FragmentedMp4
from samcam.live.sinks.suggestions_file import SuggestionsFile, suggestions_problem
from samcam.live.sinks.video import VideoOptions, to_i420
from samcam.live.sinks.virtualcam import (
    NoVirtualCameraError,
    VirtualCameraOptions,
    driver_is_loaded,
    even_size,
    open_virtual_camera,
)
from samcam.live.sinks.worker import SinkWorker, running

__all__ = [
    "H264",
    "TICKS_PER_S",
    "FragmentedMp4",
    "FrameSink",
    "NoVirtualCameraError",
    "Outputs",
    "SinkOptions",
    "SinkWorker",
    "SuggestionsFile",
    "VideoOptions",
    "VirtualCameraOptions",
    "driver_is_loaded",
    "even_size",
    "open_sinks",
    "open_virtual_camera",
    "output_files",
    "output_path",
    "parse_sinks",
    "running",
    "same_place",
    "suggestions_problem",
    "to_i420",
]
