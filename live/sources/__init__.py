"""Sources of pictures: one file each."""

from live.sources.base import CaptureError, NoSignal, SourceInfo, VideoSource
from live.sources.camera import CameraInfo, list_cameras
from live.sources.choose import open_source
from live.sources.options import SourceOptions

__all__ = [
    "CameraInfo",
    "CaptureError",
    "NoSignal",
    "SourceInfo",
    "SourceOptions",
    "VideoSource",
    "list_cameras",
    "open_source",
]
