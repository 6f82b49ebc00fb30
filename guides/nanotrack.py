"""NanoTrackV2 as a guide: a Siamese box tracker of 1.8 MB, whose weights are the user's to fetch.

Source: github HonglinChu/SiamTrackers, NanoTrack/models/nanotrackv2 @8fe6791 (Apache-2.0); the
tracker itself is `cv2.TrackerNano`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import cv2
import numpy as np

from samcam.guides.base import GuideError
from samcam.guides.opencv import OpenCvGuide
from samcam.system import exporter
from samcam.system.files import (
    KnownFile,
    NoHomeError,
    is_folder,
    one_line,
    read_known,
    user_data_folder,
)

NANOTRACK: Final = "nanotrack"
NANOTRACK_FOLDER: Final = "nanotrack_v2"

_ENGINES_FOLDER: Final = Path(__file__).resolve().parent.parent / "engines"
_COMMIT: Final = "8fe6791fecf13b95e6f19770af8963a9fc98759b"
_BASE: Final = (
    f"https://github.com/HonglinChu/SiamTrackers/raw/{_COMMIT}/NanoTrack/models/nanotrackv2"
)

# Backbone and head, in the order in which OpenCV takes them. No hashes are published: these are of
# the files at that commit.
NANOTRACK_FILES: Final = (
    KnownFile(
        f"{_BASE}/nanotrack_backbone_sim.onnx",
        1_056_849,
        "530bdd0cd00f19afab79a863e71ba71e3312395a5dc9151af675082bdaaa2fc4",
    ),
    KnownFile(
        f"{_BASE}/nanotrack_head_sim.onnx",
        726_198,
        "0d8c0637be849f092cc7236cae02e55c8b9455ebe37ba50601d6115db4247cd9",
    ),
)


def nanotrack_folder() -> Path:
    """Return the folder with NanoTrackV2's files, beside the models.

    Raises:
        GuideError: There is none; says where it was looked for and what to run.
    """
    places, homeless = [_ENGINES_FOLDER / NANOTRACK_FOLDER], ""
    try:
        places.append(user_data_folder() / "models" / NANOTRACK_FOLDER)
    except NoHomeError as error:
        homeless = f"; {error}"
    for place in places:
        if is_folder(place):
            return place
    raise GuideError(
        f"guide {NANOTRACK}: not installed (looked in {' and '.join(map(str, places))}{homeless})",
        f"run: {exporter()} {NANOTRACK}",
    )


class NanoTrackGuide(OpenCvGuide):
    """NanoTrackV2 on the CPU: about 8 ms a picture on one core, whatever the picture's size."""

    def __init__(self, folder: Path | None = None) -> None:
        """Load the weights.

        Args:
            folder: With the two files; None: that of `nanotrack_folder`.

        Raises:
            GuideError: They are missing, other ones, or OpenCV cannot read them.
        """
        place = nanotrack_folder() if folder is None else folder
        try:
            backbone, head = (
                cv2.dnn.readNetFromONNX(
                    np.frombuffer(read_known(known, place / known.file), np.uint8)
                )
                for known in NANOTRACK_FILES
            )
            for net in (backbone, head):
                net.setPreferableBackend(cv2.dnn.DNN_BACKEND_OPENCV)
            tracker = cv2.TrackerNano.create(backbone, head)
        except ValueError as error:
            raise GuideError(f"guide {NANOTRACK}: {error}", f"run: {exporter()} {NANOTRACK}") from (
                error
            )
        except cv2.error as error:
            raise GuideError(f"guide {NANOTRACK}: OpenCV failed: {one_line(str(error))}") from error
        super().__init__(tracker, NANOTRACK)
