"""Guides: box trackers of the same object that stand beside the motion model."""

from samcam.guides.base import Box, Guide, GuideError
from samcam.guides.nanotrack import (
    NANOTRACK,
    NANOTRACK_FILES,
    NANOTRACK_FOLDER,
    NanoTrackGuide,
    nanotrack_folder,
)
from samcam.guides.opencv import OpenCvGuide

__all__ = [
    "NANOTRACK",
    "NANOTRACK_FILES",
    "NANOTRACK_FOLDER",
    "Box",
    "Guide",
    "GuideError",
    "NanoTrackGuide",
    "OpenCvGuide",
    "nanotrack_folder",
]
