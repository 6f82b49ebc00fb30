"""Mask files of prompts: black and white, soft, lossy, cut-outs, and masks of several ids."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from samcam.live.frames import MAX_OBJECT_ID, U8, Mask
from samcam.live.prompts.files import PromptFiles
from samcam.live.sources.pictures import PictureError, PictureFile, read_picture
from samcam.system.files import check_name, is_there, reason_of

_log = logging.getLogger(__name__)

_CUT: Final = 128  # of 255: where a soft or lossy mask has its border
_VOID: Final = 255  # in masks of ids: belongs to nothing (PASCAL VOC, DAVIS)
_NAMED: Final = 8
_SOLID_SHARE: Final = 0.2  # of the pixels between black and the highest value, in masks of ids
_MANY_LEVELS: Final = 64
_FEW_LEVELS: Final = 16
_FAR_STEPS_SHARE: Final = 0.05  # of the steps between levels, in soft masks of few levels
_NEARLY_WHITE: Final = 200  # several values from here on are one white, not ids
_DARK_WHITE: Final = 32  # no soft mask has so dark a white: these values are ids
_WITH_ID: Final = re.compile(r"(?s)(.+)#(\d{1,9})")


@dataclass(frozen=True, slots=True)
class MaskFile:
    """What a mask file holds.

    Attributes:
        ids: (H, W) values, 0 for the background, where its values tell objects apart; else None.
        whole: (H, W) everything that is not background.
        empty: What the file is where `whole` has no pixel, such as "all black".
        note: How its values were read where that may surprise, else empty.
    """

    ids: NDArray[Any] | None
    whole: Mask
    empty: str = "all black"
    note: str = ""


def read_reference(files: PromptFiles, name: str) -> U8:
    """Return the picture (H, W, 3) BGR that a mask belongs to; ValueError says why it cannot be
    read."""
    path = files.path_of(name)
    with _readable(f"image={path}"):
        check_name(path)
        return read_picture(path, f"image={name}", files.max_megapixels)


@contextmanager
def _readable(what: str) -> Iterator[None]:
    """Make a ValueError of what is wrong with a picture file."""
    try:
        yield
    except PictureError as error:
        raise ValueError(f"{what}: {error}") from error
    except OSError as error:
        raise ValueError(f"{what}: cannot be read: {reason_of(error)}") from error


def read_masks(
    files: PromptFiles, text: str, size_wh: tuple[int, int], size_of: str, split_ids: bool
) -> Mapping[int | None, Mask]:
    """Return the masks of `mask=FILE` or `mask=FILE#ID`, by the ids that they have in the file.

    Args:
        text: What follows `mask=`.
        size_wh: The size that it must have.
        size_of: What has this size, for messages.
        split_ids: Whether several ids are several objects; else they are one.

    Returns:
        One mask for None, or several by id 1..254.

    Raises:
        ValueError: It cannot be read, has another size or no pixel; says which and why.
    """
    name, wanted = _name_and_id(files, text)
    file = _read(files, name, text, size_wh, size_of)
    if not file.whole.any():
        raise ValueError(f"mask={text}: {file.empty}; expected some object pixels above 0")
    if wanted is not None:
        return {None: _one_id(file, wanted, text)}
    if file.ids is None:
        if file.note:
            _log.info("mask=%s: one object: %s", text, file.note)
        return {None: file.whole}
    found = [int(value) for value in np.unique(file.ids) if value]
    if _VOID in found and len(found) > 1:
        found.remove(_VOID)
        _log.warning("mask=%s: what has the value 255 is void and left out", text)
    if not split_ids or len(found) < 2:
        return {None: np.isin(file.ids, found)}
    if found[-1] > MAX_OBJECT_ID:
        raise ValueError(
            f"mask={text}: has {len(found)} ids up to {found[-1]}; objects are 1 to "
            f"{MAX_OBJECT_ID}: choose one with mask={text}#{found[-1]}"
        )
    _log.info(
        "mask=%s: ids %s: %d objects; mask=%s#%d takes one, object=ID joins them",
        *(text, ", ".join(map(str, found)), len(found), text, found[0]),
    )
    return {value: file.ids == value for value in found}


def _name_and_id(files: PromptFiles, text: str) -> tuple[str, int | None]:
    """Split `FILE#ID`; a file that is really named so comes first."""
    match = _WITH_ID.fullmatch(text)
    if match is None or is_there(files.path_of(text)):
        return text, None
    return match[1], int(match[2])


def _one_id(file: MaskFile, wanted: int, text: str) -> Mask:
    if file.ids is None:
        raise ValueError(
            f"mask={text}: this file has no ids; expected a palette or gray PNG whose values are "
            "ids, or the name without #"
        )
    found = [int(value) for value in np.unique(file.ids) if value]
    if wanted not in found:
        more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        shown = ", ".join(map(str, found[:_NAMED])) + more
        raise ValueError(f"mask={text}: there is no id {wanted}; it has {shown}")
    return np.asarray(file.ids == wanted, np.bool_)


def _read(
    files: PromptFiles, name: str, text: str, size_wh: tuple[int, int], size_of: str
) -> MaskFile:
    path = files.path_of(name)
    with _readable(f"mask={path}"):
        check_name(path)
        with closing(PictureFile(path, files.max_megapixels)) as file:
            if sorted(file.size_wh) != sorted(size_wh):  # EXIF may turn it; nothing is decoded yet
                _check_size(file.size_wh, size_wh, text, size_of)
            image = file.read_raw()
            _check_size(image.size, size_wh, text, size_of)
            return _meaning(image, file.lossy, file.read().image_bgr)


def _check_size(found: tuple[int, int], wanted: tuple[int, int], text: str, size_of: str) -> None:
    if found != wanted:
        raise ValueError(
            f"mask={text}: {found[0]}x{found[1]} pixels; expected {wanted[0]}x{wanted[1]} "
            f"as {size_of}"
        )


def _meaning(image: Image.Image, lossy: bool, shown_bgr: U8) -> MaskFile:
    """Return the meaning of a mask picture, as it is stored, upright; `shown_bgr` is (H, W, 3)
    as it looks.

    `lossy`: its values are only about what was saved.
    """
    alpha = _alpha(image)
    if alpha is not None:
        return MaskFile(None, alpha >= min(_CUT, max(1, int(alpha.max()))), "all transparent")
    brightest = shown_bgr.max(axis=2)
    if lossy:
        dark = "all darker than half" if brightest.any() else "all black"
        return MaskFile(None, brightest >= _CUT, dark)
    if image.mode == "P":
        return _from_palette(image)
    if image.mode in ("1", "L", "I", "F") or image.mode.startswith("I;16"):
        return _from_values(np.asarray(image.convert("L") if image.mode == "1" else image))
    if (shown_bgr == shown_bgr[:, :, :1]).all():
        return _from_values(brightest)
    return MaskFile(None, brightest > 0)


def _alpha(image: Image.Image) -> U8 | None:
    """Return the alpha channel (H, W) where it says something: opaque files are as without."""
    if not ("A" in image.getbands() or "a" in image.getbands() or "transparency" in image.info):
        return None
    alpha = np.asarray(image.convert("RGBA").getchannel("A"))
    if alpha.min() == 255:
        return None
    if image.mode == "P" and (np.asarray(image)[alpha < _CUT] == 0).all():
        return None  # only the background's entry is transparent: the others may still be ids
    return alpha


def _from_palette(image: Image.Image) -> MaskFile:
    """Return the ids of a palette picture; one of grays only may be an ordinary mask."""
    ids = np.asarray(image)
    used = np.unique(ids)
    palette = np.asarray((image.getpalette() or [])[: 3 * 256], np.uint8).reshape(-1, 3)
    if len(palette) > used[-1] and (palette[used] == palette[used, :1]).all():
        gray = palette[ids, 0]
        levels = np.unique(gray)
        if levels[-1] - levels[0] >= _CUT and (len(levels) == 2 or _is_soft(gray)):
            return _from_values(gray)
    return MaskFile(ids, ids > 0)


def _from_values(values: NDArray[Any]) -> MaskFile:
    """Return what one channel means: ids, a soft mask that is cut at half, or black and white."""
    values = np.nan_to_num(values)
    values = np.where(values > 0, values, 0)
    if len(np.unique(values)) <= 2:
        return MaskFile(values, values > 0)
    if values[values > 0].min() >= _NEARLY_WHITE and values.max() <= 255:
        return MaskFile(None, values > 0)
    if _is_soft(values):
        cut = _soft_cut(values)
        note = f"its grays are a soft border, cut at {cut:g}" if _is_terraced(values) else ""
        return MaskFile(None, values >= cut, note=note)
    return MaskFile(values, values > 0)


def _soft_cut(values: NDArray[Any]) -> float:
    """Return half of white: 128 of 255, and likewise of what a darker mask has as white."""
    white = float(values.max())
    return _CUT if white > _CUT and white <= 255 else white / 2


def _is_soft(values: NDArray[Any]) -> bool:
    """Whether the values between black and white are borders and not objects of their own.

    The ids of an object fill areas; what smoothing leaves changes from pixel to pixel, or in
    steps from one level to the next.
    """
    if not np.issubdtype(values.dtype, np.integer):
        return True
    between = (values > 0) & (values < values.max())
    if values.max() <= _DARK_WHITE or not between.any():
        return False
    levels = np.unique(values)
    if len(levels) > _MANY_LEVELS and len(levels) > 0.8 * (int(levels[-1]) - int(levels[0])):
        return True
    if _is_terraced(values):
        return True
    plain = values.astype(np.float32)
    kernel = np.ones((3, 3), np.uint8)
    flat = cv2.erode(plain, kernel) == cv2.dilate(plain, kernel)
    return bool((flat & between).sum() < _SOLID_SHARE * between.sum())


def _is_terraced(values: NDArray[Any]) -> bool:
    """Whether a few grays lie around white like terraces, as in a soft mask of few levels.

    Objects of their own touch the background, whatever their ids are; here white touches only the
    brightest gray, and so on down to black.
    """
    levels = np.unique(values)
    half = np.iinfo(values.dtype).max // 2 if np.issubdtype(values.dtype, np.integer) else 0
    if not (2 < len(levels) <= _FEW_LEVELS and levels[0] == 0 and levels[-1] > half > 0):
        return False
    places = np.searchsorted(levels, values).astype(np.int8)
    steps = [np.abs(np.diff(places, axis=axis)) for axis in (0, 1)]
    far = sum(int((step > 1).sum()) for step in steps)
    return far < _FAR_STEPS_SHARE * sum(int((step > 0).sum()) for step in steps)
