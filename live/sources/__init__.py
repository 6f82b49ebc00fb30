"""Sources: where pictures come from."""

from samcam.live.sources.base import (
    NoSignal,
    SoundOrigin,
    SourceInfo,
    VideoSource,
    WrappedSource,
    broken_frames,
)
from samcam.live.sources.camera import list_cameras, open_camera
from samcam.live.sources.choose import open_source
from samcam.live.sources.options import MAX_MEGAPIXELS, SourceOptions, SourceSettings

__all__ = [
    "MAX_MEGAPIXELS",
    "NoSignal",
    "SoundOrigin",
    "SourceInfo",
    "SourceOptions",
    "SourceSettings",
    "VideoSource",
    "WrappedSource",
    "broken_frames",
    "list_cameras",
    "open_camera",
    "open_source",
]
