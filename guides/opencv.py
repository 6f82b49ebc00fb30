"""Guides that are trackers of OpenCV: `cv2.TrackerNano`, `cv2.TrackerVit`, `cv2.TrackerMIL`."""

from __future__ import annotations

import math
from typing import Final

import cv2

from samcam.guides.base import U8, Box, GuideError
from samcam.system.files import one_line

MIN_SIDE: Final = 5  # px; cv2.TrackerMIL never comes back from a box of 4x4


class OpenCvGuide:
    """One of OpenCV's trackers as a guide.

    It runs on the threads of `cv2.setNumThreads`. VitTrack, for example:

        net = cv2.dnn.readNet("object_tracking_vittrack_2023sep.onnx")
        guide = OpenCvGuide(cv2.TrackerVit.create(net), "VitTrack")
    """

    def __init__(self, tracker: cv2.Tracker, name: str) -> None:
        """Take over a tracker; messages call it by its name."""
        self._tracker = tracker
        self._name = name

    def start(self, picture: U8, box: Box) -> None:
        """Follow the pixels that a box touches; what lies outside of the picture is cut off.

        A box thinner than `MIN_SIDE` counts as that wide.

        Raises:
            GuideError: Nothing of the box lies in the picture, or OpenCV failed.
        """
        height, width = picture.shape[:2]
        x1, y1 = max(math.floor(box[0]), 0), max(math.floor(box[1]), 0)
        x2, y2 = min(math.ceil(box[2]), width), min(math.ceil(box[3]), height)
        if x1 >= x2 or y1 >= y2:
            raise GuideError(
                f"guide {self._name}: expected a box in the picture of {width}x{height}, got {box}"
            )
        wide, high = max(x2 - x1, MIN_SIDE), max(y2 - y1, MIN_SIDE)
        x1, y1 = max(min(x1, width - wide), 0), max(min(y1, height - high), 0)
        try:
            self._tracker.init(picture, (x1, y1, wide, high))
        except cv2.error as error:
            raise self._failed(error) from error

    def update(self, picture: U8) -> tuple[Box, float]:
        """Return the box on the next picture, and the tracker's score; 0 where it lost the object.

        A tracker without a score of its own counts as sure.

        Raises:
            GuideError: OpenCV failed.
        """
        try:
            found, (x, y, width, height) = self._tracker.update(picture)
            scored = getattr(self._tracker, "getTrackingScore", None)
            score = 1.0 if scored is None else float(scored())
        except cv2.error as error:
            raise self._failed(error) from error
        return (x, y, x + width, y + height), score if found else 0.0

    def _failed(self, error: cv2.error) -> GuideError:
        return GuideError(f"guide {self._name}: OpenCV failed: {one_line(str(error))}")
