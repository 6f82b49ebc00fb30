"""The folders of labelled data that are known: ours, DAVIS's, LaSOT's and OTB's.

ROOT/masks/CLIP/{frames,masks}      ROOT/JPEGImages/480p/CLIP/*.jpg                     DAVIS
ROOT/boxes/CLIP/{frames,gt.txt}     ROOT/Annotations/480p/CLIP/*.png
ROOT/stills/SET/{images,masks}      ROOT/ImageSets/YEAR/SET.txt

ROOT/CLIP or ROOT/CATEGORY/CLIP: {img, groundtruth.txt, full_occlusion.txt, out_of_view.txt}
is LaSOT's; {img, groundtruth_rect.txt} OTB's, where two objects of one clip have
groundtruth_rect.1.txt and groundtruth_rect.2.txt.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from bench.scores.datasets import (
    BoxClip,
    Dataset,
    DatasetError,
    MaskClip,
    StillSet,
    folders,
    list_pictures,
    natural_key,
    read_boxes,
)
from samcam.live.frames import Mask

LAYOUTS: Final = (
    "masks/CLIP, boxes/CLIP, stills/SET, JPEGImages/480p/CLIP with Annotations/480p/CLIP (DAVIS), "
    "or CLIP/img with CLIP/groundtruth.txt (LaSOT) or CLIP/groundtruth_rect.txt (OTB)"
)
LASOT_TRUTH: Final = "groundtruth.txt"
LASOT_ABSENT: Final = ("full_occlusion.txt", "out_of_view.txt")
OTB_TRUTH: Final = "groundtruth_rect*.txt"
# Clips of OTB-100 of which only these pictures are annotated, by the numbers in their names
# (Wu et al., TPAMI 2015; the benchmark's own configSeqs.m).
OTB_PICTURES: Final = {
    "BlurCar1": (247, 988),
    "BlurCar3": (3, 359),
    "BlurCar4": (18, 397),
    "David": (300, 770),
    "Diving": (1, 215),
    "Football1": (1, 74),
    "Freeman3": (1, 460),
    "Freeman4": (1, 283),
}


def read_dataset(root: Path, image_set: str | None = None) -> Dataset:
    """Find every labelled clip and still set under `root`, in any of the layouts.

    Args:
        root: The folder.
        image_set: Of DAVIS's clips only those that ROOT/ImageSets/IMAGE_SET.txt names.

    Raises:
        DatasetError: Nothing is recognised, or something in it is not as expected.
    """
    if not root.is_dir():
        raise DatasetError(f"{root}: not a folder; expected one with {LAYOUTS}")
    masks = [_mask_clip(f.name, f / "frames", f / "masks") for f in folders(root / "masks")]
    davis = folders(root / "Annotations" / "480p")
    if image_set is not None:
        names = _image_set(root, image_set)
        davis = [folder for folder in davis if folder.name in names]
    for folder in davis:
        masks.append(_mask_clip(folder.name, root / "JPEGImages" / "480p" / folder.name, folder))
    boxes: list[BoxClip] = []
    for folder in folders(root / "boxes"):
        frames = list_pictures(folder / "frames")
        boxes.append(BoxClip(folder.name, frames, read_boxes(folder / "gt.txt", len(frames))))
    boxes += _foreign_box_clips(root)
    stills = [_still_set(folder) for folder in folders(root / "stills")]
    if not (masks or boxes or stills):
        raise DatasetError(f"{root}: layout not recognised; expected {LAYOUTS}")
    return Dataset(root, tuple(masks), tuple(boxes), tuple(stills))


def _image_set(root: Path, name: str) -> set[str]:
    path = root / "ImageSets" / f"{name}.txt"
    if not path.is_file():
        raise DatasetError(f"{path}: missing; expected one of DAVIS's lists, such as 2017/val")
    names = {line.strip() for line in path.read_text(encoding="utf-8").splitlines()} - {""}
    for clip in sorted(names):
        if not (root / "Annotations" / "480p" / clip).is_dir():
            raise DatasetError(f"{path}: no folder Annotations/480p/{clip}")
    return names


def _mask_clip(name: str, frames: Path, masks: Path) -> MaskClip:
    frame_paths = list_pictures(frames)
    number = {path.stem: index for index, path in enumerate(frame_paths)}
    mask_paths: dict[int, Path] = {}
    for path in list_pictures(masks):
        if path.stem not in number:
            raise DatasetError(f"{path}: no frame of that name in {frames}")
        mask_paths[number[path.stem]] = path
    return MaskClip(name, frame_paths, mask_paths)


def _still_set(folder: Path) -> StillSet:
    pictures = {path.stem: path for path in list_pictures(folder / "images")}
    pairs: list[tuple[Path, Path]] = []
    for path in list_pictures(folder / "masks"):
        if path.stem not in pictures:
            raise DatasetError(f"{path}: no picture of that name in {folder / 'images'}")
        pairs.append((pictures[path.stem], path))
    return StillSet(folder.name, tuple(pairs))


def _foreign_box_clips(root: Path) -> list[BoxClip]:
    """Find LaSOT's and OTB's clips under `root`.

    Both count pixels from 1; here they are counted from 0. A picture on which LaSOT's files say
    fully occluded or out of view has no box.

    Raises:
        DatasetError: A file is missing or not as expected.
    """
    clips: list[BoxClip] = []
    for folder in _clip_folders(root):
        if (folder / LASOT_TRUTH).is_file():
            clips.append(_lasot_clip(folder))
        else:
            clips += _otb_clips(folder)
    return clips


def _clip_folders(root: Path) -> Iterator[Path]:
    for folder in folders(root):
        inner = [folder] if _is_clip(folder) else folders(folder)
        yield from (path for path in inner if _is_clip(path))


def _is_clip(folder: Path) -> bool:
    truth = (folder / LASOT_TRUTH).is_file() or any(folder.glob(OTB_TRUTH))
    return truth and (folder / "img").is_dir()


def _lasot_clip(folder: Path) -> BoxClip:
    frames = list_pictures(folder / "img")
    boxes = read_boxes(folder / LASOT_TRUTH, len(frames)) - (1, 1, 0, 0)
    for name in LASOT_ABSENT:
        if (folder / name).is_file():
            boxes[_read_flags(folder / name, len(frames))] = np.nan
    return BoxClip(folder.name, frames, boxes)


def _read_flags(path: Path, count: int) -> Mask:
    """Read 0 and 1, one per frame, with commas or line breaks between."""
    words = re.split(r"[,\s]+", path.read_text(encoding="utf-8").strip())
    if len(words) != count or not {*words} <= {"0", "1"}:
        raise DatasetError(f"{path}: expected {count} values of 0 or 1, got {len(words)} words")
    return np.array([word == "1" for word in words], np.bool_)


def _otb_clips(folder: Path) -> list[BoxClip]:
    frames = list_pictures(folder / "img")
    if folder.name in OTB_PICTURES:
        first, last = OTB_PICTURES[folder.name]
        numbered = tuple(p for p in frames if p.stem.isdigit() and first <= int(p.stem) <= last)
        frames = numbered or frames
    truths = sorted(folder.glob(OTB_TRUTH), key=natural_key)
    clips: list[BoxClip] = []
    for number, truth in enumerate(truths, 1):
        name = folder.name if len(truths) == 1 else f"{folder.name}-{number}"
        boxes = read_boxes(truth, len(frames)) - (1, 1, 0, 0)
        clips.append(BoxClip(name, frames, boxes))
    return clips
