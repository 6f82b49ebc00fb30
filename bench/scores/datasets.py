"""Labelled clips and photographs, and how their files are read: pictures, annotations, boxes.

Paths are collected at once, pictures are read when they are asked for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import av
import cv2
import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray

from samcam.live.frames import U8

F64: TypeAlias = NDArray[np.float64]

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp"})
VOID_OR_BINARY = 255  # DAVIS 2016: the object; DAVIS 2017 beside ids: pixels that do not count


class DatasetError(ValueError):
    """Labelled data is missing or not laid out as expected; the message names the file."""


@dataclass(frozen=True, slots=True)
class MaskClip:
    """A clip with masks on some or all frames.

    Attributes:
        frame_paths: The pictures in order; the index is the frame's number.
        mask_paths: Frame number to annotation; not every frame needs one.
    """

    name: str
    frame_paths: tuple[Path, ...]
    mask_paths: Mapping[int, Path]


@dataclass(frozen=True, slots=True, eq=False)
class BoxClip:
    """A clip with one box per frame: (N, 4) x, y, w, h in pixels, NaN where it is missing."""

    name: str
    frame_paths: tuple[Path, ...]
    boxes_xywh: F64


@dataclass(frozen=True, slots=True)
class StillSet:
    """Photographs with an id map each: (picture, annotation) pairs."""

    name: str
    pairs: tuple[tuple[Path, Path], ...]


@dataclass(frozen=True, slots=True)
class Dataset:
    """Everything found under one folder, each kind in natural order of names."""

    root: Path
    mask_clips: tuple[MaskClip, ...]
    box_clips: tuple[BoxClip, ...]
    still_sets: tuple[StillSet, ...]


def natural_key(path: Path) -> tuple[tuple[int, int, str], ...]:
    """Sort key under which `10.jpg` follows `9.jpg`."""
    parts = re.split(r"(\d+)", path.stem)
    return tuple((0, int(p), "") if p.isdigit() else (1, 0, p) for p in parts if p)


def list_pictures(folder: Path) -> tuple[Path, ...]:
    """The pictures of a folder in natural order.

    Raises:
        DatasetError: The folder is missing or holds none.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder}: expected a folder of pictures, found none")
    found = [p for p in folder.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES]
    if not found:
        raise DatasetError(f"{folder}: expected pictures (.jpg, .png, .bmp), found none")
    return tuple(sorted(found, key=natural_key))


def read_picture(path: Path) -> U8:
    """Read a picture as (H, W, 3) BGR; DatasetError where it cannot be decoded."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise DatasetError(f"{path}: not a picture that OpenCV can read; is the file truncated?")
    return np.asarray(image, np.uint8)


def read_object_ids(path: Path) -> U8:
    """Read an annotation as (H, W) object ids, 0 for the background.

    Palette pictures give their palette index (OpenCV would give the colour), grey ones their
    value. Where 255 is the only value besides 0, it is object 1 (DAVIS 2016); beside other ids
    it stays 255: pixels that do not count (DAVIS 2017).

    Raises:
        DatasetError: The file cannot be decoded or is neither a palette nor a grey picture.
    """
    try:
        with av.open(str(path)) as container:
            picture = next(container.decode(video=0))
    except (FFmpegError, OSError, StopIteration) as error:
        raise DatasetError(f"{path}: not a picture that can be decoded: {error}") from error
    if picture.format.name not in ("pal8", "gray"):
        raise DatasetError(
            f"{path}: annotation is {picture.format.name}, expected an 8-bit palette or grey PNG "
            "whose values are object ids"
        )
    values = picture.to_ndarray()
    ids = np.ascontiguousarray(values[0] if isinstance(values, tuple) else values, np.uint8)
    counts = np.bincount(ids.ravel(), minlength=VOID_OR_BINARY + 1)
    if counts[VOID_OR_BINARY] and not counts[1:VOID_OR_BINARY].any():
        ids = (ids == VOID_OR_BINARY).astype(np.uint8)
    return ids


def read_boxes(path: Path, count: int) -> F64:
    """Read `x,y,w,h` lines (comma, tab or space between), one per frame.

    Raises:
        DatasetError: The file is missing, or a line or their number is wrong.
    """
    if not path.is_file():
        raise DatasetError(f"{path}: missing; expected one x,y,w,h line per frame")
    rows: list[list[float]] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").strip().splitlines(), 1):
        try:
            row = [float(word) for word in re.split(r"[,\s]+", line.strip())]
        except ValueError:
            row = []
        if len(row) != 4:
            raise DatasetError(f"{path}:{number}: expected x,y,w,h, got {line.strip()[:60]!r}")
        rows.append(row)
    if len(rows) != count:
        raise DatasetError(f"{path}: {len(rows)} boxes for {count} frames; expected one per frame")
    return np.array(rows, np.float64)


def folders(folder: Path) -> list[Path]:
    """The folders in a folder, in natural order; none where it is missing."""
    if not folder.is_dir():
        return []
    return sorted((p for p in folder.iterdir() if p.is_dir()), key=natural_key)
