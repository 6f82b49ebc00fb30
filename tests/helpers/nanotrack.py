"""NanoTrackV2's weights for tests, from ../shared, under the names that they have for users."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from samcam.guides import NANOTRACK_FILES, NANOTRACK_FOLDER

SHARED_NAMES = ("nano_v2_backbone.onnx", "nano_v2_head.onnx")


def shared_nanotrack(shared_dir: Path) -> Path:
    """Return the folder with the weights; skip with one line where there is none."""
    folder = shared_dir / "models" / NANOTRACK_FOLDER
    if not all((folder / name).is_file() for name in SHARED_NAMES):
        pytest.skip(f"{folder} has no weights of NanoTrack")
    return folder


def install_nanotrack(shared_dir: Path, models: Path) -> Path:
    """Copy the weights to where a user has them, below a folder of models; return theirs."""
    source, folder = shared_nanotrack(shared_dir), models / NANOTRACK_FOLDER
    folder.mkdir(parents=True)
    for name, known in zip(SHARED_NAMES, NANOTRACK_FILES, strict=True):
        shutil.copyfile(source / name, folder / known.file)
    return folder
